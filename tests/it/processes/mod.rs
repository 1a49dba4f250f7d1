//! Processes and pipes as users have them, under the fixtures `processes` and `pipes`.

mod children;
mod ending;
mod life;
mod methods;
mod pipes;
mod results;

use crate::support::{Main, Process, fixture};

/// The start methods, for what both promise.
const METHODS: [&str; 2] = ["fork", "spawn"];

/// Starts the fixture `processes`.
#[track_caller]
fn processes(method: &str) -> Main {
    let mut setup = fixture!("processes");
    // A backtrace takes longer than all the rest.
    Main::start(setup.args(method).env("RUST_BACKTRACE", "0"))
}

impl Main {
    /// Starts a process that waits to be released, and waits until it runs.
    #[track_caller]
    fn hold(&mut self, name: &str, how: &str) -> Process {
        let pid = self.start_process(name, &format!("hold {how}"));
        assert_eq!(self.line_of(name), "here");
        Process::find(pid).unwrap_or_else(|| panic!("{name} is gone\n{}", self.errors()))
    }

    /// Reads the pid that a process says of one of its own.
    #[track_caller]
    fn process_of(&mut self, speaker: &str) -> Process {
        let pid = self.line_of(speaker);
        let found = pid.parse().ok().and_then(Process::find);
        found.unwrap_or_else(|| panic!("{speaker} has no process {pid}\n{}", self.errors()))
    }
}
