//! Locks and their like, under the fixture `locks`.

mod asynchronous;
mod crash;
mod crowd;
mod death;
mod promises;

use std::ops::{Deref, DerefMut};

use crate::support::{Deadline, Fixture, Process, eventually, fixture};

/// The fixture `locks`: a main process whose children share one object of each kind.
struct Locks(Fixture);

impl Locks {
    /// Starts the main process, with a barrier for so many parties.
    #[track_caller]
    fn new(parties: u32) -> Self {
        let mut main = fixture!("locks").args(&format!("fork {parties}")).start();
        assert_eq!(main.line_of("main"), "ready", "{}", main.errors());
        Self(main)
    }

    /// Starts a child and waits until it has the objects.
    #[track_caller]
    fn child(&mut self, name: &str) -> Process {
        self.say(&format!("start {name}"));
        let answer = self.line_of("main");
        let pid = answer.strip_prefix("started ");
        let pid = pid.and_then(|pid| pid.parse().ok());
        let pid = pid.unwrap_or_else(|| panic!("{name} did not start: {answer}"));
        let child = Process::find(pid).expect("it has not been collected");
        assert_eq!(self.line_of(name), "here");
        child
    }

    /// Has a child do something, without waiting for its answer.
    #[track_caller]
    fn tell(&mut self, name: &str, command: &str) {
        self.say(&format!("tell {name} {command}"));
    }

    /// Has a child do something, and returns what it says.
    #[track_caller]
    fn ask(&mut self, name: &str, command: &str) -> String {
        self.tell(name, command);
        self.line_of(name)
    }

    #[track_caller]
    fn children(&mut self, names: &[&str]) {
        for name in names {
            self.child(name);
        }
    }

    #[track_caller]
    fn tell_all(&mut self, names: &[&str], command: &str) {
        for name in names {
            self.tell(name, command);
        }
    }

    /// Has a child wait for something that does not come yet.
    #[track_caller]
    fn have_wait(&mut self, name: &str, child: &Process, command: &str) {
        assert_eq!(self.ask(name, &format!("announced {command}")), "waits");
        sleeps(child);
    }

    /// Waits until each of them says that it is done.
    #[track_caller]
    fn all_succeed(&mut self, names: &[&str]) {
        for name in names {
            assert_eq!(self.line_of(name), "ok", "{name}");
        }
    }

    /// Tells how a child that has ended did.
    #[track_caller]
    fn end_of(&mut self, name: &str) -> String {
        self.say(&format!("wait {name}"));
        self.line_of("main")
    }
}

/// Waits until a process does, which has said that it will.
#[track_caller]
fn sleeps(process: &Process) {
    eventually(Deadline::usual(), "it waits", || {
        process.stat().is_some_and(|stat| stat.state == 'S')
    });
}

impl Deref for Locks {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.0
    }
}

impl DerefMut for Locks {
    fn deref_mut(&mut self) -> &mut Fixture {
        &mut self.0
    }
}
