//! Clients of HTTP, each of which knows what it asked and what came of it.

use std::future::poll_fn;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::Answer;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many requests a client of HTTP/2 has on their way at once.
pub(super) const STREAMS: u64 = 8;

/// A request, and what its client knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) number: u64,
    pub(super) answered_by: Option<i32>,
    /// Who had answered before on the same connection.
    pub(super) connection_of: Option<i32>,
}

/// Where clients go, the number of the next request, and how many answers each client had.
#[derive(Debug)]
pub(super) struct Door {
    address: String,
    next: AtomicU64,
    is_closed: AtomicBool,
    answers: Vec<AtomicU64>,
}

/// What a client does until the door is closed; its seat is where its answers are counted.
pub(super) type Habit = fn(&Door, usize) -> Vec<Asked>;

impl Door {
    pub(super) fn new(address: &str, seats: usize) -> Self {
        Self {
            address: address.to_owned(),
            next: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            answers: (0..seats).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// How many answers each client had.
    pub(super) fn answers(&self) -> Vec<u64> {
        let counts = self.answers.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Takes the number of a request that will be sent.
    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes what came of a request: the body of its answer, if it has one.
    fn note(&self, seat: usize, number: u64, before: Option<i32>, body: Option<&str>) -> Asked {
        let answered_by = body.map(|body| {
            self.answers[seat].fetch_add(1, Ordering::Relaxed);
            let answer = body.split_once(' ').filter(|it| it.0 == number.to_string());
            let (_, worker) = answer.unwrap_or_else(|| panic!("{number} is answered with {body}"));
            worker.parse().expect("it is a pid")
        });
        Asked {
            number,
            answered_by,
            connection_of: before,
        }
    }
}

/// Asks each time on a connection of its own.
pub(super) fn come_and_go(door: &Door, seat: usize) -> Vec<Asked> {
    let mut all = Vec::new();
    while !door.is_closed() {
        let number = door.next();
        let answer = Client::connect(&door.address).ask(number).ok();
        let body = answer.as_ref().map(|answer| answer.body.as_str());
        all.push(door.note(seat, number, None, body));
    }
    all
}

/// Asks on one connection until its end is announced, or comes.
pub(super) fn stay(door: &Door, seat: usize) -> Vec<Asked> {
    let mut all = Vec::new();
    let mut open: Option<(Client, Option<i32>)> = None;
    while !door.is_closed() {
        let fresh = || (Client::connect(&door.address), None);
        let (mut client, before) = open.take().unwrap_or_else(fresh);
        let number = door.next();
        let answer = client.ask(number).ok();
        let body = answer.as_ref().map(|answer| answer.body.as_str());
        let asked = door.note(seat, number, before, body);
        all.push(asked);
        if answer.is_some_and(|answer| !answer.closes) {
            open = Some((client, asked.answered_by));
        }
    }
    all
}

/// Asks several things at once on one connection of HTTP/2, until that ends.
pub(super) fn ask_side_by_side(door: &Door, seat: usize) -> Vec<Asked> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.block_on(async {
        let mut all = Vec::new();
        while !door.is_closed() {
            let mut sender = shake_hands(&door.address).await;
            // Alone, so that it is known who has the connection.
            let first = ask(door, seat, &mut sender, None).await;
            all.extend(first);
            let Some(worker) = first.and_then(|first| first.answered_by) else {
                continue;
            };
            let asking = (0..STREAMS).map(|_| ask_on(door, seat, sender.clone(), worker));
            all.extend(join_all(asking).await.into_iter().flatten());
        }
        all
    })
}

async fn shake_hands(address: &str) -> SendRequest<String> {
    let stream = tokio::net::TcpStream::connect(address).await;
    let stream = TokioIo::new(stream.expect("the server listens"));
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .expect("nothing is waited for");
    tokio::spawn(connection);
    sender
}

async fn ask_on(
    door: &Door,
    seat: usize,
    mut sender: SendRequest<String>,
    worker: i32,
) -> Vec<Asked> {
    let mut all = Vec::new();
    while !door.is_closed() {
        let asked = ask(door, seat, &mut sender, Some(worker)).await;
        all.extend(asked);
        if asked.is_none_or(|asked| asked.answered_by.is_none()) {
            break;
        }
    }
    all
}

/// Asks one thing; `None` if it was not sent, for the connection takes no more.
async fn ask(
    door: &Door,
    seat: usize,
    sender: &mut SendRequest<String>,
    before: Option<i32>,
) -> Option<Asked> {
    sender.ready().await.ok()?;
    let number = door.next();
    let request = Request::get(format!("http://{}/{number}", door.address));
    let request = request.body(String::new()).expect("it is a request");
    let sent = tokio::time::timeout(PATIENCE, sender.try_send_request(request)).await;
    let body = match sent.expect("the client does not wait in vain") {
        Ok(response) => body_of(response).await,
        Err(mut error) => match error.take_message() {
            Some(_unsent) => return None,
            None => None,
        },
    };
    Some(door.note(seat, number, before, body.as_deref()))
}

async fn body_of(response: Response<Incoming>) -> Option<String> {
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await {
        if let Ok(data) = frame.ok()?.into_data() {
            bytes.extend(data);
        }
    }
    Some(String::from_utf8(bytes).expect("it is text"))
}

/// A client of HTTP/1.1.
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    #[track_caller]
    pub(super) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        let limited = stream.set_read_timeout(Some(PATIENCE));
        limited.expect("the time is not zero");
        Self(BufReader::new(stream))
    }

    /// Waits until the server has closed the connection.
    #[track_caller]
    pub(super) fn await_end(&mut self) {
        assert_eq!(self.0.read(&mut [0]).expect("it ends in time"), 0);
    }

    pub(super) fn ask(&mut self, number: u64) -> io::Result<Answer> {
        self.send(&number.to_string())?;
        self.answer()
    }

    pub(super) fn send(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET /{path} HTTP/1.1\r\nHost: it\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())
    }

    /// Waits until a part of an answer is here.
    #[track_caller]
    pub(super) fn await_beginning(&mut self) {
        let begun = self.0.fill_buf().expect("it begins in time");
        assert!(!begun.is_empty(), "it is closed instead");
    }

    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        let answer = Answer::read(&mut self.0);
        let is_late = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        assert!(
            !answer.as_ref().is_err_and(is_late),
            "the client waits in vain"
        );
        answer
    }
}
