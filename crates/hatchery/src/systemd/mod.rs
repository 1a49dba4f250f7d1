//! What systemd is told, and what it passes; others speak the same protocols.

mod notify;
mod passed;

pub(crate) use self::notify::{News, Notifier};
pub(crate) use self::passed::{passed_as, passed_descriptors};
