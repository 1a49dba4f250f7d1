//! How the kernel schedules this process.
#![expect(unsafe_code, reason = "libc has no safe form of sched_setscheduler")]

use std::io;

/// Schedules this thread, and those it starts from now on, as work that comes in batches.
///
/// Such a thread has its fair share of the CPU like any other, but does not interrupt whoever runs
/// when it is woken. No privilege is needed.
///
/// # Errors
///
/// Returns the error of `sched_setscheduler(2)`, for example where a sandbox forbids it.
pub fn schedule_as_batch() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` lives through the call, and 0 is this thread.
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_scheduled_as_batch_and_the_others_are_not() {
        let policy = std::thread::spawn(|| {
            schedule_as_batch().unwrap();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields = stat.rsplit(')').next().unwrap();
            // The policy is field 41; the first after the name is field 3.
            fields.split_whitespace().nth(38).unwrap().to_owned()
        });

        assert_eq!(policy.join().unwrap(), libc::SCHED_BATCH.to_string());
    }
}
