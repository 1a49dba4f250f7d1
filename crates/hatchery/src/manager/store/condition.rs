//! A condition: a lock whose holder can let it go, and be told to take it again.

use std::collections::VecDeque;

use super::queue::remove;
use super::{ClientId, Outbox, Shared};
use crate::manager::protocol::{ConditionOperation, Refusal, Reply};

#[derive(Debug, Default)]
pub(super) struct Condition {
    holder: Option<ClientId>,
    /// Who waits for the lock.
    entering: VecDeque<Entering>,
    /// Who waits to be notified.
    waiting: VecDeque<ClientId>,
}

/// A client that wants the lock, and why.
#[derive(Debug)]
struct Entering {
    client: ClientId,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It had no part in it before.
    New,
    Notified,
    /// It has waited for as long as it wanted to.
    TimedOut,
}

impl Condition {
    pub(super) fn operate(
        &mut self,
        client: ClientId,
        operation: &ConditionOperation,
        outbox: &mut Outbox,
    ) {
        let is_holder = self.holder == Some(client);
        match *operation {
            ConditionOperation::Acquire { waits } => {
                let is_free = self.holder.is_none() && self.entering.is_empty();
                if waits || is_free {
                    self.enter(client, Reason::New);
                } else {
                    outbox.send(client, Reply::Bool(false));
                }
            }
            _ if !is_holder => outbox.refuse(client, Refusal::NotHeld),
            ConditionOperation::Release => {
                self.holder = None;
                outbox.send(client, Reply::Done);
            }
            ConditionOperation::Wait => {
                self.holder = None;
                self.waiting.push_back(client);
            }
            ConditionOperation::Notify(count) => {
                let notified = (0..count).take_while(|_| self.notify()).count();
                outbox.send(client, Reply::Count(notified as u64));
            }
        }
        self.admit(outbox);
    }

    /// Notifies one, and tells whether there was one.
    fn notify(&mut self) -> bool {
        let Some(client) = self.waiting.pop_front() else {
            return false;
        };
        self.enter(client, Reason::Notified);
        true
    }

    fn enter(&mut self, client: ClientId, reason: Reason) {
        self.entering.push_back(Entering { client, reason });
    }

    /// Gives the lock, if it is free, to whoever came first.
    fn admit(&mut self, outbox: &mut Outbox) {
        if self.holder.is_none()
            && let Some(Entering { client, reason }) = self.entering.pop_front()
        {
            self.holder = Some(client);
            outbox.send(client, Reply::Bool(reason != Reason::TimedOut));
        }
    }
}

impl Shared for Condition {
    fn cancel(&mut self, client: ClientId, outbox: &mut Outbox) {
        if remove(&mut self.waiting, client) {
            self.enter(client, Reason::TimedOut);
            self.admit(outbox);
            return;
        }
        let entering = self.entering.len();
        // Whoever has waited before gets the lock, however long that takes.
        self.entering
            .retain(|other| other.client != client || other.reason != Reason::New);
        if self.entering.len() < entering {
            outbox.send(client, Reply::Bool(false));
        }
    }

    fn leave(&mut self, client: ClientId, outbox: &mut Outbox) {
        remove(&mut self.waiting, client);
        let place = self
            .entering
            .iter()
            .position(|other| other.client == client);
        let left = place.and_then(|place| self.entering.remove(place));
        if left.is_some_and(|left| left.reason == Reason::Notified) {
            // It never learnt of it, so somebody else must.
            self.notify();
        }
        if self.holder == Some(client) {
            self.holder = None;
        }
        self.admit(outbox);
    }

    fn involves(&self, client: ClientId) -> bool {
        self.holder == Some(client)
            || self.waiting.contains(&client)
            || self.entering.iter().any(|other| other.client == client)
    }
}
