//! The fork server and its children, under the fixture `children`.

mod death;
mod exit;
mod misuse;
mod preload;
mod setup;
mod spawn;
mod tidiness;

use crate::support::{Main, Process, fixture};

/// The start methods, for what both promise.
const METHODS: [&str; 2] = ["fork", "spawn"];

/// Starts the fixture `children`, whose main process has a fork server.
#[track_caller]
fn children(arguments: &str) -> Main {
    Main::start(fixture!("children").args(arguments))
}

impl Main {
    /// Starts a child that stays.
    #[track_caller]
    fn child(&mut self, name: &str, entry: &str) -> Process {
        let pid = self.start_process(name, entry);
        Process::find(pid).unwrap_or_else(|| panic!("{name} is gone\n{}", self.errors()))
    }

    /// Starts a child and waits until it runs its function.
    #[track_caller]
    fn child_here(&mut self, name: &str, entry: &str) -> Process {
        let child = self.child(name, entry);
        assert_eq!(self.line_of(name), "here");
        child
    }
}
