//! Setting a worker up from what it was started with.

use std::any::{Any, type_name};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hatchery_process::{Entry, LedgerWriter, Start, WorkerLink};
use rustix::process::{Resource, getrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clocks::Clocks;
use super::context::{Context, STATE};
use super::title::Title;
use crate::config::{LogConfig, LogFormat};
use crate::error::HandlerResult;
use crate::metrics::Page;

/// Descriptors that a worker keeps for other things than connections: its runtime, its log, and
/// whatever its handlers open.
const RESERVED_DESCRIPTORS: u64 = 24;

/// The exit code by which an entry says that its function failed.
const REFUSED: u8 = 1;

/// Why the function that was run last failed. It crosses from an [`Entry`], which returns no
/// more than an exit code, to its caller in the same thread.
static REFUSAL: Mutex<Option<String>> = Mutex::new(None);

/// What a worker is told when it starts; channel, ledger, bell, page and listeners come as descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkerStart {
    pub(crate) seat: u32,
    pub(crate) generation: u32,
    /// How many connections its ledger has room for.
    pub(crate) slots: u32,
    /// Whether it accepts for itself, from listeners of its own.
    pub(crate) is_direct: bool,
    /// Whether it does not begin before the last descriptor can be read.
    pub(crate) is_gated: bool,
    /// How many connections it may have then.
    pub(crate) direct_share: u32,
    /// Whether it is scheduled as batch work.
    pub(crate) is_batch: bool,
    /// Whether `ps` shows which worker it is.
    pub(crate) has_title: bool,
    /// Whether it logs in JSON.
    pub(crate) logs_json: bool,
    /// Whether it logs each connection that is over.
    pub(crate) logs_access: bool,
    /// Whether the first function is the program's hook.
    pub(crate) has_start_hook: bool,
    /// Whether the next one is told of soft deadlines.
    pub(crate) has_soft_hook: bool,
    /// How long a handler may have a connection until that is told, and until its worker is killed.
    pub(crate) deadlines: (Duration, Duration),
    /// The program's state; the last function installs it.
    pub(crate) state: Option<Vec<u8>>,
}

impl WorkerStart {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("it holds nothing that cannot be serialised")
    }
}

/// Makes an entry of the program's hook.
pub(crate) fn start_hook<F>(hook: F) -> Entry
where
    F: Fn() -> HandlerResult + Copy + Send + Sync + 'static,
{
    Entry::new(move |_: Start| match hook() {
        Ok(()) => 0,
        Err(error) => refuse(error.to_string()),
    })
}

/// Makes an entry that installs a state of this type.
pub(crate) fn state_installer<T>() -> Entry
where
    T: Any + DeserializeOwned + Send + Sync,
{
    Entry::new(
        |start: Start| match postcard::from_bytes::<T>(&start.bytes) {
            Ok(state) => {
                let installed = STATE.set(Box::new(state));
                assert!(installed.is_ok(), "a worker is set up once");
                0
            }
            Err(error) => refuse(format!(
                "the state cannot be decoded as {}: {error}",
                type_name::<T>()
            )),
        },
    )
}

/// Sets this process up as a worker; `None` if it cannot be one.
///
/// The front end is told why, unless what it sent cannot even be read.
pub(super) fn set_up(start: Start) -> Option<&'static Context> {
    let told: WorkerStart = postcard::from_bytes(&start.bytes).ok()?;
    let mut descriptors = start.descriptors.into_iter();
    let (channel, memory) = (descriptors.next()?, descriptors.next()?);
    let bell = descriptors.next()?;
    // One a process, and all that it counts refers to it.
    let page: &Page = Box::leak(Box::new(Page::map(descriptors.next()?).ok()?));
    #[cfg(feature = "metrics")]
    crate::metrics::install(page);
    let ledger = LedgerWriter::map(memory, told.slots).ok()?;
    let link = WorkerLink::new(channel, ledger);
    let log = LogConfig {
        access: told.logs_access,
        format: if told.logs_json {
            LogFormat::Json
        } else {
            LogFormat::Human
        },
    };
    let mut context = Context::new(link, page, (told.seat, told.generation));
    // Before the program's hook, which may start threads.
    if told.has_title {
        context.title = Title::claim(told.seat);
    }
    context.bell = Mutex::new(Some(bell));
    let mut listeners: Vec<_> = descriptors.collect();
    if told.is_gated {
        context.gate = Mutex::new(listeners.pop());
    }
    context.listeners = Mutex::new(listeners);
    context.is_direct = told.is_direct;
    context.is_batch = told.is_batch;
    context.logs_access = told.logs_access;
    context.room = room_for_connections();
    context.direct_share = told.direct_share.min(context.room);
    let mut functions = start.functions.into_iter();
    let hook = if told.has_start_hook {
        functions.next()
    } else {
        None
    };
    let soft_hook = if told.has_soft_hook {
        functions.next()
    } else {
        None
    };
    context.clocks = Clocks::new(told.deadlines.0, told.deadlines.1, soft_hook);
    let install = told.state.map(|bytes| Start {
        bytes,
        ..Start::default()
    });
    let outcome =
        run_entry(hook, Some(Start::default())).and_then(|()| run_entry(functions.next(), install));
    // One a process, and every connection refers to it. Also one that fails keeps its channel until
    // it has ended: the front end kills whoever hangs up, and would hide how it ended.
    let context: &Context = Box::leak(Box::new(context));
    let outcome = outcome.and_then(|()| {
        let watched = context.watch_clocks();
        watched.map_err(|error| format!("its clocks cannot be watched: {error}"))
    });
    if let Err(reason) = outcome {
        context.fail(&reason);
        return None;
    }
    context.install();
    crate::log::install_default(&log);
    context.title.log_refusal();
    Some(context)
}

/// Runs a function that was passed to this worker, if there is one.
fn run_entry(entry: Option<Entry>, start: Option<Start>) -> Result<(), String> {
    let (Some(entry), Some(start)) = (entry, start) else {
        return Ok(());
    };
    if entry.run(start) == 0 {
        return Ok(());
    }
    let refusal = REFUSAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    Err(refusal.unwrap_or_else(|| "it gave no reason".to_owned()))
}

fn refuse(reason: String) -> u8 {
    *REFUSAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    REFUSED
}

/// How many connections the descriptor table has room for.
fn room_for_connections() -> u32 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = limit.saturating_sub(RESERVED_DESCRIPTORS);
    u32::try_from(room).unwrap_or(u32::MAX)
}
