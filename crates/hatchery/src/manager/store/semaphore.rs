//! A semaphore, whose permits go to those who wait in the order in which they came.

use std::collections::{HashMap, VecDeque};

use super::queue::remove;
use super::{ClientId, Outbox, Shared};
use crate::manager::protocol::{Refusal, Reply, SemaphoreOperation};

#[derive(Debug)]
pub(super) struct Semaphore {
    /// How many permits it started with.
    pub(super) permits: u64,
    pub(super) is_bounded: bool,
    value: u64,
    /// How many permits each connection holds.
    held: HashMap<ClientId, u64>,
    waiting: VecDeque<ClientId>,
}

impl Semaphore {
    pub(super) fn new(permits: u64, is_bounded: bool) -> Self {
        Self {
            permits,
            is_bounded,
            value: permits,
            held: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn operate(
        &mut self,
        client: ClientId,
        operation: &SemaphoreOperation,
        outbox: &mut Outbox,
    ) {
        match *operation {
            SemaphoreOperation::Acquire { waits } => {
                if waits || (self.value > 0 && self.waiting.is_empty()) {
                    self.waiting.push_back(client);
                } else {
                    outbox.send(client, Reply::Bool(false));
                }
            }
            SemaphoreOperation::Release => {
                let is_held = self.take_from(client);
                self.value += u64::from(is_held);
                answer(client, is_held, outbox);
            }
            SemaphoreOperation::Forget => {
                let is_held = self.take_from(client);
                answer(client, is_held, outbox);
            }
            SemaphoreOperation::Add(more) => match self.sum(more) {
                Ok(value) => {
                    self.value = value;
                    outbox.send(client, Reply::Done);
                }
                Err(refusal) => outbox.refuse(client, refusal),
            },
            SemaphoreOperation::Value => outbox.send(client, Reply::Count(self.value)),
        }
        self.settle(outbox);
    }

    /// What the value would be with `more` permits.
    fn sum(&self, more: u64) -> Result<u64, Refusal> {
        let held: u64 = self.held.values().sum();
        let all = self.value.checked_add(held);
        let all = all.and_then(|all| all.checked_add(more));
        let all = all.ok_or(Refusal::Overflow)?;
        if self.is_bounded && all > self.permits {
            return Err(Refusal::OverRelease {
                permits: self.permits,
            });
        }
        Ok(self.value + more)
    }

    fn take_from(&mut self, client: ClientId) -> bool {
        let Some(held) = self.held.get_mut(&client) else {
            return false;
        };
        *held -= 1;
        if *held == 0 {
            self.held.remove(&client);
        }
        true
    }

    fn settle(&mut self, outbox: &mut Outbox) {
        while self.value > 0
            && let Some(client) = self.waiting.pop_front()
        {
            self.value -= 1;
            *self.held.entry(client).or_default() += 1;
            outbox.send(client, Reply::Bool(true));
        }
    }
}

impl Shared for Semaphore {
    fn cancel(&mut self, client: ClientId, outbox: &mut Outbox) {
        if remove(&mut self.waiting, client) {
            outbox.send(client, Reply::Bool(false));
        }
    }

    fn leave(&mut self, client: ClientId, outbox: &mut Outbox) {
        remove(&mut self.waiting, client);
        self.value += self.held.remove(&client).unwrap_or_default();
        self.settle(outbox);
    }

    fn involves(&self, client: ClientId) -> bool {
        self.held.contains_key(&client) || self.waiting.contains(&client)
    }
}

fn answer(client: ClientId, is_held: bool, outbox: &mut Outbox) {
    if is_held {
        outbox.send(client, Reply::Done);
    } else {
        outbox.refuse(client, Refusal::NotHeld);
    }
}
