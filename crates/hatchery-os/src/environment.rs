//! Variables that are not for the processes that this one starts.
#![expect(
    unsafe_code,
    reason = "the environment may only change while nobody else reads it"
)]

use crate::fork::thread_count;

/// Takes variables out of the environment; false if this process has a second thread, and they stay.
pub fn forget_variables(names: &[&str]) -> bool {
    if !matches!(thread_count(), Ok(1)) {
        return false;
    }
    for name in names {
        // SAFETY: this process has one thread, so nobody reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    true
}
