//! Processes without tokio: the fork server, its children, messages, and a worker's side of the
//! hand-off.
//!
//! Everything here is blocking or non-blocking plain code over descriptors that can be polled;
//! the crate `hatchery` puts its async face on it.
#![forbid(unsafe_code)]

mod channel;
mod child;
mod clock;
mod fork_server;
mod identity;
mod ledger;
mod own_child;
mod packets;
mod parcel;
mod parking;
mod preload;
mod readiness;
mod ring;
mod sync;
mod tasks;
mod title;
mod usage;
mod values;
mod worker;

pub use channel::{
    CHANNEL_BYTES_MAX, FromWorker, Handover, Peer, STATE_BYTES_MAX, ToWorker, decode, encode,
};
pub use child::{Child, StartError, Starting, WaitError};
pub use clock::monotonic;
pub use fork_server::{
    InitError, Program, StartMethod, begin, end, ensure_running, fork_server_pidfd, init,
    init_with, is_child, is_own_child, is_running, panic_text, start,
};
pub use hatchery_os::{DESCRIPTORS_MAX, Entry, MapError, SealedMemory, Start};
pub use ledger::{Farewell, LedgerError, LedgerEvent, LedgerReader, LedgerWriter};
pub use own_child::OwnChild;
pub use packets::{
    MESSAGE_BYTES_MAX, Outgoing, PacketQueue, PacketRecvError, PacketSendError, Packets,
};
pub use parcel::{Parcel, ParcelError, Passed, descriptor};
pub use parking::ParkRefusal;
pub use preload::{PreloadError, preload, preloaded};
pub use readiness::wait_for_any;
pub use ring::{
    JoinableRing, NotLeased, RING_MESSAGE_BYTES_MAX, Ring, RingGetError, RingLease, RingPutError,
    RingWatch,
};
pub use sync::{
    Barrier, BarrierError, BoundedSemaphore, BrokenBarrier, Condition, ConditionError,
    ConditionGuard, Event, Lock, LockGuard, NoPermit, NotLocked, NotOwner, OverRelease, OwnerDied,
    Permit, RLock, RLockGuard, RLockTaskGuard, Semaphore, SemaphoreError, ShareError, TryLockError,
};
#[cfg(feature = "crash-points")]
pub use sync::{crash_after, stay_alive};
pub use tasks::{
    Doorbell, Leader, ReceivedTask, ResultKind, ResultWatch, RunningTask, Scribbled,
    TASK_LIGHT_BYTES_MAX, TASKS_AHEAD_MAX, TaskBell, TaskContent, TaskEnd, TaskFate, TaskFunction,
    TaskFunctions, TaskPutError, TaskReceiveError, TaskReceiver, TaskResult, TaskSendError,
    TaskSender,
};
pub use title::title_fork_server;
pub use usage::Usage;
pub use values::{
    AccessError, Array, ArrayGuard, AtomicInteger, AtomicPrimitive, AtomicValue, OutOfBounds,
    Plain, SharedMemory, SharedMemoryError, Value, ValueGuard,
};
pub use worker::{Batch, BatchError, Claim, WorkerLink, serve_blocking};
