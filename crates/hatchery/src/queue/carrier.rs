//! The two ways in which items travel, as one.

use std::cell::Cell;
use std::io;
use std::time::Instant;

use hatchery_process::{Outgoing, PacketQueue, Parcel, ParcelError, Ring};
use postcard::ser_flavors::Flavor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{GetError, PutFailure};

/// The largest buffer that a thread keeps for the next item, in bytes.
const KEPT_BYTES_MAX: usize = 1 << 21;

/// How many bytes are copied at a time.
///
/// The C library copies more with one instruction, `rep movsb`. On some CPUs that takes ten times as long where
/// the copy begins a few bytes further in its page than what is copied, and so it mostly does
/// behind an item's length.
const COPIED_BYTES_MAX: usize = 2048;

/// What carries the items of a queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Carrier {
    Ring(Ring),
    Pipe(PacketQueue),
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    None,
    Until(Option<Instant>),
}

impl Carrier {
    /// Whether getting would not wait, at this moment.
    pub(crate) fn is_ready(&self) -> io::Result<bool> {
        match self {
            Self::Ring(ring) => Ok(ring.is_ready()),
            Self::Pipe(queue) => queue.is_ready(),
        }
    }

    pub(super) fn put<T: Serialize>(&self, item: &T, patience: Patience) -> Result<(), PutFailure> {
        match self {
            Self::Ring(ring) => with_encoded(item, |bytes| match patience {
                Patience::None => ring.try_put(bytes),
                Patience::Until(deadline) => ring.put(bytes, deadline),
            }),
            Self::Pipe(queue) => {
                let message = outgoing(item)?;
                let outcome = match patience {
                    Patience::None => queue.try_put(&message),
                    Patience::Until(deadline) => queue.put(&message, deadline),
                };
                Ok(outcome?)
            }
        }
    }

    pub(super) fn get<T: DeserializeOwned>(&self, patience: Patience) -> Result<T, GetError> {
        match self {
            Self::Ring(ring) => with_buffer(|buffer| {
                let len = match patience {
                    Patience::None => ring.try_get(buffer)?,
                    Patience::Until(deadline) => ring.get(buffer, deadline)?,
                };
                decoded(&buffer[..len])
            }),
            Self::Pipe(queue) => {
                let parcel = match patience {
                    Patience::None => queue.try_get()?,
                    Patience::Until(deadline) => queue.get(deadline)?,
                };
                parcel.decode().map_err(GetError::Codec)
            }
        }
    }
}

thread_local! {
    /// The buffer that this thread used last, unless it is in use.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends a buffer whose contents are of no use.
pub(super) fn with_buffer<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.take();
    let outcome = work(&mut buffer);
    if buffer.capacity() <= KEPT_BYTES_MAX {
        BUFFER.set(buffer);
    }
    outcome
}

/// Serialises an item for shared memory, and puts it there.
pub(super) fn with_encoded<T, E>(
    item: &T,
    put: impl FnOnce(&[u8]) -> Result<(), E>,
) -> Result<(), PutFailure>
where
    T: Serialize,
    PutFailure: From<E>,
{
    with_buffer(|buffer| {
        encode(item, buffer)?;
        Ok(put(buffer)?)
    })
}

/// Serialises an item over what the buffer held.
pub(super) fn encode<T: Serialize>(item: &T, buffer: &mut Vec<u8>) -> Result<(), PutFailure> {
    buffer.clear();
    let encoded = postcard::serialize_with_flavor(item, Bytes(buffer));
    encoded.map_err(|error| why_not(item, &error))
}

/// Where postcard puts the bytes of an item.
struct Bytes<'a>(&'a mut Vec<u8>);

impl Flavor for Bytes<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() <= COPIED_BYTES_MAX {
            self.0.extend_from_slice(bytes);
            return Ok(());
        }
        self.0.reserve(bytes.len());
        for part in bytes.chunks(COPIED_BYTES_MAX) {
            self.0.extend_from_slice(part);
        }
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Finds out why an item cannot be put into shared memory.
#[cold]
fn why_not<T: Serialize>(item: &T, error: &postcard::Error) -> PutFailure {
    match Parcel::encode(item) {
        Ok(parcel) if parcel.descriptors.is_empty() => {
            PutFailure::Codec(ParcelError::Encode(error.to_string()))
        }
        Ok(parcel) => PutFailure::Descriptors {
            count: parcel.descriptors.len(),
        },
        Err(error) => PutFailure::Codec(error),
    }
}

/// Makes an item of bytes that came out of shared memory.
pub(super) fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, GetError> {
    let problem = match postcard::take_from_bytes(bytes) {
        Ok((item, [])) => return Ok(item),
        Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
        Err(error) => error.to_string(),
    };
    Err(GetError::Codec(ParcelError::Decode(problem)))
}

/// Makes a message for the kernel of an item.
pub(super) fn outgoing<T: Serialize>(item: &T) -> Result<Outgoing<'static>, PutFailure> {
    let parcel = Parcel::encode(item).map_err(PutFailure::Codec)?;
    Ok(Outgoing::try_from(parcel)?)
}
