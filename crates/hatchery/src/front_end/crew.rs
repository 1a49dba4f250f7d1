//! The workers by their seats, and when the front end turns to them.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use hatchery_process::CHANNEL_BYTES_MAX;

use super::member::{CrewMember, Said, WorkerKey};
use super::pulse::Rounds;
use super::roster::Seat;

/// How long a used connection's lease may be held while the front end has other work.
const LEASE_TICK: Duration = Duration::from_millis(5);

/// How long to wait before sending again to somebody who could take nothing.
pub(super) const SEND_RETRY: Duration = Duration::from_millis(5);

/// How often the memory and the connections of workers are looked at, where that is asked for.
const CHECK_UP: Duration = Duration::from_secs(1);

/// The workers that there are.
#[derive(Debug)]
pub(super) struct Crew {
    members: Vec<Option<CrewMember>>,
    /// How many were started, ever.
    started: u32,
    /// What messages of workers are received into.
    inbox: Vec<u8>,
    /// Whether anything was accepted, used or finished since the last tick.
    pub(super) is_busy: bool,
    tick: Option<Duration>,
    send_retry: Option<Duration>,
    check_up: Option<Duration>,
    /// When it is looked whether their loops turn.
    pub(super) rounds: Rounds,
}

impl Crew {
    pub(super) fn new() -> Self {
        Self {
            members: Vec::new(),
            started: 0,
            inbox: vec![0; CHANNEL_BYTES_MAX],
            is_busy: false,
            tick: None,
            send_retry: None,
            check_up: None,
            rounds: Rounds::default(),
        }
    }

    /// All seats, taken or not.
    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> + use<> {
        (0..self.members.len()).map(Seat)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &CrewMember> {
        self.members.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut CrewMember> {
        self.members.iter_mut().flatten()
    }

    pub(super) fn get(&self, seat: Seat) -> Option<&CrewMember> {
        self.members.get(seat.0)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, seat: Seat) -> Option<&mut CrewMember> {
        self.members.get_mut(seat.0)?.as_mut()
    }

    /// The worker in a seat, if it is still this one.
    pub(super) fn find(&mut self, worker: WorkerKey) -> Option<&mut CrewMember> {
        let member = self.get_mut(worker.seat)?;
        (member.key == worker).then_some(member)
    }

    /// Gives a worker that is to be started its number.
    pub(super) fn enlist(&mut self, seat: Seat) -> WorkerKey {
        let generation = self.started;
        self.started += 1;
        WorkerKey { seat, generation }
    }

    /// How many were started, ever.
    pub(super) fn started(&self) -> u32 {
        self.started
    }

    pub(super) fn add(&mut self, member: CrewMember) {
        let seat = member.key.seat.0;
        if self.members.len() <= seat {
            self.members.resize_with(seat + 1, || None);
        }
        self.members[seat] = Some(member);
    }

    pub(super) fn remove(&mut self, seat: Seat) -> Option<CrewMember> {
        self.members[seat.0].take()
    }

    /// Whether a worker may have said something; if not, the task is woken when it has.
    pub(super) fn may_speak(&self, seat: Seat, context: &mut Context<'_>) -> bool {
        let member = self.get(seat);
        member.is_some_and(|member| member.channel.poll_read_ready(context).is_ready())
    }

    /// Reads a worker's next message, or finds that there is none; the task is woken when this is to
    /// be called again.
    pub(super) fn poll_read(
        &mut self,
        seat: Seat,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Said>>> {
        let Some(member) = self.members[seat.0].as_ref() else {
            return Poll::Pending;
        };
        let Poll::Ready(Ok(mut guard)) = member.channel.poll_read_ready(context) else {
            return Poll::Pending;
        };
        let read = member.read(&mut self.inbox);
        if !matches!(read, Ok(Some(_))) {
            guard.clear_ready();
        }
        Poll::Ready(read)
    }

    /// Reads what a worker that is gone has said last; `None` if that was all.
    pub(super) fn read_last(&mut self, seat: Seat) -> Option<Said> {
        let member = self.members[seat.0].as_ref()?;
        member.read(&mut self.inbox).ok().flatten()
    }

    /// Whether workers may be sent anything now.
    pub(super) fn may_be_sent_to(&self) -> bool {
        self.send_retry.is_none()
    }

    /// Sends nothing for a moment: a channel is full, or the kernel is short of something.
    pub(super) fn send_later(&mut self, now: Duration) {
        self.send_retry = Some(now + SEND_RETRY);
    }

    pub(super) fn expire(&mut self, now: Duration) {
        if self.send_retry.is_some_and(|at| at <= now) {
            self.send_retry = None;
        }
    }

    /// Looks at what workers take every now and then, or no more.
    pub(super) fn check_up(&mut self, is_wanted: bool, now: Duration) {
        self.check_up = is_wanted.then_some(now + CHECK_UP);
    }

    /// Whether it is time to look at what workers take; the next time follows.
    pub(super) fn is_check_up_due(&mut self, now: Duration) -> bool {
        let is_due = self.check_up.is_some_and(|at| at <= now);
        if is_due {
            self.check_up = Some(now + CHECK_UP);
        }
        is_due
    }

    /// Has all workers tell what they do next, and has the front end look in any case at this time.
    pub(super) fn want_news(&mut self, by: Option<Duration>) {
        self.tick = by;
        for member in self.iter() {
            member.ledger.want();
        }
    }

    /// Whether a whole tick has passed without news.
    pub(super) fn rests(&self, now: Duration) -> bool {
        !self.is_busy && self.tick.is_some_and(|tick| tick <= now)
    }

    /// Looks for news again in a tick, while there is any.
    pub(super) fn tick(&mut self, now: Duration) {
        if self.is_busy && self.tick.is_none_or(|tick| tick <= now) {
            self.is_busy = false;
            self.tick = Some(now + LEASE_TICK);
        }
    }

    /// Needs no news.
    pub(super) fn stop_ticking(&mut self) {
        self.tick = None;
    }

    /// When one of them needs something even if nothing happens.
    pub(super) fn due(&self) -> Option<Duration> {
        let members = self.iter();
        let members = members.flat_map(|it| [it.ready_by, it.ends_by, it.retire_by]);
        let own = [self.tick, self.send_retry, self.check_up, self.rounds.due()];
        own.into_iter().chain(members).flatten().min()
    }
}
