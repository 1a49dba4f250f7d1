//! A server under load, and what came of it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::Client;
use super::cpu::{CpuError, ProcessTree};
use super::load::Load;
use super::pace::{Metronome, Pace, Score};
use super::stream::{Address, Dialer};
use super::tally::{SharedTally, Tally};

/// How many connections are opened at once before the load starts.
const OPENING_MAX: usize = 32;
/// How many idle connections are tried at once at the end.
const VERIFYING_MAX: usize = 256;
/// How long the server gets to close the last connections, which is work that counts.
const SETTLE_TIME: Duration = Duration::from_millis(20);

/// A server that runs.
#[derive(Debug)]
pub(super) struct Target {
    dialer: Arc<Dialer>,
    processes: Option<ProcessTree>,
}

impl Target {
    /// Returns the server at `address`, whose main process is `pid` if that is known.
    pub(super) fn new(address: Address, pid: Option<u32>) -> Self {
        Self {
            dialer: Arc::new(Dialer::new(address)),
            processes: pid.map(ProcessTree::new),
        }
    }

    /// Puts `load` on the server and returns what came of it.
    ///
    /// The clients connect before the clock starts. Requests in flight at the end are waited for,
    /// and that time counts.
    ///
    /// # Errors
    ///
    /// Returns [`LoadError::Connect`] if the first connection fails, [`LoadError::NoRoom`] if the
    /// server does not take as many idle connections and one more, [`LoadError::Cpu`] if the
    /// server's processes cannot be read before the load, and [`LoadError::Os`] for a timer.
    ///
    /// # Cancel safety
    ///
    /// The load stops and what was measured is lost.
    pub(super) async fn measure(
        &mut self,
        load: &Load,
        tally: &SharedTally,
        interrupt: &mut Interrupt,
    ) -> Result<Measurement, LoadError> {
        self.probe().await?;
        let mut idle = self.hold_idle(load, tally).await?;
        let mut busy = self.clients(load, 0..load.connections, tally);
        if !load.churn {
            connect(&mut busy).await;
        }
        let idle_opened = idle.iter().filter(|client| client.is_connected()).count();

        let cpu_before = self.cpu_time().transpose()?;
        let start = Instant::now();
        let mut interrupted = tokio::select! {
            outcome = run(load, busy, start) => outcome.map(|()| false)?,
            () = interrupt.requested() => true,
        };
        let mut elapsed = start.elapsed();
        if !interrupted {
            // An open loop's last reply may come before its last interval is over.
            elapsed = elapsed.max(load.duration);
        }
        tokio::time::sleep(SETTLE_TIME).await;
        // A server that died under the load has no figure; its failures tell the rest.
        let cpu_after = self.cpu_time().and_then(Result::ok);

        let operations = tally.lock().operations();
        let idle_alive = tokio::select! {
            alive = verify(&mut idle) => alive,
            () = interrupt.requested() => {
                interrupted = true;
                0
            }
        };
        Ok(Measurement {
            elapsed,
            operations,
            tally: tally.lock().clone(),
            cpu: cpu_after
                .zip(cpu_before)
                .map(|(after, before)| after.saturating_sub(before)),
            idle_opened,
            idle_alive,
            interrupted,
        })
    }

    /// Connects once, so that a server that is not there is an error and not a table of zeroes.
    async fn probe(&self) -> Result<(), LoadError> {
        match self.dialer.dial().await {
            Ok(_) => Ok(()),
            Err(source) => Err(LoadError::Connect {
                address: self.dialer.address().clone(),
                source,
            }),
        }
    }

    /// Opens the idle connections, and sees that another one is still served.
    ///
    /// Whoever has no room may have the kernel open connections that nobody will ever serve.
    async fn hold_idle(&self, load: &Load, tally: &SharedTally) -> Result<Vec<Client>, LoadError> {
        let numbers = load.connections..load.clients();
        let idle_load = load.of_idle();
        let mut idle = self.clients(&idle_load, numbers, tally);
        if idle.is_empty() {
            return Ok(idle);
        }
        let opening = stream::iter(&mut idle).map(async |client| {
            client.connect().await;
            client.is_connected()
        });
        // The first that fails ends it: those after it would only take as long.
        let opened = opening.buffer_unordered(OPENING_MAX);
        let is_open = opened.all(std::future::ready).await;
        let mut probe = Client::new(
            load.clients(),
            &idle_load,
            &self.dialer,
            &SharedTally::new(),
        );
        if is_open && probe.request().await {
            return Ok(idle);
        }
        Err(LoadError::NoRoom {
            address: self.dialer.address().clone(),
            asked: load.idle,
            opened: idle.iter().filter(|client| client.is_connected()).count(),
            timeout: load.timeout,
        })
    }

    fn clients(&self, load: &Load, numbers: Range<u32>, tally: &SharedTally) -> Vec<Client> {
        numbers
            .map(|number| Client::new(number, load, &self.dialer, tally))
            .collect()
    }

    fn cpu_time(&mut self) -> Option<Result<Duration, CpuError>> {
        self.processes.as_mut().map(ProcessTree::cpu_time)
    }
}

/// What came of a load.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    /// How long it took.
    pub(super) elapsed: Duration,
    /// How many requests were answered.
    pub(super) operations: u64,
    /// The latencies, and the failures of idle connections too.
    pub(super) tally: Tally,
    /// What the server's processes used, if that is known.
    pub(super) cpu: Option<Duration>,
    /// How many idle connections there were.
    pub(super) idle_opened: usize,
    /// How many of them answered at the end.
    pub(super) idle_alive: usize,
    /// Whether the user stopped it early.
    pub(super) interrupted: bool,
}

/// Why a load could not be put on a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LoadError {
    /// Nobody answers there.
    #[error("cannot connect to {address}")]
    Connect { address: Address, source: io::Error },
    /// It does not take so many connections.
    #[error(
        "{address} has no room for {asked} idle connections: {opened} were opened, and the next \
         was not served within {timeout:?}"
    )]
    NoRoom {
        address: Address,
        asked: u32,
        opened: usize,
        timeout: Duration,
    },
    /// The server's processes cannot be read.
    #[error("cannot account for the server's CPU time")]
    Cpu(#[from] CpuError),
    /// The system refused something else.
    #[error("the system refused")]
    Os(#[from] io::Error),
}

/// Ctrl-C, which ends the measuring and not the program.
#[derive(Debug)]
pub(super) struct Interrupt(Signal);

impl Interrupt {
    /// Takes the signal over from the system.
    ///
    /// # Errors
    ///
    /// Returns the error of `sigaction(2)`.
    pub(super) fn new() -> io::Result<Self> {
        signal(SignalKind::interrupt()).map(Self)
    }

    async fn requested(&mut self) {
        // The stream of signals never ends.
        let _ = self.0.recv().await;
    }
}

async fn connect(clients: &mut [Client]) {
    stream::iter(clients)
        .for_each_concurrent(OPENING_MAX, Client::connect)
        .await;
}

/// Runs the clients, each as a task, until all are done.
async fn run(load: &Load, clients: Vec<Client>, start: Instant) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    let Some(rate) = load.rate else {
        let until = start + load.duration;
        for client in clients {
            tasks.spawn(client.run(Pace::Closed { until }));
        }
        tasks.join_all().await;
        return Ok(());
    };
    let score = Score::new(start, rate, load.duration);
    let metronome = Metronome::new(score, clients.len());
    for (index, client) in clients.into_iter().enumerate() {
        tasks.spawn(client.run(Pace::Open(metronome.turns(index))));
    }
    metronome.beat().await?;
    tasks.join_all().await;
    Ok(())
}

/// Sends one message over each idle connection and returns how many came back right.
async fn verify(clients: &mut [Client]) -> usize {
    stream::iter(clients.iter_mut().filter(|client| client.is_connected()))
        .map(Client::request)
        .buffer_unordered(VERIFYING_MAX)
        .filter(|&alive| std::future::ready(alive))
        .count()
        .await
}
