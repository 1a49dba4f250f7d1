//! What the acting half keeps of a task: its arguments until it is over, and its result from then.

use std::os::fd::OwnedFd;
use std::task::Waker;

use hatchery_process::{Outgoing, Parcel, TASK_LIGHT_BYTES_MAX, TaskContent};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::TaskError;

/// The most bytes that are kept in the task itself.
const INLINE_MAX: usize = 22;

/// Which of a task's two values did not get through.
pub(super) const ARGUMENTS: &str = "the arguments";
pub(super) const RESULT: &str = "the result";

/// A task's arguments or its result, serialised.
#[derive(Debug, Default)]
pub(super) enum Content {
    /// It was taken.
    #[default]
    Nothing,
    /// A few bytes.
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    /// More bytes.
    Boxed(Box<[u8]>),
    /// Many bytes, or descriptors besides, on the way to a worker.
    Packet(Box<Outgoing<'static>>),
    /// Many bytes, or descriptors besides, that came from a worker.
    Parcel(Box<Parcel>),
    /// There is no result.
    Failed(Box<TaskError>),
}

impl Content {
    /// Serialises arguments.
    pub(super) fn encode<A: Serialize>(arguments: &A) -> Result<Self, TaskError> {
        let lost = |error: &dyn ToString| codec(ARGUMENTS, error.to_string());
        let parcel = Parcel::encode(arguments).map_err(|error| lost(&error))?;
        if parcel.descriptors.is_empty() && parcel.bytes.len() <= TASK_LIGHT_BYTES_MAX {
            return Ok(Self::light(parcel.bytes));
        }
        let packet = Outgoing::try_from(parcel).map_err(|error| lost(&error))?;
        Ok(Self::Packet(Box::new(packet)))
    }

    fn light(bytes: Vec<u8>) -> Self {
        Self::inline(&bytes).unwrap_or_else(|| Self::Boxed(bytes.into_boxed_slice()))
    }

    fn inline(light: &[u8]) -> Option<Self> {
        let mut bytes = [0; INLINE_MAX];
        bytes.get_mut(..light.len())?.copy_from_slice(light);
        let len = u8::try_from(light.len()).ok()?;
        Some(Self::Inline { len, bytes })
    }

    /// Keeps a result that came from a worker.
    pub(super) fn received(bytes: &mut Vec<u8>, descriptors: Vec<OwnedFd>) -> Self {
        if !descriptors.is_empty() || bytes.len() > TASK_LIGHT_BYTES_MAX {
            let bytes = std::mem::take(bytes);
            return Self::Parcel(Box::new(Parcel { bytes, descriptors }));
        }
        Self::inline(bytes).unwrap_or_else(|| Self::Boxed(bytes.as_slice().into()))
    }

    pub(super) fn failed(error: TaskError) -> Self {
        Self::Failed(Box::new(error))
    }

    pub(super) fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// The arguments, for a worker.
    pub(super) fn as_task(&self) -> TaskContent<'_> {
        match self {
            Self::Inline { len, bytes } => TaskContent::Light(&bytes[..usize::from(*len)]),
            Self::Boxed(bytes) => TaskContent::Light(bytes),
            Self::Packet(packet) => TaskContent::Heavy(packet),
            Self::Nothing | Self::Parcel(_) | Self::Failed(_) => TaskContent::Light(&[]),
        }
    }

    /// Deserialises a result.
    pub(super) fn decode<R: DeserializeOwned>(self) -> Result<R, TaskError> {
        let decoded = match self {
            Self::Failed(error) => return Err(*error),
            Self::Inline { len, bytes } => {
                Parcel::decode_parts(&bytes[..usize::from(len)], Vec::new())
            }
            Self::Boxed(bytes) => Parcel::decode_parts(&bytes, Vec::new()),
            Self::Parcel(parcel) => parcel.decode(),
            Self::Nothing | Self::Packet(_) => {
                return Err(codec(RESULT, "it was taken before".to_owned()));
            }
        };
        decoded.map_err(|error| codec(RESULT, error.to_string()))
    }
}

pub(super) fn codec(what: &'static str, reason: String) -> TaskError {
    TaskError::Codec { what, reason }
}

/// Who collects results without asking for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CollectorId(pub(super) u32);

/// All that is kept of a task beside where it is.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) content: Content,
    /// Who waits for the result.
    pub(super) waker: Option<Waker>,
    /// The number of its function.
    pub(super) function: u32,
    pub(super) collector: Option<CollectorId>,
    /// Whether nobody will ask for the result.
    pub(super) is_detached: bool,
}

impl Payload {
    pub(super) fn new(function: u32, content: Content) -> Self {
        Self {
            content,
            waker: None,
            function,
            collector: None,
            is_detached: false,
        }
    }
}
