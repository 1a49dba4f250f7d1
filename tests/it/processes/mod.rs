//! Processes and pipes as users have them, under the fixtures `processes` and `pipes`.

mod children;
mod ending;
mod life;
mod methods;
mod pipes;
mod results;

use std::ops::{Deref, DerefMut};

use crate::support::{Deadline, Fixture, Process, eventually, fixture};

/// The start methods, for what both promise.
const METHODS: [&str; 2] = ["fork", "spawn"];

/// The fixture `processes`.
struct Main(Fixture);

impl Main {
    #[track_caller]
    fn new(method: &str) -> Self {
        let mut setup = fixture!("processes");
        // A backtrace takes longer than all the rest.
        let setup = setup.args(method).env("RUST_BACKTRACE", "0");
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

    /// Starts a process that ends when it likes, and returns its pid.
    #[track_caller]
    fn start_process(&mut self, name: &str, function: &str) -> i32 {
        let answer = self.ask(&format!("start {name} {function}"));
        let pid = answer.strip_prefix("started ");
        pid.and_then(|pid| pid.parse().ok())
            .unwrap_or_else(|| panic!("{name} did not start: {answer}\n{}", self.errors()))
    }

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
