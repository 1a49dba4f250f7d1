//! What a program was given by the one from which it takes over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::message::{Item, Message, receive, send};
use crate::config::BindAddress;

/// How long the old program may take to send what it has promised.
const PATIENCE: Duration = Duration::from_secs(10);

/// What this program was given, until its server takes it.
static LEGACY: Mutex<Option<Legacy>> = Mutex::new(None);

/// Where the old program is told why this one fails, for as long as it may.
static FAILURES: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Why nothing could be taken over.
#[derive(Debug, thiserror::Error)]
#[error("the server cannot be taken over from the program that started this one")]
pub(crate) struct LegacyError(#[source] io::Error);

/// What a program was given.
#[derive(Debug)]
pub(crate) struct Legacy {
    channel: OwnedFd,
    groups: Vec<Group>,
    control: Option<(PathBuf, OwnedFd)>,
    admin: Option<Group>,
}

/// The sockets of one address.
#[derive(Debug)]
pub(crate) struct Group {
    /// Which of the old program's addresses.
    pub(crate) number: usize,
    /// The address as it was set.
    configured: Option<BindAddress>,
    /// The address as clients use it.
    pub(crate) address: String,
    pub(crate) sockets: Vec<OwnedFd>,
}

impl Group {
    fn is_for(&self, address: &BindAddress) -> bool {
        let configured = self.configured.as_ref();
        configured.is_some_and(|it| it.serves_for(address))
    }
}

/// Takes up what the program that started this one hands over, if it does.
///
/// This comes before everything else: standard error becomes that of the old program.
///
/// # Errors
///
/// Returns an error if the old program says what this one does not understand.
pub(crate) fn adopt() -> Result<(), LegacyError> {
    let Some(channel) = hatchery_os::take_legacy_channel() else {
        return Ok(());
    };
    let failures = channel.try_clone().map_err(LegacyError)?;
    *lock(&FAILURES) = Some(failures);
    let legacy = Legacy::receive(channel).map_err(LegacyError)?;
    *lock(&LEGACY) = Some(legacy);
    Ok(())
}

/// Tells the old program why this one fails, if there is one that waits.
pub(crate) fn tell_failure(words: &str) {
    if hatchery_process::is_child() {
        return;
    }
    if let Some(channel) = &*lock(&FAILURES) {
        let words = words.to_owned();
        // It may have given up, or have died.
        let _gone = send(channel, &Message::Failed { words }, &[]);
    }
}

impl Legacy {
    /// Takes what was taken up for the server of this process.
    pub(crate) fn take() -> Option<Self> {
        // What a worker has inherited of it is closed.
        if hatchery_process::is_child() {
            return None;
        }
        lock(&LEGACY).take()
    }

    fn receive(channel: OwnedFd) -> io::Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        let mut legacy = Self {
            channel,
            groups: Vec::new(),
            control: None,
            admin: None,
        };
        loop {
            let source = [legacy.channel.as_fd()];
            if hatchery_process::wait_for_any(&source, Some(deadline))?.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let Some((message, descriptors)) = receive(&legacy.channel)? else {
                continue;
            };
            let Message::Items { items, more } = message else {
                continue;
            };
            for (item, descriptor) in items.into_iter().zip(descriptors) {
                legacy.take_item(item, descriptor)?;
            }
            if !more {
                return Ok(legacy);
            }
        }
    }

    fn take_item(&mut self, item: Item, descriptor: OwnedFd) -> io::Result<()> {
        match item {
            Item::Stderr => rustix::stdio::dup2_stderr(&descriptor)?,
            Item::Control { path } => self.control = Some((path, descriptor)),
            Item::Admin {
                configured,
                address,
            } => {
                self.admin = Some(Group {
                    number: 0,
                    configured: configured.parse().ok(),
                    address,
                    sockets: vec![descriptor],
                });
            }
            Item::Listener {
                group: number,
                configured,
                address,
            } => {
                let known = self.groups.iter_mut().find(|it| it.number == number);
                match known {
                    Some(group) => group.sockets.push(descriptor),
                    None => self.groups.push(Group {
                        number,
                        configured: configured.parse().ok(),
                        address,
                        sockets: vec![descriptor],
                    }),
                }
            }
            // The old one keeps it.
            Item::Unknown => {}
        }
        Ok(())
    }

    /// Takes what was listened on for `address`; systemd may have passed several sockets for one.
    pub(crate) fn take_groups(&mut self, address: &BindAddress) -> Vec<Group> {
        let is_for = |group: &Group| group.is_for(address);
        if matches!(address, BindAddress::Systemd | BindAddress::Named(_)) {
            return self.groups.extract_if(.., |group| is_for(group)).collect();
        }
        // A port that the kernel chooses may be configured twice.
        let place = self.groups.iter().position(is_for);
        place.map(|it| self.groups.remove(it)).into_iter().collect()
    }

    /// Takes the control socket, if it is at this path.
    pub(crate) fn take_control(&mut self, path: &Path) -> Option<OwnedFd> {
        let (_, socket) = self.control.take_if(|(at, _)| at == path)?;
        Some(socket)
    }

    /// Takes the admin listener, if it is for this address.
    pub(crate) fn take_admin(&mut self, address: &BindAddress) -> Option<Group> {
        self.admin.take_if(|admin| admin.is_for(address))
    }

    /// Leaves the channel, and closes what has not been taken.
    pub(crate) fn into_channel(self) -> OwnedFd {
        self.channel
    }
}

/// Tells nobody any more why this program fails: it has taken over.
pub(crate) fn has_taken_over() {
    *lock(&FAILURES) = None;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one assignment, so a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
