//! What a proxy and the manager say to each other, as bytes.
//!
//! A frame is a length of four bytes and that many bytes of postcard. Nothing in a frame is a value
//! of the program: keys and values are [`Blob`]s, which only proxies decode.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::number::NumberKind;

/// The bytes that say how long a frame is.
pub(super) const LENGTH_BYTES: usize = size_of::<u32>();

/// What a frame may need beside the values in it.
pub(super) const OVERHEAD_BYTES: usize = 64;

/// The most bytes of a frame before both sides have shown that they belong here.
pub(super) const GREETING_BYTES_MAX: usize = 256;

/// A value of the program, serialised; the manager never looks inside.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Blob(Arc<[u8]>);

impl Blob {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Blob;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Names an object of a manager; no two objects of its address ever have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct ObjectId(pub(super) u64);

/// What a client sends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Makes an object, or finds the one that has this name.
    Create { name: Option<String>, spec: Spec },
    /// Does something to an object, and is answered.
    Call(ObjectId, Operation),
    /// Does something to an object, and is not answered.
    Tell(ObjectId, Operation),
    /// Gives up what the connection waits for. Where it waits for nothing, this does nothing: the
    /// answer is on its way.
    Cancel,
    /// Asks for an answer.
    Ping,
}

/// What an object starts as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Spec {
    Dict,
    Namespace,
    List,
    Set,
    Value(Blob),
    Queue { room: Option<u64> },
    JoinableQueue { room: Option<u64> },
    Lock,
    RLock,
    Semaphore { permits: u64 },
    BoundedSemaphore { permits: u64 },
    Event,
    Condition,
    Barrier { parties: u64 },
}

/// What can be done to objects, by the kind of object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Operation {
    Cell(Place, CellOperation),
    Map(MapOperation),
    List(ListOperation),
    Set(SetOperation),
    Queue(QueueOperation),
    Lock(LockOperation),
    Semaphore(SemaphoreOperation),
    Event(EventOperation),
    Condition(ConditionOperation),
    Barrier(BarrierOperation),
}

/// Where in an object a value is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Place {
    /// The object is the value.
    Whole,
    Key(Blob),
    Index(u64),
}

/// What can be done to one value, wherever it is, without anybody in between.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum CellOperation {
    Get,
    Set(Blob),
    /// Sets it, and answers what was there.
    Swap(Blob),
    /// Adds a number, and answers the sum.
    Add(NumberKind, Blob),
    /// Appends an item to a sequence, and answers how many there are.
    Push(Blob),
    CompareAndSwap {
        expected: Option<Blob>,
        new: Option<Blob>,
    },
    GetOrInsert(Blob),
    Remove,
}

/// What can be done to a dict or a namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum MapOperation {
    Contains(Blob),
    Len,
    Keys,
    Values,
    Items,
    Update(Vec<(Blob, Blob)>),
    /// Takes out what was put in last.
    PopItem,
    Clear,
}

/// What can be done to a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ListOperation {
    Extend(Vec<Blob>),
    Insert(u64, Blob),
    Pop,
    IndexOf(Blob),
    /// Removes the first item that equals this one.
    RemoveItem(Blob),
    Len,
    Items,
    Reverse,
    Clear,
}

/// What can be done to a set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum SetOperation {
    Insert(Blob),
    Extend(Vec<Blob>),
    Remove(Blob),
    Contains(Blob),
    /// Takes out what was put in last.
    Pop,
    Len,
    Items,
    Clear,
}

/// What can be done to a queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum QueueOperation {
    Put {
        item: Blob,
        waits: bool,
    },
    Get {
        waits: bool,
    },
    /// Says that the item in hand has arrived; of a joinable queue, that it is done.
    Done,
    /// Gives the item in hand back.
    GiveBack,
    /// Keeps the item in hand, to be reported by `TaskDone`.
    Keep,
    /// Says that an item that was kept is done.
    TaskDone,
    Join,
    Close,
    Status,
}

/// What can be done to a lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum LockOperation {
    Acquire { owner: Owner, waits: bool },
    Release,
    IsHeld,
}

/// Who acquires a lock, to whom a re-entrant one opens again: a process, and who in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner(pub(super) u64, pub(super) u64);

/// What can be done to a semaphore.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum SemaphoreOperation {
    Acquire {
        waits: bool,
    },
    /// Gives back the permit in hand.
    Release,
    /// Gives up the permit in hand for good.
    Forget,
    /// Adds permits out of nothing.
    Add(u64),
    Value,
}

/// What can be done to an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum EventOperation {
    Set,
    Clear,
    IsSet,
    Wait,
}

/// What can be done to a condition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ConditionOperation {
    Acquire { waits: bool },
    Release,
    Wait,
    Notify(u64),
}

/// What can be done to a barrier.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum BarrierOperation {
    Wait,
    Abort,
    Reset,
    Status,
}

/// What the manager answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Reply {
    Done,
    Created(ObjectId),
    Bool(bool),
    Count(u64),
    Blob(Option<Blob>),
    Blobs(Vec<Blob>),
    Pair(Option<(Blob, Blob)>),
    Pairs(Vec<(Blob, Blob)>),
    Item {
        item: Blob,
        deliveries: u32,
    },
    Queue {
        len: u64,
        is_full: bool,
        unfinished: u64,
    },
    Barrier {
        parties: u64,
        waiting: u64,
        is_broken: bool,
    },
    Refused(Refusal),
}

/// Why the manager did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    NoSuchObject,
    WrongKind,
    NameTaken,
    IndexOutOfRange { index: u64, len: u64 },
    NotNumber,
    NotSequence,
    Overflow,
    TooLarge { bytes: u64, bytes_max: u64 },
    Full,
    Empty,
    Closed,
    TooManyDone,
    OverRelease { permits: u64 },
    Broken,
    NotHeld,
}

/// The bytes of a frame could not be understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Encodes `message` as a frame, however long it is.
pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    let frame = postcard::to_extend(message, vec![0; LENGTH_BYTES])
        .expect("a message holds nothing that cannot be serialised");
    finish(frame)
}

/// Writes the length of a frame into the room left for it.
fn finish(mut frame: Vec<u8>) -> Vec<u8> {
    // A frame that is longer is not sent: the limit of frames is far below.
    let length = u32::try_from(frame.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Reads the length of a frame whose first bytes these are.
pub(super) fn frame_len(length: [u8; LENGTH_BYTES]) -> usize {
    u32::from_le_bytes(length) as usize
}

/// Decodes what a frame holds, which must be all of it.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) | Err(_) => Err(Malformed),
    }
}

impl Operation {
    /// Whether it leaves every object as it was.
    pub(super) fn is_reading(&self) -> bool {
        match self {
            Self::Cell(_, operation) => matches!(operation, CellOperation::Get),
            Self::Map(operation) => matches!(
                operation,
                MapOperation::Contains(_)
                    | MapOperation::Len
                    | MapOperation::Keys
                    | MapOperation::Values
                    | MapOperation::Items
            ),
            Self::List(operation) => matches!(
                operation,
                ListOperation::IndexOf(_) | ListOperation::Len | ListOperation::Items
            ),
            Self::Set(operation) => matches!(
                operation,
                SetOperation::Contains(_) | SetOperation::Len | SetOperation::Items
            ),
            Self::Queue(operation) => {
                matches!(operation, QueueOperation::Status | QueueOperation::Join)
            }
            // None of these is kept.
            Self::Lock(_)
            | Self::Semaphore(_)
            | Self::Event(_)
            | Self::Condition(_)
            | Self::Barrier(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_length_and_its_message() {
        let frame = encode(&Request::Ping);

        let (length, body) = frame.split_first_chunk().unwrap();

        assert_eq!(frame_len(*length), body.len());
        assert!(matches!(decode(body), Ok(Request::Ping)));
    }

    #[test]
    fn what_follows_a_message_makes_it_malformed() {
        let mut frame = encode(&Request::Ping);
        frame.push(0);

        let outcome = decode::<Request>(&frame[LENGTH_BYTES..]);

        assert_eq!(outcome.unwrap_err(), Malformed);
    }

    #[test]
    fn a_message_that_announces_more_than_it_has_is_malformed() {
        // A list of four billion blobs.
        let lie = [1, 1, 2, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];

        let outcome = decode::<Request>(&lie);

        assert_eq!(outcome.unwrap_err(), Malformed);
    }
}
