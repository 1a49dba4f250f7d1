//! Chromium without a screen, spoken to through a pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Deadline;

/// The names that Chromium goes by.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// How long a browser may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page.
pub(super) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    session: Value,
    asked: u64,
    /// What the page complained of.
    pub(super) complaints: Vec<String>,
    _folder: TempDir,
}

impl Browser {
    /// Starts Chromium, if there is one.
    pub(super) fn start() -> Option<Self> {
        let name = NAMES.into_iter().find(|name| is_there(name))?;
        let folder = tempfile::tempdir().expect("a folder can be made");
        let data = format!("--user-data-dir={}", folder.path().display());
        // It speaks through the descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args([
                "-c",
                r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#,
                "sh",
            ])
            .args([name, "--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-background-networking", "--no-first-run"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-pipe", &data])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell can be started");
        let input = child.stdin.take().expect("it was asked for");
        let output = child.stdout.take().expect("it was asked for");
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0) {
                let message = message.ok().and_then(|it| serde_json::from_slice(&it).ok());
                let Some(message) = message else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            input,
            messages,
            session: Value::Null,
            asked: 0,
            complaints: Vec::new(),
            _folder: folder,
        };
        browser.open_page();
        Some(browser)
    }

    fn open_page(&mut self) {
        let page = self.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        self.session = self.ask("Target.attachToTarget", &attach)["sessionId"].clone();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            self.ask(domain, &json!({}));
        }
    }

    /// Goes to an address.
    #[track_caller]
    pub(super) fn visit(&mut self, address: &str) {
        let answer = self.ask("Page.navigate", &json!({ "url": address }));
        assert_eq!(answer.get("errorText"), None, "{answer}");
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(super) fn await_true(&mut self, expression: &str) {
        let deadline = Deadline::after(PATIENCE);
        while !self.is_true(expression) {
            assert!(
                !deadline.has_passed(),
                "never true in the page: {expression}"
            );
            // The page changes between two frames: the next one is waited for there.
            let frame = "new Promise(done => setTimeout(done, 50))";
            self.evaluate(frame);
        }
    }

    #[track_caller]
    fn is_true(&mut self, expression: &str) -> bool {
        self.evaluate(expression)["value"] == true
    }

    #[track_caller]
    fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true });
        self.ask("Runtime.evaluate", &parameters)["result"].clone()
    }

    #[track_caller]
    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let written = self.input.write_all(format!("{message}\0").as_bytes());
        written.expect("the browser listens");
        let deadline = Deadline::after(PATIENCE);
        loop {
            let heard = self.messages.recv_timeout(left(deadline));
            let heard = heard.unwrap_or_else(|error| panic!("{method}: {error}"));
            if heard["id"] == self.asked {
                assert!(heard.get("error").is_none(), "{method}: {heard}");
                return heard["result"].clone();
            }
            self.note(&heard);
        }
    }

    /// Keeps what the page complains of.
    fn note(&mut self, heard: &Value) {
        let parameters = &heard["params"];
        let is_complaint = match heard["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => parameters["type"] == "error",
            Some("Log.entryAdded") => parameters["entry"]["level"] == "error",
            _ => false,
        };
        if is_complaint {
            self.complaints.push(parameters.to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn left(deadline: Deadline) -> Duration {
    Duration::try_from(deadline.left()).unwrap_or_default()
}

fn is_there(name: &str) -> bool {
    let mut version = Command::new(name);
    version
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
