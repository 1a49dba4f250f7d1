//! A fixture that is commanded line by line, and answers.

use std::ops::{Deref, DerefMut};

use super::{Fixture, Setup};

/// A fixture whose main process obeys commands; what it says starts with `main`.
pub(crate) struct Main(Fixture);

impl Main {
    /// Starts the fixture and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(setup: &Setup) -> Self {
        let mut main = Self(setup.start());
        assert_eq!(main.line_of("main"), "ready", "{}", main.errors());
        main
    }

    /// Gives a command and waits for the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.say(command);
        self.line_of("main")
    }

    /// Gives a command that has to succeed.
    #[track_caller]
    pub(crate) fn tell(&mut self, command: &str) {
        assert_eq!(self.ask(command), "ok", "{command}: {}", self.errors());
    }

    /// Starts a process that ends when it likes, and returns its pid.
    #[track_caller]
    pub(crate) fn start_process(&mut self, name: &str, function: &str) -> i32 {
        let answer = self.ask(&format!("start {name} {function}"));
        let pid = answer.strip_prefix("started ");
        pid.and_then(|pid| pid.parse().ok())
            .unwrap_or_else(|| panic!("{name} did not start: {answer}\n{}", self.errors()))
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
