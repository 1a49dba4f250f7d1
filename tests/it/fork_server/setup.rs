//! What a child is given, and that it is given nothing else.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::{Main, fixture};

use super::{METHODS, children};

/// The signals that the C library keeps for itself: 32 and 33.
const INTERNAL: u64 = 0b11 << 31;

/// `SIGCONT`, by which the kernel tells a child that its parent has died.
const PARENT_DEATH: u64 = 18;

/// The set of the signals with these numbers.
fn set(numbers: &[u64]) -> u64 {
    numbers.iter().map(|number| 1 << (number - 1)).sum()
}

/// Checks that nothing is open but the standard descriptors and `pipes` pipes.
#[track_caller]
fn assert_only(descriptors: &BTreeMap<RawFd, PathBuf>, pipes: usize) {
    let opened = |number| descriptors.get(&number).map(PathBuf::as_path);
    assert_eq!(opened(0), Some(Path::new("/dev/null")), "{descriptors:?}");
    assert!(
        opened(1).is_some() && opened(2).is_some(),
        "{descriptors:?}"
    );
    let passed: Vec<_> = descriptors
        .iter()
        .filter(|&(&number, _)| number > 2)
        .collect();
    assert_eq!(passed.len(), pipes, "{descriptors:?}");
    let is_pipe = |path: &Path| path.to_string_lossy().starts_with("pipe:");
    assert!(
        passed.iter().all(|(_, path)| is_pipe(path)),
        "{descriptors:?}"
    );
}

#[test]
fn a_child_is_given_its_arguments_and_descriptors_in_order() {
    for method in METHODS {
        let mut main = children(method);

        main.child("a", "report 3 what it is told");

        let said: Vec<String> = (0..4).map(|_| main.line_of("a")).collect();
        assert_eq!(said, ["what it is told", "pipe 0", "pipe 1", "pipe 2"]);
    }
}

#[test]
fn nothing_but_what_was_passed_is_open_in_a_child() {
    for method in METHODS {
        let mut main = children(&format!("{method} strays"));
        main.tell("strays");
        for name in ["b", "c", "d"] {
            main.child_here(name, "hold");
        }
        main.child_here("e", "idle");
        main.tell("kill e");
        main.ask("wait e");

        let child = main.child("a", "report 30 x");
        (0..32).for_each(|_| drop(main.line_of("a")));

        assert_only(&child.descriptors(), 30);
        assert_only(&main.child_here("f", "idle").descriptors(), 0);
        // Nor after the fork server was replaced, which inherits what main holds now.
        main.fork_server().signal(Signal::KILL);
        assert_only(&main.child_here("g", "idle").descriptors(), 0);
    }
}

#[test]
fn a_child_starts_with_the_signals_of_a_fresh_program() {
    for method in METHODS {
        let mut main = Main::start(fixture!("children").args(method).args("handler").through(&[
            "env",
            "--ignore-signal=HUP,USR1,CHLD,QUIT,RTMIN+3",
            "--block-signal=USR2,TERM,INT,RTMIN+5",
        ]));
        let of_main = main.process().signals();
        assert_ne!(of_main.blocked & set(&[2, 12, 15]), 0, "main blocks");
        assert_ne!(of_main.ignored & set(&[1, 3, 10]), 0, "main ignores");
        assert_ne!(of_main.caught & set(&[28]), 0, "main handles");

        let child = main.child_here("a", "idle");

        let signals = child.signals();
        assert_eq!(signals.blocked, 0);
        assert_eq!(signals.ignored & !INTERNAL, set(&[13]), "SIGPIPE alone");
        // A forked program has Rust's guard against stack overflow as well.
        let guard = set(&[7, 11]);
        let caught = signals.caught & !INTERNAL;
        assert_eq!(caught & !guard, set(&[PARENT_DEATH]));
        assert_eq!(caught & guard, if method == "fork" { guard } else { 0 });
    }
}

#[test]
fn a_child_has_a_group_a_name_and_a_parent_death_signal_of_its_own() {
    for method in METHODS {
        let mut main = children(method);

        let child = main.child("a-name-of-more-than-15-bytes", "report x");

        assert_eq!(main.line_of("a-name-of-more-than-15-bytes"), "x");
        let signal = main.line_of("a-name-of-more-than-15-bytes");
        assert_eq!(signal, PARENT_DEATH.to_string());
        let stat = child.stat().unwrap();
        assert_eq!(stat.name, "a-name-of-more-");
        assert_eq!(stat.group, child.pid());
        assert_eq!(stat.parent, main.fork_server().pid());
    }
}
