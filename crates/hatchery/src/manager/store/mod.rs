//! What the manager knows: its objects, who waits for what, and who holds what.
//!
//! This is bookkeeping alone: no socket and no clock. Requests go in, and what is to be sent to
//! whom comes out. A client is a connection: what it waits for and holds is given up when it leaves.

mod barrier;
mod cells;
mod condition;
mod event;
mod image;
mod lock;
mod map;
mod queue;
mod semaphore;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use super::protocol::{ObjectId, Operation, Refusal, Reply, Request, Spec};
use barrier::Barrier;
use cells::{List, Single};
use condition::Condition;
use event::Event;
use lock::Lock;
use map::Map;
use queue::Queue;
use semaphore::Semaphore;

pub(super) use image::Image;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClientId(pub(super) u64);

/// What is to be sent, in this order.
#[derive(Debug, Default)]
pub(super) struct Outbox(pub(super) Vec<(ClientId, Reply)>);

impl Outbox {
    fn send(&mut self, client: ClientId, reply: Reply) {
        self.0.push((client, reply));
    }

    fn refuse(&mut self, client: ClientId, refusal: Refusal) {
        self.send(client, Reply::Refused(refusal));
    }
}

/// A client asked for something while it waited: it is not one of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// The manager's state.
#[derive(Debug)]
pub(super) struct Store {
    objects: HashMap<ObjectId, Object>,
    names: HashMap<String, ObjectId>,
    clients: HashMap<ClientId, Client>,
    next: u64,
    /// The most bytes that one value may grow to.
    bytes_max: usize,
    changes: u64,
}

/// What the store knows of a connection.
#[derive(Debug, Default)]
struct Client {
    /// The object that owes it an answer.
    waits_for: Option<ObjectId>,
    /// The objects in which it waits or holds something, and maybe some where it did.
    involved: HashSet<ObjectId>,
}

#[derive(Debug)]
enum Object {
    Dict(Map),
    Namespace(Map),
    List(List),
    Set(Map),
    Value(Single),
    Queue(Queue),
    JoinableQueue(Queue),
    Lock(Lock),
    RLock(Lock),
    Semaphore(Semaphore),
    BoundedSemaphore(Semaphore),
    Event(Event),
    Condition(Condition),
    Barrier(Barrier),
}

/// An object for which clients wait, and of which they hold something.
trait Shared {
    /// Stops waiting on behalf of `client`, and answers it, unless it has been answered.
    fn cancel(&mut self, client: ClientId, outbox: &mut Outbox);

    /// Gives up all that `client` waits for and holds.
    fn leave(&mut self, client: ClientId, outbox: &mut Outbox);

    /// Whether `client` waits for this or holds something of it.
    fn involves(&self, client: ClientId) -> bool;
}

impl Store {
    /// Makes an empty store whose objects are numbered from `first`.
    pub(super) fn new(first: u64, bytes_max: usize) -> Self {
        Self {
            objects: HashMap::new(),
            names: HashMap::new(),
            clients: HashMap::new(),
            next: first,
            bytes_max,
            changes: 0,
        }
    }

    /// Counts the changes to what a snapshot holds.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Does what `client` asks.
    pub(super) fn handle(
        &mut self,
        client: ClientId,
        request: Request,
        outbox: &mut Outbox,
    ) -> Result<(), Violation> {
        let state = self.clients.entry(client).or_default();
        if state.waits_for.is_some() && !matches!(request, Request::Cancel) {
            return Err(Violation);
        }
        match request {
            Request::Ping => outbox.send(client, Reply::Done),
            Request::Create { name, spec } => {
                let reply = self.create(name, spec);
                outbox.send(client, reply);
            }
            Request::Call(object, operation) => {
                let answered = outbox.0.len();
                self.operate(client, object, operation, outbox);
                let is_answered = outbox.0[answered..].iter().any(|(to, _)| *to == client);
                if !is_answered {
                    self.clients.entry(client).or_default().waits_for = Some(object);
                }
            }
            Request::Tell(object, operation) => {
                let mut sent = Outbox::default();
                self.operate(client, object, operation, &mut sent);
                sent.0.retain(|(to, _)| *to != client);
                outbox.0.append(&mut sent.0);
            }
            Request::Cancel => {
                if let Some(waited_for) = state.waits_for
                    && let Some(shared) = self.shared(waited_for)
                {
                    shared.cancel(client, outbox);
                }
            }
        }
        self.note_answers(outbox);
        Ok(())
    }

    /// Forgets `client`, and gives up what it waited for and held.
    pub(super) fn leave(&mut self, client: ClientId, outbox: &mut Outbox) {
        let Some(state) = self.clients.remove(&client) else {
            return;
        };
        let mut involved: Vec<ObjectId> = state.involved.into_iter().collect();
        involved.sort_unstable();
        for object in involved {
            if let Some(shared) = self.shared(object) {
                shared.leave(client, outbox);
                // An item may be back in its queue, once more delivered.
                self.changes += 1;
            }
        }
        self.note_answers(outbox);
    }

    fn create(&mut self, name: Option<String>, spec: Spec) -> Reply {
        if let Some(id) = name.as_ref().and_then(|name| self.names.get(name)) {
            let is_same = self.objects.get(id).is_some_and(|object| object.is(&spec));
            return if is_same {
                Reply::Created(*id)
            } else {
                Reply::Refused(Refusal::NameTaken)
            };
        }
        let id = ObjectId(self.next);
        self.next = self.next.wrapping_add(1);
        self.objects.insert(id, Object::new(spec));
        if let Some(name) = name {
            self.names.insert(name, id);
        }
        self.changes += 1;
        Reply::Created(id)
    }

    fn operate(
        &mut self,
        client: ClientId,
        id: ObjectId,
        operation: Operation,
        outbox: &mut Outbox,
    ) {
        if !operation.is_reading() {
            self.changes += 1;
        }
        let Some(object) = self.objects.get_mut(&id) else {
            return outbox.refuse(client, Refusal::NoSuchObject);
        };
        object.operate(client, operation, self.bytes_max, outbox);
        let Some(shared) = object.shared() else {
            return;
        };
        let is_involved = shared.involves(client);
        let state = self.clients.entry(client).or_default();
        if is_involved {
            state.involved.insert(id);
        } else {
            state.involved.remove(&id);
        }
    }

    fn shared(&mut self, id: ObjectId) -> Option<&mut dyn Shared> {
        self.objects.get_mut(&id)?.shared()
    }

    /// Notes that whoever is answered waits no more.
    fn note_answers(&mut self, outbox: &Outbox) {
        for (client, _) in &outbox.0 {
            if let Some(state) = self.clients.get_mut(client) {
                state.waits_for = None;
            }
        }
    }
}

impl Object {
    fn new(spec: Spec) -> Self {
        match spec {
            Spec::Dict => Self::Dict(Map::default()),
            Spec::Namespace => Self::Namespace(Map::default()),
            Spec::List => Self::List(List::default()),
            Spec::Set => Self::Set(Map::default()),
            Spec::Value(value) => Self::Value(Single(value)),
            Spec::Queue { room } => Self::Queue(Queue::new(room, false)),
            Spec::JoinableQueue { room } => Self::JoinableQueue(Queue::new(room, true)),
            Spec::Lock => Self::Lock(Lock::new(false)),
            Spec::RLock => Self::RLock(Lock::new(true)),
            Spec::Semaphore { permits } => Self::Semaphore(Semaphore::new(permits, false)),
            Spec::BoundedSemaphore { permits } => {
                Self::BoundedSemaphore(Semaphore::new(permits, true))
            }
            Spec::Event => Self::Event(Event::default()),
            Spec::Condition => Self::Condition(Condition::default()),
            Spec::Barrier { parties } => Self::Barrier(Barrier::new(parties)),
        }
    }

    /// Whether it is of the kind that `spec` asks for, whatever it holds.
    fn is(&self, spec: &Spec) -> bool {
        matches!(
            (self, spec),
            (Self::Dict(_), Spec::Dict)
                | (Self::Namespace(_), Spec::Namespace)
                | (Self::List(_), Spec::List)
                | (Self::Set(_), Spec::Set)
                | (Self::Value(_), Spec::Value(_))
                | (Self::Queue(_), Spec::Queue { .. })
                | (Self::JoinableQueue(_), Spec::JoinableQueue { .. })
                | (Self::Lock(_), Spec::Lock)
                | (Self::RLock(_), Spec::RLock)
                | (Self::Semaphore(_), Spec::Semaphore { .. })
                | (Self::BoundedSemaphore(_), Spec::BoundedSemaphore { .. })
                | (Self::Event(_), Spec::Event)
                | (Self::Condition(_), Spec::Condition)
                | (Self::Barrier(_), Spec::Barrier { .. })
        )
    }

    fn shared(&mut self) -> Option<&mut dyn Shared> {
        match self {
            Self::Queue(queue) | Self::JoinableQueue(queue) => Some(queue),
            Self::Lock(lock) | Self::RLock(lock) => Some(lock),
            Self::Semaphore(semaphore) | Self::BoundedSemaphore(semaphore) => Some(semaphore),
            Self::Event(event) => Some(event),
            Self::Condition(condition) => Some(condition),
            Self::Barrier(barrier) => Some(barrier),
            Self::Dict(_) | Self::Namespace(_) | Self::List(_) | Self::Set(_) | Self::Value(_) => {
                None
            }
        }
    }

    fn operate(
        &mut self,
        client: ClientId,
        operation: Operation,
        bytes_max: usize,
        outbox: &mut Outbox,
    ) {
        let outcome = match (self, operation) {
            (Self::Dict(map) | Self::Namespace(map), Operation::Cell(place, operation)) => {
                cells::operate(map, &place, operation, bytes_max)
            }
            (Self::List(list), Operation::Cell(place, operation)) => {
                cells::operate(list, &place, operation, bytes_max)
            }
            (Self::Value(value), Operation::Cell(place, operation)) => {
                cells::operate(value, &place, operation, bytes_max)
            }
            (Self::Dict(map) | Self::Namespace(map), Operation::Map(operation)) => {
                Ok(map.operate(operation))
            }
            (Self::Set(set), Operation::Set(operation)) => Ok(set.operate_as_set(operation)),
            (Self::List(list), Operation::List(operation)) => list.operate(operation),
            (Self::Queue(queue) | Self::JoinableQueue(queue), Operation::Queue(operation)) => {
                return queue.operate(client, operation, outbox);
            }
            (Self::Lock(lock) | Self::RLock(lock), Operation::Lock(operation)) => {
                return lock.operate(client, &operation, outbox);
            }
            (
                Self::Semaphore(semaphore) | Self::BoundedSemaphore(semaphore),
                Operation::Semaphore(operation),
            ) => return semaphore.operate(client, &operation, outbox),
            (Self::Event(event), Operation::Event(operation)) => {
                return event.operate(client, &operation, outbox);
            }
            (Self::Condition(condition), Operation::Condition(operation)) => {
                return condition.operate(client, &operation, outbox);
            }
            (Self::Barrier(barrier), Operation::Barrier(operation)) => {
                return barrier.operate(client, &operation, outbox);
            }
            _ => Err(Refusal::WrongKind),
        };
        outbox.send(client, outcome.unwrap_or_else(Reply::Refused));
    }
}
