//! A WebSocket server that sends each message back, on tokio-tungstenite.
//!
//! ```text
//! cargo run --example websocket_echo [ADDRESS]
//! ```
//!
//! Then, in another terminal, run `python3 -m websockets ws://127.0.0.1:8083` and type, or open a
//! browser's console: `s = new WebSocket("ws://127.0.0.1:8083"); s.onmessage = console.log;
//! s.onopen = () => s.send("hello")`. Look at Ctrl-C: each client is told that the server goes away.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use futures::{SinkExt, StreamExt};
use hatchery::{Connection, HandlerResult, Worker};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

/// The longest message: a client that sends more is told so and closed.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    let address = std::env::args().nth(1);
    hatchery::Server::builder()
        .bind(address.as_deref().unwrap_or("127.0.0.1:8083"))
        .on_ready(|ready| println!("listening on {}", ready.addresses.join(", ")))
        .run(live)
        .await
}

/// Lives the life of one worker.
async fn live(worker: Worker) -> HandlerResult {
    let mut incoming = worker.incoming();
    while let Some(client) = incoming.accept().await {
        tokio::spawn(echo(client, worker.clone()));
    }
    worker.finished().await;
    Ok(())
}

/// Echoes one client's messages until it closes, or the worker is to end.
async fn echo(client: Connection, worker: Worker) -> HandlerResult {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let mut client = tokio_tungstenite::accept_async_with_config(client, Some(limits)).await?;
    loop {
        tokio::select! {
            message = client.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    client.send(message).await?;
                }
                // What a ping or a close wants is done by the library.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            () = worker.draining() => break,
        }
    }
    let farewell = CloseFrame {
        code: CloseCode::Away,
        reason: "the server ends".into(),
    };
    client.close(Some(farewell)).await?;
    // The client answers with a close of its own, after what it had sent before.
    while client.next().await.is_some_and(|message| message.is_ok()) {}
    Ok(())
}
