//! A barrier, which opens when all parties are there and breaks when one gives up.

use super::{ClientId, Outbox, Shared};
use crate::manager::protocol::{BarrierOperation, Refusal, Reply};

#[derive(Debug)]
pub(super) struct Barrier {
    pub(super) parties: u64,
    waiting: Vec<ClientId>,
    is_broken: bool,
}

impl Barrier {
    pub(super) fn new(parties: u64) -> Self {
        Self {
            parties,
            waiting: Vec::new(),
            is_broken: false,
        }
    }

    pub(super) fn operate(
        &mut self,
        client: ClientId,
        operation: &BarrierOperation,
        outbox: &mut Outbox,
    ) {
        match operation {
            BarrierOperation::Wait if self.is_broken => outbox.refuse(client, Refusal::Broken),
            BarrierOperation::Wait => {
                self.waiting.push(client);
                self.open_if_full(outbox);
            }
            BarrierOperation::Abort => {
                self.break_up(outbox);
                outbox.send(client, Reply::Done);
            }
            BarrierOperation::Reset => {
                self.break_up(outbox);
                self.is_broken = false;
                outbox.send(client, Reply::Done);
            }
            BarrierOperation::Status => outbox.send(
                client,
                Reply::Barrier {
                    parties: self.parties,
                    waiting: self.waiting.len() as u64,
                    is_broken: self.is_broken,
                },
            ),
        }
    }

    fn open_if_full(&mut self, outbox: &mut Outbox) {
        if (self.waiting.len() as u64) < self.parties {
            return;
        }
        for (index, client) in self.waiting.drain(..).enumerate() {
            outbox.send(client, Reply::Count(index as u64));
        }
    }

    fn break_up(&mut self, outbox: &mut Outbox) {
        self.is_broken = true;
        for client in self.waiting.drain(..) {
            outbox.refuse(client, Refusal::Broken);
        }
    }
}

impl Shared for Barrier {
    fn cancel(&mut self, client: ClientId, outbox: &mut Outbox) {
        if self.involves(client) {
            // The others would wait for one that is not coming.
            self.break_up(outbox);
        }
    }

    fn leave(&mut self, client: ClientId, outbox: &mut Outbox) {
        if self.involves(client) {
            self.waiting.retain(|waiter| *waiter != client);
            self.break_up(outbox);
        }
    }

    fn involves(&self, client: ClientId) -> bool {
        self.waiting.contains(&client)
    }
}
