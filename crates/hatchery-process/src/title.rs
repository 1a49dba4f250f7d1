//! What `ps` shows of the fork server and of the processes that it forks.

use hatchery_os::{Entry, ProcessTitle, Start};

use crate::child::StartError;
use crate::fork_server::run_once_in_fork_server;

/// Has the fork server, now and whenever there is a new one, show what it is instead of a command line.
///
/// Processes that it forks from then on show their names. Where the kernel refuses, all of them go on
/// showing the command line.
///
/// # Errors
///
/// Returns [`StartError`] if there is no fork server, or the kernel refuses to ask it.
pub fn title_fork_server() -> Result<(), StartError> {
    run_once_in_fork_server(Entry::new(|_: Start| {
        // Without a title it serves as well.
        let _refused = ProcessTitle::claim();
        show_fork_server();
        0
    }))
}

/// Shows that this process is a fork server, if titles are shown.
pub(crate) fn show_fork_server() {
    if let Some(title) = ProcessTitle::claimed() {
        title.set(format_args!("hatchery: fork server"));
    }
}

/// Shows a process by its name, if titles are shown.
pub(crate) fn show_name(name: &str) {
    if let Some(title) = ProcessTitle::claimed() {
        let name = name.strip_prefix("hatchery-").unwrap_or(name);
        title.set(format_args!("hatchery: {name}"));
    }
}
