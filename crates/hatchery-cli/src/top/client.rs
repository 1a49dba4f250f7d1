//! Asking the server, over its control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::state::{Sample, Wish};
use crate::ctl::CtlError;

/// How long the server may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a control socket.
#[derive(Debug)]
pub(super) struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    pub(super) fn connect(path: &Path) -> Result<Self, CtlError> {
        let stream = UnixStream::connect(path).map_err(|source| CtlError::Unreachable {
            path: path.to_owned(),
            source,
        })?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(CtlError::Broken)?;
        Ok(Self {
            path: path.to_owned(),
            stream: BufReader::new(stream),
        })
    }

    /// Asks how the server and its workers are.
    pub(super) fn sample(&mut self) -> Result<Sample, CtlError> {
        let status = self.ask(&json!({ "v": 1, "do": "status" }))?;
        let workers = self.ask(&json!({ "v": 1, "do": "workers" }))?;
        Sample::read(&status, &workers).ok_or_else(|| CtlError::Unreadable(status.to_string()))
    }

    /// Tells the server what is wished, over a connection of its own: a reload takes its time.
    pub(super) fn tell(&self, wish: Wish) -> Result<(), CtlError> {
        let mut other = Self::connect(&self.path)?;
        let forever = other.stream.get_ref().set_read_timeout(None);
        forever.map_err(CtlError::Broken)?;
        other.ask(&wish.request()).map(drop)
    }

    /// Another connection to the same socket.
    pub(super) fn again(&self) -> Result<Self, CtlError> {
        Self::connect(&self.path)
    }

    fn ask(&mut self, request: &Value) -> Result<Value, CtlError> {
        let line = format!("{request}\n");
        let sent = self.stream.get_mut().write_all(line.as_bytes());
        let mut answer = String::new();
        let read = self.stream.read_line(&mut answer);
        if read.map_err(lost)? == 0 {
            return Err(CtlError::HungUp);
        }
        sent.map_err(lost)?;
        let unreadable = |_| CtlError::Unreadable(answer.clone());
        let mut answer: Value = serde_json::from_str(&answer).map_err(unreadable)?;
        match &answer["error"]["message"] {
            Value::String(_) if answer["error"]["kind"] == "ended" => Err(CtlError::HungUp),
            Value::String(message) => Err(CtlError::Refused(message.clone())),
            _ => Ok(answer["ok"].take()),
        }
    }
}

/// What an error means: a server that ends with a request unread resets the connection.
fn lost(error: io::Error) -> CtlError {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CtlError::HungUp,
        _ => CtlError::Broken(error),
    }
}
