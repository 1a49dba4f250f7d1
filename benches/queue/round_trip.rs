//! How long does a message take to another process and back?

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::scope;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use hatchery_process::{Entry, Parcel, Program, Start, start};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::means::{Carrier, Means, file};

/// How long a message is, in bytes.
const SIZE: usize = 64;

/// The round trips of one run.
const TRIPS: usize = 20_000;

/// The contestants; the first is what the others are compared with.
pub(crate) const CONTESTANTS: [Means; 4] = [Means::Pipe, Means::Ring, Means::Queue, Means::Threads];

/// The times of one run.
#[derive(Clone, Copy)]
pub(crate) struct Trips {
    pub(crate) half: Duration,
    pub(crate) most: Duration,
}

/// What the process is given that sends everything back.
#[derive(Serialize, Deserialize)]
struct Echo {
    there: Carrier,
    back: Carrier,
}

/// Something that sends a message, or receives one.
type Move = Box<dyn FnMut(&mut [u8])>;

/// Runs a case once.
pub(crate) fn run(means: Means) -> Trips {
    if means == Means::Threads {
        return run_threads();
    }
    let make = || means.make().expect("it goes between processes");
    let echo = Echo {
        there: make(),
        back: make(),
    };
    let parcel = Parcel::encode(&echo).expect("carriers can be sent");
    let descriptors: Vec<BorrowedFd<'_>> = parcel.descriptors.iter().map(AsFd::as_fd).collect();
    let child = start(Program {
        bytes: &parcel.bytes,
        descriptors: &descriptors,
        ..Program::new("echo", Entry::new(send_back))
    });
    let child = child.expect("a process starts");
    let trips = measure(echo.there.sender(), echo.back.receiver());
    assert!(child.wait().expect("it ends").success());
    trips
}

fn send_back(start: Start) -> u8 {
    let parcel = Parcel {
        bytes: start.bytes,
        descriptors: start.descriptors,
    };
    let echo: Echo = parcel.decode().expect("carriers arrive as they were sent");
    repeat(echo.there.receiver(), echo.back.sender());
    0
}

fn run_threads() -> Trips {
    let (there, at_there) = bounded::<Vec<u8>>(1);
    let (back, at_back) = bounded::<Vec<u8>>(1);
    scope(|threads| {
        threads.spawn(move || {
            for message in at_there {
                back.send(message).expect("the other waits for it");
            }
        });
        let send: Move = Box::new(move |message| {
            there.send(message.to_vec()).expect("the other receives");
        });
        let receive: Move = Box::new(move |message| {
            message.copy_from_slice(&at_back.recv().expect("the other sends"));
        });
        measure(send, receive)
    })
}

fn repeat(mut receive: Move, mut send: Move) {
    let mut message = [0; SIZE];
    for _ in 0..TRIPS {
        receive(&mut message);
        send(&mut message);
    }
}

fn measure(mut send: Move, mut receive: Move) -> Trips {
    let mut times = Vec::with_capacity(TRIPS);
    for number in 0..TRIPS as u64 {
        let mut message = [0; SIZE];
        message[..8].copy_from_slice(&number.to_le_bytes());
        let sent = message;
        let start = Instant::now();
        send(&mut message);
        receive(&mut message);
        times.push(start.elapsed());
        assert_eq!(message, sent, "a message comes back as it was");
    }
    times.sort_unstable();
    Trips {
        half: times[TRIPS / 2],
        most: times[TRIPS * 99 / 100],
    }
}

impl Carrier {
    fn sender(self) -> Move {
        match self {
            Self::Pipe(_, writer) => {
                let mut writer = file(writer);
                Box::new(move |message| writer.write_all(message).expect("somebody reads"))
            }
            Self::Ring(ring) => {
                Box::new(move |message| ring.put(message, None).expect("it is open"))
            }
            Self::Queue(queue) => Box::new(move |message| {
                queue
                    .put(ByteBuf::from(message.to_vec()))
                    .expect("it is open");
            }),
            other => unreachable!("{other:?} is no contestant"),
        }
    }

    fn receiver(self) -> Move {
        match self {
            Self::Pipe(reader, _) => {
                let mut reader = file(reader);
                Box::new(move |message| reader.read_exact(message).expect("somebody writes"))
            }
            Self::Ring(ring) => {
                let mut buffer = Vec::new();
                Box::new(move |message| {
                    let len = ring.get(&mut buffer, None).expect("it is open");
                    message.copy_from_slice(&buffer[..len]);
                })
            }
            Self::Queue(queue) => Box::new(move |message| {
                message.copy_from_slice(&queue.get().expect("it is open"));
            }),
            other => unreachable!("{other:?} is no contestant"),
        }
    }
}
