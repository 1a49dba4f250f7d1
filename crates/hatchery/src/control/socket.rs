//! The control socket: requests and answers as lines of JSON.
//!
//! Only the user that the server runs as, and root, may use it: the file's mode says so, and the
//! kernel is asked who has connected.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::event::ServerEvent;
use super::handle::Control;
use super::request::{Line, VERSION, parse};
use crate::error::with_causes;

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How many may be connected at once.
const CLIENTS_MAX: usize = 64;

/// How long to wait after an accept that failed: for want of a descriptor, mostly.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the control socket for as long as the server runs.
pub(crate) async fn serve(listener: OwnedFd, control: Control) {
    let listener = std::os::unix::net::UnixListener::from(listener);
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the control socket cannot be watched");
            return;
        }
    };
    let clients = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&clients).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let control = control.clone();
                tokio::spawn(async move {
                    // A client that hangs up is no news.
                    let _hung_up = talk(client, control).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket accepts nothing for a moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn talk(client: UnixStream, control: Control) -> io::Result<()> {
    let user = client.peer_cred()?.uid();
    let (input, mut output) = client.into_split();
    if user != 0 && user != geteuid().as_raw() {
        let words = format!("user {user} may not control this server; allowed: its own, or root");
        tracing::warn!(user, "somebody else wanted to control this server");
        return say(&mut output, &refusal("permission", &words)).await;
    }
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut rest = (&mut input).take(LINE_BYTES_MAX);
        let read = rest.read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LINE_BYTES_MAX {
            let words = format!("a line is too long; allowed: {LINE_BYTES_MAX} bytes");
            return say(&mut output, &refusal("malformed", &words)).await;
        }
        match parse(&line) {
            Ok(Line::Events) => return stream(control, input, &mut output).await,
            Ok(Line::Request(request)) => {
                let answer = match control.ask(request).await {
                    Ok(answer) => json!({ "v": VERSION, "ok": answer }),
                    Err(error) => refusal(error.kind(), &with_causes(&error)),
                };
                say(&mut output, &answer).await?;
            }
            Err(error) => say(&mut output, &refusal(error.kind(), &error.to_string())).await?,
        }
    }
}

/// Tells of all that happens, until the server ends or the client hangs up.
async fn stream(
    control: Control,
    mut input: BufReader<tokio::net::unix::OwnedReadHalf>,
    output: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let mut events = control.events();
    // From here on nothing is missed, and the client may know.
    say(output, &json!({ "v": VERSION, "ok": "events" })).await?;
    drop(control);
    let mut sink = [0; 256];
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else {
                    return Ok(());
                };
                say(output, &line_of(&event)).await?;
            }
            read = input.read(&mut sink) => {
                if read? == 0 {
                    return Ok(());
                }
            }
        }
    }
}

fn line_of(event: &ServerEvent) -> Value {
    json!({ "v": VERSION, "event": event })
}

fn refusal(kind: &str, message: &str) -> Value {
    json!({ "v": VERSION, "error": { "kind": kind, "message": message } })
}

async fn say(output: &mut OwnedWriteHalf, value: &Value) -> io::Result<()> {
    let mut line = value.to_string();
    line.push('\n');
    output.write_all(line.as_bytes()).await
}
