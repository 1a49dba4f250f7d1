//! Permits that processes share: so many may hold one at a time.

mod account;

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::monitor::ShareError;
use super::object::shared_object;
use super::permits::PERMITS_MAX;
use account::Accounts;

/// A number of permits, of which processes hold some; anybody may add one.
///
/// Permits of a process that dies come back, whether it held them by guards or
/// [kept](Permit::keep) them; those who wait find out within 50 ms. Who waits is not served
/// strictly in turn, but who was woken in vain goes before newcomers, so nobody waits for ever.
///
/// To count events rather than holders, begin with none, add one by [`release`](Self::release),
/// and [`forget`](Permit::forget) what was acquired.
#[derive(Clone, Debug)]
pub struct Semaphore {
    monitor: Accounts,
}

/// A number of permits that never grows: one more released than taken is an error.
///
/// In everything else it is a [`Semaphore`].
#[derive(Clone, Debug)]
pub struct BoundedSemaphore {
    monitor: Accounts,
    bound: u32,
}

/// A held permit; dropping it gives it back.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once permits nothing"]
pub struct Permit<'a> {
    accounts: &'a Accounts,
}

/// There was no permit, or none until the time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all permits are held by others")]
pub struct NoPermit;

/// Why a semaphore was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SemaphoreError {
    /// More permits than can be counted were asked for.
    #[error("a semaphore with {asked} permits cannot be; allowed: 0 to {max}")]
    TooManyPermits {
        /// How many were asked for.
        asked: u32,
        /// The most that may be.
        max: u32,
    },
    /// The memory for it was not to be had.
    #[error("the semaphore could not be made")]
    Share(#[from] ShareError),
}

/// More permits were released than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permit is released that nobody keeps, and there may be no more than {bound}")]
#[non_exhaustive]
pub struct OverRelease {
    /// How many permits there may be.
    pub bound: u32,
}

/// What both kinds have in common.
macro_rules! acquiring {
    ($semaphore:ident) => {
        impl $semaphore {
            /// Waits for a permit.
            pub fn acquire(&self) -> Permit<'_> {
                let is_acquired = self.monitor.acquire_until(None);
                assert!(is_acquired, "waiting without a deadline ends with a permit");
                self.permit()
            }

            /// Takes a permit if one is free.
            ///
            /// # Errors
            ///
            /// Returns [`NoPermit`] if living processes hold them all.
            pub fn try_acquire(&self) -> Result<Permit<'_>, NoPermit> {
                let is_acquired = self.monitor.try_acquire();
                is_acquired.then(|| self.permit()).ok_or(NoPermit)
            }

            /// Waits for a permit, for at most `timeout`.
            ///
            /// # Errors
            ///
            /// Returns [`NoPermit`] when the time is up.
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, NoPermit> {
                // A time too long to be reckoned with is for ever.
                let deadline = Instant::now().checked_add(timeout);
                let is_acquired = self.monitor.acquire_until(deadline);
                is_acquired.then(|| self.permit()).ok_or(NoPermit)
            }

            /// Waits for a permit without holding a thread.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future gives up; the permit then goes to whoever else waits.
            pub async fn acquire_async(&self) -> Permit<'_> {
                self.monitor.acquire_async().await;
                self.permit()
            }

            /// How many permits are free, at this moment.
            #[must_use]
            pub fn value(&self) -> u32 {
                self.monitor.value()
            }

            fn permit(&self) -> Permit<'_> {
                Permit {
                    accounts: &self.monitor,
                }
            }
        }
    };
}

acquiring!(Semaphore);
acquiring!(BoundedSemaphore);
shared_object!(Semaphore);
shared_object!(BoundedSemaphore);

impl Semaphore {
    /// Makes a semaphore with so many permits, all free.
    ///
    /// # Errors
    ///
    /// Returns [`SemaphoreError::TooManyPermits`] for more than 2³⁰ − 1 permits, and
    /// [`SemaphoreError::Share`] for any error of the kernel.
    pub fn new(permits: u32) -> Result<Self, SemaphoreError> {
        check(permits)?;
        let monitor = Accounts::create(permits)?;
        Ok(Self { monitor })
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Accounts::map(memory)?;
        Ok(Self { monitor })
    }

    /// Returns a [kept](Permit::keep) permit, this process's before others', or else adds one.
    ///
    /// # Errors
    ///
    /// Returns [`OverRelease`] if there are 2³⁰ − 1 permits already.
    pub fn release(&self) -> Result<(), OverRelease> {
        let is_released = self.monitor.return_kept_or_add();
        let bound = PERMITS_MAX;
        is_released.then_some(()).ok_or(OverRelease { bound })
    }
}

impl BoundedSemaphore {
    /// Makes a semaphore with so many permits, all free, and never more.
    ///
    /// # Errors
    ///
    /// Returns [`SemaphoreError::TooManyPermits`] for more than 2³⁰ − 1 permits, and
    /// [`SemaphoreError::Share`] for any error of the kernel.
    pub fn new(permits: u32) -> Result<Self, SemaphoreError> {
        check(permits)?;
        let monitor = Accounts::create(permits)?;
        let bound = permits;
        Ok(Self { monitor, bound })
    }

    fn map(memory: OwnedFd) -> Result<Self, ShareError> {
        let monitor = Accounts::map(memory)?;
        let bound = monitor.total_permits();
        Ok(Self { monitor, bound })
    }

    /// Returns a [kept](Permit::keep) permit, this process's before others'.
    ///
    /// # Errors
    ///
    /// Returns [`OverRelease`] if nobody keeps one.
    pub fn release(&self) -> Result<(), OverRelease> {
        let is_released = self.monitor.return_kept();
        let bound = self.bound;
        is_released.then_some(()).ok_or(OverRelease { bound })
    }
}

impl Permit<'_> {
    /// Holds the permit on after the guard, until somebody releases it or this process ends.
    pub fn keep(self) {
        ManuallyDrop::new(self).accounts.keep();
    }

    /// Takes the permit out of the semaphore for good.
    pub fn forget(self) {
        ManuallyDrop::new(self).accounts.forget();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.accounts.give_back();
    }
}

fn check(asked: u32) -> Result<(), SemaphoreError> {
    let max = PERMITS_MAX;
    if asked > max {
        return Err(SemaphoreError::TooManyPermits { asked, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parcel;

    #[test]
    fn the_value_walks_with_what_is_taken_and_given_back() {
        let semaphore = Semaphore::new(2).unwrap();
        let first = semaphore.acquire();
        assert_eq!(semaphore.value(), 1);
        let second = semaphore.acquire_timeout(Duration::ZERO).unwrap();
        assert_eq!(semaphore.value(), 0);
        assert_eq!(semaphore.try_acquire().unwrap_err(), NoPermit);

        drop(first);
        assert_eq!(semaphore.value(), 1);
        second.keep();
        assert_eq!(semaphore.value(), 1);
        semaphore.release().unwrap();
        assert_eq!(semaphore.value(), 2);
        semaphore.release().unwrap();

        assert_eq!(semaphore.value(), 3, "one more than at first");
    }

    #[test]
    fn too_many_permits_are_refused_with_what_is_allowed() {
        let plain = Semaphore::new(u32::MAX).unwrap_err();
        let bounded = BoundedSemaphore::new(u32::MAX).unwrap_err();

        let allowed = format!("allowed: 0 to {PERMITS_MAX}");
        for error in [plain, bounded].map(|error| error.to_string()) {
            assert!(error.ends_with(&allowed), "{error}");
        }
    }

    #[test]
    fn a_bounded_semaphore_is_not_released_beyond_its_bound() {
        let semaphore = BoundedSemaphore::new(1).unwrap();
        let over_release = OverRelease { bound: 1 };
        assert_eq!(semaphore.release(), Err(over_release));
        let permit = semaphore.acquire();
        assert_eq!(semaphore.release(), Err(over_release), "a guard has it");

        permit.keep();
        assert_eq!(semaphore.release(), Ok(()));

        assert_eq!(semaphore.release(), Err(over_release));
        assert_eq!(semaphore.value(), 1);
    }

    #[test]
    fn a_forgotten_permit_does_not_come_back() {
        let semaphore = Semaphore::new(1).unwrap();

        semaphore.acquire().forget();

        assert_eq!(semaphore.value(), 0);
        semaphore.release().unwrap();
        assert_eq!(semaphore.value(), 1);
    }

    #[test]
    fn a_semaphore_that_was_sent_has_the_same_permits() {
        let semaphore = BoundedSemaphore::new(3).unwrap();
        let sent = Parcel::encode(&semaphore).unwrap();
        let received: BoundedSemaphore = sent.decode().unwrap();

        let permit = semaphore.acquire();

        assert_eq!(received.value(), 2);
        drop(permit);
        assert_eq!(received.release(), Err(OverRelease { bound: 3 }));
    }

    #[test]
    fn many_threads_never_hold_more_than_there_are() {
        let semaphore = Semaphore::new(2).unwrap();
        let held = std::sync::atomic::AtomicU32::new(0);
        let relaxed = std::sync::atomic::Ordering::Relaxed;

        let hold = || {
            let permit = semaphore.acquire();
            assert!(held.fetch_add(1, relaxed) < 2);
            held.fetch_sub(1, relaxed);
            drop(permit);
        };
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| (0..5_000).for_each(|_| hold()));
            }
        });

        assert_eq!(semaphore.value(), 2);
    }
}
