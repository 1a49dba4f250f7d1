//! What systemd is told, and what it passes; others speak the same protocols.

mod kept;
mod notify;
mod passed;

pub(crate) use self::kept::{KeptListeners, kept_name};
pub(crate) use self::notify::{News, Notifier};
pub(crate) use self::passed::{passed_as, passed_descriptors};
