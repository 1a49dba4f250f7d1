//! A running server as the program controls it.

use std::sync::Arc;

use tokio::sync::broadcast::{self, WeakSender, error::RecvError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::answer::{Accepted, Answer, ServerStatus, Upgraded, WorkerStatus};
use super::error::ControlError;
use super::event::ServerEvent;
use super::request::{Request, Which};
use crate::metrics::{Board, exposition};

/// How many events may be unread before the oldest are lost to whoever is slow.
const EVENTS_UNREAD_MAX: usize = 1024;

/// Something that is asked of the front end, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Result<Answer, ControlError>>,
}

/// The front end's end of all controls.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) orders: UnboundedReceiver<Order>,
    pub(crate) events: broadcast::Sender<ServerEvent>,
    pub(crate) board: Arc<Board>,
}

/// Makes a control and the front end's end of it.
pub(crate) fn channel() -> (Control, Exchange) {
    let (sender, orders) = unbounded_channel();
    let (events, _) = broadcast::channel(EVENTS_UNREAD_MAX);
    let control = Control {
        orders: sender,
        events: events.downgrade(),
        board: Arc::default(),
    };
    let board = Arc::clone(&control.board);
    let exchange = Exchange {
        orders,
        events,
        board,
    };
    (control, exchange)
}

/// A server, to be asked and told from any task of the program.
///
/// What is asked before the server runs is answered once it does. Where a method says that
/// something was begun, [`events`](Self::events) tell of the rest.
///
/// # Examples
///
/// ```no_run
/// use hatchery::{Connection, Server};
///
/// #[hatchery::main]
/// async fn main() -> hatchery::Result<()> {
///     let mut server = Server::builder();
///     let control = server.bind("127.0.0.1:8080").workers(2).control();
///     tokio::spawn(async move {
///         let status = control.status().await?;
///         control.scale(2 * status.ready as u32).await
///     });
///     server.serve(|mut conn: Connection| async move { Ok(conn.write_all(b"hello\n").await?) }).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Control {
    orders: UnboundedSender<Order>,
    events: WeakSender<ServerEvent>,
    board: Arc<Board>,
}

impl Control {
    /// How the server is.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Ended`] if it has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn status(&self) -> Result<ServerStatus, ControlError> {
        match self.ask(Request::Status).await? {
            Answer::Status(status) => Ok(status),
            _ => Err(ControlError::Ended),
        }
    }

    /// How its workers are, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Ended`] if the server has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn workers(&self) -> Result<Vec<WorkerStatus>, ControlError> {
        match self.ask(Request::Workers).await? {
            Answer::Workers(workers) => Ok(workers),
            _ => Err(ControlError::Ended),
        }
    }

    /// Changes how many workers there should be, and returns once that is begun.
    ///
    /// Workers that are too many keep their work until as many others are ready, then finish what
    /// they have. A reload goes back to the configured number.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Count`] for a number that cannot be, [`ControlError::Direct`] where
    /// workers accept for themselves, [`ControlError::Reloading`] while a reload is underway, and
    /// [`ControlError::Stopping`] or [`ControlError::Ended`] if it is too late.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call may have been obeyed.
    pub async fn scale(&self, workers: u32) -> Result<Accepted, ControlError> {
        self.tell(Request::Scale(workers)).await
    }

    /// Reads the configuration again, and returns once workers by it have taken over.
    ///
    /// Sources and flags are those that the configuration was loaded from; what the program set
    /// itself stays. If anything is wrong, or the new workers do not become ready, the server goes
    /// on as it was.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Config`], [`ControlError::NeedsRestart`], [`ControlError::Bind`] or
    /// [`ControlError::Workers`] for what is wrong, [`ControlError::Reloading`] while another reload
    /// is underway, and [`ControlError::Stopping`] or [`ControlError::Ended`] if it is too late.
    ///
    /// # Cancel safety
    ///
    /// A reload that was begun goes on.
    pub async fn reload(&self) -> Result<Accepted, ControlError> {
        self.tell(Request::Reload).await
    }

    /// Has all workers replaced, and returns once that is begun.
    ///
    /// No more than `workers.max_unavailable` are in the middle of it at once, and each works on
    /// until its successor is ready.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Stopping`] or [`ControlError::Ended`] if it is too late.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call may have been obeyed.
    pub async fn recycle_all(&self) -> Result<Accepted, ControlError> {
        self.tell(Request::Recycle(None)).await
    }

    /// Has the worker of this number replaced, and returns once that is begun.
    ///
    /// # Errors
    ///
    /// As [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// A cancelled call may have been obeyed.
    pub async fn recycle(&self, worker: u32) -> Result<Accepted, ControlError> {
        self.tell(Request::Recycle(Some(which(worker)))).await
    }

    /// Gives the worker of this number nothing more from now on, without waiting for a successor.
    ///
    /// It finishes what it has within `workers.drain_timeout`; its successor starts meanwhile.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::UnknownWorker`] if there is no such worker,
    /// [`ControlError::NotReady`] if it is starting or leaves already, and
    /// [`ControlError::Stopping`] or [`ControlError::Ended`] if it is too late.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call may have been obeyed.
    pub async fn drain(&self, worker: u32) -> Result<Accepted, ControlError> {
        self.tell(Request::Drain(which(worker))).await
    }

    /// Kills the worker of this number; what its handlers have in hand is lost.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::UnknownWorker`] if there is no such worker, and
    /// [`ControlError::Ended`] if there is no server any more.
    ///
    /// # Cancel safety
    ///
    /// A cancelled call may have been obeyed.
    pub async fn kill(&self, worker: u32) -> Result<Accepted, ControlError> {
        self.tell(Request::Kill(which(worker))).await
    }

    /// Starts the file of this program anew, and returns once that has taken over.
    ///
    /// The new program has the same arguments and environment, and shares all listeners, so nobody is
    /// refused meanwhile. Once all its workers are ready this server stops as after `SIGTERM`: it finishes
    /// what it has. If the new program ends, is not ready within `server.upgrade_timeout` or cannot be
    /// executed, it is killed, and this one goes on as it was.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Upgrade`] with why the new program did not take over,
    /// [`ControlError::Upgrading`] while another upgrade is underway, [`ControlError::Reloading`]
    /// while a reload is, [`ControlError::Starting`] before all workers have been ready, and
    /// [`ControlError::Stopping`] or [`ControlError::Ended`] if it is too late.
    ///
    /// # Cancel safety
    ///
    /// An upgrade that was begun goes on.
    pub async fn upgrade(&self) -> Result<Upgraded, ControlError> {
        match self.ask(Request::Upgrade).await? {
            Answer::Upgraded(upgraded) => Ok(upgraded),
            _ => Err(ControlError::Ended),
        }
    }

    /// The configuration in force, as the `hatchery.toml` that would make it.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Ended`] if the server has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn config(&self) -> Result<String, ControlError> {
        match self.ask(Request::Config).await? {
            Answer::Config(config) => Ok(config),
            _ => Err(ControlError::Ended),
        }
    }

    /// All that is counted in the server and its workers, in the text format of Prometheus.
    ///
    /// With the feature `metrics` that includes what the program counts through the facade of this
    /// name, in any worker and in this process: counters, histograms and gauges are summed over all.
    ///
    /// # Errors
    ///
    /// Returns [`ControlError::Ended`] if the server has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn metrics(&self) -> Result<String, ControlError> {
        let status = self.status().await?;
        let workers = self.workers().await?;
        Ok(exposition(&self.board.look(), &status, &workers))
    }

    /// All that happens from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        let sender = self.events.upgrade();
        Events {
            receiver: sender.map(|sender| sender.subscribe()),
        }
    }

    /// What the server counts.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    async fn tell(&self, request: Request) -> Result<Accepted, ControlError> {
        match self.ask(request).await? {
            Answer::Accepted(accepted) => Ok(accepted),
            _ => Err(ControlError::Ended),
        }
    }

    /// Asks the front end, and adds what it does not look up itself.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, ControlError> {
        let (answer, answered) = oneshot::channel();
        let order = Order { request, answer };
        self.orders.send(order).map_err(|_| ControlError::Ended)?;
        let answer = answered.await.map_err(|_| ControlError::Ended)??;
        let Answer::Workers(mut workers) = answer else {
            return Ok(answer);
        };
        // A file for each worker: not in the thread that accepts.
        let weighed = tokio::task::spawn_blocking(move || {
            for worker in &mut workers {
                worker.memory_bytes = worker.pid.and_then(crate::front_end::resident_bytes);
            }
            workers
        });
        let weighed = weighed.await.map_err(|_| ControlError::Ended)?;
        Ok(Answer::Workers(weighed))
    }
}

fn which(worker: u32) -> Which {
    Which {
        worker,
        generation: None,
    }
}

/// What happens to a server, in order.
#[derive(Debug)]
pub struct Events {
    receiver: Option<broadcast::Receiver<ServerEvent>>,
}

impl Events {
    /// Waits for the next event; `None` once the server has ended.
    ///
    /// The server does not wait for whoever is slow: then [`ServerEvent::Missed`] says how many
    /// events are lost.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        match self.receiver.as_mut()?.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(events)) => Some(ServerEvent::Missed { events }),
            Err(RecvError::Closed) => None,
        }
    }
}
