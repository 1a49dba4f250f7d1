//! The example `websocket_echo`, with clients of two kinds.

use std::process::Command;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::servers::{interrupt, serve};
use super::tool;
use crate::support::Deadline;

/// How many messages one client sends.
const MESSAGES: usize = 3_000;

/// The longest of them.
const LONGEST: usize = 1 << 20;

#[test]
fn websocket_echo_sends_thousands_of_messages_of_all_sizes_back() {
    let (mut server, address) = serve("websocket_echo", "");

    in_time(async {
        let (mut sender, mut receiver) = connect(&address).await.split();
        let sending = async {
            for number in 0..MESSAGES {
                sender.send(message(number)).await.unwrap();
            }
            sender.close().await.unwrap();
        };
        let receiving = async {
            for number in 0..MESSAGES {
                let answer = receiver.next().await.expect("an answer comes").unwrap();
                assert!(answer == message(number), "message {number}");
            }
            let end = receiver.next().await;
            assert!(matches!(end, Some(Ok(Message::Close(_)))), "{end:?}");
        };
        futures::join!(sending, receiving);
    });

    interrupt(&mut server);
}

#[test]
fn websocket_echo_refuses_a_message_that_is_too_long() {
    let (mut server, address) = serve("websocket_echo", "");

    let refused = in_time(async {
        let mut client = connect(&address).await;
        let long = Message::binary(vec![0; 5 << 20]);
        // The server may have closed before everything was sent.
        let sent = client.send(long).await;
        let answer = client.next().await;
        sent.is_err() || !matches!(answer, Some(Ok(Message::Binary(_))))
    });

    assert!(refused);
    interrupt(&mut server);
}

#[test]
fn websocket_echo_says_goodbye_when_the_server_ends() {
    let (mut server, address) = serve("websocket_echo", "");

    let farewell = in_time(async {
        let mut client = connect(&address).await;
        client.send(message(7)).await.unwrap();
        assert!(client.next().await.unwrap().unwrap() == message(7));
        server.process().signal(Signal::INT);
        client.next().await
    });

    let Some(Ok(Message::Close(Some(farewell)))) = farewell else {
        panic!("no farewell but {farewell:?}");
    };
    assert_eq!(farewell.code, CloseCode::Away);
    assert_eq!(farewell.reason.as_str(), "the server ends");
    assert_eq!(server.wait().code(), Some(0), "{}", server.errors());
}

#[test]
fn websocket_echo_serves_pythons_websockets() {
    let (mut server, address) = serve("websocket_echo", "");
    let program = "
import asyncio, random, sys, websockets

async def main():
    url, count = 'ws://' + sys.argv[1], int(sys.argv[2])
    source = random.Random(1)
    sizes = [1, 1 << 20] + [int(2 ** source.uniform(0, 20)) for _ in range(count - 2)]
    data = source.randbytes(2 << 20)
    cut = lambda number: data[number % 1000:number % 1000 + sizes[number]]
    async with websockets.connect(url, max_size=None, compression=None) as client:
        async def send():
            for number in range(count):
                await client.send(cut(number))
        sending = asyncio.create_task(send())
        for number in range(count):
            assert await client.recv() == cut(number), number
        await sending
        await client.send('text: \\u00fc')
        assert await client.recv() == 'text: \\u00fc'
    print(count, 'came back')

asyncio.run(main())
";
    let has_client = Command::new("python3")
        .args(["-c", "import websockets"])
        .output();
    if !has_client.is_ok_and(|has| has.status.success()) {
        eprintln!("left out: python3 has no module websockets");
        return interrupt(&mut server);
    }

    let said = tool("python3", &["-c", program, &address, "300"]);

    assert_eq!(said.as_deref(), Some("300 came back\n"));
    interrupt(&mut server);
}

async fn connect(address: &str) -> WebSocketStream<TcpStream> {
    let socket = TcpStream::connect(address).await.expect("it listens");
    let url = format!("ws://{address}/");
    let shaken = tokio_tungstenite::client_async(url, socket).await;
    shaken.expect("it speaks the protocol").0
}

/// Makes the message of a number: each has other contents, and one in 300 is of the longest.
fn message(number: usize) -> Message {
    let length = match number {
        0 => 1,
        _ if number.is_multiple_of(300) => LONGEST,
        _ => (1 << (number % 14)) + number % 13,
    };
    let start = u8::try_from(number % 251).expect("it is below 251");
    if number.is_multiple_of(2) {
        return Message::text(char::from(b'a' + start % 26).to_string().repeat(length));
    }
    Message::binary((0..length).map(|_| start).collect::<Vec<u8>>())
}

/// Waits for what a client does, which has to be over before the deadline.
#[track_caller]
fn in_time<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let left = Deadline::after(Duration::from_secs(60)).left();
    let left = Duration::try_from(left).expect("a deadline is ahead");
    let done = runtime.block_on(async { tokio::time::timeout(left, client).await });
    done.expect("the server answers in time")
}
