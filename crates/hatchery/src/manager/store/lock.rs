//! A lock, re-entrant or not, that passes to those who wait in the order in which they came.

use std::collections::VecDeque;

use super::{ClientId, Outbox, Shared};
use crate::manager::protocol::{LockOperation, Owner, Refusal, Reply};

#[derive(Debug)]
pub(super) struct Lock {
    pub(super) is_reentrant: bool,
    owner: Option<Owner>,
    /// Each a connection that holds it once; all of one owner.
    holders: Vec<ClientId>,
    waiting: VecDeque<(ClientId, Owner)>,
}

impl Lock {
    pub(super) fn new(is_reentrant: bool) -> Self {
        Self {
            is_reentrant,
            owner: None,
            holders: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn operate(
        &mut self,
        client: ClientId,
        operation: &LockOperation,
        outbox: &mut Outbox,
    ) {
        match *operation {
            LockOperation::Acquire { owner, waits } => {
                let is_free = self.holders.is_empty() && self.waiting.is_empty();
                if is_free || self.opens_again_to(owner) {
                    self.grant(client, owner, outbox);
                } else if waits {
                    self.waiting.push_back((client, owner));
                } else {
                    outbox.send(client, Reply::Bool(false));
                }
            }
            LockOperation::Release if self.release(client) => {
                outbox.send(client, Reply::Done);
                self.pass_on(outbox);
            }
            LockOperation::Release => outbox.refuse(client, Refusal::NotHeld),
            LockOperation::IsHeld => outbox.send(client, Reply::Bool(!self.holders.is_empty())),
        }
    }

    fn opens_again_to(&self, owner: Owner) -> bool {
        self.is_reentrant && !self.holders.is_empty() && self.owner == Some(owner)
    }

    fn grant(&mut self, client: ClientId, owner: Owner, outbox: &mut Outbox) {
        self.owner = Some(owner);
        self.holders.push(client);
        outbox.send(client, Reply::Bool(true));
    }

    fn release(&mut self, client: ClientId) -> bool {
        let held = self.holders.iter().position(|holder| *holder == client);
        held.map(|place| self.holders.swap_remove(place)).is_some()
    }

    fn pass_on(&mut self, outbox: &mut Outbox) {
        if self.holders.is_empty()
            && let Some((client, owner)) = self.waiting.pop_front()
        {
            self.grant(client, owner, outbox);
        }
    }
}

impl Shared for Lock {
    fn cancel(&mut self, client: ClientId, outbox: &mut Outbox) {
        let waiting = self.waiting.len();
        self.waiting.retain(|(waiter, _)| *waiter != client);
        if self.waiting.len() < waiting {
            outbox.send(client, Reply::Bool(false));
        }
    }

    fn leave(&mut self, client: ClientId, outbox: &mut Outbox) {
        self.waiting.retain(|(waiter, _)| *waiter != client);
        while self.release(client) {}
        self.pass_on(outbox);
    }

    fn involves(&self, client: ClientId) -> bool {
        self.holders.contains(&client) || self.waiting.iter().any(|(waiter, _)| *waiter == client)
    }
}
