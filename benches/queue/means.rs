//! The contestants: what a message can be sent through.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;

use hatchery_process::{Outgoing, Packets, Parcel, Passed, Ring};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

/// A way to send messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Means {
    Pipe,
    Ring,
    Packets,
}

/// One end or both of it, as a process holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Carrier {
    Pipe(Passed, Passed),
    Ring(Ring),
    Packets(Packets, Packets),
}

impl Means {
    /// Those that so many producers and consumers can share, with the one to compare with first.
    pub(crate) fn for_parties(parties: u64) -> Vec<Self> {
        match parties {
            1 => vec![Self::Pipe, Self::Ring, Self::Packets],
            // Whoever reads a part of a message from a pipe leaves the rest to another.
            _ => vec![Self::Packets, Self::Ring],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Ring => "ring",
            Self::Packets => "packets",
        }
    }

    pub(crate) fn make(self) -> Carrier {
        match self {
            Self::Pipe => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe can be made");
                Carrier::Pipe(Passed(reader), Passed(writer))
            }
            Self::Ring => Carrier::Ring(Ring::new(1024).expect("there is memory")),
            Self::Packets => {
                let (one, other) = Packets::pair().expect("a socket pair can be made");
                Carrier::Packets(one, other)
            }
        }
    }
}

impl Carrier {
    /// Sends messages with the numbers from `first` on.
    pub(crate) fn produce(self, first: u64, count: u64, size: usize) {
        let mut message = vec![0; size];
        let numbers = first..first + count;
        match self {
            Self::Pipe(reader, writer) => {
                drop(reader);
                let mut writer = File::from(OwnedFd::from(writer));
                for number in numbers {
                    message[..8].copy_from_slice(&number.to_le_bytes());
                    writer.write_all(&message).expect("somebody reads");
                }
            }
            Self::Ring(ring) => {
                for number in numbers {
                    message[..8].copy_from_slice(&number.to_le_bytes());
                    ring.put(&message, None).expect("it is open");
                }
            }
            Self::Packets(sender, _) => {
                for number in numbers {
                    message[..8].copy_from_slice(&number.to_le_bytes());
                    let outgoing =
                        Outgoing::new(message.as_slice(), Vec::new()).expect("it is small");
                    sender.send(&outgoing, None).expect("somebody receives");
                }
            }
        }
    }

    /// Receives so many messages, and returns the sum of their numbers.
    pub(crate) fn consume(self, count: u64, size: usize) -> u64 {
        let mut sum = 0_u64;
        let mut add = |message: &[u8]| {
            assert_eq!(message.len(), size, "a message arrives whole");
            let number = message.first_chunk().expect("a message has a number");
            sum = sum.wrapping_add(u64::from_le_bytes(*number));
        };
        let mut buffer = vec![0; size];
        match self {
            Self::Pipe(reader, writer) => {
                drop(writer);
                let mut reader = File::from(OwnedFd::from(reader));
                for _ in 0..count {
                    reader.read_exact(&mut buffer).expect("somebody writes");
                    add(&buffer);
                }
            }
            Self::Ring(ring) => {
                for _ in 0..count {
                    let len = ring.get(&mut buffer, None).expect("it is open");
                    add(&buffer[..len]);
                }
            }
            Self::Packets(_, receiver) => {
                for _ in 0..count {
                    let Parcel { bytes, .. } = receiver.recv(None).expect("somebody sends");
                    add(&bytes);
                }
            }
        }
        sum
    }
}
