//! The manager and its proxies: in this process, and under the fixture `manager`.

mod access;
mod asynchronous;
mod contents;
mod death;
mod loss;
mod snapshot;
mod waiting;

use std::ops::{Deref, DerefMut};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{Deadline, Fixture, Process, fixture};
use hatchery::{Manager, ManagerBuilder, StartMethod};

/// The pause after which what has not happened is taken to wait: used only to make it likelier
/// that a call that should wait does, never to wait for something.
const SHORT: Duration = Duration::from_millis(20);

/// What everything says of a manager that is gone.
const LOST: &str =
    "error: the manager is lost: its process has ended, or nobody listens at its address";

/// Starts a manager from this process, which has threads.
#[track_caller]
fn manager() -> Manager {
    builder().start().expect("a manager can be started")
}

#[track_caller]
fn builder() -> ManagerBuilder {
    hatchery::init_with(StartMethod::Spawn).expect("a fork server can be started");
    Manager::builder()
}

/// The longest time that a call of these tests may take.
fn patience() -> Duration {
    let left = Deadline::usual().left();
    left.try_into().expect("a deadline is less than years away")
}

/// Runs `call` in a thread; to be joined under a deadline with [`finish`].
fn in_thread<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::spawn(call)
}

/// Waits for a thread, under a deadline.
#[track_caller]
fn finish<T>(thread: JoinHandle<T>) -> T {
    crate::support::eventually(Deadline::usual(), "a call returns", || thread.is_finished());
    thread.join().expect("the thread does not panic")
}

/// The fixture `manager`.
struct Main(Fixture);

impl Main {
    #[track_caller]
    fn new(arguments: &str) -> Self {
        let mut main = Self(
            fixture!("manager")
                .args(&format!("run {arguments}"))
                .start(),
        );
        assert_eq!(main.line_of("main"), "ready", "{}", main.errors());
        main
    }

    /// Has a process do something, and waits for its answer.
    #[track_caller]
    fn ask(&mut self, name: &str, command: &str) -> String {
        self.say(&format!("{name} {command}"));
        self.line_of(name)
    }

    /// Has a process do something that has to succeed.
    #[track_caller]
    fn tell(&mut self, name: &str, command: &str) {
        assert_eq!(self.ask(name, command), "ok", "{name} {command}");
    }

    /// Has a process do something that will take until something else happens.
    #[track_caller]
    fn begin(&mut self, name: &str, command: &str) {
        self.say(&format!("{name} {command} announce"));
        assert_eq!(self.line_of(name), "goes");
    }

    #[track_caller]
    fn start(&mut self, name: &str) -> Process {
        self.find(&format!("start {name}"))
    }

    #[track_caller]
    fn manager(&mut self) -> Process {
        self.find("manager")
    }

    #[track_caller]
    fn find(&mut self, command: &str) -> Process {
        let pid = self.ask("main", command);
        let pid = pid.parse().expect("it answers with a pid");
        Process::find(pid).expect("the process is there")
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
