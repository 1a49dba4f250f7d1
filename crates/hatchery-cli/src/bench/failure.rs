//! The ways in which a request goes wrong, told apart.
//!
//! The kernel tells whether the server had read a request when its connection ended: a peer that
//! closes with unread data, or dies with it, resets the connection; one that had read everything
//! ends it cleanly.

use std::io;

/// How one request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no connection.
    Refused,
    /// The connection was reset before any reply byte: no handler had read the request.
    LostBeforeFirstByte,
    /// The connection ended when a handler had it in hand.
    LostInHandler,
    /// The reply is not the message in upper case.
    WrongBytes,
    /// There was no whole reply in time.
    TimedOut,
}

impl Failure {
    /// Every failure, in the order of the report.
    pub(super) const ALL: [Self; 5] = [
        Self::Refused,
        Self::LostBeforeFirstByte,
        Self::LostInHandler,
        Self::WrongBytes,
        Self::TimedOut,
    ];

    /// Tells what it means that a connection ended before the reply was whole.
    ///
    /// `replied` is whether this connection ever brought a byte of a reply.
    pub(super) fn of(ending: Ending, replied: bool) -> Self {
        match ending {
            Ending::Reset if !replied => Self::LostBeforeFirstByte,
            Ending::Reset | Ending::Closed => Self::LostInHandler,
        }
    }

    /// Returns the name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::LostBeforeFirstByte => "lost before the first byte",
            Self::LostInHandler => "lost in a handler",
            Self::WrongBytes => "wrong bytes",
            Self::TimedOut => "timed out",
        }
    }

    /// Returns whether a server that keeps its promises never lets it happen.
    ///
    /// A handler may crash and may take its time; the rest is the server's own doing.
    pub(super) fn breaks_promise(self) -> bool {
        match self {
            Self::Refused | Self::LostBeforeFirstByte | Self::WrongBytes => true,
            Self::LostInHandler | Self::TimedOut => false,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Cleanly: the server had read all that we sent.
    Closed,
    /// By a reset: the server had not.
    Reset,
}

impl Ending {
    /// Tells how a connection ended at which reading met the end of the stream.
    ///
    /// `pending` is the error that the socket still holds. A server that closes before our request
    /// arrives ends the stream first and resets the connection after.
    pub(super) fn of_stream(pending: Option<&io::Error>) -> Self {
        match pending {
            Some(_) => Self::Reset,
            None => Self::Closed,
        }
    }
}

/// How many requests failed in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Failures {
    counts: [u64; Failure::ALL.len()],
}

impl Failures {
    /// Counts one more.
    pub(super) fn add(&mut self, failure: Failure) {
        self.counts[failure as usize] += 1;
    }

    /// Counts those of another run too.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// Returns how many there were of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL.into_iter().zip(self.counts)
    }

    /// Returns how many there were.
    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns whether the server broke a promise.
    pub(super) fn break_promise(&self) -> bool {
        self.iter()
            .any(|(failure, count)| failure.breaks_promise() && count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_before_any_reply_byte_means_that_no_handler_had_the_request() {
        assert_eq!(
            Failure::of(Ending::Reset, false),
            Failure::LostBeforeFirstByte
        );
    }

    #[test]
    fn a_clean_end_means_that_a_handler_had_the_request() {
        assert_eq!(Failure::of(Ending::Closed, false), Failure::LostInHandler);
        assert_eq!(Failure::of(Ending::Closed, true), Failure::LostInHandler);
    }

    #[test]
    fn a_reset_after_reply_bytes_means_that_a_handler_had_the_connection() {
        assert_eq!(Failure::of(Ending::Reset, true), Failure::LostInHandler);
    }

    #[test]
    fn an_end_of_stream_with_a_pending_error_is_a_reset() {
        let broken_pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Ending::of_stream(Some(&broken_pipe)), Ending::Reset);
        assert_eq!(Ending::of_stream(None), Ending::Closed);
    }

    #[test]
    fn only_what_the_server_must_prevent_breaks_its_promise() {
        let mut failures = Failures::default();
        failures.add(Failure::LostInHandler);
        failures.add(Failure::TimedOut);
        assert!(!failures.break_promise());

        failures.add(Failure::LostBeforeFirstByte);
        assert!(failures.break_promise());
        assert_eq!(failures.total(), 3);
    }
}
