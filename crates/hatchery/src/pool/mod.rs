//! Pools of worker processes that run functions of this program.
//!
//! `schedule` decides, and holds no descriptor and no clock; `engine` does what it says. `worker` is what
//! runs in a worker. The rest is how a pool is used.

mod builder;
mod engine;
mod error;
mod feed;
mod handle;
mod payload;
mod progress;
mod schedule;
#[cfg(feature = "tower")]
mod service;
mod spread;
mod stats;
mod stream;
mod submitter;
mod task_builder;
pub(crate) mod worker;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::builder::PoolBuilder;
pub use self::error::{
    PoolJoinTimeout, PoolShutdownError, PoolStartError, ResizeError, TaskError, TrySubmitError,
};
pub use self::feed::{Imap, ImapStream, ImapUnordered};
pub use self::handle::TaskHandle;
pub use self::schedule::Priority;
#[cfg(feature = "tower")]
pub use self::service::PoolService;
pub use self::spread::Spread;
pub use self::stats::{PoolStats, WorkerStats};
pub use self::stream::{AsyncTaskStream, TaskStream};
pub use self::submitter::Submitter;
pub use self::task_builder::TaskBuilder;

use self::builder::WORKERS_MAX;
use self::submitter::Owner;

/// How long killed workers may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Worker processes that run functions of this program, one task at a time each.
///
/// A task that panics, ends its worker or hangs is one error, and hurts no other task: the worker is
/// replaced, and what was waiting goes on. It is used alike from blocking and from asynchronous code.
///
/// A clone is the same pool. Dropping the last clone, and the last [`Submitter`] and iterator of it,
/// terminates it: running tasks are killed, and handles that are left have
/// [`TaskError::PoolClosed`]. To have all done first, [`join`](Pool::join) it.
///
/// All ways to submit tasks are in [`Submitter`], which this derefs to.
///
/// # Examples
///
/// ```no_run
/// use hatchery::{Pool, TaskError};
///
/// fn primes_below(n: u32) -> usize {
///     (2..n).filter(|n| (2..*n).all(|d| n % d != 0)).count()
/// }
///
/// fn give_up(code: i32) {
///     std::process::exit(code);
/// }
///
/// #[hatchery::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = Pool::builder().workers(4).build()?;
///     let counts = pool.map(primes_below, [10, 100, 1_000]);
///     assert_eq!(counts, [Ok(4), Ok(25), Ok(168)]);
///
///     let crash = pool.submit(give_up, 3);
///     let lost = crash.wait();
///     assert!(matches!(lost, Err(TaskError::WorkerLost { exit: Some(3), .. })));
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Pool {
    submitter: Submitter,
}

impl Pool {
    /// Prepares a pool.
    #[must_use]
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    fn new(owner: &Arc<Owner>) -> Self {
        Self {
            submitter: Submitter::new(owner),
        }
    }

    /// Makes another submitter, whose tasks take turns with those of the others.
    #[must_use]
    pub fn submitter(&self) -> Submitter {
        Submitter::new(self.submitter.owner())
    }

    /// Says how the pool is at this moment.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.submitter.engine().stats()
    }

    /// Has a function called with the pool's figures when tasks have ended.
    ///
    /// A thread of its own calls it, at once, then at most twenty times a second, and for the last time
    /// when the pool has ended. The thread ends then.
    ///
    /// # Errors
    ///
    /// Returns the error of starting a thread.
    pub fn on_progress(
        &self,
        callback: impl FnMut(&PoolStats) + Send + 'static,
    ) -> std::io::Result<()> {
        progress::start(Arc::clone(self.submitter.engine()), callback)
    }

    /// Changes how many workers there are.
    ///
    /// Those that are too many do what they have been sent and end; tasks with keys may go to other
    /// places than before. This does not wait for either.
    ///
    /// # Errors
    ///
    /// Returns [`ResizeError`] unless the number is from 1 to 1024.
    pub fn resize(&self, workers: usize) -> Result<(), ResizeError> {
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(ResizeError { workers });
        }
        self.submitter.engine().resize(workers);
        Ok(())
    }

    /// Takes no more tasks. Those that there are will be done, and the workers end then.
    pub fn close(&self) {
        self.submitter.engine().close();
    }

    /// Kills all workers, now.
    ///
    /// All tasks that are not over have [`TaskError::PoolClosed`]. This does not wait until the workers
    /// are gone; [`Pool::join`] does.
    pub fn terminate(&self) {
        self.submitter.engine().terminate();
    }

    /// Closes the pool and waits until all tasks are done and all workers have ended.
    pub fn join(&self) {
        self.close();
        self.submitter.engine().wait_for_end(None);
    }

    /// As [`Pool::join`], waiting for at most `timeout`. The pool is closed even so.
    ///
    /// # Errors
    ///
    /// Returns [`PoolJoinTimeout`] if tasks or workers are left by then.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), PoolJoinTimeout> {
        self.close();
        // A time too long to be reckoned with is for ever.
        let deadline = Instant::now().checked_add(timeout);
        match self.submitter.engine().wait_for_end(deadline) {
            true => Ok(()),
            false => Err(PoolJoinTimeout),
        }
    }

    /// As [`Pool::join`], for asynchronous code.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the pool stays closed; joining again goes on.
    pub async fn join_async(&self) {
        self.close();
        self.submitter.engine().ended().await;
    }

    /// Closes the pool, waits for its tasks for at most `timeout`, and terminates it then.
    ///
    /// # Errors
    ///
    /// Returns [`PoolShutdownError`] with the number of tasks that were not done in time. The pool has
    /// ended in either case.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), PoolShutdownError> {
        if self.join_timeout(timeout).is_ok() {
            return Ok(());
        }
        let unfinished = self.submitter.engine().turn(|state| state.unfinished());
        self.terminate();
        let deadline = Instant::now() + KILL_TIMEOUT;
        self.submitter.engine().wait_for_end(Some(deadline));
        Err(PoolShutdownError { unfinished })
    }

    /// As [`Pool::shutdown`], for asynchronous code.
    ///
    /// # Errors
    ///
    /// As [`Pool::shutdown`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the pool stays closed and may be terminated.
    pub async fn shutdown_async(&self, timeout: Duration) -> Result<(), PoolShutdownError> {
        if tokio::time::timeout(timeout, self.join_async())
            .await
            .is_ok()
        {
            return Ok(());
        }
        let unfinished = self.submitter.engine().turn(|state| state.unfinished());
        self.terminate();
        let ended = self.submitter.engine().ended();
        let _killed = tokio::time::timeout(KILL_TIMEOUT, ended).await;
        Err(PoolShutdownError { unfinished })
    }
}

impl Deref for Pool {
    type Target = Submitter;

    fn deref(&self) -> &Submitter {
        &self.submitter
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        formatter
            .debug_struct("Pool")
            .field("workers", &stats.workers.len())
            .field("queued", &stats.queued)
            .field("running", &stats.running)
            .finish_non_exhaustive()
    }
}
