//! Requests in, answers out, without a process.

mod contents;
mod queues;
mod waiting;

use super::*;
use crate::manager::number::NumberKind;
use crate::manager::protocol::{
    BarrierOperation, Blob, CellOperation, ConditionOperation, EventOperation, ListOperation,
    LockOperation, MapOperation, Owner, Place, QueueOperation, SemaphoreOperation, SetOperation,
};

/// The most bytes of a value in these tests.
const BYTES_MAX: usize = 100;

/// A store, and what it last sent.
struct World(Store);

impl World {
    fn new() -> Self {
        Self(Store::new(1, BYTES_MAX))
    }

    fn make(&mut self, spec: Spec) -> ObjectId {
        let sent = self.ask(0, Request::Create { name: None, spec });
        match sent[..] {
            [(0, Reply::Created(id))] => id,
            _ => panic!("not made: {sent:?}"),
        }
    }

    fn ask(&mut self, client: u64, request: Request) -> Vec<(u64, Reply)> {
        let mut outbox = Outbox::default();
        let handled = self.0.handle(ClientId(client), request, &mut outbox);
        assert_eq!(handled, Ok(()));
        sent(outbox)
    }

    fn call(&mut self, client: u64, id: ObjectId, operation: Operation) -> Vec<(u64, Reply)> {
        self.ask(client, Request::Call(id, operation))
    }

    /// Calls what is answered at once, and nobody else hears of.
    #[track_caller]
    fn answer(&mut self, client: u64, id: ObjectId, operation: Operation) -> Reply {
        let mut sent = self.call(client, id, operation);
        assert_eq!(sent.len(), 1, "{sent:?}");
        let (to, reply) = sent.remove(0);
        assert_eq!(to, client);
        reply
    }

    fn leave(&mut self, client: u64) -> Vec<(u64, Reply)> {
        let mut outbox = Outbox::default();
        self.0.leave(ClientId(client), &mut outbox);
        sent(outbox)
    }
}

fn sent(outbox: Outbox) -> Vec<(u64, Reply)> {
    let sent = outbox.0.into_iter();
    sent.map(|(ClientId(client), reply)| (client, reply))
        .collect()
}

fn blob<T: serde::Serialize + ?Sized>(value: &T) -> Blob {
    postcard::to_stdvec(value).unwrap().into()
}

fn at(key: &str, operation: CellOperation) -> Operation {
    Operation::Cell(Place::Key(blob(key)), operation)
}

fn put(item: u32) -> Operation {
    let (item, waits) = (blob(&item), true);
    Operation::Queue(QueueOperation::Put { item, waits })
}

const GET: Operation = Operation::Queue(QueueOperation::Get { waits: true });

const DONE: Operation = Operation::Queue(QueueOperation::Done);

fn item(item: u32, deliveries: u32) -> Reply {
    let item = blob(&item);
    Reply::Item { item, deliveries }
}

fn lock(owner: u64, waits: bool) -> Operation {
    let owner = Owner(1, owner);
    Operation::Lock(LockOperation::Acquire { owner, waits })
}

const UNLOCK: Operation = Operation::Lock(LockOperation::Release);

fn condition(operation: ConditionOperation) -> Operation {
    Operation::Condition(operation)
}

fn semaphore(operation: SemaphoreOperation) -> Operation {
    Operation::Semaphore(operation)
}

const YES: Reply = Reply::Bool(true);

const NO: Reply = Reply::Bool(false);
