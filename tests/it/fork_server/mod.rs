//! The fork server and its children, under the fixture `children`.

mod death;
mod exit;
mod misuse;
mod preload;
mod setup;
mod spawn;
mod tidiness;

use std::ops::{Deref, DerefMut};

use crate::support::{Deadline, Fixture, Process, Setup, eventually, fixture};

/// The start methods, for what both promise.
const METHODS: [&str; 2] = ["fork", "spawn"];

/// The fixture `children`, whose main process has a fork server.
struct Main(Fixture);

impl Main {
    #[track_caller]
    fn new(arguments: &str) -> Self {
        Self::set_up(fixture!("children").args(arguments))
    }

    #[track_caller]
    fn set_up(setup: &Setup) -> Self {
        let mut main = Self(setup.start());
        assert_eq!(main.line_of("main"), "ready", "{}", main.errors());
        main
    }

    /// Gives a command and waits for the answer.
    #[track_caller]
    fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.line_of("main")
    }

    /// Gives a command that has to succeed.
    #[track_caller]
    fn tell(&mut self, command: &str) {
        assert_eq!(self.ask(command), "ok", "{command}: {}", self.errors());
    }

    /// Starts a child that ends when it likes, and returns its pid.
    #[track_caller]
    fn start_child(&mut self, name: &str, entry: &str) -> i32 {
        let answer = self.ask(&format!("start {name} {entry}"));
        let pid = answer.strip_prefix("started ");
        pid.and_then(|pid| pid.parse().ok())
            .unwrap_or_else(|| panic!("{name} did not start: {answer}\n{}", self.errors()))
    }

    /// Starts a child that stays.
    #[track_caller]
    fn child(&mut self, name: &str, entry: &str) -> Process {
        let pid = self.start_child(name, entry);
        Process::find(pid).unwrap_or_else(|| panic!("{name} is gone\n{}", self.errors()))
    }

    /// Starts a child and waits until it runs its function.
    #[track_caller]
    fn child_here(&mut self, name: &str, entry: &str) -> Process {
        let child = self.child(name, entry);
        assert_eq!(self.line_of(name), "here");
        child
    }

    /// Waits until no process of the program is a zombie.
    #[track_caller]
    fn wait_for_no_zombie(&self) {
        eventually(Deadline::usual(), "no zombie is left", || {
            let everything = self.everything();
            let mut states = everything.iter().filter_map(Process::stat);
            !states.any(|stat| stat.state == 'Z')
        });
    }
}

impl Deref for Main {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.0
    }
}

impl DerefMut for Main {
    fn deref_mut(&mut self) -> &mut Fixture {
        &mut self.0
    }
}
