//! A process's side of a manager: its connections, and calls over them.

use std::collections::HashMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::address::Address;
use super::connection::Connection;
use super::error::ManagerError;
use super::handshake::Authkey;
use super::protocol::{ObjectId, Operation, Reply, Request, Spec};

/// How many connections wait for their next use.
const IDLE_MAX: usize = 16;

/// How long a manager may take to say that it no longer owes an answer.
const CANCEL_TIMEOUT: Duration = Duration::from_millis(5);

/// How long a guard that is dropped waits to hear that it was heard.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// The managers that this process talks to.
static CLIENTS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// The keys that this process knows.
static AUTHKEYS: Mutex<Keys> = Mutex::new(Keys {
    usual: None,
    by_address: None,
});

/// A manager as any process sees it: where it is, and how to make objects.
///
/// It can be cloned, and sent to other processes like the proxies, which each hold one. Its
/// connections are this process's own: a process that receives it connects anew.
#[derive(Clone)]
pub struct ManagerClient {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    idle: Mutex<Idle>,
}

/// Connections that nobody uses, and the process whose they are.
#[derive(Default)]
struct Idle {
    pid: u32,
    connections: Vec<Connection>,
}

struct Keys {
    usual: Option<Authkey>,
    by_address: Option<HashMap<Address, Authkey>>,
}

impl ManagerClient {
    /// Finds the manager that listens at a TCP address, by its authkey.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::Os`] if the address is none, [`ManagerError::ManagerLost`] if
    /// nobody listens there, [`ManagerError::Rejected`] if the key is another, and otherwise what
    /// is wrong with the manager.
    pub fn connect(address: impl ToSocketAddrs, authkey: &[u8]) -> Result<Self, ManagerError> {
        let mut addresses = address.to_socket_addrs().map_err(ManagerError::Os)?;
        let none = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        let address = addresses.next().ok_or(ManagerError::Os(none))?;
        let (address, key) = (Address::Tcp(address), Authkey(authkey.to_vec()));
        // Only a key that was accepted takes the place of one that may be right.
        let connection = Connection::open(&address, Some(&key))?;
        let client = Self::at(address);
        client.learn(key);
        client.put_back(connection);
        Ok(client)
    }

    /// Gives this process the authkey for the managers on TCP whose proxies it receives.
    ///
    /// Proxies do not carry the key. The program that started the manager has it already; a process
    /// that receives a proxy has to be told, once, before it uses the proxy.
    pub fn provide_authkey(authkey: &[u8]) {
        lock(&AUTHKEYS).usual = Some(Authkey(authkey.to_vec()));
    }

    /// The TCP address, if the manager listens on one.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self.shared.address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        }
    }

    /// Asks the manager for a sign of life.
    ///
    /// # Errors
    ///
    /// Returns [`ManagerError::ManagerLost`] if it is gone, and otherwise what is wrong with it.
    pub fn ping(&self) -> Result<(), ManagerError> {
        done(&self.call(&Request::Ping)?)
    }

    /// As [`ManagerClient::ping`], without blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`ManagerClient::ping`].
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    pub async fn ping_async(&self) -> Result<(), ManagerError> {
        done(&self.call_async(&Request::Ping).await?)
    }

    /// Finds the one client of this process for `address`, or makes it.
    pub(super) fn at(address: Address) -> Self {
        let mut clients = lock(&CLIENTS);
        clients.retain(|client| client.strong_count() > 0);
        let mut known = clients.iter().filter_map(Weak::upgrade);
        if let Some(shared) = known.find(|shared| shared.address == address) {
            return Self { shared };
        }
        let shared = Arc::new(Shared {
            address,
            idle: Mutex::default(),
        });
        clients.push(Arc::downgrade(&shared));
        Self { shared }
    }

    /// Notes the key of this manager.
    pub(super) fn learn(&self, key: Authkey) {
        let mut keys = lock(&AUTHKEYS);
        let by_address = keys.by_address.get_or_insert_default();
        by_address.insert(self.shared.address.clone(), key);
    }

    pub(super) fn make(&self, name: Option<String>, spec: Spec) -> Result<Handle, ManagerError> {
        let reply = self.call(&Request::Create { name, spec })?;
        self.handle(&reply)
    }

    pub(super) async fn make_async(
        &self,
        name: Option<String>,
        spec: Spec,
    ) -> Result<Handle, ManagerError> {
        let reply = self.call_async(&Request::Create { name, spec }).await?;
        self.handle(&reply)
    }

    fn handle(&self, reply: &Reply) -> Result<Handle, ManagerError> {
        let Reply::Created(id) = *reply else {
            return Err(ManagerError::Protocol);
        };
        let client = self.clone();
        Ok(Handle { client, id })
    }

    fn call(&self, request: &Request) -> Result<Reply, ManagerError> {
        let mut connection = self.take()?;
        let reply = connection.exchange(request, None)?;
        self.put_back(connection);
        accepted(reply.expect("there was no deadline"))
    }

    async fn call_async(&self, request: &Request) -> Result<Reply, ManagerError> {
        let mut connection = self.take_async().await?;
        let reply = connection.exchange_async(request).await?;
        self.put_back(connection);
        accepted(reply)
    }

    /// Takes a connection that nobody else uses.
    fn take(&self) -> Result<Connection, ManagerError> {
        match self.take_idle() {
            Some(connection) => Ok(connection),
            None => self.open(),
        }
    }

    async fn take_async(&self) -> Result<Connection, ManagerError> {
        if let Some(connection) = self.take_idle() {
            return Ok(connection);
        }
        let client = self.clone();
        let opened = tokio::task::spawn_blocking(move || client.open()).await;
        // The runtime is ending, and with it whoever waits.
        opened.unwrap_or(Err(ManagerError::Unresponsive))
    }

    fn open(&self) -> Result<Connection, ManagerError> {
        let address = &self.shared.address;
        let key = {
            let keys = lock(&AUTHKEYS);
            let own = keys.by_address.as_ref().and_then(|keys| keys.get(address));
            own.or(keys.usual.as_ref()).cloned()
        };
        Connection::open(address, key.as_ref())
    }

    fn take_idle(&self) -> Option<Connection> {
        loop {
            let connection = self.idle().connections.pop()?;
            // The manager may have been restarted since.
            if connection.is_fit() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next call.
    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if !connection.is_busy() && idle.connections.len() < IDLE_MAX {
            idle.connections.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        let mut idle = lock(&self.shared.idle);
        let pid = std::process::id();
        if idle.pid != pid {
            // Whatever is there belongs to the process of which this is a copy.
            idle.connections.clear();
            idle.pid = pid;
        }
        idle
    }
}

impl fmt::Debug for ManagerClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ManagerClient({})", self.shared.address)
    }
}

impl Serialize for ManagerClient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shared.address.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ManagerClient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Address::deserialize(deserializer).map(Self::at)
    }
}

/// An object of a manager, of whatever kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Handle {
    client: ManagerClient,
    id: ObjectId,
}

impl Handle {
    pub(super) fn client(&self) -> &ManagerClient {
        &self.client
    }

    /// Has the manager do something that is done at once.
    pub(super) fn call(&self, operation: Operation) -> Result<Reply, ManagerError> {
        self.client.call(&Request::Call(self.id, operation))
    }

    pub(super) async fn call_async(&self, operation: Operation) -> Result<Reply, ManagerError> {
        let request = Request::Call(self.id, operation);
        self.client.call_async(&request).await
    }

    /// Asks for something on a connection of its own, and waits until the deadline.
    ///
    /// When the time is up, the manager is told, and its last word counts. If it does not have one,
    /// the answer is `None`.
    pub(super) fn ask(
        &self,
        operation: Operation,
        deadline: Option<Instant>,
    ) -> Result<Option<Asked>, ManagerError> {
        let mut connection = self.client.take()?;
        let request = Request::Call(self.id, operation);
        let mut reply = connection.exchange(&request, deadline)?;
        if reply.is_none() && connection.tell(&Request::Cancel) {
            reply = connection.wait(Some(Instant::now() + CANCEL_TIMEOUT))?;
        }
        Ok(reply.map(|reply| self.asked(connection, reply)))
    }

    /// As [`Handle::ask`], for as long as it takes.
    pub(super) async fn ask_async(&self, operation: Operation) -> Result<Asked, ManagerError> {
        let mut connection = self.client.take_async().await?;
        let request = Request::Call(self.id, operation);
        let reply = connection.exchange_async(&request).await?;
        Ok(self.asked(connection, reply))
    }

    fn asked(&self, connection: Connection, reply: Reply) -> Asked {
        let held = Line {
            handle: self.clone(),
            connection: Some(connection),
        };
        Asked { held, reply }
    }
}

/// An answer, and the connection on which it came: what was given belongs to the connection.
#[derive(Debug)]
pub(super) struct Asked {
    held: Line,
    pub(super) reply: Reply,
}

impl Asked {
    /// Returns the answer, which gave nothing that has to be given back.
    pub(super) fn into_reply(self) -> Result<Reply, ManagerError> {
        accepted(self.reply)
    }

    /// Says that what came has arrived, without waiting; returns the answer.
    pub(super) fn confirm(mut self, operation: Operation) -> Result<Reply, ManagerError> {
        self.held.tell(operation);
        accepted(self.reply)
    }

    /// Keeps the connection, and whatever was given, as long as the result.
    pub(super) fn hold(self, release: Operation, is_async: bool) -> (Held, Reply) {
        let held = Held {
            line: self.held,
            release: Some(release),
            is_async,
        };
        (held, self.reply)
    }
}

/// A connection that goes back when it is dropped, unless an answer is owed on it.
#[derive(Debug)]
struct Line {
    handle: Handle,
    connection: Option<Connection>,
}

impl Line {
    fn tell(&mut self, operation: Operation) {
        let request = Request::Tell(self.handle.id, operation);
        let is_told = self.connection.as_mut().map(|line| line.tell(&request));
        if is_told != Some(true) {
            // Closing it says the same, or all is lost anyway.
            self.connection = None;
        }
    }

    /// The connection, unless nothing can be said on it; then what it held is given back.
    fn connection(&mut self) -> Result<&mut Connection, ManagerError> {
        self.connection.take_if(|connection| !connection.is_whole());
        self.connection.as_mut().ok_or(ManagerError::NotHeld)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.handle.client.put_back(connection);
        }
    }
}

/// Something of an object that is this process's until it is given back: a lock, a permit, an
/// item. It is given back, too, if the process dies.
#[derive(Debug)]
pub(super) struct Held {
    line: Line,
    /// What gives it back; `None` once that has been said.
    release: Option<Operation>,
    /// Whether it is given back without waiting for the answer.
    is_async: bool,
}

impl Held {
    /// Gives it back in the usual way or by another operation, and waits for the answer.
    pub(super) fn give_back(mut self, by: Option<Operation>) -> Result<(), ManagerError> {
        let release = self.release.take();
        let operation = by.or(release).expect("it is given back once");
        done(&self.call(operation, None)?)
    }

    pub(super) async fn give_back_async(
        mut self,
        by: Option<Operation>,
    ) -> Result<(), ManagerError> {
        let release = self.release.take();
        let operation = by.or(release).expect("it is given back once");
        done(&self.call_async(operation).await?)
    }

    /// Has the manager do something on the connection that holds it.
    ///
    /// When the time is up, the manager is told, and its answer is waited for.
    pub(super) fn call(
        &mut self,
        operation: Operation,
        deadline: Option<Instant>,
    ) -> Result<Reply, ManagerError> {
        let request = Request::Call(self.line.handle.id, operation);
        let connection = self.line.connection()?;
        let mut reply = connection.exchange(&request, deadline)?;
        if reply.is_none() && connection.tell(&Request::Cancel) {
            reply = connection.wait(None)?;
        }
        accepted(reply.ok_or(ManagerError::ManagerLost)?)
    }

    pub(super) async fn call_async(&mut self, operation: Operation) -> Result<Reply, ManagerError> {
        let request = Request::Call(self.line.handle.id, operation);
        let reply = self.line.connection()?.exchange_async(&request).await?;
        accepted(reply)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(release) = self.release.take() else {
            return;
        };
        // With an answer owed, only closing the connection gives it back.
        let is_busy = self
            .line
            .connection
            .as_ref()
            .is_none_or(Connection::is_busy);
        if is_busy {
            self.line.connection = None;
        } else if self.is_async {
            self.line.tell(release);
        } else {
            // Whoever learns from this process that it is free shall find it free.
            let request = Request::Call(self.line.handle.id, release);
            let deadline = Instant::now() + RELEASE_TIMEOUT;
            let heard = self
                .line
                .connection
                .as_mut()
                .map(|connection| connection.exchange(&request, Some(deadline)));
            if !matches!(heard, Some(Ok(Some(_)))) {
                self.line.connection = None;
            }
        }
    }
}

/// Turns a refusal into the error that it is.
pub(super) fn accepted(reply: Reply) -> Result<Reply, ManagerError> {
    match reply {
        Reply::Refused(refusal) => Err(refusal.into()),
        reply => Ok(reply),
    }
}

/// Makes sure that nothing was answered but that it is done.
pub(super) fn done(reply: &Reply) -> Result<(), ManagerError> {
    match reply {
        Reply::Done => Ok(()),
        _ => Err(ManagerError::Protocol),
    }
}

/// The moment at which `timeout` is over; a time too long to be reckoned with is for ever.
pub(super) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one assignment, so a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
