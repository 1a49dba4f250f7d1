//! A server that speaks Redis's protocol, RESP2: strings, counters, lists, and keys that expire.
//!
//! ```text
//! cargo run --release --example redis_server [ADDRESS]
//! ```
//!
//! Then, in another terminal, run `redis-cli -p 6380`, or
//! `redis-benchmark -p 6380 -q -P 16 -t ping,set,get,incr,lpush,mset`. Look at what happens to the
//! keys when you kill the worker, whose id is printed: a successor answers at once, and has none.
//! Clients that begin with RESP3 have to be told: `redis.Redis(port=6380, protocol=2)` in Python.
//!
//! All keys are owned by one worker with one thread, as in Redis itself. So no command needs a lock,
//! and a command is done whole before the next one of any client begins. A crash costs the keys and the
//! connections, and nothing else: the main process holds the address, and the next client is
//! served by the successor. The keys could be kept in the main process, and workers ask there, but
//! then each command would cost a trip between processes, which is far more than it costs itself.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

mod commands;
mod resp;
mod store;

use std::cell::RefCell;
use std::time::Instant;

use hatchery::{Connection, HandlerResult};

use crate::commands::execute;
use crate::resp::{Reply, parse};
use crate::store::Store;

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// The replies are written once they are this long, or nothing is left to reply to.
const WRITE_BYTES: usize = 1 << 20;

thread_local! {
    /// What the worker, which has one thread, keeps for all of its clients.
    static STORE: RefCell<Store> = RefCell::new(Store::default());
}

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    let address = std::env::args().nth(1);
    hatchery::Server::builder()
        .bind(address.as_deref().unwrap_or("127.0.0.1:6380"))
        .workers(1)
        .on_ready(|ready| {
            println!("worker {}", ready.workers[0]);
            println!("listening on {}", ready.addresses.join(", "));
        })
        .serve(converse)
        .await
}

/// Serves one client: whatever commands have come are answered with one write.
async fn converse(mut client: Connection) -> HandlerResult {
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..read]);
        let mut stays = true;
        let mut answered = 0;
        while stays {
            let (taken, next) = answer(&input[answered..], &mut output);
            answered += taken;
            stays = next != Next::Leave;
            if next == Next::Read {
                break;
            }
            if output.len() >= WRITE_BYTES {
                client.write_all(&output).await?;
                output.clear();
            }
        }
        input.drain(..answered);
        client.write_all(&output).await?;
        output.clear();
        if !stays {
            return Ok(());
        }
    }
}

/// What is to be done after what was there has been answered.
#[derive(PartialEq)]
enum Next {
    Answer,
    Read,
    Leave,
}

/// Answers commands until none is whole or the output is long, and says how much was read.
fn answer(input: &[u8], output: &mut Vec<u8>) -> (usize, Next) {
    let now = Instant::now();
    let mut taken = 0;
    STORE.with_borrow_mut(|store| {
        store.forget_expired(now);
        while output.len() < WRITE_BYTES {
            let (words, length) = match parse(&input[taken..]) {
                Ok(Some(request)) => request,
                Ok(None) => return (taken, Next::Read),
                Err(problem) => {
                    Reply::Error(format!("ERR Protocol error: {problem}")).write(output);
                    return (taken, Next::Leave);
                }
            };
            taken += length;
            if words.is_empty() {
                continue;
            }
            execute(store, &words, now).write(output);
            if words[0].eq_ignore_ascii_case(b"QUIT") {
                return (taken, Next::Leave);
            }
        }
        (taken, Next::Answer)
    })
}
