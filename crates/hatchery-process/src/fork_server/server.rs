//! The fork server's own side: fork, reap, report, and end when the main process does.
//!
//! It has one thread and no runtime. It learns of every event by one epoll: orders, the end of
//! the main process, the end of a child. What its children leave behind becomes its own, and is
//! collected with them.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use hatchery_os::{
    Ended, Entry, Fork, Order, OrderError, OrderQueue, RecvError, Start, close, fork,
    peek_any_ended, reset_signals,
};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::epoll;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process, kill_process_group,
    pidfd_open, set_child_subreaper, set_parent_process_death_signal, setpgid, waitpid,
};

use super::child::{ChildTask, NOT_SET_UP};
use super::{Kind, Report, Request, panic_text, remember_preload};
use crate::{identity, parcel, title};

/// The most of a reason that is reported; the other side has room for little more.
const REASON_BYTES_MAX: usize = 2048;

/// How many milliseconds a thread that was joined may still be counted.
const THREAD_LOOKS: u32 = 100;

/// Variables by which systemd speaks to the main process alone.
const FOR_MAIN: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// The epoll token of the order queue.
const ORDERS: u64 = 0;

/// The epoll token of the main process.
const MAIN: u64 = 1;

/// The epoll token of the signal that tells of children that ended.
const CHILDREN: u64 = 2;

/// Serves orders until the main process is gone.
pub(super) fn run(queue: OrderQueue) -> u8 {
    identity::reset();
    // At worst, where it has another thread, its children could say what they should not.
    let _stay = hatchery_os::forget_variables(&FOR_MAIN);
    parcel::prepare_thread();
    let _unnamed = rustix::thread::set_name(c"hatchery-fork");
    // It may have been forked from a process with a title of its own.
    title::show_fork_server();
    // A signal sent to the main process's group, such as the terminal's Ctrl-C, is not for us.
    let _already_leader = setpgid(None, None);
    let served = fresh_signals()
        .and_then(|()| Server::new(queue))
        .and_then(Server::serve);
    match served {
        Ok(()) => 0,
        Err(_main_is_gone) => NOT_SET_UP,
    }
}

struct Server {
    queue: OrderQueue,
    /// Watched for the end of the main process; closed, it would no longer be.
    main: OwnedFd,
    main_pid: Pid,
    own_pid: Pid,
    epoll: OwnedFd,
    child_signal: SignalFd,
    /// Where to report the end of each child that has not been collected. Nobody else collects it, so
    /// its id is its own for as long.
    children: HashMap<Pid, OwnedFd>,
}

/// What a child has of the fork server's memory and does not give back: each page that it touches is
/// copied for it.
struct Left {
    _buffer: Vec<u8>,
    _children: HashMap<Pid, OwnedFd>,
}

/// What an event leads to.
enum Next {
    /// This is the fork server, and it goes on.
    Serve,
    /// The main process is gone.
    End,
    /// This is a child that was just forked.
    BeChild(ChildTask, Kind),
}

impl Server {
    fn new(queue: OrderQueue) -> io::Result<Self> {
        let main_pid = getppid().ok_or(io::ErrorKind::NotFound)?;
        let main = pidfd_open(main_pid, PidfdFlags::empty())?;
        if getppid() != Some(main_pid) {
            // The main process ended in between, and the descriptor may name another.
            return Err(io::ErrorKind::NotFound.into());
        }
        let own_pid = getpid();
        set_child_subreaper(Some(own_pid))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let child_signal = SignalFd::with_flags(&child_signals(), flags)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, queue.as_fd(), ORDERS)?;
        watch(&epoll, main.as_fd(), MAIN)?;
        watch(&epoll, child_signal.as_fd(), CHILDREN)?;
        Ok(Self {
            queue,
            main,
            main_pid,
            own_pid,
            epoll,
            child_signal,
            children: HashMap::new(),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            // One event at a time, on the stack: the fewer pages are written between two forks, the
            // fewer have to be copied.
            let mut event = [epoll::Event {
                flags: epoll::EventFlags::empty(),
                data: epoll::EventData::new_u64(CHILDREN),
            }];
            rustix::io::retry_on_intr(|| epoll::wait(&self.epoll, &mut event, None))?;
            match self.handle(event[0].data.u64()) {
                Next::Serve => {}
                Next::End => {
                    self.sweep();
                    return Ok(());
                }
                Next::BeChild(task, kind) => self.become_child(task, kind),
            }
        }
    }

    /// Runs a task in the child that was forked for it, in which nothing of the fork server's stays open.
    fn become_child(self, mut task: ChildTask, kind: Kind) -> ! {
        let Self {
            queue,
            main,
            epoll,
            child_signal,
            mut children,
            ..
        } = self;
        close(epoll);
        close(child_signal.into());
        if task.speaks {
            task.start.descriptors.insert(0, main);
        } else {
            close(main);
        }
        if !children.is_empty() {
            children.drain().for_each(|(_, report)| close(report));
        }
        let _left = Left {
            _buffer: queue.close(),
            _children: children,
        };
        match kind {
            Kind::Spawn => task.run_anew(),
            _ => task.run(),
        }
    }

    fn handle(&mut self, token: u64) -> Next {
        match token {
            MAIN => Next::End,
            ORDERS => self.take_order(),
            _ => {
                self.collect();
                Next::Serve
            }
        }
    }

    /// Carries out an order that has arrived.
    fn take_order(&mut self) -> Next {
        match self.queue.recv() {
            Ok(order) => match self.carry_out(order) {
                Some((task, kind)) => Next::BeChild(task, kind),
                None => Next::Serve,
            },
            Err(OrderError::Recv(RecvError::Closed)) => Next::End,
            // There was none, or the sender's report channel closed with the message, which tells it.
            Err(_) => Next::Serve,
        }
    }

    /// Returns a task in a child that was forked for it, and `None` in the fork server.
    fn carry_out(&mut self, order: Order) -> Option<(ChildTask, Kind)> {
        let Order { entry, mut start } = order;
        if start.descriptors.is_empty() {
            return None;
        }
        let report = start.descriptors.remove(0);
        let Ok(request) = postcard::from_bytes::<Request<'_>>(&start.bytes) else {
            fail(&report, "the order cannot be decoded");
            return None;
        };
        // One with a zero in it is none.
        let (kind, name) = (request.kind, CString::new(request.name).unwrap_or_default());
        let speaks = request.speaks;
        start.bytes = request.bytes.to_vec();
        if kind == Kind::Preload {
            preload(entry, start, &report);
            // The signals were made anew, and one that told of an end may have gone with them.
            self.collect();
            return None;
        }
        match fork() {
            Ok(Fork::Child) => {
                identity::reset();
                let task = ChildTask {
                    name,
                    entry,
                    start,
                    report,
                    speaks,
                    parent: self.own_pid,
                    keeper: self.main_pid,
                };
                return Some((task, kind));
            }
            Ok(Fork::Parent(pid)) => {
                self.children.insert(pid, report);
            }
            Err(error) => fail(&report, &error.to_string()),
        }
        None
    }

    /// Collects every process that has ended, and reports those that were ordered.
    ///
    /// An end is reported before it is collected: if this process is killed in between, the status is
    /// known all the same. What was not ordered was left behind by one of them.
    fn collect(&mut self) {
        // One signal may stand for many ends.
        let _told = self.child_signal.read_signal();
        while let Ok(Some(ended)) = peek_any_ended() {
            let Some(pid) = Pid::from_raw(ended.pid) else {
                return;
            };
            if let Some(report) = self.children.remove(&pid) {
                let _unheard = tell(&report, &exited(&ended), &[]);
            }
            if !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_))) {
                return;
            }
        }
    }

    /// Kills every child that is left, with the processes it may have started, and collects it.
    fn sweep(&self) {
        // None is to run on when the first is dead: it would take that for an accident, and say so.
        self.signal_all(Signal::STOP);
        self.signal_all(Signal::KILL);
        for &pid in self.children.keys() {
            // Where nobody collects orphans they would stay as zombies.
            let _status = waitpid(Some(pid), WaitOptions::empty());
        }
    }

    fn signal_all(&self, signal: Signal) {
        for &pid in self.children.keys() {
            let _ended = kill_process_group(pid, signal);
            // It may not lead its group yet, or have left it.
            let _ended = kill_process(pid, signal);
        }
    }
}

fn preload(entry: Entry, start: Start, report: &OwnedFd) {
    // While it runs nobody watches the main process, so the kernel must.
    let _unwatched = set_parent_process_death_signal(Some(Signal::KILL));
    let outcome = catch_unwind(AssertUnwindSafe(|| entry.run(start)));
    let _unwatched = set_parent_process_death_signal(None);
    // What is still buffered would be written by every child.
    let _closed = io::stdout().flush();
    if let Err(panic) = outcome {
        fail(report, &format!("it panicked: {}", panic_text(&*panic)));
        return;
    }
    // A library that was loaded may have changed the signals that children inherit.
    match fresh_signals().and_then(|()| threads_left()) {
        Ok(1) => {
            remember_preload(entry);
            let _unheard = tell(report, &Report::Preloaded, &[]);
        }
        Ok(threads) => fail(
            report,
            &format!("it left the fork server with {threads} threads, and only one may fork"),
        ),
        Err(error) => fail(report, &error.to_string()),
    }
}

/// Counts the threads; one that was joined is still counted for a moment, and nothing tells of its end.
fn threads_left() -> io::Result<usize> {
    for _ in 0..THREAD_LOOKS {
        if hatchery_os::thread_count()? == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    hatchery_os::thread_count()
}

fn exited(ended: &Ended) -> Report {
    Report::Exited {
        status: ended.status,
        usage: ended.usage.into(),
    }
}

pub(super) fn fail(report: &OwnedFd, reason: &str) {
    let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
    let _unheard = tell(report, &Report::Failed { reason }, &[]);
}

pub(super) fn tell(
    report: &OwnedFd,
    message: &Report,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = message.encode();
    match hatchery_os::send(report, &[IoSlice::new(&bytes)], descriptors) {
        // Whoever asked has gone since; then nobody wants to know.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

fn watch(epoll: &OwnedFd, source: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(token);
    epoll::add(epoll, source, data, epoll::EventFlags::IN)?;
    Ok(())
}

/// Gives this process the signals that its children are to have, and keeps back the one that
/// tells of their end.
fn fresh_signals() -> io::Result<()> {
    reset_signals()?;
    child_signals().thread_block()?;
    Ok(())
}

fn child_signals() -> SigSet {
    let mut signals = SigSet::empty();
    signals.add(NixSignal::SIGCHLD);
    signals
}
