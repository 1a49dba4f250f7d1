//! The commands that start no server: what a configuration is checked by.

use std::fs;

use crate::support::{Fixture, Setup, fixture};

fn command(arguments: &str) -> Setup {
    let mut setup = fixture!("hatchery-command");
    setup.args(arguments);
    setup
}

/// Waits for the end, and returns the exit code and what was printed.
#[track_caller]
fn end(mut command: Fixture) -> (Option<i32>, Vec<String>, String) {
    let said = command.rest();
    (command.wait().code(), said, command.errors())
}

#[test]
fn config_check_lists_what_a_file_and_the_environment_set() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.toml"), "[workers]\ncount = 3\n").unwrap();
    let mut check = command("config check a.toml");
    let check = check.directory(folder.path());
    let check = check.env("HATCHERY_SERVER_BACKLOG", "64").start();

    let (code, said, errors) = end(check);

    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let expected = [
        "server.backlog = 64  # environment HATCHERY_SERVER_BACKLOG",
        "workers.count = 3  # a.toml:2",
        "right: all else is as by default",
    ];
    assert_eq!(said, expected);
}

#[test]
fn config_check_names_the_line_of_a_mistake_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\nbacklog = 64\noverload = \"refuse\"\n";
    fs::write(folder.path().join("hatchery.toml"), text).unwrap();
    for arguments in ["config check", "config check hatchery.toml"] {
        let check = command(arguments).directory(folder.path()).start();

        let (code, said, errors) = end(check);

        assert_eq!((code, said), (Some(2), Vec::new()));
        assert_eq!(errors.lines().count(), 1, "{errors}");
        for word in ["hatchery.toml:3", "server.overload", "refuse", "reject"] {
            assert!(errors.contains(word), "no {word} in: {errors}");
        }
    }
}

#[test]
fn config_check_of_a_file_that_is_not_there_is_a_mistake() {
    let (code, said, errors) = end(command("config check /nowhere/a.toml").start());

    assert_eq!((code, said), (Some(2), Vec::new()));
    assert!(errors.contains("/nowhere/a.toml"), "{errors}");
}

#[test]
fn config_schema_is_json_that_knows_the_keys() {
    let (code, said, errors) = end(command("config schema").start());

    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let schema: serde_json::Value = serde_json::from_str(&said.join("\n")).unwrap();
    let dispatch = &schema["properties"]["server"]["properties"]["dispatch"];
    assert_eq!(dispatch["default"], "least-loaded");
    assert_eq!(dispatch["enum"][3], "direct");
}
