//! What the tests need to drive programs and to look at processes.

mod answer;
mod main_process;
mod patience;
mod process;
mod program;

pub(crate) use answer::Answer;
pub(crate) use main_process::Main;
pub(crate) use patience::{Deadline, eventually};
pub(crate) use process::{Process, in_session};
pub(crate) use program::{Fixture, Setup};

/// Sets up a program of `tests/fixtures`, by its name.
macro_rules! fixture {
    ($name:literal) => {
        $crate::support::Setup::new(env!(concat!("CARGO_BIN_EXE_", $name)))
    };
}

pub(crate) use fixture;

#[cfg(test)]
mod tests {
    #[test]
    fn a_fixture_that_is_dropped_leaves_nothing() {
        for method in ["fork", "spawn"] {
            let mut main = fixture!("children").args(method).start();
            assert_eq!(main.line_of("main"), "ready");
            main.say("start a spin");
            assert_eq!(main.line_of("a"), "here");
            let tree = main.process().tree();
            assert_eq!(tree.len(), 3, "main, fork server, child: {tree:?}");

            drop(main);

            assert!(tree.iter().all(|process| process.stat().is_none()));
        }
    }
}
