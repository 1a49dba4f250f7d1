//! What parcels promise.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use serde::ser::Error as _;

use super::*;

fn open_tables() -> usize {
    TABLES.with_borrow(Vec::len)
}

fn pipe() -> (File, File) {
    let (reader, writer) = io::pipe().unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

/// Serialises as the bytes of a parcel of its own, as a value inside a value may.
struct Wrapped(Passed);

impl Serialize for Wrapped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = Parcel::encode(&self.0).map_err(S::Error::custom)?;
        assert_eq!(inner.descriptors.len(), 1);
        serializer.serialize_bytes(&inner.bytes)
    }
}

enum Trouble {
    Error,
    Panic,
}

impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Error => Err(S::Error::custom("as it was told")),
            Self::Panic => panic!("as it was told"),
        }
    }
}

#[test]
fn a_value_comes_out_as_it_went_in() {
    let value = (7_u64, "seven".to_owned(), vec![Some(1.5), None]);

    let parcel = Parcel::encode(&value).unwrap();

    assert!(parcel.descriptors.is_empty());
    assert_eq!(
        parcel.decode::<(u64, String, Vec<Option<f64>>)>().unwrap(),
        value
    );
}

#[test]
fn a_descriptor_is_duplicated_and_the_sender_keeps_its_own() {
    let (mut reader, writer) = pipe();
    let writer = Passed(writer);

    let parcel = Parcel::encode(&("to", &writer)).unwrap();
    let (_, mut other) = parcel.decode::<(String, Passed<File>)>().unwrap();
    other.0.write_all(b"a").unwrap();
    (&writer.0).write_all(b"b").unwrap();
    drop((writer, other));

    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ab");
}

#[test]
fn a_field_that_owns_a_descriptor_is_passed_as_it_is() {
    #[derive(Serialize, Deserialize)]
    struct Job {
        #[serde(with = "descriptor")]
        stream: TcpStream,
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = stream.local_addr().unwrap();

    let parcel = Parcel::encode(&Job { stream }).unwrap();
    let job: Job = parcel.decode().unwrap();

    assert_eq!(job.stream.local_addr().unwrap(), address);
}

#[test]
fn a_parcel_inside_a_parcel_has_its_own_table() {
    let (reader, writer) = pipe();
    let value = (
        Passed(OwnedFd::from(reader)),
        Wrapped(OwnedFd::from(writer).into()),
    );

    let parcel = Parcel::encode(&value).unwrap();

    assert_eq!(parcel.descriptors.len(), 1);
    assert_eq!(open_tables(), 0);
}

#[test]
fn outside_of_a_parcel_a_descriptor_is_not_serialised() {
    let (reader, _writer) = pipe();

    assert!(postcard::to_stdvec(&Passed(reader)).is_err());
    assert!(postcard::from_bytes::<Passed>(&[0]).is_err());
}

#[test]
fn a_serialisation_that_fails_leaves_nothing_open() {
    let (mut reader, writer) = pipe();
    let writer = Passed(writer);

    let failed = Parcel::encode(&(&writer, Trouble::Error));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        Parcel::encode(&(&writer, Trouble::Panic)).map(|_| ())
    }));

    assert!(matches!(failed, Err(ParcelError::Encode(_))));
    assert!(panicked.is_err());
    assert_eq!(open_tables(), 0);
    drop(writer);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "no duplicate is left");
}

#[test]
fn more_descriptors_than_a_message_carries_are_refused_by_number() {
    let (reader, _writer) = pipe();
    let reader = Passed(reader);

    let most = Parcel::encode(&vec![&reader; Parcel::DESCRIPTORS_MAX]);
    let more = Parcel::encode(&vec![&reader; Parcel::DESCRIPTORS_MAX + 3]);

    assert_eq!(most.unwrap().descriptors.len(), 30);
    assert!(matches!(
        more,
        Err(ParcelError::TooManyDescriptors { count: 33, max: 30 })
    ));
}

#[test]
fn a_descriptor_is_taken_once_and_one_that_is_left_is_closed() {
    let (mut reader, writer) = pipe();
    let parcel = Parcel {
        bytes: vec![0, 0],
        descriptors: vec![writer.into()],
    };

    let twice = parcel.decode::<(Passed, Passed)>();

    assert!(matches!(twice, Err(ParcelError::Decode(reason)) if reason.contains("descriptor 0")));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);

    let (mut reader, writer) = pipe();
    let parcel = Parcel {
        bytes: vec![7],
        descriptors: vec![writer.into()],
    };
    assert_eq!(parcel.decode::<u8>().unwrap(), 7);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn bytes_that_are_left_over_are_an_error() {
    let parcel = Parcel {
        bytes: vec![7, 0],
        descriptors: Vec::new(),
    };

    let outcome = parcel.decode::<u8>();

    assert!(matches!(outcome, Err(ParcelError::Decode(reason)) if reason.contains("1 bytes")));
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(bytes: Vec<u8>, with_descriptor: bool) {
        type Anything = (Vec<String>, Option<Passed>, Result<Vec<u8>, (char, f64)>, Vec<Passed>);
        let (reader, _writer) = pipe();
        let descriptors = with_descriptor.then(|| OwnedFd::from(reader));
        let descriptors = descriptors.into_iter().collect();

        let _decoded = Parcel { bytes, descriptors }.decode::<Anything>();

        prop_assert_eq!(open_tables(), 0);
    }
}
