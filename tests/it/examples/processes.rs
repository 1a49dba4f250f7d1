//! The examples of processes, and what Ctrl-C does to all of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, kill_process_group};

use super::{example, lines_of, run, wait_for_nothing_left};

#[test]
fn process_join_says_its_last_line_after_everybody_has_finished() {
    let said = run("process_join", "--fast");

    let mut pids = BTreeSet::new();
    for name in ["alex", "bea", "chris", "dana"] {
        let lines = lines_of(name, &said);
        let [first, "I have finished"] = lines[..] else {
            panic!("{name} said {lines:?}");
        };
        let pid = first.strip_prefix("I am process ");
        pids.insert(pid.and_then(|pid| pid.parse::<u32>().ok()).expect("a pid"));
    }
    assert_eq!(pids.len(), 4, "{pids:?}");
    assert_eq!(said.len(), 9, "{said:?}");
    assert_eq!(said[8], "main: all four have finished, after 20 words");
}

#[test]
fn process_daemon_ends_the_daemon_and_waits_for_the_other() {
    let said = run("process_daemon", "--fast");

    let expected = [
        "daemon: here is your tea; I wait for more",
        "main: the main function returns",
        "worker: I have finished",
    ];
    assert_eq!(said, expected);
}

#[test]
fn shared_file_has_a_hundred_whole_lines() {
    let said = run("shared_file", "--fast");

    assert_eq!(said, ["main: 100 lines, 100 of them whole"]);
}

#[test]
fn shared_file_appends_to_the_file_that_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.txt");
    let arguments = format!("--fast --file {}", path.display());

    let said = [(); 2].map(|()| run("shared_file", &arguments));

    assert_eq!(said, [["main: 100 lines, 100 of them whole"]; 2]);
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let each =
        |number| format!("process {number} was here, and wrote this from its beginning to its end");
    let mut expected: Vec<String> = (0..100)
        .flat_map(|number| [each(number), each(number)])
        .collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn ctrl_c_ends_an_example_and_leaves_nothing() {
    let with_pauses = [
        "process_join",
        "process_daemon",
        "queue_put_blocks",
        "producer_consumer_main",
        "producer_consumer",
        "producer_consumer_sentinel",
        "producer_consumer_join",
        "joinable_queue",
        "tickets_lock",
    ];
    for name in with_pauses {
        let mut program = example(name).start();
        program.line();

        // The terminal's foreground group is the main program's.
        let group = Pid::from_raw(program.process().pid());
        kill_process_group(group.expect("a pid is not zero"), Signal::INT).unwrap();

        assert_eq!(program.wait().signal(), Some(2), "{name}");
        wait_for_nothing_left(&program);
        assert_eq!(program.errors(), "", "{name}");
    }
}
