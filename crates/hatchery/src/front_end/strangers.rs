//! Collecting processes that lost their parent and became the main process's children.
//!
//! What handlers leave behind goes to the fork server, which collects it. To the main process comes
//! what a dead fork server leaves and, if it is the first process of a container, whatever is left
//! over there. A child that the program has started itself looks much the same and must not be
//! collected, for the program waits for it: so only what certainly is no such child is.

use std::io;
use std::task::{Context, Poll};

use rustix::process::{WaitId, WaitIdOptions, getpid, waitid};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::kin::{Kin, children_of, read_kin};

/// The name of a fork server.
const FORK_SERVER: &str = "hatchery-fork";

/// Collects strangers whenever a child has ended.
#[derive(Debug)]
pub(super) struct Strangers {
    /// Tells of children that ended, unless the program keeps signals to itself.
    ended: Option<Signal>,
}

impl Strangers {
    pub(super) fn watch(signals: bool) -> io::Result<Self> {
        let ended = signals.then(|| signal(SignalKind::child())).transpose()?;
        Ok(Self { ended })
    }

    /// Collects those that have ended since the last call; sees to being woken for the next.
    pub(super) fn collect(&mut self, context: &mut Context<'_>) {
        let Some(ended) = &mut self.ended else {
            return;
        };
        let mut has_ended = false;
        while let Poll::Ready(Some(())) = ended.poll_recv(context) {
            has_ended = true;
        }
        if has_ended && let Some(main) = read_kin(getpid()) {
            collect_children_of(&main);
        }
    }
}

fn collect_children_of(main: &Kin) {
    for child in children_of(main.pid) {
        let is_to_go = child.is_zombie && is_stranger(&child, main);
        if is_to_go && !hatchery_process::is_own_child(child.pid) {
            // It is a zombie: its id cannot have passed on, unless somebody was faster.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _collected_before = waitid(WaitId::Pid(child.pid), options);
        }
    }
}

/// Whether a child certainly was not started by the main process itself.
///
/// A child of the program's own is in its session, and in its process group or one of its own. A fork
/// server that nobody waits for was that of a new program which died before it took over.
fn is_stranger(child: &Kin, main: &Kin) -> bool {
    let has_own_group = child.group == child.pid.as_raw_nonzero().get();
    let is_in_group = child.group == main.group || has_own_group;
    child.session != main.session || !is_in_group || child.name == FORK_SERVER
}

#[cfg(test)]
mod tests {
    use rustix::process::Pid;

    use super::*;

    fn kin(pid: i32, group: i32, session: i32) -> Kin {
        Kin {
            pid: Pid::from_raw(pid).unwrap(),
            name: "sleep".to_owned(),
            is_zombie: true,
            group,
            session,
        }
    }

    #[test]
    fn what_the_program_may_have_started_is_no_stranger() {
        let main = kin(10, 10, 5);

        assert!(!is_stranger(&kin(20, 10, 5), &main), "in its group");
        assert!(
            !is_stranger(&kin(20, 20, 5), &main),
            "in a group of its own"
        );
    }

    #[test]
    fn what_is_of_another_session_or_of_anothers_group_is_a_stranger() {
        let main = kin(10, 10, 5);

        assert!(is_stranger(&kin(20, 20, 20), &main));
        assert!(is_stranger(&kin(20, 15, 5), &main), "a worker's group");
        let fork_server = Kin {
            name: FORK_SERVER.to_owned(),
            ..kin(20, 20, 5)
        };
        assert!(is_stranger(&fork_server, &main));
    }
}
