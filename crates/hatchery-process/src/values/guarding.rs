//! What sees to it that one writer at a time changes a value.

use hatchery_os::{Layout, MapError};
use serde::{Deserialize, Serialize};

use crate::Passed;
use crate::sync::{
    Acquired, Entered, Lock, LockGuard, Monitor, OwnerDied, ShareError, Wake, wait_async,
};

/// Words, and the lock for them.
#[derive(Clone, Debug)]
pub(super) struct Guarded {
    pub(super) monitor: Monitor,
    guarding: Guarding,
}

/// Which lock it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Guarding {
    /// That in the same memory.
    Own,
    /// One that protects other things too.
    Given(Lock),
    /// None: the writers agree otherwise.
    Nothing,
}

/// The lock, held.
#[derive(Debug)]
pub(super) enum Held<'a> {
    Own(#[expect(dead_code, reason = "dropping it is its use")] Entered<'a>),
    Given(#[expect(dead_code, reason = "dropping it is its use")] LockGuard<'a>),
    Nothing,
}

impl Guarded {
    pub(super) fn create(wides: usize, guarding: Guarding) -> Result<Self, ShareError> {
        let monitor = Monitor::create(layout(wides)?, |_, _| false)?;
        Ok(Self { monitor, guarding })
    }

    /// Takes the lock. That its holder died is news for who asked for the lock by name alone: no
    /// single value is ever half changed.
    pub(super) fn enter(&self) -> Held<'_> {
        self.lock().unwrap_or_else(OwnerDied::into_guard)
    }

    pub(super) fn lock(&self) -> Result<Held<'_>, OwnerDied<Held<'_>>> {
        match &self.guarding {
            Guarding::Own => self.own(self.monitor.enter()),
            Guarding::Given(lock) => given(lock.lock()),
            Guarding::Nothing => Ok(Held::Nothing),
        }
    }

    pub(super) async fn lock_async(&self) -> Result<Held<'_>, OwnerDied<Held<'_>>> {
        match &self.guarding {
            Guarding::Own => {
                let place = self.monitor.lock_place();
                let attempt = |look| self.monitor.attempt(look);
                let acquired = wait_async(place, Wake::One, attempt).await;
                self.own(self.monitor.entered(acquired))
            }
            Guarding::Given(lock) => given(lock.lock_async().await),
            Guarding::Nothing => Ok(Held::Nothing),
        }
    }

    fn own<'a>(&self, entered: Entered<'a>) -> Result<Held<'a>, OwnerDied<Held<'a>>> {
        match entered.acquired {
            Acquired::Free => Ok(Held::Own(entered)),
            Acquired::OwnerDied(_) => Err(OwnerDied::new(Held::Own(entered))),
        }
    }

    /// What is sent of it.
    pub(super) fn parts(&self) -> (Passed<&Monitor>, &Guarding) {
        (Passed(&self.monitor), &self.guarding)
    }

    /// Maps words that another process sent.
    pub(super) fn map(parts: (Passed, Guarding), wides: usize) -> Result<Self, ShareError> {
        let (memory, guarding) = parts;
        let monitor = Monitor::map(memory.into(), layout(wides)?, |_, _| false)?;
        Ok(Self { monitor, guarding })
    }

    /// From now on these are the words alone.
    pub(super) fn forget_lock(&mut self) {
        self.guarding = Guarding::Nothing;
    }
}

/// The locking of an object that is [`Guarded`], whose guard has it in `$field`.
macro_rules! locking {
    ($object:ident, $guard:ident, $field:ident) => {
        impl<T: Plain> $object<T> {
            /// Waits for the lock, to make several changes together.
            ///
            /// Where there is no lock it waits for nothing and protects nothing.
            ///
            /// # Errors
            ///
            /// Returns [`OwnerDied`], with the lock, if its holder died.
            pub fn lock(&self) -> Result<$guard<'_, T>, OwnerDied<$guard<'_, T>>> {
                self.guard(self.guarded.lock())
            }

            /// Waits for the lock without holding a thread.
            ///
            /// # Errors
            ///
            /// As [`lock`](Self::lock).
            ///
            /// # Cancel safety
            ///
            /// Dropping the future gives up; the lock then goes to whoever else waits.
            pub async fn lock_async(&self) -> Result<$guard<'_, T>, OwnerDied<$guard<'_, T>>> {
                self.guard(self.guarded.lock_async().await)
            }

            /// The same object without its lock, for who holds that already.
            #[must_use]
            pub fn without_lock(&self) -> Self {
                let mut same = self.clone();
                same.guarded.forget_lock();
                same
            }

            fn guard<'a>(
                &'a self,
                locked: Result<Held<'a>, OwnerDied<Held<'a>>>,
            ) -> Result<$guard<'a, T>, OwnerDied<$guard<'a, T>>> {
                let with = |held| $guard {
                    $field: self,
                    _held: held,
                };
                locked
                    .map(with)
                    .map_err(|died| OwnerDied::new(with(died.into_guard())))
            }
        }
    };
}

pub(super) use locking;

/// The most words of a value: the kernel has no memory for so many.
const WIDES_MAX: usize = 1 << 48;

fn layout(wides: usize) -> Result<Layout, ShareError> {
    if wides > WIDES_MAX {
        let error = std::io::ErrorKind::FileTooLarge.into();
        return Err(ShareError::Memory(MapError::Os(error)));
    }
    Ok(Layout { words: 0, wides })
}

fn given<'a>(
    locked: Result<LockGuard<'a>, OwnerDied<LockGuard<'a>>>,
) -> Result<Held<'a>, OwnerDied<Held<'a>>> {
    locked
        .map(Held::Given)
        .map_err(|died| OwnerDied::new(Held::Given(died.into_guard())))
}
