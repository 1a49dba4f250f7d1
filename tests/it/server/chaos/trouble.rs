//! All that is done to a server at random.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::Value;

use super::super::Server;
use super::record::Deeds;
use super::{pass, pid_of};
use crate::support::{Deadline, Process, eventually, in_session};

/// The most workers.
const WORKERS_MAX: u64 = 5;

/// How long an answer of the server to a command may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is done to a server.
pub(super) struct Trouble<'a> {
    server: &'a Server,
    socket: PathBuf,
    random: Rng,
    pub(super) deeds: Deeds,
    /// What has those go on who were stopped, and gives descriptors back.
    wakers: Vec<JoinHandle<()>>,
    /// What was done, for when something goes wrong.
    pub(super) history: Vec<String>,
    begun: Instant,
}

impl<'a> Trouble<'a> {
    pub(super) fn new(server: &'a Server, socket: &Path, random: Rng) -> Self {
        Self {
            server,
            socket: socket.to_owned(),
            random,
            deeds: Deeds::default(),
            wakers: Vec::new(),
            history: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// Makes trouble for so long, and undoes then what can be undone.
    pub(super) fn make(&mut self, length: Duration) {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.act();
            self.pause();
        }
        for waker in self.wakers.drain(..) {
            waker.join().expect("it waits and undoes");
        }
    }

    fn act(&mut self) {
        match self.random.u32(..32) {
            0..6 => self.kill("hatchery-", Signal::KILL),
            6..9 => self.kill("hatchery-", Signal::SEGV),
            9..13 => self.stop("hatchery-"),
            13 => self.kill("hatchery-fork", Signal::KILL),
            14 => self.kill("hatchery-fork", Signal::SEGV),
            15 => self.stop("hatchery-fork"),
            16 => self.signal_main(Signal::HUP),
            17 => self.command(r#""do":"reload""#),
            18 => self.signal_main(Signal::USR2),
            19 => self.command(r#""do":"upgrade""#),
            20..22 => {
                let workers = self.random.u64(1..=WORKERS_MAX);
                self.command(&format!(r#""do":"scale","workers":{workers}"#));
            }
            22 => self.command(r#""do":"recycle""#),
            23..25 => self.command_worker("recycle"),
            25..27 => self.command_worker("drain"),
            27..30 => self.command_worker("kill"),
            _ => self.take_descriptors(),
        }
    }

    fn pause(&mut self) {
        pass(Duration::from_millis(self.random.u64(..80)));
    }

    /// Chooses a process whose name begins so; the fork server is not a worker.
    fn choose(&mut self, name: &str) -> Option<Process> {
        let mut found = self.server.everything();
        found.retain(|process| {
            let stat = process.stat().filter(|stat| stat.state != 'Z');
            let its = stat.map(|stat| stat.name).unwrap_or_default();
            its.starts_with(name) && (name == "hatchery-fork" || its != "hatchery-fork")
        });
        let chosen = self.random.usize(..found.len().max(1));
        (chosen < found.len()).then(|| found.swap_remove(chosen))
    }

    fn kill(&mut self, name: &str, signal: Signal) {
        let Some(process) = self.choose(name) else {
            return;
        };
        self.deeds.killed.insert(process.pid());
        self.tell(&format!("{signal:?} {name} {}", process.pid()));
        // The first SIGSEGV only ends Rust's own handler, which looks for a stack that is too deep.
        eventually(Deadline::usual(), "it dies", || {
            process.signal(signal);
            // It may be stopped, and all but SIGKILL waits then.
            process.signal(Signal::CONT);
            !process.is_alive()
        });
    }

    /// Notes what only the log tells: who was killed by command before the server told the process
    /// id, and which connections were lost for want of a descriptor.
    pub(super) fn read_log(&mut self) {
        let errors = self.server.errors();
        let found = |words: &str, name: &str| -> Vec<String> {
            let lines = errors.lines().filter(|line| line.contains(words));
            let values =
                lines.filter_map(|line| line.split(' ').find_map(|it| it.strip_prefix(name)));
            values.map(str::to_owned).collect()
        };
        let killed = found("through the control", "pid=");
        let killed = killed.iter().filter_map(|pid| pid.parse::<i32>().ok());
        self.deeds.killed.extend(killed);
        let lost = found("a parked connection is lost", "peer=");
        let lost = lost
            .iter()
            .filter_map(|peer| peer.parse::<SocketAddrV4>().ok());
        self.deeds.lost_in_need.extend(lost.map(|peer| *peer.ip()));
    }

    fn stop(&mut self, name: &str) {
        if let Some(process) = self.choose(name) {
            self.tell(&format!("stop {name} {}", process.pid()));
            process.signal(Signal::STOP);
            let time = Duration::from_millis(self.random.u64(5..400));
            // A command may wait for who is stopped.
            self.wakers.push(thread::spawn(move || {
                pass(time);
                process.signal(Signal::CONT);
            }));
        }
    }

    fn signal_main(&mut self, signal: Signal) {
        let status = self.ask(r#""do":"status""#);
        if let Some(main) = pid_of(&status["ok"]).and_then(Process::find) {
            self.tell(&format!("{signal:?} main {}", main.pid()));
            main.signal(signal);
        }
    }

    fn command(&mut self, request: &str) {
        let answer = self.ask(request);
        self.tell(&format!("{request} {answer}"));
    }

    /// Has something done to a worker of the main process that there is now.
    fn command_worker(&mut self, what: &str) {
        let workers = self.ask(r#""do":"workers""#);
        let workers = workers["ok"].as_array().cloned().unwrap_or_default();
        let Some(worker) = self.random.choice(&workers) else {
            return;
        };
        if let (Some(pid), "kill") = (pid_of(worker), what) {
            self.deeds.killed.insert(pid);
        }
        let (seat, generation) = (&worker["worker"], &worker["generation"]);
        self.command(&format!(
            r#""do":"{what}","worker":{seat},"generation":{generation}"#
        ));
    }

    /// Leaves main processes no descriptor for a moment.
    fn take_descriptors(&mut self) {
        self.deeds.was_in_need = true;
        let mains = self.mains();
        for main in &mains {
            let open = main.descriptors().len() as u64;
            main.limit_files(open + self.random.u64(..4));
        }
        self.tell(&format!("no descriptors for {mains:?}"));
        let time = Duration::from_millis(self.random.u64(5..200));
        let session = self.server.process().pid();
        // A command waits until there is one for its connection.
        self.wakers.push(thread::spawn(move || {
            pass(time);
            // Whoever was started meanwhile has inherited the limit, and a fork server passes it on.
            for _ in 0..2 {
                let everything = in_session(session);
                everything.iter().for_each(|it| it.limit_files(u64::MAX));
            }
        }));
    }

    /// Kills the main process, and those of programs that still drain.
    pub(super) fn kill_mains(&mut self) {
        self.deeds.main_is_killed = true;
        // One that is about to take over does so when its parent is gone.
        eventually(Deadline::usual(), "there is no main process", || {
            let mains = self.mains();
            mains.iter().for_each(|main| main.signal(Signal::KILL));
            mains.iter().all(|main| !main.is_alive())
        });
    }

    fn mains(&self) -> Vec<Process> {
        let mut found = self.server.everything();
        found.retain(|process| {
            let stat = process.stat().filter(|stat| stat.state != 'Z');
            stat.is_some_and(|stat| stat.name == "chaos")
        });
        found
    }

    /// Asks the server; null if the one that was asked is gone.
    pub(super) fn ask(&self, request: &str) -> Value {
        ask(&self.socket, request).unwrap_or_default()
    }

    fn tell(&mut self, what: &str) {
        let now = self.begun.elapsed().as_millis();
        self.history.push(format!("{now} {what}"));
    }
}

fn ask(socket: &Path, request: &str) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    let patience = Duration::try_from(Deadline::after(PATIENCE).left());
    stream.set_read_timeout(patience.ok())?;
    stream.write_all(format!("{{\"v\":1,{request}}}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
