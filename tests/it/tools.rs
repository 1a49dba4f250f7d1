//! The commands that start no server: a check, a schema, completions, manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

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

#[test]
fn completions_complete_the_commands_that_are_for_people() {
    let (code, said, errors) = end(command("completions bash").start());
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let question = "
COMP_WORDS=(hatchery \"$0\")
COMP_CWORD=1
_hatchery hatchery \"$0\" hatchery
echo \"${COMPREPLY[@]}\"";
    let script = said.join("\n") + question;

    for (begun, expected) in [("ct", "ctl"), ("c", "ctl config completions"), ("p", "")] {
        let bash = Command::new("bash").args(["-c", &script, begun]).output();
        let completed = bash.expect("bash is installed").stdout;
        let completed = String::from_utf8(completed).unwrap();
        assert_eq!(completed.trim_end(), expected, "{begun}");
    }
}

#[test]
fn every_shell_has_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, said, _) = end(command(&format!("completions {shell}")).start());

        assert_eq!(code, Some(0), "{shell}");
        assert!(said.iter().any(|line| line.contains("recycle")), "{shell}");
    }
    let (code, said, errors) = end(command("completions csh").start());
    assert_eq!((code, said), (Some(2), Vec::new()));
    assert!(errors.contains("csh"), "{errors}");
}

#[test]
fn man_prints_a_page_and_writes_one_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let mut writing = command("man --folder pages");
    let (written, _, errors) = end(writing.directory(folder.path()).start());
    let (printed, page, _) = end(command("man").start());

    assert_eq!((written, printed, errors.as_str()), (Some(0), Some(0), ""));
    assert!(page.iter().any(|line| line.starts_with(".TH hatchery 1")));
    let pages = fs::read_dir(folder.path().join("pages")).unwrap();
    let pages = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = pages.collect();
    for name in [
        "hatchery.1",
        "hatchery-echo.1",
        "hatchery-ctl-scale.1",
        "hatchery-config-check.1",
    ] {
        assert!(pages.contains(name), "no {name} in {pages:?}");
    }
    let others = pages
        .iter()
        .filter(|page| page.contains("peer") || page.contains("help"));
    assert_eq!(others.count(), 0, "{pages:?}");
}
