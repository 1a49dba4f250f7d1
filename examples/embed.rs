//! A Hatchery server inside a tokio program that has threads and a service of its own.
//!
//! ```text
//! cargo run --example embed [OWN-ADDRESS [HEAVY-ADDRESS]]
//! ```
//!
//! Then, in another terminal, run `echo 20000003 | nc -N 127.0.0.1 8086`: a worker process tells
//! whether the number is prime, and takes its time. Meanwhile `nc 127.0.0.1 8085` is answered at
//! once, by the program itself, which says how the workers are. Look at Ctrl-C, which ends both.
//!
//! A program with threads must not fork. So its fork server comes to be by executing the program again,
//! `StartMethod::Spawn`, which never reaches `main`. Nothing else differs from a program that
//! begins with `#[hatchery::main]`, but that values are not preloaded before `init_with`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::error::Error;

use hatchery::{Connection, Control, HandlerResult, Server, StartMethod};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses = std::env::args().skip(1);
    let own = addresses.next().unwrap_or("127.0.0.1:8085".to_owned());
    let heavy = addresses.next().unwrap_or("127.0.0.1:8086".to_owned());
    hatchery::init_with(StartMethod::Spawn)?;

    // Ctrl-C is the program's own affair, which tells the server.
    let (stop, mut stopped) = watch::channel(());
    let mut server = Server::builder();
    server
        .bind(heavy)
        .workers(2)
        .handle_signals(false)
        .shutdown(async move { drop(stopped.changed().await) })
        .on_ready(|ready| println!("heavy work at {}", ready.addresses.join(", ")));
    let control = server.control();
    let server = tokio::spawn(async move { server.serve(work).await });

    let listener = TcpListener::bind(own).await?;
    println!("status at {}", listener.local_addr()?);
    loop {
        tokio::select! {
            client = listener.accept() => {
                tokio::spawn(tell(client?.0, control.clone()));
            }
            interrupted = tokio::signal::ctrl_c() => break interrupted?,
        }
    }
    stop.send(())?;
    server.await??;
    println!("both have ended");
    Ok(())
}

/// Tells a client how the workers are: in this process, by any of its threads.
async fn tell(mut client: TcpStream, control: Control) -> HandlerResult {
    let process = std::process::id();
    let ready = control.status().await?.ready;
    let status = format!("process {process} has {ready} workers\n");
    client.write_all(status.as_bytes()).await?;
    Ok(())
}

/// Tells of each line whether it is a prime number: in a worker.
async fn work(client: Connection) -> HandlerResult {
    let process = std::process::id();
    let mut client = BufReader::new(client);
    let mut line = String::new();
    while client.read_line(&mut line).await? > 0 {
        let answer = match line.trim().parse::<u64>() {
            Ok(number) if is_prime(number) => "is prime",
            Ok(_) => "is not prime",
            Err(_) => "is no number",
        };
        let answer = format!("process {process}: {} {answer}\n", line.trim());
        client.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

/// Tries every divisor, so that there is something to do.
fn is_prime(number: u64) -> bool {
    number > 1 && (2..number).all(|divisor| !number.is_multiple_of(divisor))
}
