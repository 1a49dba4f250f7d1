//! The sockets of the admin listener, and the task that serves them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::{Desk, talk};
use crate::config::BindAddress;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::front_end::{AcceptOutcome, Listener, accept};
use crate::server::Plan;
use crate::watch::watch;

/// How many may be connected at once.
const CLIENTS_MAX: usize = 64;

/// How long to wait after an accept that failed: for want of a descriptor, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// The admin listener, and the task that serves it; both end with this.
#[derive(Debug, Default)]
pub(crate) struct AdminSocket {
    listener: Option<Listener>,
    task: Option<AbortHandle>,
}

impl AdminSocket {
    /// Opens the listener, if there is to be one.
    pub(crate) fn open(plan: &Plan, control: Control) -> Result<Self> {
        let Some(address) = &plan.config.admin.bind else {
            return Ok(Self::default());
        };
        let listener = Listener::admin(address, plan.origin("admin.bind"))?;
        let mut opened = Self::taken_over(listener);
        opened.serve(control)?;
        Ok(opened)
    }

    /// Has a listener that another program still serves.
    pub(crate) fn taken_over(listener: Listener) -> Self {
        Self {
            listener: Some(listener),
            task: None,
        }
    }

    /// Serves the listener from now on.
    pub(crate) fn serve(&mut self, control: Control) -> Result<()> {
        let Some(listener) = &self.listener else {
            return Ok(());
        };
        let socket = listener.try_clone().and_then(watch);
        let socket = socket.map_err(Error::os("the admin listener cannot be watched"))?;
        let desk = Desk {
            control,
            is_tcp: matches!(listener.configured(), Some(BindAddress::Tcp(_))),
        };
        let task = tokio::spawn(serve(socket, Arc::new(desk)));
        self.task = Some(task.abort_handle());
        Ok(())
    }

    pub(crate) fn listener(&mut self) -> Option<&mut Listener> {
        self.listener.as_mut()
    }

    /// Where it listens, if it does.
    pub(crate) fn address(&self) -> Option<String> {
        let listener = self.listener.as_ref()?;
        Some(listener.address().to_owned())
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Serves the listener for as long as the server runs.
async fn serve(listener: AsyncFd<OwnedFd>, desk: Arc<Desk>) {
    let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else {
            return;
        };
        let Ok(mut guard) = listener.readable().await else {
            return;
        };
        let socket = match accept(guard.get_inner().as_fd(), SocketFlags::NONBLOCK) {
            Ok(AcceptOutcome::Connection(socket, _)) => socket,
            Ok(AcceptOutcome::None) => {
                guard.clear_ready();
                continue;
            }
            Ok(AcceptOutcome::Gone) => continue,
            Ok(AcceptOutcome::NoRoom(error)) | Err(error) => {
                tracing::warn!(%error, "the admin listener accepts nothing for a moment");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // A Unix socket is read and written by the same system calls.
        let Ok(stream) = TcpStream::from_std(std::net::TcpStream::from(socket)) else {
            continue;
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            // A client that hangs up is no news.
            let _hung_up = talk(stream, desk).await;
            drop(permit);
        });
    }
}
