//! A new program that takes over, while clients come and stay.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::control::Voice;
use super::scaling::under_load;
use super::{Server, configure};
use crate::support::{Deadline, Process, Setup, eventually, fixture};

const UPGRADE: &str = r#"{"v":1,"do":"upgrade"}"#;
const STATUS: &str = r#"{"v":1,"do":"status"}"#;

/// A server whose program can be replaced on disk.
struct Upgradable {
    server: Server,
    folder: TempDir,
}

impl Upgradable {
    #[track_caller]
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = |name: &str| folder.path().join(name);
        let program = path("program");
        let copied = fs::copy(env!("CARGO_BIN_EXE_server"), &program);
        copied.expect("the program can be copied");
        let mut setup = Setup::new(&program.display().to_string());
        setup
            .args("talk hook")
            .env("HATCHERY_CONFIG", path("hatchery.toml"))
            .env("HATCHERY_CONTROL_SOCKET", path("ctl"))
            .env("FIXTURE_ORDER", path("order"));
        fs::write(path("hatchery.toml"), "").expect("a file can be written");
        configure(&mut setup, "server.bind=127.0.0.1:0 workers.count=2");
        configure(&mut setup, settings);
        Self {
            server: Server::start(&setup),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a shell script in the place of the program.
    #[track_caller]
    fn replace_program(&self, script: &str) {
        let new = self.path("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("a file can be written");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&new, executable).expect("it is ours");
        fs::rename(&new, self.path("program")).expect("they are in one folder");
    }

    #[track_caller]
    fn voice(&self) -> Voice {
        Voice::at(&self.path("ctl"))
    }

    /// Upgrades, and returns the new main process once the old one has ended well.
    #[track_caller]
    fn upgrade(&self, old: &Process) -> Process {
        let pid = self.voice().ask(UPGRADE)["pid"].as_i64();
        assert!(old.ends_by(Deadline::usual()), "it drains and ends");
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        let new = pid.and_then(Process::find).expect("there is a new program");
        assert_ne!(new.pid(), old.pid());
        new
    }

    /// Upgrades, which has to fail, and returns the kind of error and its message.
    #[track_caller]
    fn refused(&self) -> (String, String) {
        let answer = self.voice().say(UPGRADE);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&answer["error"]["kind"]),
            text(&answer["error"]["message"]),
        )
    }

    /// Checks that nothing is left of a program that failed, and that the old one serves as before.
    #[track_caller]
    fn assert_unchanged(&self) {
        self.server.settle(2);
        let first = &self.server.workers;
        assert!((0..6).all(|_| first.contains(&self.server.client().worker())));
        let status = self.voice().ask(STATUS);
        assert_eq!(status["pid"], self.server.process().pid());
        assert_eq!(status["phase"], "serving");
        let errors = self.server.errors();
        let words = "not upgraded: the server goes on as it was";
        assert!(errors.contains(words), "{errors}");
    }
}

/// Waits until main process and fork server are all that is there beside so many workers.
#[track_caller]
fn settle(main: &Process, workers: usize) {
    eventually(Deadline::usual(), "the new program has settled", || {
        main.tree().len() == workers + 2
    });
}

fn kinds_of_descriptors(main: &Process) -> usize {
    main.descriptors().len()
}

#[test]
fn five_upgrades_under_load_and_nobody_notices() {
    for dispatch in ["least-loaded", "direct"] {
        let upgradable = Upgradable::new(&format!("server.dispatch={dispatch}"));
        let address = upgradable.server.addresses[0].clone();
        let mut main = Process::find(upgradable.server.process().pid()).unwrap();
        let mut open = Vec::new();

        under_load(&address, || {
            for _ in 0..5 {
                main = upgradable.upgrade(&main);
            }
        });

        // The load's last connections may still be open in the program that served them.
        for _ in 0..3 {
            main = upgradable.upgrade(&main);
            settle(&main, 2);
            open.push(kinds_of_descriptors(&main));
        }
        assert!(open.windows(2).all(|two| two[0] == two[1]), "{open:?}");
        assert_eq!(upgradable.server.errors(), "", "{dispatch}");
        assert!(Client::connect(&address).ask("on") == "ON");
        main.signal(Signal::TERM);
        assert!(main.ends_by(Deadline::usual()));
        assert!(!upgradable.path("ctl").exists());
    }
}

#[test]
fn the_old_program_serves_what_it_has_and_ends_with_0() {
    let mut upgradable = Upgradable::new("");
    let mut lasting = upgradable.server.client();
    let worker = lasting.worker();

    upgradable.server.process().signal(Signal::USR2);

    assert_ne!(
        upgradable.server.line_of("pid"),
        "",
        "the new one announces itself"
    );
    let mut late = upgradable.server.client();
    assert!(!upgradable.server.workers.contains(&late.worker()));
    assert!(upgradable.server.process().is_alive());
    assert_eq!(lasting.worker(), worker);
    lasting.close();
    assert_eq!(upgradable.server.wait().code(), Some(0));
    assert_eq!(late.ask("still here"), "STILL HERE");
    assert_eq!(upgradable.server.errors(), "");
}

#[test]
fn the_socket_files_are_there_all_the_time_and_go_with_the_last_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let bind = format!("server.bind=unix:{}", path.display());
    let upgradable = Upgradable::new(&bind);
    let main = Process::find(upgradable.server.process().pid()).unwrap();
    let inode = |path: &PathBuf| fs::metadata(path).map(|file| file.ino()).ok();
    let before = (inode(&path), inode(&upgradable.path("ctl")));

    let main = upgradable.upgrade(&main);

    assert_eq!((inode(&path), inode(&upgradable.path("ctl"))), before);
    let address = format!("unix:{}", path.display());
    assert_eq!(Client::connect(&address).ask("on"), "ON");
    let status = upgradable.voice().ask(STATUS);
    assert_eq!(status["pid"], main.pid());
    main.signal(Signal::TERM);
    assert!(main.ends_by(Deadline::usual()));
    assert!(!path.exists() && !upgradable.path("ctl").exists());
}

#[test]
fn the_admin_listener_stays_where_it_is() {
    let upgradable = Upgradable::new("admin.bind=127.0.0.1:0");
    let main = Process::find(upgradable.server.process().pid()).unwrap();
    let before = upgradable.voice().ask(STATUS)["admin"].clone();
    let is_ready = || {
        let mut page = TcpStream::connect(before.as_str().expect("it is shown")).unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        page.write_all(request).unwrap();
        let mut answer = String::new();
        page.read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 200")
    };
    assert!(is_ready());

    let main = upgradable.upgrade(&main);

    assert_eq!(upgradable.voice().ask(STATUS)["admin"], before);
    assert!(is_ready());
    assert_eq!(upgradable.server.errors(), "");
    main.signal(Signal::TERM);
    assert!(main.ends_by(Deadline::usual()));
}

#[test]
fn a_new_program_that_ends_is_reported_with_its_exit_code_and_its_last_words() {
    let upgradable = Upgradable::new("");
    upgradable.replace_program("echo the disk is gone >&2; exit 7");

    let (kind, message) = upgradable.refused();

    assert_eq!(kind, "upgrade");
    let words = "the new program ended with exit status: 7: the disk is gone";
    assert_eq!(message, words);
    upgradable.assert_unchanged();
}

#[test]
fn a_new_program_that_is_never_ready_is_killed_with_all_that_it_started() {
    let upgradable = Upgradable::new("server.upgrade_timeout=1s");
    upgradable.replace_program("exec sleep 600");
    let (_, message) = upgradable.refused();
    assert!(message.contains("not ready after 1s"), "{message}");
    upgradable.assert_unchanged();

    // This one has a fork server, and workers that never say that they are ready.
    let sulking = format!("exec {} sulk", env!("CARGO_BIN_EXE_server"));
    upgradable.replace_program(&sulking);
    let (_, message) = upgradable.refused();

    assert!(message.contains("not ready after 1s"), "{message}");
    upgradable.assert_unchanged();
}

#[test]
fn a_new_program_with_a_wrong_configuration_or_failing_workers_changes_nothing() {
    let upgradable = Upgradable::new("");
    let config = upgradable.path("hatchery.toml");
    fs::write(&config, "[workers]\ncuont = 3\n").unwrap();
    let (_, message) = upgradable.refused();
    assert!(message.contains("ended with exit status: 2"), "{message}");
    assert!(message.contains("unknown key workers.cuont"), "{message}");
    upgradable.assert_unchanged();

    fs::write(&config, "").unwrap();
    fs::write(upgradable.path("order"), "fail no licence").unwrap();
    let (_, message) = upgradable.refused();
    assert!(message.contains("ended with exit status: 1"), "{message}");
    assert!(message.contains("no licence"), "{message}");
    upgradable.assert_unchanged();

    fs::remove_file(upgradable.path("order")).unwrap();
    let main = Process::find(upgradable.server.process().pid()).unwrap();
    upgradable.upgrade(&main);
}

#[test]
fn a_program_that_cannot_be_executed_is_named() {
    let upgradable = Upgradable::new("");
    fs::remove_file(upgradable.path("program")).unwrap();

    let (kind, message) = upgradable.refused();

    assert_eq!(kind, "upgrade");
    let program = upgradable.path("program").display().to_string();
    assert!(message.contains(&program), "{message}");
    upgradable.assert_unchanged();
}

#[test]
fn a_second_upgrade_and_a_reload_wait_for_the_end_of_the_first() {
    let upgradable = Upgradable::new("server.upgrade_timeout=2s");
    upgradable.replace_program("exec sleep 600");
    thread::scope(|threads| {
        let first = threads.spawn(|| upgradable.refused());
        eventually(Deadline::usual(), "the first has begun", || {
            upgradable.voice().ask(STATUS)["phase"] == "upgrading"
        });

        assert_eq!(upgradable.refused().0, "upgrading");
        let reload = upgradable.voice().say(r#"{"v":1,"do":"reload"}"#);
        assert_eq!(reload["error"]["kind"], "upgrading");

        assert_eq!(first.join().unwrap().0, "upgrade");
    });
    upgradable.assert_unchanged();
}

#[test]
fn a_server_that_is_told_to_end_in_the_middle_of_an_upgrade_ends() {
    let mut upgradable = Upgradable::new("");
    upgradable.replace_program("exec sleep 600");
    upgradable.server.process().signal(Signal::USR2);
    eventually(Deadline::usual(), "it has begun", || {
        upgradable.voice().ask(STATUS)["phase"] == "upgrading"
    });

    upgradable.server.end();

    assert!(!upgradable.server.everything().iter().any(Process::is_alive));
}

#[test]
fn the_command_ends_with_1_and_says_why_there_was_no_upgrade() {
    let upgradable = Upgradable::new("");
    let ctl = format!("ctl --socket {} upgrade", upgradable.path("ctl").display());
    let run = || {
        let mut main = fixture!("hatchery-command").args(&ctl).start();
        (main.wait().code(), main.rest(), main.errors())
    };

    let (code, said, _) = run();

    assert_eq!(code, Some(0));
    let pid = upgradable.voice().ask(STATUS)["pid"].clone();
    assert_eq!(said, [format!("upgraded, the main process is {pid} now")]);
    upgradable.replace_program("exit 3");
    let (code, _, errors) = run();
    assert_eq!(code, Some(1));
    assert!(errors.contains("ended with exit status: 3"), "{errors}");
}

#[test]
fn nobody_but_the_direct_child_can_take_over() {
    let upgradable = Upgradable::new("server.bind=unix:@hatchery-upgrade-child");
    // A shell in between: the program it starts is no child of the server.
    let program = env!("CARGO_BIN_EXE_server");
    upgradable.replace_program(&format!("{program} talk\nexit $?"));

    let (_, message) = upgradable.refused();

    assert!(message.contains("ended with exit status: 1"), "{message}");
    upgradable.assert_unchanged();
}
