//! A pre-fork server framework.
//!
//! A tokio front end accepts connections and hands them, as descriptors, to a fixed pool of worker
//! processes that were forked before anything else happened. A handler may burn CPU, block, call C
//! code that is not thread-safe, leak or crash: one worker's trouble is not the service's.
//!
//! [`Server`] is where to begin, and [`guide::getting_started`] says how. [`main`](macro@main) starts the
//! fork server and the runtime.
//!
//! What such a program needs besides is here too: [`Process`] runs a function in a process of its own,
//! and [`pipe()`] carries typed messages, with descriptors in them, from one to another. A [`Pool`] has
//! functions run by workers that are there already. Who knows Python's `multiprocessing` begins at
//! [`guide::coming_from_multiprocessing`].
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `axum` | `Worker::listener`: an app of axum runs in the workers, with its own graceful shutdown |
//! | `metrics` | what a program counts through the facade `metrics` is in the server's figures |
//! | `hyper` | `HttpServer`: HTTP/1.1 and HTTP/2 with a service of hyper or tower |
//! | `tls` | `Tls`: TLS that ends in the workers, with certificates by name and sessions that any worker resumes |
//! | `tower` | `Worker::serve`: a service of tower, with its layers, serves connections; and a pool is one |
#![forbid(unsafe_code)]

mod admin;
mod config;
mod control;
mod error;
mod front_end;
pub mod guide;
mod kin;
mod log;
mod manager;
mod metrics;
mod pipe;
mod pool;
mod process;
mod queue;
mod runtime;
mod server;
mod shared_buffer;
mod signals;
mod systemd;
pub mod task;
#[cfg(feature = "tls")]
mod tls;
mod upgrade;
mod watch;
mod whereabouts;
mod worker;

pub use config::{
    AdminConfig, BindAddress, BindAddressProblem, ByteSize, Config, ConfigError, ConfigKey,
    ConfigLoader, ControlConfig, Dispatch, LogConfig, LogFormat, MemoryMeasure, Origin, Overload,
    Scheduling, ServerConfig, Setting, ValueError, ValueKind, ValueProblem, WorkerCount,
    WorkersConfig,
};
pub use control::{
    Accepted, BreakerState, Control, ControlError, Events, Phase, Retirement, ServerEvent,
    ServerStatus, Upgraded, WorkerExit, WorkerState, WorkerStatus,
};
pub use error::{BindError, Error, HandlerError, HandlerResult, Result};
pub use hatchery_macros::main;
pub use hatchery_process::{
    AccessError, Array, ArrayGuard, AtomicInteger, AtomicPrimitive, AtomicValue, Barrier,
    BarrierError, BoundedSemaphore, BrokenBarrier, Condition, ConditionError, ConditionGuard,
    Event, InitError, Lock, LockGuard, NoPermit, NotLocked, NotOwner, OutOfBounds, OverRelease,
    OwnerDied, ParcelError, Passed, Peer, Permit, Plain, PreloadError, RLock, RLockGuard,
    RLockTaskGuard, Semaphore, SemaphoreError, ShareError, SharedMemory, SharedMemoryError,
    StartError, StartMethod, TryLockError, Value, ValueGuard, descriptor, preload, preloaded,
};
pub use manager::{
    BarrierStatus, ManagedBarrier, ManagedBoundedSemaphore, ManagedCondition,
    ManagedConditionGuard, ManagedDict, ManagedEvent, ManagedGetError, ManagedItem,
    ManagedJoinableQueue, ManagedList, ManagedLock, ManagedLockGuard, ManagedNamespace,
    ManagedNumber, ManagedPermit, ManagedPutError, ManagedQueue, ManagedRLock, ManagedSemaphore,
    ManagedSet, ManagedValue, Manager, ManagerBuilder, ManagerClient, ManagerError,
    ManagerShutdownError, ManagerStartError, NamedObject, NumberKind, Rejection, SnapshotError,
};
pub use pipe::{
    AsyncPipeEnd, AsyncPipeReceiver, AsyncPipeSender, PipeEnd, PipeReceiver, PipeRecvError,
    PipeSendError, PipeSender, direction, one_way_pipe, pipe,
};
#[cfg(feature = "tower")]
pub use pool::PoolService;
pub use pool::{
    AsyncTaskStream, Imap, ImapStream, ImapUnordered, Pool, PoolBuilder, PoolJoinTimeout,
    PoolShutdownError, PoolStartError, PoolStats, Priority, ResizeError, Spread, Submitter,
    TaskBuilder, TaskError, TaskHandle, TaskStream, TrySubmitError, WorkerStats,
};
pub use process::{
    ChildError, ChildResult, CloseError, CurrentProcess, IntoArguments, JoinError, ParentProcess,
    Process, ProcessBuilder, ProcessHandle, SpawnError, Waitable, WakeSource, active_children,
    cpu_count, current_process, parent_process, wait,
};
pub use queue::{
    AsyncQueue, GetError, Item, JoinableQueue, JoinableQueueIter, PutError, PutFailure, Queue,
    QueueBuilder, QueueError, QueueIter, TaskDoneError, Transport,
};
pub use runtime::{Outcome, init, init_with, run_blocking_main, run_main};
pub use server::{
    Draining, FromSocket, Overloaded, Ready, ReloadStage, Server, ServerBuilder, ServerStart,
    SocketKind, WorkerName,
};
pub use shared_buffer::SharedBuffer;
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
pub use upgrade::UpgradeError;
#[cfg(all(feature = "axum", feature = "tls"))]
pub use worker::TlsListener;
pub use worker::{
    BlockingConnection, Connection, ConnectionGuard, ConnectionInfo, Incoming, ParkError,
    ParkFailure, ProxyHeader, ProxyHeaderError, SoftDeadline, Worker, retire_worker,
};
#[cfg(feature = "hyper")]
pub use worker::{HttpExecutor, HttpServer, HttpService};
#[cfg(feature = "axum")]
pub use worker::{Informed, WithConnectInfo, WorkerListener};
