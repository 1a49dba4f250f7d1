//! Reading the configuration again, while clients come and stay.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::Server;
use super::client::{Client, Heard};
use super::control::Voice;
use super::scaling::under_load;
use crate::support::{Deadline, Setup, eventually, fixture};

const RELOAD: &str = r#"{"v":1,"do":"reload"}"#;

/// A server with a configuration file that can be changed.
struct Configured {
    server: Server,
    folder: TempDir,
}

impl Configured {
    #[track_caller]
    fn new(arguments: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut setup: Setup = fixture!("server");
        setup
            .args(arguments)
            .env("HATCHERY_CONFIG", folder.path().join("hatchery.toml"))
            .env("HATCHERY_CONTROL_SOCKET", folder.path().join("ctl"))
            .env("FIXTURE_ORDER", folder.path().join("order"));
        let written = fs::write(folder.path().join("hatchery.toml"), text);
        written.expect("the file can be written");
        Self {
            server: Server::start(&setup),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        let written = fs::write(self.path("hatchery.toml"), text);
        written.expect("the file can be written");
    }

    #[track_caller]
    fn voice(&self) -> Voice {
        Voice::at(&self.path("ctl"))
    }

    /// Reloads, which has to fail, and returns the kind of error and its message.
    #[track_caller]
    fn refused(&self) -> (String, String) {
        let answer = self.voice().say(RELOAD);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let error = &answer["error"];
        (text(&error["kind"]), text(&error["message"]))
    }
}

const PLAIN: &str = "[server]\nbind = [\"127.0.0.1:0\"]\n[workers]\ncount = 2\n";

#[test]
fn a_reload_replaces_all_workers_and_what_is_configured() {
    let configured = Configured::new("talk", PLAIN);
    let mut lasting = configured.server.client();
    let worker = lasting.worker();
    configured.write(&PLAIN.replace("count = 2", "count = 3"));

    assert_eq!(configured.voice().ask(RELOAD)["wanted"], 3);

    let first = &configured.server.workers;
    assert!((0..20).all(|_| !first.contains(&configured.server.client().worker())));
    assert_eq!(lasting.worker(), worker, "it finishes what it has");
    lasting.close();
    configured.server.settle(3);
    let status = configured.voice().ask(r#"{"v":1,"do":"status"}"#);
    assert_eq!(status["reloads"], 1);
    assert_eq!(configured.server.errors(), "");
}

#[test]
fn a_hangup_reloads() {
    let configured = Configured::new("talk", PLAIN);
    configured.write(&PLAIN.replace("count = 2", "count = 1"));

    configured.server.process().signal(Signal::HUP);

    configured.server.settle(1);
    assert_eq!(configured.server.client().ask("on"), "ON");
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing_and_is_reported_to_who_asked() {
    let configured = Configured::new("talk", PLAIN);
    for (text, kind, words) in [
        (
            "[workers]\ncuont = 3\n",
            "config",
            "hatchery.toml:2: unknown key workers.cuont",
        ),
        ("[workers]\ncount = 0\n", "config", "1 to 1024"),
        (
            "[server]\nbind = [\"unix:/nowhere/s\"]\n",
            "bind",
            "hatchery.toml:2: server.bind: cannot listen on unix:/nowhere/s",
        ),
        (
            "[server]\ndispatch = \"direct\"\n",
            "needs-restart",
            "server.dispatch",
        ),
        (
            "[workers]\ntitles = false\n",
            "needs-restart",
            "workers.titles",
        ),
        (
            "[workers]\nmax_memory = \"1MiB\"\n",
            "workers",
            "workers.max_memory",
        ),
    ] {
        configured.write(text);

        let (found, message) = configured.refused();

        assert_eq!(found, kind, "{message}");
        assert!(message.contains(words), "{message}");
        let errors = configured.server.errors();
        assert!(
            errors.contains("not reloaded: the server goes on as it was"),
            "{errors}"
        );
    }
    configured.server.settle(2);
    let workers = configured.server.workers();
    let pids: Vec<i32> = workers.iter().map(|worker| worker.pid()).collect();
    assert_eq!(pids, configured.server.workers);
}

#[test]
fn new_workers_that_fail_are_given_up_and_the_old_ones_stay() {
    let configured = Configured::new("talk hook", PLAIN);
    let mut lasting = configured.server.client();
    let worker = lasting.worker();
    fs::write(configured.path("order"), "fail the disk is full").unwrap();

    let (kind, message) = configured.refused();

    assert_eq!(kind, "workers");
    assert!(message.contains("the disk is full"), "{message}");
    assert_eq!(lasting.worker(), worker);
    let first = &configured.server.workers;
    assert!((0..10).all(|_| first.contains(&configured.server.client().worker())));
    fs::remove_file(configured.path("order")).unwrap();
    configured.voice().ask(RELOAD);
    assert!(!first.contains(&configured.server.client().worker()));
}

#[test]
fn addresses_come_and_go_and_who_waits_at_one_that_goes_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let bind = |names: [&str; 2]| {
        let names = names.map(at);
        format!(
            "[server]\nbind = [\"{}\", \"{}\"]\n[workers]\ncount = 1\nmax_concurrency = 2\n",
            names[0], names[1]
        )
    };
    let configured = Configured::new("talk", &bind(["a", "b"]));
    let mut busy: Vec<Client> = (0..2).map(|_| Client::connect(&at("a"))).collect();
    for client in &mut busy {
        client.worker();
    }
    // The kernel has these, for no worker has room.
    let mut waiting: Vec<Client> = (0..5).map(|_| Client::connect(&at("a"))).collect();
    waiting.iter_mut().for_each(|client| client.say("on"));
    configured.write(&bind(["b", "c"]));

    configured.voice().ask(RELOAD);

    assert!(Client::try_connect(&at("a")).is_err());
    assert!(!folder.path().join("a").exists());
    for client in &mut waiting {
        assert_eq!(client.hear(), Heard::Line("ON".to_owned()));
        client.close();
    }
    assert_eq!(Client::connect(&at("b")).about().listener, 0);
    assert_eq!(Client::connect(&at("c")).about().listener, 1);
    busy.iter_mut().for_each(Client::close);
    configured.server.settle(1);
}

#[test]
fn limits_change_live() {
    let text = "[server]\nbind = [\"127.0.0.1:0\"]\noverload = \"reject\"\nqueue_length = 0\n\
                reject_message = \"full\\n\"\n[workers]\ncount = 1\nmax_concurrency = 1\n";
    let configured = Configured::new("talk", text);
    configured.write(
        &text
            .replace("concurrency = 1", "concurrency = 3")
            .replace("full", "later"),
    );

    configured.voice().ask(RELOAD);

    let mut clients = configured.server.clients(4);
    for client in &mut clients[..3] {
        assert_eq!(client.ask("on"), "ON");
    }
    assert_eq!(clients[3].line(), "later");
}

#[test]
fn a_server_whose_workers_accept_for_themselves_is_reloaded_too() {
    let text = PLAIN.replace("[workers]", "dispatch = \"direct\"\n[workers]");
    let configured = Configured::new("talk", &text);

    configured.voice().ask(RELOAD);

    configured.server.settle(2);
    let first = &configured.server.workers;
    assert!((0..10).all(|_| !first.contains(&configured.server.client().worker())));
    configured.write(&text.replace("count = 2", "count = 3"));
    assert_eq!(configured.refused().0, "needs-restart");
}

#[test]
fn twenty_reloads_under_load_and_nobody_notices() {
    let mut configured = Configured::new("talk", PLAIN);
    let address = configured.server.addresses[0].clone();

    under_load(&address, || {
        for _ in 0..20 {
            configured.voice().ask(RELOAD);
        }
    });

    configured.server.settle(2);
    assert_eq!(configured.server.errors(), "");
    configured.server.end();
}

#[test]
fn a_server_that_stops_in_the_middle_of_a_reload_stops() {
    let configured = Configured::new("talk", PLAIN);
    for _ in 0..3 {
        let mut server = Configured::new("talk", PLAIN);
        server.server.process().signal(Signal::HUP);
        server.server.end();
    }
    drop(configured);
}

#[test]
fn a_reload_asked_for_by_a_signal_during_another_is_made_up_for() {
    let configured = Configured::new("talk", PLAIN);
    configured.server.process().signal(Signal::HUP);
    configured.write(&PLAIN.replace("count = 2", "count = 4"));
    configured.server.process().signal(Signal::HUP);

    eventually(Deadline::usual(), "the second counts", || {
        configured.voice().ask(r#"{"v":1,"do":"status"}"#)["wanted"] == 4
    });
    configured.server.settle(4);
}
