//! Waiting for results: in person, or through the pump.
//!
//! Of the threads that wait, one is the leader: it takes the results of all out of the workers' memory,
//! and wakes those whose they are. When it has its own, it makes another the leader.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use hatchery_process::{Leader, ResultWatch};

use super::{Engine, State, is_past};

/// The longest sleep before a look, for the sake of what nobody could tell of.
const NAP: Duration = Duration::from_millis(50);

/// So many results at once say that they come faster than the pump can be woken for each.
const MANY: usize = 32;

/// How long the pump lets results gather then.
const SHORT: Duration = Duration::from_micros(50);

/// What a thread is to do that has not got yet what it waits for.
enum Step<T> {
    Done(Option<T>),
    Lead,
    Follow,
}

/// What somebody waits for.
pub(in crate::pool) trait Wish {
    /// What comes of it.
    type Outcome;

    /// Fulfils it, if that can be done now.
    fn attempt(&mut self, state: &mut State) -> Option<Self::Outcome>;

    /// Says who is to be woken when it may be fulfilled.
    fn register(&self, state: &mut State, waker: &Waker);
}

/// A wish made of its two functions.
pub(in crate::pool) struct WishOf<A, R> {
    pub(in crate::pool) attempt: A,
    pub(in crate::pool) register: R,
}

impl<T, A, R> Wish for WishOf<A, R>
where
    A: FnMut(&mut State) -> Option<T>,
    R: Fn(&mut State, &Waker),
{
    type Outcome = T;

    fn attempt(&mut self, state: &mut State) -> Option<T> {
        (self.attempt)(state)
    }

    fn register(&self, state: &mut State, waker: &Waker) {
        (self.register)(state, waker);
    }
}

impl Engine {
    /// Fulfils a wish now, or has the task woken when it may be fulfilled.
    pub(in crate::pool) fn poll<W: Wish>(
        &self,
        wish: &mut W,
        task: &mut Context<'_>,
    ) -> Poll<W::Outcome> {
        self.turn(|state| match state.fulfil(wish) {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                wish.register(state, task.waker());
                Poll::Pending
            }
        })
    }

    /// Waits until a wish is fulfilled.
    pub(in crate::pool) fn wait<W: Wish>(&self, wish: &mut W) -> W::Outcome {
        let outcome = self.wait_until(None, wish);
        outcome.expect("without a deadline it waits until there is an outcome")
    }

    /// Waits until a wish is fulfilled; `None` if it is not by the deadline.
    pub(in crate::pool) fn wait_until<W: Wish>(
        &self,
        deadline: Option<Instant>,
        wish: &mut W,
    ) -> Option<W::Outcome> {
        let mut followed = None;
        loop {
            let step = self.turn(|state| {
                if let Some(waker) = followed.take() {
                    state.unfollow(&waker);
                }
                let outcome = state.fulfil(wish);
                if outcome.is_some() || is_past(deadline) {
                    return Step::Done(outcome);
                }
                if !state.has_leader {
                    state.has_leader = true;
                    return Step::Lead;
                }
                let waker = own_waker();
                wish.register(state, &waker);
                state.followers.push(waker.clone());
                followed = Some(waker);
                Step::Follow
            });
            match step {
                Step::Done(outcome) => return outcome,
                Step::Lead => return self.lead(deadline, wish),
                Step::Follow => thread::park_timeout(nap_until(deadline)),
            }
        }
    }

    /// Takes results for everybody until a wish is fulfilled or the time is up.
    fn lead<W: Wish>(&self, deadline: Option<Instant>, wish: &mut W) -> Option<W::Outcome> {
        let mut leader = Some(self.doorbell.lead());
        let mut watches: Arc<[ResultWatch]> = Arc::new([]);
        loop {
            let seen = self.news.load(Ordering::SeqCst);
            let ended = self.turn(|state| {
                state.drain();
                let outcome = wish.attempt(state);
                if outcome.is_some() || is_past(deadline) {
                    state.abdicate(leader.take());
                    return Some(outcome);
                }
                if !Arc::ptr_eq(&watches, &state.watches) {
                    watches = Arc::clone(&state.watches);
                }
                None
            });
            if let Some(outcome) = ended {
                return outcome;
            }
            let Some(leader) = &leader else { return None };
            let nap = Some(Instant::now() + nap_until(deadline));
            leader.wait(nap, || self.has_news(&watches, seen));
        }
    }

    /// Takes results where nobody waits in person, until the pool has ended.
    pub(super) fn pump(&self) {
        loop {
            let seen = self.news.load(Ordering::SeqCst);
            let (is_over, is_idle, taken, watches) = self.turn(|state| {
                state.schedule.try_all_again();
                let taken = state.drain();
                let is_idle = state.schedule.outstanding() == 0 && state.schedule.waiting() == 0;
                (state.is_over(), is_idle, taken, Arc::clone(&state.watches))
            });
            if is_over {
                return;
            }
            let deadline = (!is_idle).then(|| Instant::now() + NAP);
            if taken >= MANY {
                self.doorbell.nap_as_pump(SHORT);
                continue;
            }
            let has_news = || self.has_news(&watches, seen);
            self.doorbell.wait_as_pump(deadline, has_news);
        }
    }

    /// Whether a worker has put a result, or something else has happened since the news were seen.
    fn has_news(&self, watches: &[ResultWatch], seen: u32) -> bool {
        any_has_results(watches) || self.news.load(Ordering::SeqCst) != seen
    }
}

impl State {
    /// Fulfils a wish if that can be done now, or once the results that there are have been taken.
    fn fulfil<W: Wish>(&mut self, wish: &mut W) -> Option<W::Outcome> {
        wish.attempt(self).or_else(|| {
            self.drain();
            wish.attempt(self)
        })
    }

    /// Has another thread lead that waits, or the pump.
    fn abdicate(&mut self, leader: Option<Leader<'_>>) {
        self.has_leader = false;
        let next = self.followers.pop();
        if let Some(leader) = leader {
            leader.leave(|| next.is_none() && any_has_results(&self.watches));
        }
        self.woken.extend(next);
    }

    fn unfollow(&mut self, waker: &Waker) {
        self.followers.retain(|other| !other.will_wake(waker));
    }
}

/// Whether any worker has put a result that was not taken.
fn any_has_results(watches: &[ResultWatch]) -> bool {
    watches.iter().any(ResultWatch::has_results)
}

/// Adds a waker to those who wait, unless it is among them.
pub(super) fn enlist(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|other| other.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

fn nap_until(deadline: Option<Instant>) -> Duration {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.map_or(NAP, |left| left.min(NAP))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// What wakes this thread.
pub(in crate::pool) fn own_waker() -> Waker {
    thread_local! {
        static OWN: OnceCell<Waker> = const { OnceCell::new() };
    }
    OWN.with(|own| {
        own.get_or_init(|| Arc::new(Unpark(thread::current())).into())
            .clone()
    })
}
