//! One message out, one checked reply in.
//!
//! Writing and reading go on at the same time: a server that answers before it has read everything
//! would otherwise block on a large message, and so would we.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep_until};

use super::failure::{Ending, Failure};
use super::message::Message;
use super::stream::Stream;

/// The most that is read at once.
const SCRATCH_BYTES_MAX: usize = 64 * 1024;

/// Returns a buffer to read replies of `size_bytes` into.
///
/// It has room for one byte more than the reply. A read that fills less than its buffer tells
/// tokio that the socket is empty, which saves a system call for each request; and a surplus byte
/// is seen.
pub(super) fn scratch(size_bytes: usize) -> Vec<u8> {
    vec![0; (size_bytes + 1).min(SCRATCH_BYTES_MAX)]
}

/// An open connection, and whether it ever brought a reply.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    replied: bool,
}

impl Connection {
    /// Wraps a fresh stream.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            replied: false,
        }
    }

    /// Sends `message` and checks the reply to its last byte.
    ///
    /// # Errors
    ///
    /// Returns every [`Failure`] but `Refused` and `TimedOut`; the connection is of no use then.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: close the connection of an exchange that did not end.
    pub(super) async fn exchange(
        &mut self,
        message: &Message,
        scratch: &mut [u8],
    ) -> Result<(), Failure> {
        let mut unsent = message.request();
        let mut received = 0;
        poll_fn(|cx| {
            let sent = self.poll_send(cx, &mut unsent);
            // Reading comes first even if writing failed: what is there decides what it means.
            let checked = self.poll_check(cx, message, &mut received, scratch);
            match (sent, checked) {
                (_, Poll::Ready(Err(Failure::WrongBytes))) => Poll::Ready(Err(Failure::WrongBytes)),
                // Reading meets only the end of the stream once writing has taken the error.
                (Poll::Ready(Err(())), _) => {
                    Poll::Ready(Err(Failure::of(Ending::Reset, self.replied)))
                }
                (_, checked) => checked,
            }
        })
        .await
    }

    /// Sends what there is room for; ready when all is sent, or nothing more can be.
    fn poll_send(&mut self, cx: &mut Context<'_>, unsent: &mut &[u8]) -> Poll<Result<(), ()>> {
        while !unsent.is_empty() {
            match ready!(self.stream.poll_write(cx, unsent)) {
                Ok(length) => *unsent = &unsent[length..],
                Err(_) => return Poll::Ready(Err(())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and checks what has arrived; ready when the whole reply is checked.
    fn poll_check(
        &mut self,
        cx: &mut Context<'_>,
        message: &Message,
        received: &mut usize,
        scratch: &mut [u8],
    ) -> Poll<Result<(), Failure>> {
        let whole = message.request().len();
        while *received < whole {
            let mut buffer = ReadBuf::new(scratch);
            if ready!(self.stream.poll_read(cx, &mut buffer)).is_err() {
                return Poll::Ready(Err(Failure::of(Ending::Reset, self.replied)));
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                let ending = Ending::of_stream(self.stream.take_error().as_ref());
                return Poll::Ready(Err(Failure::of(ending, self.replied)));
            }
            self.replied = true;
            if !message.matches(*received, bytes) {
                return Poll::Ready(Err(Failure::WrongBytes));
            }
            *received += bytes.len();
        }
        Poll::Ready(Ok(()))
    }
}

/// Limits how long one thing after another may take, with one timer for all.
///
/// The timer is not set for each: it stays at an old deadline, and only when that passes is it set
/// to the current one. A request then costs no change to the timer wheel.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Watchdog {
    /// Returns a watchdog that lets each future take as long as `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            alarm: Box::pin(sleep_until(Instant::now() + limit)),
        }
    }

    /// Waits for `future`, or returns `None` if it takes too long.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as `future`, which is dropped.
    pub(super) async fn guard<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let deadline = Instant::now() + self.limit;
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            while self.alarm.as_mut().poll(cx).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                self.alarm.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    const SIZE: usize = 300_000;

    /// Runs one exchange against a server that does as `serve` says.
    async fn exchange_with<F>(serve: impl FnOnce(UnixStream) -> F) -> Result<(), Failure>
    where
        F: Future<Output = ()>,
    {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(Stream::Unix(ours));
        let message = Message::new(1, SIZE);
        let mut scratch = scratch(SIZE);
        let (outcome, ()) =
            tokio::join!(connection.exchange(&message, &mut scratch), serve(theirs));
        outcome
    }

    /// Echoes `length` bytes as they arrive, in upper case.
    async fn echo(stream: &mut UnixStream, length: usize) {
        let mut buffer = [0; 1000];
        let mut left = length;
        while left > 0 {
            let part = left.min(buffer.len());
            stream.read_exact(&mut buffer[..part]).await.unwrap();
            buffer[..part].make_ascii_uppercase();
            stream.write_all(&buffer[..part]).await.unwrap();
            left -= part;
        }
    }

    #[tokio::test]
    async fn a_message_larger_than_the_buffers_is_echoed_in_parts() {
        let outcome = exchange_with(async |mut stream| echo(&mut stream, SIZE).await).await;
        assert_eq!(outcome, Ok(()));
    }

    #[tokio::test]
    async fn a_surplus_byte_is_detected() {
        let outcome = exchange_with(async |mut stream| {
            let mut all = vec![0; SIZE];
            stream.read_exact(&mut all).await.unwrap();
            all.make_ascii_uppercase();
            all.push(b'X');
            // The reader gives up at the surplus byte, so an error here is as good.
            let _ = stream.write_all(&all).await;
        })
        .await;
        assert_eq!(outcome, Err(Failure::WrongBytes));
    }

    #[tokio::test]
    async fn an_end_before_the_request_is_read_is_lost_before_the_first_byte() {
        let outcome = exchange_with(async |mut stream| {
            stream.read_exact(&mut [0; 10]).await.unwrap();
        })
        .await;
        assert_eq!(outcome, Err(Failure::LostBeforeFirstByte));
    }

    #[tokio::test]
    async fn an_end_after_the_request_is_read_is_lost_in_a_handler() {
        let outcome = exchange_with(async |mut stream| {
            stream.read_exact(&mut vec![0; SIZE]).await.unwrap();
        })
        .await;
        assert_eq!(outcome, Err(Failure::LostInHandler));
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_the_reply_is_lost_in_a_handler() {
        let outcome = exchange_with(async |mut stream| echo(&mut stream, SIZE / 2).await).await;
        assert_eq!(outcome, Err(Failure::LostInHandler));
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_gives_each_future_the_whole_limit() {
        let mut watchdog = Watchdog::new(Duration::from_secs(10));

        for _ in 0..3 {
            let pause = tokio::time::sleep(Duration::from_secs(7));
            assert_eq!(watchdog.guard(pause).await, Some(()));
        }

        assert_eq!(watchdog.guard(std::future::pending::<()>()).await, None);
    }
}
