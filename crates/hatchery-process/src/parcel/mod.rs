//! Any serialisable value, as bytes and the descriptors that belong to them.
//!
//! A descriptor inside a value is a [`Passed`]: while the value is being encoded it puts a duplicate
//! into a table of this thread and writes its place there; while it is being decoded it takes its
//! descriptor out of such a table. How a parcel travels is for others.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value in the form in which it can be sent to another process.
#[derive(Debug, Default)]
pub struct Parcel {
    /// The value, serialised.
    pub bytes: Vec<u8>,
    /// The descriptors in it, in the order in which they were met.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a value was not encoded, or not decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParcelError {
    /// The value cannot be serialised.
    #[error("the value cannot be serialised: {0}")]
    Encode(String),
    /// The bytes are not a value of the type asked for.
    #[error("the bytes are not a value of this type: {0}")]
    Decode(String),
    /// The value holds more descriptors than one message can carry.
    #[error("the value holds {count} descriptors, and a message carries at most {max}")]
    TooManyDescriptors {
        /// How many it holds.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The kernel refused to duplicate a descriptor.
    #[error("the kernel refused to duplicate a descriptor")]
    Os(#[source] io::Error),
}

impl Parcel {
    /// The most descriptors that a parcel may hold.
    pub const DESCRIPTORS_MAX: usize = 30;

    /// Encodes `value`, with duplicates of the descriptors in it.
    ///
    /// # Errors
    ///
    /// Returns [`ParcelError::Encode`] if the value's `Serialize` fails,
    /// [`ParcelError::TooManyDescriptors`] for more than [`Parcel::DESCRIPTORS_MAX`] of them, and
    /// [`ParcelError::Os`] if one cannot be duplicated.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, ParcelError> {
        let mut bytes = Vec::new();
        let descriptors = Self::encode_into(value, &mut bytes)?;
        Ok(Self { bytes, descriptors })
    }

    /// Encodes `value` over what `buffer` held, and returns duplicates of the descriptors in it.
    ///
    /// # Errors
    ///
    /// As [`Parcel::encode`]; the buffer may have lost its memory then.
    pub fn encode_into<T: Serialize + ?Sized>(
        value: &T,
        buffer: &mut Vec<u8>,
    ) -> Result<Vec<OwnedFd>, ParcelError> {
        buffer.clear();
        let open = OpenTable::new(Table::Packing(Packing::default()));
        let encoded = postcard::to_extend(value, std::mem::take(buffer));
        let Table::Packing(packing) = open.close() else {
            unreachable!("a table keeps its kind")
        };
        if let Some(error) = packing.refused {
            return Err(ParcelError::Os(error));
        }
        if packing.count > Self::DESCRIPTORS_MAX {
            return Err(ParcelError::TooManyDescriptors {
                count: packing.count,
                max: Self::DESCRIPTORS_MAX,
            });
        }
        *buffer = encoded.map_err(|error| ParcelError::Encode(error.to_string()))?;
        Ok(packing.descriptors)
    }

    /// Decodes the value; descriptors that it does not take are closed.
    ///
    /// # Errors
    ///
    /// Returns [`ParcelError::Decode`] unless the bytes are exactly one value of this type and each
    /// descriptor that it names is there.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, ParcelError> {
        decode(&self.bytes, self.descriptors)
    }

    /// Decodes a value whose bytes and descriptors are not together.
    ///
    /// # Errors
    ///
    /// As [`Parcel::decode`].
    pub fn decode_parts<T: DeserializeOwned>(
        bytes: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<T, ParcelError> {
        decode(bytes, descriptors)
    }

    /// Decodes the value with duplicates of the descriptors, so that this can be done again.
    ///
    /// # Errors
    ///
    /// As [`Parcel::decode`], and [`ParcelError::Os`] if a descriptor cannot be duplicated.
    pub fn decode_kept<T: DeserializeOwned>(&self) -> Result<T, ParcelError> {
        let duplicates: io::Result<Vec<OwnedFd>> =
            self.descriptors.iter().map(OwnedFd::try_clone).collect();
        decode(&self.bytes, duplicates.map_err(ParcelError::Os)?)
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<T, ParcelError> {
    let descriptors = descriptors.into_iter().map(Some).collect();
    let open = OpenTable::new(Table::Unpacking(Unpacking {
        descriptors,
        missing: None,
    }));
    let decoded = postcard::take_from_bytes(bytes);
    let Table::Unpacking(unpacking) = open.close() else {
        unreachable!("a table keeps its kind")
    };
    match decoded {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(ParcelError::Decode(format!(
            "{} bytes are left over",
            rest.len()
        ))),
        Err(error) => Err(ParcelError::Decode(match unpacking.missing {
            Some(place) => format!("descriptor {place} is not there"),
            None => error.to_string(),
        })),
    }
}

/// A descriptor, or what owns one, that can be sent inside messages and arguments.
///
/// It is serialised inside a [`Parcel`] only; anywhere else that is an error. The receiver gets a
/// duplicate, and the sender keeps its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Passed<T = OwnedFd>(pub T);

impl<T> From<T> for Passed<T> {
    fn from(owner: T) -> Self {
        Self(owner)
    }
}

impl From<Passed> for OwnedFd {
    fn from(passed: Passed) -> Self {
        passed.0
    }
}

impl<T: AsFd> AsFd for Passed<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T: AsFd> Serialize for Passed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        descriptor::serialize(&self.0, serializer)
    }
}

impl<'de, T: From<OwnedFd>> Deserialize<'de> for Passed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        descriptor::deserialize(deserializer).map(Self)
    }
}

/// How a field that owns a descriptor is serialised: `#[serde(with = "…::descriptor")]`.
pub mod descriptor {
    use serde::de::Error as _;
    use serde::ser::Error as _;

    use super::{AsFd, Deserialize, Deserializer, OwnedFd, Serializer, put, take};

    /// Puts a duplicate of the descriptor into the parcel that is being encoded.
    ///
    /// # Errors
    ///
    /// Returns the serialiser's error where no parcel is being encoded, where it is full, and where
    /// the descriptor cannot be duplicated.
    pub fn serialize<S: Serializer>(owner: &impl AsFd, serializer: S) -> Result<S::Ok, S::Error> {
        match put(owner.as_fd()) {
            Ok(place) => serializer.serialize_u32(place),
            Err(reason) => Err(S::Error::custom(reason)),
        }
    }

    /// Takes the descriptor out of the parcel that is being decoded.
    ///
    /// # Errors
    ///
    /// Returns the deserialiser's error where no parcel is being decoded, and where it holds no
    /// such descriptor, or holds it no more.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: From<OwnedFd>,
        D: Deserializer<'de>,
    {
        let place = u32::deserialize(deserializer)?;
        take(place).map(T::from).map_err(D::Error::custom)
    }
}

thread_local! {
    /// The parcels that this thread is at work on, the innermost last.
    static TABLES: RefCell<Vec<Table>> = const { RefCell::new(Vec::new()) };
}

/// Makes this thread ready to encode and decode.
///
/// The first time, the C library registers what is to be dropped with the thread, for which it reads
/// and writes a dozen pages that nothing else does. Done in the fork server, no child has to.
pub(crate) fn prepare_thread() {
    TABLES.with_borrow(|_| ());
}

enum Table {
    Packing(Packing),
    Unpacking(Unpacking),
}

#[derive(Default)]
struct Packing {
    descriptors: Vec<OwnedFd>,
    /// How many were to go in, also those beyond the limit.
    count: usize,
    refused: Option<io::Error>,
}

struct Unpacking {
    descriptors: Vec<Option<OwnedFd>>,
    /// The first that was asked for in vain.
    missing: Option<u32>,
}

/// A table that is in use until this is closed or dropped, also by a panic.
struct OpenTable {
    depth: usize,
}

impl OpenTable {
    fn new(table: Table) -> Self {
        TABLES.with_borrow_mut(|tables| {
            tables.push(table);
            Self {
                depth: tables.len(),
            }
        })
    }

    fn close(self) -> Table {
        let table = TABLES.with_borrow_mut(|tables| {
            assert_eq!(tables.len(), self.depth, "the innermost parcel ends first");
            tables.pop()
        });
        table.expect("the table was there")
    }
}

impl Drop for OpenTable {
    fn drop(&mut self) {
        // Descriptors are closed outside of the borrow.
        let _left = TABLES.with_borrow_mut(|tables| {
            let from = tables.len().min(self.depth - 1);
            tables.split_off(from)
        });
    }
}

/// Duplicates a descriptor into the innermost table, and returns its place there.
fn put(descriptor: BorrowedFd<'_>) -> Result<u32, &'static str> {
    TABLES.with_borrow_mut(|tables| {
        let Some(Table::Packing(packing)) = tables.last_mut() else {
            return Err("a descriptor can only be serialised inside a message to another process");
        };
        let place = packing.count;
        packing.count += 1;
        if packing.count > Parcel::DESCRIPTORS_MAX {
            // The rest is counted all the same, for the error to say how many there are.
            return Ok(u32::try_from(place).unwrap_or(u32::MAX));
        }
        match descriptor.try_clone_to_owned() {
            Ok(duplicate) => packing.descriptors.push(duplicate),
            Err(error) => {
                packing.refused.get_or_insert(error);
                return Err("a descriptor cannot be duplicated");
            }
        }
        Ok(u32::try_from(place).expect("the limit is small"))
    })
}

/// Takes the descriptor at `place` out of the innermost table.
fn take(place: u32) -> Result<OwnedFd, &'static str> {
    TABLES.with_borrow_mut(|tables| {
        let Some(Table::Unpacking(unpacking)) = tables.last_mut() else {
            return Err("a descriptor can only be deserialised from a message of another process");
        };
        let held = usize::try_from(place)
            .ok()
            .and_then(|place| unpacking.descriptors.get_mut(place));
        held.and_then(Option::take).ok_or_else(|| {
            unpacking.missing.get_or_insert(place);
            "the message has no such descriptor"
        })
    })
}

#[cfg(test)]
mod tests;
