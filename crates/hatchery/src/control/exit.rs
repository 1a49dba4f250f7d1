//! What is known of a worker that ended.

use serde::Serialize;

/// How a worker ended, and what was known of it by then: its death report.
///
/// It is logged as one line, is among a server's [events](crate::ServerEvent::WorkerExited), and is
/// given to the hook [`on_worker_exit`](crate::ServerBuilder::on_worker_exit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerExit {
    /// Its number.
    pub worker: u32,
    /// How many workers were started before it.
    pub generation: u32,
    /// Its process id, if there was a process.
    pub pid: Option<u32>,
    /// How it ended, in words.
    pub how: String,
    /// The code with which it ended by itself.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel wrote a core file.
    pub core_dumped: bool,
    /// Whether the kernel killed it for want of memory, by all that is known: it ended by a
    /// `SIGKILL` that was not the server's, and the server's cgroup has counted such a killing that
    /// no other worker accounts for.
    ///
    /// Where there is no cgroup of version 2 that counts, it is false.
    pub oom_killed: bool,
    /// What was wrong with it before, if anything was.
    pub complaint: Option<String>,
    /// Whether it was meant to end.
    pub is_expected: bool,
    /// How many connections it had whose lease had not ended; those that it had read nevertheless
    /// are among the lost ones.
    pub leased: usize,
    /// How many connections were lost with it.
    pub in_hand: u32,
    /// How many went to other workers.
    pub passed_on: usize,
    /// How many it had been given.
    pub served: u32,
    /// How many milliseconds there had been this worker.
    pub age_ms: u64,
    /// How many milliseconds before its end it was last seen to take, use or finish a connection.
    ///
    /// The server does not look all the time, so it may have done something since. It is `None` for
    /// a worker that was never seen to do anything, and where workers accept for themselves.
    pub quiet_ms: Option<u64>,
    /// How many milliseconds of CPU time its program used, if that is known.
    pub cpu_user_ms: Option<u64>,
    /// How many milliseconds of CPU time the kernel used for it, if that is known.
    pub cpu_system_ms: Option<u64>,
    /// The most memory that it had resident at once, if that is known.
    pub memory_peak_bytes: Option<u64>,
}
