//! Looking at connections that may be what workers die of, and refusing those that are.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hatchery_process::Peer;
use rustix::net::{RecvFlags, recv};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::complaints::Complaint;
use super::poison::{Evidence, Place, Poison};
use super::roster::Placement;
use super::{Accepted, FrontEnd};
use crate::control::ServerEvent;
use crate::watch::readable;

/// How many bytes of a connection are looked at.
const FIRST_BYTES: usize = 64;

/// How long a connection from a place that is watched may take to say something.
const HOLD: Duration = Duration::from_millis(100);

/// How many are waited for at once; more go to workers as they are.
const HELD_MAX: usize = 256;

/// What is remembered of a connection that a worker uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    place: Place,
    first: Option<u64>,
}

/// The connections that each worker uses, by their slots.
#[derive(Debug, Default)]
pub(super) struct Traces(Vec<Option<Trace>>);

/// What is known of that, and who is looked at.
#[derive(Debug)]
pub(super) struct Suspicion {
    pub(super) poison: Poison,
    held: Held,
}

/// Connections that are waited for to say something.
#[derive(Debug)]
struct Held {
    sender: UnboundedSender<Accepted>,
    receiver: UnboundedReceiver<Accepted>,
    /// Held by each of them that is not back.
    count: Arc<()>,
}

impl Traces {
    pub(super) fn put(&mut self, slot: u32, trace: Trace) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, None);
        }
        self.0[slot] = Some(trace);
    }

    pub(super) fn take(&mut self, slot: u32) -> Option<Trace> {
        self.0.get_mut(slot as usize)?.take()
    }
}

impl Trace {
    pub(super) fn of(accepted: &Accepted) -> Self {
        Self {
            place: place_of(accepted),
            first: accepted.first,
        }
    }

    /// What is known of the connection, if its first bytes were looked at.
    pub(super) fn evidence(self) -> Option<Evidence> {
        let place = self.place;
        self.first.map(|first| Evidence { place, first })
    }
}

impl Suspicion {
    pub(super) fn new(poison: Poison) -> Self {
        Self {
            poison,
            held: Held::default(),
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            sender,
            receiver,
            count: Arc::default(),
        }
    }
}

impl Held {
    /// How many are waited for.
    fn len(&self) -> usize {
        Arc::strong_count(&self.count) - 1
    }
}

impl Poison {
    /// Takes back what is suspected of a connection that a worker no longer has.
    pub(super) fn acquit_trace(&mut self, trace: Option<Trace>) {
        if let Some(evidence) = trace.and_then(Trace::evidence) {
            self.acquit(evidence);
        }
    }
}

impl FrontEnd {
    /// Whether connections are waited for to say something.
    pub(super) fn holds_any(&self) -> bool {
        self.suspicion.held.len() > 0 || !self.suspicion.held.receiver.is_empty()
    }

    /// Lets a new connection pass, unless it is refused, or has to say something first.
    pub(super) fn pass(&mut self, mut accepted: Accepted, now: Duration) -> Option<Accepted> {
        if !self.suspicion.poison.watches(place_of(&accepted), now) {
            return Some(accepted);
        }
        accepted.first = first_bytes(&accepted);
        if accepted.first.is_none() && self.suspicion.held.len() < HELD_MAX {
            self.hold(accepted);
            return None;
        }
        self.unless_refused(accepted, now)
    }

    fn unless_refused(&mut self, accepted: Accepted, now: Duration) -> Option<Accepted> {
        let evidence = Trace::of(&accepted).evidence();
        if evidence.is_none_or(|evidence| !self.suspicion.poison.refuses(evidence, now)) {
            return Some(accepted);
        }
        let why = Complaint::Poisoned;
        if self.outside.complain(why, 1, now) {
            tracing::warn!(connection = accepted.id, peer = %accepted.peer, "{}", why.words());
        }
        None
    }

    fn hold(&self, accepted: Accepted) {
        let back = self.suspicion.held.sender.clone();
        let counted = Arc::clone(&self.suspicion.held.count);
        tokio::spawn(async move {
            let speaks = readable(Some(accepted.socket.as_fd()));
            // One that says nothing goes on as it is.
            let _silent = tokio::time::timeout(HOLD, speaks).await;
            // The front end may have ended, and then nobody is served.
            let _ended = back.send(accepted);
            drop(counted);
        });
    }

    /// Takes back those that have said something, or were silent for long enough.
    pub(super) fn take_held(&mut self, context: &mut Context<'_>, now: Duration) {
        while let Poll::Ready(Some(mut accepted)) = self.suspicion.held.receiver.poll_recv(context)
        {
            accepted.first = first_bytes(&accepted);
            if let Some(accepted) = self.unless_refused(accepted, now) {
                self.queue.push_anyway(accepted, now);
            }
        }
    }

    /// Takes back what is suspected of a connection, which a handler has given back or ended.
    pub(super) fn acquit(&mut self, placement: Placement) {
        let member = self.crew.get_mut(placement.seat);
        let trace = member.and_then(|member| member.traces.take(placement.slot));
        self.suspicion.poison.acquit_trace(trace);
    }

    /// Accuses what a worker that crashed had in hand.
    pub(super) fn accuse_all(&mut self, traces: Traces, generation: u32, now: Duration) {
        for trace in traces.0.into_iter().flatten() {
            self.accuse(trace, generation, now);
        }
    }

    /// Accuses a connection that a worker which crashed had taken and not used; true if it is
    /// refused from now on.
    pub(super) fn accuse_unused(
        &mut self,
        accepted: &mut Accepted,
        generation: u32,
        now: Duration,
    ) -> bool {
        accepted.first = first_bytes(accepted);
        self.accuse(Trace::of(accepted), generation, now)
    }

    fn accuse(&mut self, trace: Trace, generation: u32, now: Duration) -> bool {
        let Some(evidence) = trace.evidence() else {
            self.suspicion.poison.watch(trace.place, now);
            return false;
        };
        let Some(deaths) = self.suspicion.poison.accuse(evidence, generation, now) else {
            return self.suspicion.poison.refuses(evidence, now);
        };
        let peer = evidence.place.peer.map(|peer| peer.to_string());
        let listener = self.listeners.place_of(evidence.place.listener);
        let first_bytes = format!("{:016x}", evidence.first);
        let refused_for = self.plan.server.poison_time;
        tracing::error!(
            peer,
            listener,
            first_bytes,
            deaths,
            ?refused_for,
            "workers die of a connection: those like it are refused"
        );
        self.outside.tell(ServerEvent::Poisoned {
            peer,
            listener,
            first_bytes,
            deaths,
        });
        true
    }
}

fn place_of(accepted: &Accepted) -> Place {
    let peer = match accepted.peer {
        Peer::Inet(address) => Some(address.ip()),
        _ => None,
    };
    Place {
        peer,
        listener: accepted.listener,
    }
}

/// The hash of the first bytes that are there, which stay there.
fn first_bytes(accepted: &Accepted) -> Option<u64> {
    let mut buffer = [MaybeUninit::uninit(); FIRST_BYTES];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let ((bytes, _), _) = recv(&accepted.socket, &mut buffer[..], flags).ok()?;
    // Not keyed: whoever wants not to be recognised says something else.
    let hasher = BuildHasherDefault::<DefaultHasher>::new();
    (!bytes.is_empty()).then(|| hasher.hash_one(&*bytes))
}
