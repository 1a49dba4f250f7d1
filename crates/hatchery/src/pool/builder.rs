//! How a pool is built.

use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use hatchery_process::{Entry, Parcel};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Pool;
use super::engine::{Engine, Plan, State, Wish, WishOf};
use super::error::PoolStartError;
use super::schedule::{AHEAD_MAX, Settings};
use super::submitter::Owner;
use super::worker::initializer_entry;
use crate::process::{IntoArguments, cpu_count, prepare_fork_server};

/// The most workers that a pool may have.
pub(super) const WORKERS_MAX: usize = 1024;

/// The most bytes of a name: the kernel keeps 15, and the number takes some.
const NAME: &str = "pool-worker";

/// How long a task that is asked to stop may take, unless something else is said.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// A pool that is still to be built.
#[derive(Debug)]
pub struct PoolBuilder {
    workers_min: Option<usize>,
    workers_max: Option<usize>,
    idle_timeout: Duration,
    tasks_max: Option<u32>,
    queue_max: Option<usize>,
    ahead: Option<u32>,
    task_timeout: Option<Duration>,
    stop_grace: Duration,
    name: String,
    initializer: Option<(Entry, Result<Parcel, String>)>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            workers_min: None,
            workers_max: None,
            idle_timeout: Duration::from_secs(60),
            tasks_max: None,
            queue_max: None,
            ahead: None,
            task_timeout: None,
            stop_grace: STOP_GRACE,
            name: NAME.to_owned(),
            initializer: None,
        }
    }

    /// Sets how many workers there are, neither more nor fewer.
    ///
    /// # Default
    ///
    /// As many as [`cpu_count`] says.
    pub fn workers(&mut self, count: usize) -> &mut Self {
        self.workers_min = Some(count);
        self.workers_max = Some(count);
        self
    }

    /// Sets how many workers there are at least.
    ///
    /// # Default
    ///
    /// As many as there are at most.
    pub fn min_workers(&mut self, count: usize) -> &mut Self {
        self.workers_min = Some(count);
        self
    }

    /// Sets how many workers there are at most: more are started when all have something to do.
    ///
    /// # Default
    ///
    /// As many as [`cpu_count`] says, or as there are at least.
    pub fn max_workers(&mut self, count: usize) -> &mut Self {
        self.workers_max = Some(count);
        self
    }

    /// Sets after how long without a task a worker ends that is one too many.
    ///
    /// # Default
    ///
    /// One minute.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.idle_timeout = timeout;
        self
    }

    /// Has each worker call a function before its first task.
    ///
    /// What it returns is there for the tasks of that worker, by
    /// [`task::state`](crate::task::state). If it panics, the worker has not started.
    ///
    /// # Default
    ///
    /// There is none.
    pub fn initializer<F, A, S>(
        &mut self,
        function: F,
        arguments: impl IntoArguments<A>,
    ) -> &mut Self
    where
        F: Fn(A) -> S + Copy + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + 'static,
        S: Any + Send + Sync,
    {
        let arguments = Parcel::encode(&arguments.into_arguments());
        let arguments = arguments.map_err(|error| error.to_string());
        self.initializer = Some((initializer_entry(function), arguments));
        self
    }

    /// Sets after how many tasks a worker is replaced. The successor is ready before.
    ///
    /// # Default
    ///
    /// Never.
    pub fn max_tasks(&mut self, count: u32) -> &mut Self {
        self.tasks_max = Some(count);
        self
    }

    /// Sets how long a task may run for which nothing else is said.
    ///
    /// # Default
    ///
    /// For ever.
    pub fn task_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.task_timeout = Some(timeout);
        self
    }

    /// Sets how long a task may take to stop when it is asked to, before its worker is killed.
    ///
    /// # Default
    ///
    /// One second.
    pub fn stop_grace(&mut self, grace: Duration) -> &mut Self {
        self.stop_grace = grace;
        self
    }

    /// Bounds how many tasks may wait; who submits more waits for room.
    ///
    /// Tasks that were sent to a worker wait no more, also if the worker is at work on another.
    ///
    /// # Default
    ///
    /// Any number may wait.
    pub fn queue(&mut self, count: usize) -> &mut Self {
        self.queue_max = Some(count);
        self
    }

    /// Sets how many tasks are sent to a worker beside the one that it runs.
    ///
    /// # Default
    ///
    /// As many as it does in about 200 µs, found out from how long its tasks take, and none if they
    /// take longer than a millisecond.
    pub fn tasks_ahead(&mut self, count: u32) -> &mut Self {
        self.ahead = Some(count);
        self
    }

    /// Names the workers, each of which has its place's number appended; `ps` shows 15 bytes.
    ///
    /// # Default
    ///
    /// `pool-worker`.
    pub fn name(&mut self, name: impl Into<String>) -> &mut Self {
        self.name = name.into();
        self
    }

    /// Builds the pool, and waits until every worker is ready.
    ///
    /// # Errors
    ///
    /// Returns [`PoolStartError::Setting`] for a setting that is impossible,
    /// [`PoolStartError::Arguments`] if the initializer's arguments cannot be sent,
    /// [`PoolStartError::Initializer`] if it fails, [`PoolStartError::WorkerLost`] if a worker ends
    /// before it is ready, [`PoolStartError::Start`] if one is not started, and
    /// [`PoolStartError::Os`] for any other error of the kernel.
    pub fn build(&self) -> Result<Pool, PoolStartError> {
        let owner = self.start()?;
        owner.engine.wait(&mut start())?;
        Ok(Pool::new(&owner))
    }

    /// As [`PoolBuilder::build`], for asynchronous code.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, there is no pool.
    pub async fn build_async(&self) -> Result<Pool, PoolStartError> {
        let owner = self.start()?;
        poll_fn(|task| owner.engine.poll(&mut start(), task)).await?;
        Ok(Pool::new(&owner))
    }

    fn start(&self) -> Result<Arc<Owner>, PoolStartError> {
        let settings = self.settings()?;
        let plan = Plan {
            name: self.name.clone(),
            initializer: self.prepared_initializer()?,
            stop_grace: self.stop_grace,
        };
        // Before the pool's own threads are there.
        prepare_fork_server().map_err(PoolStartError::Os)?;
        let engine = Engine::start(settings, plan).map_err(PoolStartError::Os)?;
        Ok(Arc::new(Owner { engine }))
    }

    fn settings(&self) -> Result<Settings, PoolStartError> {
        let cpus = cpu_count();
        let workers_max = self.workers_max;
        let workers_max = workers_max.unwrap_or_else(|| self.workers_min.unwrap_or(0).max(cpus));
        let workers_min = self.workers_min.unwrap_or(workers_max);
        for (setting, workers) in [("min_workers", workers_min), ("max_workers", workers_max)] {
            if !(1..=WORKERS_MAX).contains(&workers) {
                let setting = if workers_min == workers_max {
                    "workers"
                } else {
                    setting
                };
                let problem = format!("{workers} are no pool; allowed: 1 to {WORKERS_MAX}");
                return Err(PoolStartError::Setting { setting, problem });
            }
        }
        let most = format!("allowed: 1 to max_workers, which is {workers_max}");
        let ahead_max = AHEAD_MAX - 1;
        let wrong = [
            ("min_workers", workers_min > workers_max, most),
            (
                "max_tasks",
                self.tasks_max == Some(0),
                "allowed: 1 or more".to_owned(),
            ),
            (
                "queue",
                self.queue_max == Some(0),
                "allowed: 1 or more".to_owned(),
            ),
            (
                "tasks_ahead",
                self.ahead.is_some_and(|ahead| ahead > ahead_max),
                format!("allowed: 0 to {ahead_max}"),
            ),
        ];
        if let Some((setting, _, problem)) = wrong.into_iter().find(|(_, is_wrong, _)| *is_wrong) {
            return Err(PoolStartError::Setting { setting, problem });
        }
        Ok(Settings {
            workers_min,
            workers_max,
            idle_timeout: (workers_min < workers_max).then_some(self.idle_timeout),
            tasks_max: self.tasks_max,
            queue_max: self.queue_max,
            ahead: self.ahead,
            task_timeout: self.task_timeout,
        })
    }

    /// Prepares the initializer with duplicates of the descriptors in its arguments.
    fn prepared_initializer(&self) -> Result<Option<(Entry, Parcel)>, PoolStartError> {
        let Some((entry, arguments)) = &self.initializer else {
            return Ok(None);
        };
        let arguments = arguments.as_ref();
        let arguments = arguments.map_err(|reason| PoolStartError::Arguments(reason.clone()))?;
        let descriptors: Result<Vec<_>, _> = arguments
            .descriptors
            .iter()
            .map(|descriptor| descriptor.try_clone())
            .collect();
        let parcel = Parcel {
            bytes: arguments.bytes.clone(),
            descriptors: descriptors.map_err(PoolStartError::Os)?,
        };
        Ok(Some((*entry, parcel)))
    }
}

/// The wish that all workers are ready, or that it is known why they are not.
fn start() -> impl Wish<Outcome = Result<(), PoolStartError>> {
    WishOf {
        attempt: State::started,
        register: State::await_milestone,
    }
}
