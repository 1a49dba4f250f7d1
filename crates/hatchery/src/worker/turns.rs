//! Whose turn it is on a connection of HTTP/1.1, so that one between two requests goes on elsewhere.
//!
//! hyper closes such a connection when it is told to end, and does not say that it was one. So this
//! looks at what passes between the socket, hyper and the service. A connection is between two
//! requests if nothing was read since the last write, a read found nothing, and hyper, told to end,
//! neither reads nor writes before it closes: whatever else it had in hand, it would.
//!
//! What a client has sent of its next request along with the last, hyper holds, and it would be lost.
//! While the service has a request, hyper reads only once it holds nothing more, be it the body or the
//! end that it waits for. So nothing is held if such a read found nothing, and none has found more since.
//! While an answer's body is on its way such a read says nothing of whose turn it is.
//!
//! Where a connection cannot go on elsewhere, its client may have sent its next request before it learns
//! of the end. So that request is waited for, and its answer says that it is the last.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::header::UPGRADE;
use hyper::{Method, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is to come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Turn {
    /// The client's, which has sent nothing of a request yet.
    Client,
    /// The client's, which has sent a part of a request's head.
    Beginning,
    /// The service's, or the client's which still sends what belongs to the request.
    Service,
    /// Nobody knows: something was written, and perhaps it was all.
    Answered,
    /// hyper's, which was told to end while it was the client's turn.
    Ending,
    /// Another protocol is spoken.
    Unknown,
}

const TURNS: [Turn; 6] = [
    Turn::Client,
    Turn::Beginning,
    Turn::Service,
    Turn::Answered,
    Turn::Ending,
    Turn::Unknown,
];

/// Whose turn it is on one connection.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The number of a [`Turn`]: at first the client's.
    turn: AtomicU8,
    /// Whether hyper may hold something of a request that it has not read to its end.
    holds: AtomicBool,
    /// Whether hyper has an answer whose body has not come to its end.
    is_answering: AtomicBool,
    /// Whether the next answer is to say that it is the last.
    is_last: AtomicBool,
}

impl Turns {
    fn turn(&self) -> Turn {
        TURNS[usize::from(self.turn.load(Relaxed))]
    }

    fn is_now(&self, turn: Turn) {
        self.turn.store(turn as u8, Relaxed);
    }

    fn found_nothing(&self) {
        match self.turn() {
            Turn::Answered if !self.holds.load(Relaxed) => self.is_now(Turn::Client),
            Turn::Service => self.holds.store(false, Relaxed),
            Turn::Ending => self.is_now(Turn::Service),
            _ => {}
        }
    }

    fn has_read(&self, bytes: usize) {
        if bytes > 0 {
            self.holds.store(true, Relaxed);
        }
        match self.turn() {
            Turn::Client if bytes > 0 => self.is_now(Turn::Beginning),
            Turn::Client | Turn::Answered | Turn::Ending => self.is_now(Turn::Service),
            Turn::Beginning | Turn::Service | Turn::Unknown => {}
        }
    }

    fn writes(&self) {
        match self.turn() {
            // No request, and an answer: so begins HTTP/2, or it was no HTTP at all.
            Turn::Beginning | Turn::Unknown => self.is_now(Turn::Unknown),
            _ => self.is_now(Turn::Answered),
        }
    }

    pub(super) fn asks<B>(&self, request: &Request<B>) {
        let is_followed_by_another = request.version() == Version::HTTP_11
            && request.method() != Method::CONNECT
            && !request.headers().contains_key(UPGRADE);
        self.is_now(if is_followed_by_another {
            Turn::Service
        } else {
            Turn::Unknown
        });
    }

    /// Notes whether hyper has an answer whose body has not come to its end.
    pub(super) fn answers(&self, is_answering: bool) {
        self.is_answering.store(is_answering, Relaxed);
    }

    /// Whether hyper has one, and may be told to end only after it.
    pub(super) fn is_answering(&self) -> bool {
        self.is_answering.load(Relaxed) && self.turn() != Turn::Unknown
    }

    /// Has the answer to the next request say that it is the last.
    pub(super) fn next_is_last(&self) {
        self.is_last.store(true, Relaxed);
    }

    /// Whether the answer to what was asked now is to say that it is the last.
    pub(super) fn is_last(&self) -> bool {
        self.is_last.load(Relaxed) && self.turn() == Turn::Service
    }

    /// Whether hyper can be told to end now, so that no request is lost that has been or may be sent.
    ///
    /// What has begun is waited for without a limit, for hyper has one, and so is the end of an answer, for the
    /// worker has one; all else until it is late.
    pub(super) fn may_end(&self, goes_on_elsewhere: bool, is_late: bool) -> bool {
        match self.turn() {
            _ if self.is_answering() => false,
            Turn::Beginning => false,
            Turn::Client => goes_on_elsewhere || is_late,
            // What has been written does not say that it is the last.
            Turn::Answered => is_late,
            Turn::Service | Turn::Ending | Turn::Unknown => true,
        }
    }

    /// Notes that hyper is told to end, and that the connection is to come back if it can.
    pub(super) fn ends(&self) {
        if self.turn() == Turn::Client {
            self.is_now(Turn::Ending);
        }
    }
}

/// Where a connection comes back to, once hyper has let go of it between two requests.
pub(super) type Back<T> = Arc<Mutex<Option<T>>>;

/// A connection that hyper has.
#[derive(Debug)]
pub(super) struct Lent<T> {
    /// Here until this is dropped.
    stream: Option<T>,
    turns: Arc<Turns>,
    back: Back<T>,
}

impl<T: Unpin> Lent<T> {
    pub(super) fn new(stream: T, turns: Arc<Turns>) -> Self {
        Self {
            stream: Some(stream),
            turns,
            back: Back::default(),
        }
    }

    /// Where it comes back to if it ends between two requests.
    pub(super) fn back(&self) -> Back<T> {
        Arc::clone(&self.back)
    }

    fn stream(&mut self) -> Pin<&mut T> {
        let stream = self.stream.as_mut();
        Pin::new(stream.expect("it is here until this is dropped"))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lent<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.stream().poll_read(task, buffer);
        match read {
            Poll::Pending => self.turns.found_nothing(),
            Poll::Ready(_) => self.turns.has_read(buffer.filled().len() - before),
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Lent<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.turns.writes();
        self.stream().poll_write(task, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.turns.writes();
        self.stream().poll_write_vectored(task, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(T::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.turns.turn() == Turn::Ending {
            return Poll::Ready(Ok(()));
        }
        self.stream().poll_shutdown(task)
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if self.turns.turn() == Turn::Ending {
            let mut back = self.back.lock().unwrap_or_else(PoisonError::into_inner);
            *back = self.stream.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::http::request::Builder;

    use super::*;

    /// Whether a connection comes back on which this was asked and answered, and that is idle then.
    fn comes_back(request: Builder) -> bool {
        comes_back_after(request, Turns::found_nothing)
    }

    /// The same, if this happens while the service has the request.
    fn comes_back_after(request: Builder, meanwhile: fn(&Turns)) -> bool {
        let turns = Turns::default();
        turns.has_read(40);
        turns.asks(&request.body(()).unwrap());
        meanwhile(&turns);
        turns.writes();
        turns.found_nothing();

        turns.ends();
        turns.turn() == Turn::Ending
    }

    #[test]
    fn what_may_have_come_with_a_request_does_not_come_back() {
        let get = || Request::get("/");
        assert!(!comes_back_after(get(), |_| {}));
        assert!(!comes_back_after(get(), |turns| turns.has_read(4)));
        assert!(!comes_back_after(get(), |turns| {
            turns.found_nothing();
            turns.has_read(4);
        }));
        // So ends a body.
        assert!(comes_back_after(get(), |turns| {
            turns.has_read(4);
            turns.found_nothing();
        }));
    }

    #[test]
    fn what_is_no_more_http_1_after_a_request_does_not_come_back() {
        assert!(comes_back(Request::get("/")));
        assert!(!comes_back(Request::get("/").version(Version::HTTP_10)));
        assert!(!comes_back(Request::get("/").version(Version::HTTP_2)));
        assert!(!comes_back(Request::get("/").header(UPGRADE, "websocket")));
        assert!(!comes_back(Request::connect("example:443")));
    }

    #[test]
    fn what_hyper_reads_or_writes_when_it_is_told_to_end_was_not_idle() {
        for goes_on in [Turns::found_nothing, Turns::writes, |turns: &Turns| {
            turns.has_read(0);
        }] {
            let turns = Turns::default();
            turns.ends();
            assert_eq!(turns.turn(), Turn::Ending);

            goes_on(&turns);

            assert_ne!(turns.turn(), Turn::Ending);
        }
    }

    #[test]
    fn hyper_is_told_to_end_where_no_request_is_lost_by_it_or_late() {
        for (turn, elsewhere, here) in [
            (Turn::Client, true, false),
            (Turn::Beginning, false, false),
            (Turn::Service, true, true),
            (Turn::Answered, false, false),
            (Turn::Unknown, true, true),
        ] {
            let turns = Turns::default();
            turns.is_now(turn);

            assert_eq!(turns.may_end(true, false), elsewhere, "{turn:?}");
            assert_eq!(turns.may_end(false, false), here, "{turn:?}");
            let is_late = turn != Turn::Beginning;
            assert_eq!(turns.may_end(false, true), is_late, "{turn:?}");
        }
    }

    #[test]
    fn hyper_is_not_told_to_end_while_an_answer_is_on_its_way() {
        for (turn, is_waited_for) in [
            (Turn::Client, true),
            (Turn::Answered, true),
            (Turn::Service, true),
            (Turn::Unknown, false),
        ] {
            let turns = Turns::default();
            turns.is_now(turn);
            turns.answers(true);

            for (elsewhere, is_late) in [(true, false), (true, true), (false, true)] {
                let may_end = turns.may_end(elsewhere, is_late);
                assert_eq!(may_end, !is_waited_for, "{turn:?}");
            }
        }
    }

    #[test]
    fn every_turn_is_found_by_its_number() {
        for (number, turn) in TURNS.into_iter().enumerate() {
            assert_eq!(turn as usize, number);
        }
    }
}
