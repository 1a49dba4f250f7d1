//! Programs that a test starts, talks to and leaves nothing of.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, getpid, set_child_subreaper};
use tempfile::TempDir;

use super::{Deadline, Process, eventually, in_session};

/// How a fixture is to be started.
#[derive(Debug)]
pub(crate) struct Setup {
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    /// What `tests/fixtures/launch.rs` does before it becomes the program.
    settings: Vec<String>,
    /// Sockets of this process that the first program started gets.
    passed: RefCell<Vec<OwnedFd>>,
    directory: Option<PathBuf>,
    errors: Option<OwnedFd>,
}

impl Setup {
    pub(crate) fn new(program: &str) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            wrapper: Vec::new(),
            settings: Vec::new(),
            passed: RefCell::default(),
            directory: None,
            errors: None,
        }
    }

    /// Appends arguments that are separated by blanks.
    pub(crate) fn args(&mut self, arguments: &str) -> &mut Self {
        let arguments = arguments.split_ascii_whitespace().map(OsString::from);
        self.arguments.extend(arguments);
        self
    }

    pub(crate) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.variables.push((name.into(), value.as_ref().into()));
        self
    }

    /// Has another program start this one, such as `env --ignore-signal=HUP`.
    pub(crate) fn through(&mut self, wrapper: &[&str]) -> &mut Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Sets the soft limit `core` or `nofile`.
    pub(crate) fn limit(&mut self, name: &str, value: u64) -> &mut Self {
        self.settings.push(format!("{name}={value}"));
        self
    }

    /// Sets the soft and the hard limit of open files.
    pub(crate) fn files_max(&mut self, value: u64) -> &mut Self {
        self.settings.push(format!("nofile-hard={value}"));
        self
    }

    /// Has the kernel refuse all titles of processes.
    pub(crate) fn forbid_titles(&mut self) -> &mut Self {
        self.settings.push("titles=no".to_owned());
        self
    }

    /// Passes a socket that listens at `address`, as systemd does: the first is descriptor 3.
    pub(crate) fn listen(&mut self, address: &str) -> &mut Self {
        self.settings.push(format!("listen={address}"));
        self
    }

    /// Passes sockets that this process has, as systemd does, after those of [`listen`](Self::listen).
    ///
    /// Once the program is started, they are open here no more.
    pub(crate) fn pass(&mut self, sockets: Vec<OwnedFd>) -> &mut Self {
        self.passed = sockets.into();
        self
    }

    pub(crate) fn directory(&mut self, directory: impl Into<PathBuf>) -> &mut Self {
        self.directory = Some(directory.into());
        self
    }

    /// Has standard error go elsewhere than where [`Fixture::errors`] looks.
    pub(crate) fn errors_into(&mut self, elsewhere: OwnedFd) -> &mut Self {
        self.errors = Some(elsewhere);
        self
    }

    /// Runs it as another user, which takes root to do.
    pub(crate) fn user(&mut self, id: u32) -> &mut Self {
        self.settings.push(format!("user={id}"));
        self
    }

    /// Starts the program. It is killed when the thread that calls this ends.
    pub(crate) fn start(&self) -> Fixture {
        // What loses its parent comes to this process, which collects it.
        set_child_subreaper(Some(getpid())).expect("a process may be a subreaper");
        let errors = tempfile::tempfile().expect("a temporary file can be made");
        let stderr = match &self.errors {
            Some(elsewhere) => elsewhere.try_clone(),
            None => errors.try_clone().map(OwnedFd::from),
        };
        let stderr = stderr.expect("a file can be duplicated");
        let passed = self.passed.take();
        let passing = (!passed.is_empty()).then(Passing::new);
        let mut command = Command::new(env!("CARGO_BIN_EXE_launch"));
        command
            .args(&self.settings)
            .args(passing.as_ref().map(Passing::setting))
            .arg("--")
            .args(&self.wrapper)
            .arg(&self.program)
            .args(&self.arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn().expect("the fixture can be executed");
        if let Some(passing) = passing {
            passing.pass(&passed);
        }
        Fixture {
            process: Process::find(child.id().cast_signed()).expect("it has not been collected"),
            input: child.stdin.take(),
            output: child.stdout.take().expect("standard output is a pipe"),
            unread: Vec::new(),
            lines: VecDeque::new(),
            errors,
            child,
        }
    }
}

/// By what sockets reach `tests/fixtures/launch.rs`.
struct Passing {
    listener: UnixListener,
    folder: TempDir,
}

impl Passing {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let listener = UnixListener::bind(folder.path().join("pass"));
        Self {
            listener: listener.expect("a socket can be bound"),
            folder,
        }
    }

    fn setting(&self) -> String {
        format!("receive={}", self.folder.path().join("pass").display())
    }

    /// Passes sockets to the program, which has been started.
    fn pass(self, sockets: &[OwnedFd]) {
        let (stream, _) = self.listener.accept().expect("the program connects");
        let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)));
        let sent = sendmsg(
            &stream,
            &[IoSlice::new(b"!")],
            &mut control,
            SendFlags::NOSIGNAL,
        );
        sent.expect("the program takes them");
    }
}

/// A running program; dropping it kills it and all that it started.
#[derive(Debug)]
pub(crate) struct Fixture {
    child: Child,
    process: Process,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Output that is not yet a line.
    unread: Vec<u8>,
    lines: VecDeque<String>,
    errors: File,
}

impl Fixture {
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Sends a line to standard input.
    #[track_caller]
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("standard input is open");
        if let Err(error) = writeln!(input, "{line}") {
            panic!("the fixture does not listen: {error}\n{}", self.errors());
        }
    }

    /// Closes standard input.
    pub(crate) fn hang_up(&mut self) {
        self.input = None;
    }

    /// Waits for the next line of standard output.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.line_where("any line", |_| true)
    }

    /// Waits for the next line that starts with `speaker` and a blank, and returns the rest of it.
    ///
    /// Lines of other speakers are kept for those who ask for them.
    #[track_caller]
    pub(crate) fn line_of(&mut self, speaker: &str) -> String {
        let start = format!("{speaker} ");
        let line = self.line_where(speaker, |line| line.starts_with(&start));
        line[start.len()..].to_owned()
    }

    /// Waits until nobody can write to standard output, and returns the lines not yet taken.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let deadline = Deadline::usual();
        while self.read_more(deadline, "the end of the output") {}
        self.lines.drain(..).collect()
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        if !self.process.ends_by(Deadline::usual()) {
            panic!("the fixture does not end\n{}", self.errors());
        }
        self.child.wait().expect("the fixture is a child")
    }

    /// Returns what was written to standard error so far.
    pub(crate) fn errors(&self) -> String {
        // The program's writes move the position that this process shares.
        let size = self.errors.metadata().map_or(0, |metadata| metadata.len());
        let mut bytes = vec![0; usize::try_from(size).expect("errors fit in memory")];
        let read = self.errors.read_exact_at(&mut bytes, 0);
        read.expect("a temporary file can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Finds the only fork server: one that lives, and no dead one beside it.
    #[track_caller]
    pub(crate) fn fork_server(&self) -> Process {
        let mut found = Vec::new();
        eventually(Deadline::usual(), "there is one fork server", || {
            found = self.process().children();
            // Its name is the last thing that a re-executed one is given.
            found.retain(|child| {
                child
                    .stat()
                    .is_some_and(|stat| stat.name == "hatchery-fork")
            });
            let stat = found.first().and_then(Process::stat);
            found.len() == 1 && stat.is_some_and(|stat| stat.state != 'Z')
        });
        found.remove(0)
    }

    /// Lists the processes that the program started and that are there, the program too.
    pub(crate) fn everything(&self) -> Vec<Process> {
        in_session(self.process.pid())
    }

    /// Whether any of them has ended and was not collected.
    pub(crate) fn has_zombie(&self) -> bool {
        let everything = self.everything();
        let mut states = everything.iter().filter_map(Process::stat);
        states.any(|stat| stat.state == 'Z')
    }

    /// Waits until no process of the program is a zombie.
    #[track_caller]
    pub(crate) fn wait_for_no_zombie(&self) {
        eventually(Deadline::usual(), "no zombie is left", || {
            !self.has_zombie()
        });
    }

    #[track_caller]
    fn line_where(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Deadline::usual();
        loop {
            let place = self.lines.iter().position(|line| wanted(line));
            if let Some(line) = place.and_then(|place| self.lines.remove(place)) {
                return line;
            }
            if !self.read_more(deadline, what) {
                panic!("the output ends without {what}\n{}", self.errors());
            }
        }
    }

    /// Waits for more output, and tells whether there will be any.
    #[track_caller]
    fn read_more(&mut self, deadline: Deadline, what: &str) -> bool {
        let mut sources = [PollFd::new(&self.output, PollFlags::IN)];
        match poll(&mut sources, Some(&deadline.left())) {
            Ok(0) => panic!("not in time: {what}; {:?}\n{}", self.lines, self.errors()),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return true,
            Err(error) => panic!("the output cannot be waited for: {error}"),
        }
        let mut chunk = [0; 4096];
        let read = rustix::io::read(&self.output, &mut chunk).expect("a pipe can be read");
        self.unread.extend_from_slice(&chunk[..read]);
        while let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            self.lines.push_back(line);
        }
        read > 0
    }

    /// Kills all that is left, and tells whether nothing is.
    fn clear(&mut self) -> bool {
        let left = in_session(self.process.pid());
        for process in &left {
            process.signal(Signal::KILL);
            if process.pid() != self.process.pid() {
                process.reap();
            }
        }
        let _collected_before = self.child.try_wait();
        left.is_empty()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // It may not have a session of its own yet.
        let _ended_before = self.child.kill();
        if !thread::panicking() {
            let nothing_is_left = || self.clear();
            eventually(Deadline::usual(), "nothing is left", nothing_is_left);
            return;
        }
        let deadline = Deadline::usual();
        while !self.clear() && !deadline.has_passed() {
            thread::yield_now();
        }
    }
}
