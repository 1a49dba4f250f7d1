//! Handing the server over to a new program, and taking it over from an old one.
//!
//! The old program starts the new one as its child ([`attempt`]) and sends it what it listens on,
//! over a channel that nobody else can have ([`message`]). The new one takes that up before it forks
//! anything ([`legacy`]), accepts nothing, and says when all its workers are ready. Then the old one
//! says that the server is the new one's, and drains. Until that word nothing belongs to the new one:
//! if it fails, it is killed, and nobody has noticed. Connections that wait for their clients follow after
//! that word, those at once that were parked then, and others as their handlers park them.
//!
//! What the front end does on either side is in `front_end/upgrading.rs`.

mod attempt;
mod error;
mod last_words;
mod legacy;
mod message;
mod program;

pub use self::error::UpgradeError;

pub(crate) use self::attempt::{Attempt, Heir};
pub(crate) use self::legacy::{Group, Legacy, adopt, has_taken_over, tell_failure};
pub(crate) use self::message::{Item, Message, Parked, receive, send};
pub(crate) use self::program::remember_program;
