//! A queue, whose items are somebody's until they have arrived or are done.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{ClientId, Outbox, Shared};
use crate::manager::protocol::{Blob, QueueOperation, Refusal, Reply};

/// An item, and how often it was handed out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) bytes: Blob,
    pub(super) deliveries: u32,
}

/// First in, first out, for any number of clients on both sides.
#[derive(Debug)]
pub(super) struct Queue {
    /// How many items there may be, if that is limited.
    pub(super) room: Option<u64>,
    is_joinable: bool,
    pub(super) is_closed: bool,
    items: VecDeque<Item>,
    getters: VecDeque<ClientId>,
    putters: VecDeque<(ClientId, Blob)>,
    joiners: Vec<ClientId>,
    /// What was handed out and, in a queue, has not arrived, or in a joinable one is not done.
    in_hand: BTreeMap<ClientId, Item>,
    /// How many items their holders kept, to report them later.
    pub(super) kept: u64,
}

impl Queue {
    pub(super) fn new(room: Option<u64>, is_joinable: bool) -> Self {
        Self {
            room,
            is_joinable,
            is_closed: false,
            items: VecDeque::new(),
            getters: VecDeque::new(),
            putters: VecDeque::new(),
            joiners: Vec::new(),
            in_hand: BTreeMap::new(),
            kept: 0,
        }
    }

    /// All that is not yet done, as it would be if every holder left.
    pub(super) fn undone(&self) -> Vec<Item> {
        self.in_hand.values().chain(&self.items).cloned().collect()
    }

    pub(super) fn restore(&mut self, items: Vec<Item>) {
        self.items = items.into();
    }

    pub(super) fn operate(
        &mut self,
        client: ClientId,
        operation: QueueOperation,
        outbox: &mut Outbox,
    ) {
        match operation {
            QueueOperation::Put { item, waits } => self.put(client, item, waits, outbox),
            QueueOperation::Get { waits } => self.get(client, waits, outbox),
            QueueOperation::Done => {
                let is_held = self.in_hand.remove(&client).is_some();
                answer_held(client, is_held, outbox);
            }
            QueueOperation::GiveBack => {
                let is_held = self.give_back(client);
                answer_held(client, is_held, outbox);
            }
            QueueOperation::Keep => {
                let is_held = self.in_hand.remove(&client).is_some();
                self.kept += u64::from(is_held);
                answer_held(client, is_held, outbox);
            }
            QueueOperation::TaskDone if self.kept == 0 => {
                outbox.refuse(client, Refusal::TooManyDone);
            }
            QueueOperation::TaskDone => {
                self.kept -= 1;
                outbox.send(client, Reply::Done);
            }
            QueueOperation::Join => self.joiners.push(client),
            QueueOperation::Close => {
                self.is_closed = true;
                outbox.send(client, Reply::Done);
            }
            QueueOperation::Status => outbox.send(client, self.status()),
        }
        self.settle(outbox);
    }

    fn put(&mut self, client: ClientId, item: Blob, waits: bool, outbox: &mut Outbox) {
        if self.is_closed {
            outbox.refuse(client, Refusal::Closed);
        } else if waits || (self.has_room() && self.putters.is_empty()) {
            self.putters.push_back((client, item));
        } else {
            outbox.refuse(client, Refusal::Full);
        }
    }

    fn get(&mut self, client: ClientId, waits: bool, outbox: &mut Outbox) {
        if self.in_hand.contains_key(&client) {
            // Our own proxies never ask while they hold an item on this connection.
            outbox.refuse(client, Refusal::NotHeld);
        } else if waits || !self.items.is_empty() {
            self.getters.push_back(client);
        } else {
            let is_over = self.is_closed && !self.may_come_back();
            let refusal = if is_over {
                Refusal::Closed
            } else {
                Refusal::Empty
            };
            outbox.refuse(client, refusal);
        }
    }

    /// Whether an item is on its way to a client that may be gone.
    fn may_come_back(&self) -> bool {
        !self.is_joinable && !self.in_hand.is_empty()
    }

    fn has_room(&self) -> bool {
        self.room
            .is_none_or(|room| (self.items.len() as u64) < room)
    }

    fn unfinished(&self) -> u64 {
        (self.items.len() + self.in_hand.len()) as u64 + self.kept
    }

    fn status(&self) -> Reply {
        Reply::Queue {
            len: self.items.len() as u64,
            is_full: !self.has_room(),
            unfinished: self.unfinished(),
        }
    }

    /// Puts what `client` holds back in front, for it was there before.
    fn give_back(&mut self, client: ClientId) -> bool {
        let item = self.in_hand.remove(&client);
        let is_held = item.is_some();
        self.items.extend(item);
        if is_held {
            self.items.rotate_right(1);
        }
        is_held
    }

    /// Hands over what can be handed over.
    fn settle(&mut self, outbox: &mut Outbox) {
        loop {
            while self.has_room()
                && let Some((client, bytes)) = self.putters.pop_front()
            {
                let deliveries = 0;
                self.items.push_back(Item { bytes, deliveries });
                outbox.send(client, Reply::Done);
            }
            if self.items.is_empty() || self.getters.is_empty() {
                break;
            }
            self.hand_over(outbox);
        }
        if self.is_closed {
            for (client, _) in self.putters.drain(..) {
                outbox.refuse(client, Refusal::Closed);
            }
            if !self.may_come_back() {
                for client in self.getters.drain(..) {
                    outbox.refuse(client, Refusal::Closed);
                }
            }
        }
        if self.unfinished() == 0 {
            for client in self.joiners.drain(..) {
                outbox.send(client, Reply::Bool(true));
            }
        }
    }

    fn hand_over(&mut self, outbox: &mut Outbox) {
        let Some(client) = self.getters.pop_front() else {
            return;
        };
        let Some(mut item) = self.items.pop_front() else {
            return self.getters.push_front(client);
        };
        item.deliveries = item.deliveries.saturating_add(1);
        let reply = Reply::Item {
            item: item.bytes.clone(),
            deliveries: item.deliveries,
        };
        self.in_hand.insert(client, item);
        outbox.send(client, reply);
    }
}

impl Shared for Queue {
    fn cancel(&mut self, client: ClientId, outbox: &mut Outbox) {
        if remove(&mut self.getters, client) {
            outbox.refuse(client, Refusal::Empty);
        }
        let putters = self.putters.len();
        self.putters.retain(|(putter, _)| *putter != client);
        if self.putters.len() < putters {
            outbox.refuse(client, Refusal::Full);
        }
        let joiners = self.joiners.len();
        self.joiners.retain(|joiner| *joiner != client);
        if self.joiners.len() < joiners {
            outbox.send(client, Reply::Bool(false));
        }
    }

    fn leave(&mut self, client: ClientId, outbox: &mut Outbox) {
        remove(&mut self.getters, client);
        self.putters.retain(|(putter, _)| *putter != client);
        self.joiners.retain(|joiner| *joiner != client);
        self.give_back(client);
        self.settle(outbox);
    }

    fn involves(&self, client: ClientId) -> bool {
        self.in_hand.contains_key(&client)
            || self.getters.contains(&client)
            || self.putters.iter().any(|(putter, _)| *putter == client)
            || self.joiners.contains(&client)
    }
}

/// Answers whether there was an item to do something with.
fn answer_held(client: ClientId, is_held: bool, outbox: &mut Outbox) {
    if is_held {
        outbox.send(client, Reply::Done);
    } else {
        outbox.refuse(client, Refusal::NotHeld);
    }
}

/// Takes `client` out of a line, and tells whether it was there.
pub(super) fn remove(line: &mut VecDeque<ClientId>, client: ClientId) -> bool {
    let waiting = line.len();
    line.retain(|waiter| *waiter != client);
    line.len() < waiting
}
