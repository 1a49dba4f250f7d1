//! The sockets of the admin listener, and the task that serves them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SocketFlags;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Desk, talk};
use crate::config::BindAddress;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::front_end::{AcceptOutcome, Listener, Served, accept};
use crate::server::Plan;
use crate::watch::watch;

/// How many may be connected at once.
const CLIENTS_MAX: usize = 64;

/// How long to wait after an accept that failed: for want of a descriptor, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the admin listener, if there is to be one.
pub(crate) fn open_admin(plan: &Plan, control: Control) -> Result<Served> {
    let Some(address) = &plan.config.admin.bind else {
        return Ok(Served::default());
    };
    let listener = Listener::admin(address, plan.origin("admin.bind"))?;
    let mut opened = Served::new(listener);
    serve_admin(&mut opened, control)?;
    Ok(opened)
}

/// Serves the admin listener from now on.
pub(crate) fn serve_admin(admin: &mut Served, control: Control) -> Result<()> {
    let Some(listener) = admin.listener() else {
        return Ok(());
    };
    let socket = listener.try_clone().and_then(watch);
    let socket = socket.map_err(Error::os("the admin listener cannot be watched"))?;
    let desk = Desk {
        control,
        is_tcp: matches!(listener.configured(), Some(BindAddress::Tcp(_))),
    };
    admin.begin(serve(socket, Arc::new(desk)));
    Ok(())
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
