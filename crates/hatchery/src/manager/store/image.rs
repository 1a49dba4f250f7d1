//! What of the store outlives the manager's process.
//!
//! Contents are kept: dicts, namespaces, lists, sets, values and queues. Of what is held and
//! waited for only the object itself is, as it was made: its holders are gone.

use serde::{Deserialize, Serialize};

use super::cells::{List, Single};
use super::map::Map;
use super::queue::{Item, Queue};
use super::{Object, Store};
use crate::manager::protocol::{Blob, ObjectId, Spec};

/// All objects, as a snapshot holds them.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::manager) struct Image {
    objects: Vec<(ObjectId, ObjectImage)>,
    names: Vec<(String, ObjectId)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum ObjectImage {
    Dict(Vec<(Blob, Blob)>),
    Namespace(Vec<(Blob, Blob)>),
    List(Vec<Blob>),
    Set(Vec<(Blob, Blob)>),
    Queue(QueueImage),
    JoinableQueue(QueueImage),
    /// As it was made.
    Fresh(Spec),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct QueueImage {
    room: Option<u64>,
    is_closed: bool,
    items: Vec<Item>,
    kept: u64,
}

impl Store {
    /// Takes a picture of all that is kept.
    pub(in crate::manager) fn image(&self) -> Image {
        let objects = self.objects.iter();
        let mut objects: Vec<_> = objects.map(|(id, object)| (*id, object.image())).collect();
        objects.sort_unstable_by_key(|(id, _)| *id);
        let names = self.names.iter();
        let mut names: Vec<_> = names.map(|(name, id)| (name.clone(), *id)).collect();
        names.sort_unstable();
        Image { objects, names }
    }

    /// Takes over what is in a picture; ids of its objects stay what they were.
    pub(in crate::manager) fn restore(&mut self, image: Image) {
        for (id, object) in image.objects {
            self.objects.insert(id, object.into_object());
        }
        self.names.extend(image.names);
    }
}

impl Object {
    fn image(&self) -> ObjectImage {
        let pairs = |map: &Map| map.iter().cloned().collect();
        match self {
            Self::Dict(map) => ObjectImage::Dict(pairs(map)),
            Self::Namespace(map) => ObjectImage::Namespace(pairs(map)),
            Self::Set(map) => ObjectImage::Set(pairs(map)),
            Self::List(List(items)) => ObjectImage::List(items.clone()),
            Self::Queue(queue) => ObjectImage::Queue(queue.image()),
            Self::JoinableQueue(queue) => ObjectImage::JoinableQueue(queue.image()),
            Self::Value(Single(value)) => ObjectImage::Fresh(Spec::Value(value.clone())),
            Self::Lock(_) => ObjectImage::Fresh(Spec::Lock),
            Self::RLock(_) => ObjectImage::Fresh(Spec::RLock),
            Self::Semaphore(semaphore) => ObjectImage::Fresh(Spec::Semaphore {
                permits: semaphore.permits,
            }),
            Self::BoundedSemaphore(semaphore) => ObjectImage::Fresh(Spec::BoundedSemaphore {
                permits: semaphore.permits,
            }),
            Self::Event(_) => ObjectImage::Fresh(Spec::Event),
            Self::Condition(_) => ObjectImage::Fresh(Spec::Condition),
            Self::Barrier(barrier) => ObjectImage::Fresh(Spec::Barrier {
                parties: barrier.parties,
            }),
        }
    }
}

impl Queue {
    fn image(&self) -> QueueImage {
        QueueImage {
            room: self.room,
            is_closed: self.is_closed,
            items: self.undone(),
            kept: self.kept,
        }
    }
}

impl ObjectImage {
    fn into_object(self) -> Object {
        let map = |pairs: Vec<(Blob, Blob)>| {
            let mut map = Map::default();
            for (key, value) in pairs {
                map.insert(key, value);
            }
            map
        };
        match self {
            Self::Dict(pairs) => Object::Dict(map(pairs)),
            Self::Namespace(pairs) => Object::Namespace(map(pairs)),
            Self::Set(pairs) => Object::Set(map(pairs)),
            Self::List(items) => Object::List(List(items)),
            Self::Queue(image) => Object::Queue(image.into_queue(false)),
            Self::JoinableQueue(image) => Object::JoinableQueue(image.into_queue(true)),
            Self::Fresh(spec) => Object::new(spec),
        }
    }
}

impl QueueImage {
    fn into_queue(self, is_joinable: bool) -> Queue {
        let mut queue = Queue::new(self.room, is_joinable);
        queue.is_closed = self.is_closed;
        queue.kept = self.kept;
        queue.restore(self.items);
        queue
    }
}
