//! How a child process ended, and what it had used by then.
#![expect(
    unsafe_code,
    reason = "neither libc's waitid nor rustix's tells what a child has used"
)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The bit of a status that says that the process left a core.
const CORE: i32 = 0x80;

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Its process id, which is free once it was collected.
    pub pid: i32,
    /// How it ended, in the form of `wait(2)`, which `std` understands.
    pub status: i32,
    /// What it has used, with what its own children have that it collected.
    pub usage: Usage,
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time in the program.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The most memory that was resident at once, in bytes.
    pub memory_peak: u64,
}

/// Looks at any child that has ended, and leaves it to be collected; `None` if none has.
///
/// # Errors
///
/// Returns the error of `waitid(2)`: `ECHILD` if this process has no child.
pub fn peek_any_ended() -> io::Result<Option<Ended>> {
    wait(libc::P_ALL, 0, libc::WNOWAIT)
}

/// Collects a child; `None` while it runs.
///
/// # Errors
///
/// Returns the error of `waitid(2)`: `ECHILD` if it is not a child of this process.
pub fn collect_ended(pidfd: impl AsFd) -> io::Result<Option<Ended>> {
    let pidfd = id_of(&pidfd);
    wait(libc::P_PIDFD, pidfd, 0)
}

fn id_of(pidfd: &impl AsFd) -> libc::id_t {
    let pidfd = pidfd.as_fd().as_raw_fd();
    libc::id_t::try_from(pidfd).expect("a descriptor that is open is not negative")
}

fn wait(kind: libc::idtype_t, id: libc::id_t, extra: libc::c_int) -> io::Result<Option<Ended>> {
    // All bytes zero is what the kernel leaves where nothing has ended.
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | extra;
    // SAFETY: both places have the size that the kernel writes, and live through the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            kind,
            id,
            information.as_mut_ptr(),
            options,
            usage.as_mut_ptr(),
        )
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, which is a valid value, and then written by the kernel.
    let information = unsafe { information.assume_init() };
    // SAFETY: as above.
    let usage = unsafe { usage.assume_init() };
    // SAFETY: `waitid` fills the fields of a child's signal, or leaves them zero.
    let pid = unsafe { information.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let value = unsafe { information.si_status() };
    Ok(Some(Ended {
        pid,
        status: status(information.si_code, value),
        usage: Usage {
            user: duration(usage.ru_utime),
            system: duration(usage.ru_stime),
            memory_peak: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        },
    }))
}

/// The status in the form of `wait(2)`.
fn status(code: libc::c_int, value: libc::c_int) -> i32 {
    match code {
        libc::CLD_EXITED => (value & 0xff) << 8,
        libc::CLD_DUMPED => value | CORE,
        _ => value,
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, ExitStatus, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    /// Runs a line of shell to its end, and looks at it before it is collected.
    #[expect(clippy::zombie_processes, reason = "what is tested collects it")]
    fn end_of(line: &str) -> Ended {
        let child = Command::new("sh")
            .args(["-c", line])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let mut readable = [rustix::event::PollFd::new(
            &pidfd,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut readable, None).unwrap();

        // Not just any child: the tests beside this one have theirs.
        let seen = wait(libc::P_PIDFD, id_of(&pidfd), libc::WNOWAIT)
            .unwrap()
            .unwrap();

        assert_eq!(seen.pid, child.id().cast_signed());
        assert_eq!(collect_ended(&pidfd).unwrap(), Some(seen));
        let again = collect_ended(&pidfd).unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::ECHILD));
        seen
    }

    #[test]
    fn an_exit_code_and_what_was_used_are_told_before_and_when_a_child_is_collected() {
        let ended = end_of("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 7");

        assert_eq!(ExitStatus::from_raw(ended.status).code(), Some(7));
        assert!(ended.usage.user > Duration::ZERO, "{ended:?}");
        assert!(ended.usage.memory_peak > 100_000, "{ended:?}");
    }

    #[test]
    fn a_signal_is_told_from_an_exit_code() {
        let ended = end_of("kill -9 $$");

        let status = ExitStatus::from_raw(ended.status);
        assert_eq!((status.signal(), status.code()), (Some(9), None));
    }

    #[test]
    fn a_core_is_a_bit_of_the_status() {
        let status = ExitStatus::from_raw(status(libc::CLD_DUMPED, libc::SIGSEGV));

        assert!(status.core_dumped());
        assert_eq!(status.signal(), Some(libc::SIGSEGV));
    }

    #[test]
    fn a_child_that_runs_has_not_ended() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();

        assert_eq!(collect_ended(&pidfd).unwrap(), None);

        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
