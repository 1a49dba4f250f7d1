//! A server inside a program that has threads already: this test harness.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use hatchery::{Connection, HandlerResult, Server, StartMethod};
use tokio::sync::oneshot;

use crate::support::Deadline;

async fn shout(mut connection: Connection) -> HandlerResult {
    let mut bytes = [0; 5];
    connection.read_exact(&mut bytes).await?;
    bytes.make_ascii_uppercase();
    connection.write_all(&bytes).await?;
    Ok(())
}

#[test]
fn a_server_in_a_program_with_threads_serves_and_ends_when_its_future_says_so() {
    hatchery::init_with(StartMethod::Spawn).unwrap();
    let (announce, announced) = channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(
            Server::builder()
                .bind("127.0.0.1:0")
                .workers(1)
                .handle_signals(false)
                .shutdown(async { drop(stopped.await) })
                .on_ready(move |ready| announce.send(ready.clone()).unwrap())
                .serve(shout),
        )
    });
    let left = Deadline::usual().left();
    let patience = Duration::try_from(left).unwrap();
    let ready = announced.recv_timeout(patience).unwrap();

    let mut client = TcpStream::connect(&ready.addresses[0]).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    stop.send(()).unwrap();

    assert_eq!(answer, "HELLO");
    assert_eq!(ready.workers.len(), 1);
    assert!(server.join().unwrap().is_ok());
}
