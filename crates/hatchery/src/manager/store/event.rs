//! An event, which everybody who waits for sees.

use super::{ClientId, Outbox, Shared};
use crate::manager::protocol::{EventOperation, Reply};

#[derive(Debug, Default)]
pub(super) struct Event {
    is_set: bool,
    waiting: Vec<ClientId>,
}

impl Event {
    pub(super) fn operate(
        &mut self,
        client: ClientId,
        operation: &EventOperation,
        outbox: &mut Outbox,
    ) {
        match operation {
            EventOperation::Set => {
                self.is_set = true;
                outbox.send(client, Reply::Done);
            }
            EventOperation::Clear => {
                self.is_set = false;
                outbox.send(client, Reply::Done);
            }
            EventOperation::IsSet => outbox.send(client, Reply::Bool(self.is_set)),
            EventOperation::Wait => self.waiting.push(client),
        }
        if self.is_set {
            for client in self.waiting.drain(..) {
                outbox.send(client, Reply::Bool(true));
            }
        }
    }
}

impl Shared for Event {
    fn cancel(&mut self, client: ClientId, outbox: &mut Outbox) {
        if self.involves(client) {
            self.leave(client, outbox);
            outbox.send(client, Reply::Bool(false));
        }
    }

    fn leave(&mut self, client: ClientId, _outbox: &mut Outbox) {
        self.waiting.retain(|waiter| *waiter != client);
    }

    fn involves(&self, client: ClientId) -> bool {
        self.waiting.contains(&client)
    }
}
