//! Something that happens once and is waited for, across processes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use hatchery_os::Layout;

use super::monitor::{Monitor, ShareError};
use super::object::shared_object;
use super::wait::{ALL, Attempt, Look, Wake, wait_async, wait_until};
use super::word::Word;

/// A flag that processes wait for.
///
/// Whoever waits when it is set goes on, even if it is cleared at once. A process that is killed
/// while it waits disturbs nobody.
#[derive(Clone, Debug)]
pub struct Event {
    monitor: Monitor,
}

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    ///
    /// Returns [`ShareError::Memory`] for any error of the kernel.
    pub fn new() -> Result<Self, ShareError> {
        let monitor = Monitor::create(LAYOUT, |_, _| false)?;
        Ok(Self { monitor })
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Monitor::map(memory, LAYOUT, |_, _| false)?;
        Ok(Self { monitor })
    }

    /// Sets it, and wakes everybody who waits.
    pub fn set(&self) {
        let next = |seen: u32| (seen & !SET).wrapping_add(NEXT) | SET;
        if self.change(|seen| (seen & SET == 0).then(|| next(seen))) {
            self.word().wake(ALL);
        }
    }

    /// Takes it back: who waits from now on waits until it is set again.
    pub fn clear(&self) {
        self.change(|seen| (seen & SET != 0).then_some(seen & !SET));
    }

    /// Whether it is set, at this moment.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.word().read() & SET != 0
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        let waited = wait_until(self.word(), None, self.attempts());
        waited.expect("waiting without a deadline ends only with the event");
    }

    /// Waits until it is set, for at most `timeout`; false if it was not.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        // A time too long to be reckoned with is for ever.
        let deadline = Instant::now().checked_add(timeout);
        wait_until(self.word(), deadline, self.attempts()).is_some()
    }

    /// Waits until it is set, without holding a thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up, and has no other effect.
    pub async fn wait_async(&self) {
        wait_async(self.monitor.place(0), Wake::All, self.attempts()).await;
    }

    /// Whether it is set, or was since this was called.
    fn attempts(&self) -> impl FnMut(Look) -> Attempt<()> {
        let began = self.word().read() & !SET;
        move |_| {
            let now = self.word().read();
            if now & SET != 0 || now & !SET != began {
                Attempt::Done(())
            } else {
                Attempt::Wait(now)
            }
        }
    }

    /// Changes the word; false if `change` finds nothing to do.
    fn change(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        let mut seen = self.word().read();
        while let Some(next) = change(seen) {
            match self.word().replace(seen, next) {
                Ok(()) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// Whether it is set, and above that bit how often it was.
    fn word(&self) -> &AtomicU32 {
        &self.monitor.words()[0]
    }
}

shared_object!(Event);

/// The bit that says that the event is set.
const SET: u32 = 1;

/// What each setting adds.
const NEXT: u32 = 2;

const LAYOUT: Layout = Layout { words: 1, wides: 0 };

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::Parcel;

    #[test]
    fn an_event_is_set_until_it_is_cleared() {
        let event = Event::new().unwrap();
        assert!(!event.wait_timeout(Duration::ZERO));

        event.set();
        event.set();
        assert!(event.is_set());
        event.wait();
        event.clear();

        assert!(!event.is_set());
        assert!(!event.wait_timeout(Duration::from_millis(1)));
    }

    #[test]
    fn who_waits_when_it_is_set_goes_on_although_it_is_cleared_at_once() {
        let event = Event::new().unwrap();
        let received: Event = Parcel::encode(&event).unwrap().decode().unwrap();
        let mut attempts = received.attempts();
        assert!(matches!(attempts(Look::First), Attempt::Wait(0)));

        event.set();
        event.clear();

        assert!(matches!(attempts(Look::First), Attempt::Done(())));
    }

    #[test]
    fn setting_it_wakes_all_who_wait() {
        let event = Event::new().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    sender.send(()).unwrap();
                    event.wait();
                });
            }
            for _ in 0..4 {
                receiver.recv().unwrap();
            }

            event.set();
        });
    }
}
