//! The contestants: what a message can be sent through.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;

use hatchery::Queue;
use hatchery_process::{Outgoing, Packets, Parcel, Passed, Ring};
use ipc_channel::ipc::{IpcBytesReceiver, IpcOneShotServer, IpcSender, bytes_channel};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

#[cfg(feature = "iceoryx2")]
use crate::iceoryx;

/// How many messages wait in a queue that has a limit.
pub(crate) const BOUND: u32 = 1024;

/// A way to send messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Means {
    /// A pipe of the kernel's, and messages of one length.
    Pipe,
    /// Hatchery's ring: bytes in shared memory.
    Ring,
    /// Hatchery's queue on that ring, as users have it: with serialising.
    Queue,
    /// A `SOCK_SEQPACKET` socket.
    Packets,
    /// The crate `ipc-channel`.
    IpcChannel,
    /// The crate `iceoryx2`.
    #[cfg(feature = "iceoryx2")]
    Iceoryx,
    /// The crate `crossbeam-channel`, between threads.
    Threads,
    /// Python's `multiprocessing.Queue`.
    Python,
}

/// Both ends of it, as a process holds them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Carrier {
    Pipe(Passed, Passed),
    Ring(Ring),
    Queue(Queue<ByteBuf>),
    Packets(Packets, Packets),
    /// A pipe through which the consumer says where it is.
    IpcChannel(Passed, Passed),
    /// The name by which both sides find it.
    #[cfg(feature = "iceoryx2")]
    Iceoryx(String),
}

impl Means {
    pub(crate) const ALL: &[Self] = &[
        Self::Pipe,
        Self::Ring,
        Self::Queue,
        Self::Packets,
        Self::IpcChannel,
        #[cfg(feature = "iceoryx2")]
        Self::Iceoryx,
        Self::Threads,
        Self::Python,
    ];

    /// Those that so many producers and consumers can share, with the one to compare with first.
    pub(crate) fn for_parties(parties: u64) -> Vec<Self> {
        match parties {
            1 => Self::ALL.to_vec(),
            // Whoever reads a part of a message from a pipe leaves the rest to another.
            _ => vec![
                Self::Packets,
                Self::Ring,
                Self::Queue,
                Self::Threads,
                Self::Python,
            ],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Ring => "ring",
            Self::Queue => "Queue",
            Self::Packets => "packets",
            Self::IpcChannel => "ipc-channel",
            #[cfg(feature = "iceoryx2")]
            Self::Iceoryx => "iceoryx2",
            Self::Threads => "crossbeam",
            Self::Python => "Python",
        }
    }

    /// How many of the messages it is given, where it is too slow for all.
    pub(crate) fn share(self, messages: u64) -> u64 {
        match self {
            Self::Python => (messages / 16).max(16),
            Self::Packets | Self::IpcChannel => (messages / 4).max(16),
            _ => messages,
        }
    }

    /// Makes what its processes share; `None` for what is no process of ours.
    pub(crate) fn make(self) -> Option<Carrier> {
        Some(match self {
            Self::Pipe => {
                let (reader, writer) = pipe();
                Carrier::Pipe(reader, writer)
            }
            Self::Ring => Carrier::Ring(Ring::new(BOUND).expect("there is memory")),
            Self::Queue => Carrier::Queue(Queue::bounded(BOUND as usize).expect("there is memory")),
            Self::Packets => {
                let (one, other) = Packets::pair().expect("a socket pair can be made");
                Carrier::Packets(one, other)
            }
            Self::IpcChannel => {
                let (reader, writer) = pipe();
                Carrier::IpcChannel(reader, writer)
            }
            #[cfg(feature = "iceoryx2")]
            Self::Iceoryx => Carrier::Iceoryx(iceoryx::new_name()),
            Self::Threads | Self::Python => return None,
        })
    }
}

fn pipe() -> (Passed, Passed) {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe can be made");
    (Passed(reader), Passed(writer))
}

impl Carrier {
    /// Sends messages with the numbers from `first` on.
    pub(crate) fn produce(self, first: u64, count: u64, size: usize) {
        match self {
            Self::Pipe(reader, writer) => {
                drop(reader);
                let mut writer = file(writer);
                each(first, count, size, |message| {
                    writer.write_all(message).expect("somebody reads");
                });
            }
            Self::Ring(ring) => each(first, count, size, |message| {
                ring.put(message, None).expect("it is open");
            }),
            Self::Queue(queue) => each(first, count, size, |message| {
                queue
                    .put(ByteBuf::from(item_of(message)))
                    .expect("it is open");
            }),
            Self::Packets(sender, _) => each(first, count, size, |message| {
                let outgoing = Outgoing::new(message, Vec::new()).expect("it is not too long");
                sender.send(&outgoing, None).expect("somebody receives");
            }),
            Self::IpcChannel(reader, writer) => {
                drop(writer);
                let mut name = String::new();
                BufReader::new(file(reader))
                    .read_line(&mut name)
                    .expect("the consumer says where it is");
                let (sender, receiver) = bytes_channel().expect("a channel can be made");
                let consumer: IpcSender<IpcBytesReceiver> =
                    IpcSender::connect(name.trim().to_owned()).expect("the consumer listens");
                consumer.send(receiver).expect("the consumer receives");
                each(first, count, size, |message| {
                    sender.send(message).expect("the consumer receives");
                });
            }
            #[cfg(feature = "iceoryx2")]
            Self::Iceoryx(name) => iceoryx::produce(&name, first, count, size),
        }
    }

    /// Receives so many messages, and returns the sum of their numbers.
    pub(crate) fn consume(self, count: u64, size: usize) -> u64 {
        let mut sum = Sum { size, sum: 0 };
        let mut buffer = vec![0; size];
        match self {
            Self::Pipe(reader, writer) => {
                drop(writer);
                let mut reader = file(reader);
                for _ in 0..count {
                    reader.read_exact(&mut buffer).expect("somebody writes");
                    sum.add(&buffer);
                }
            }
            Self::Ring(ring) => {
                for _ in 0..count {
                    let len = ring.get(&mut buffer, None).expect("it is open");
                    sum.add(&buffer[..len]);
                }
            }
            Self::Queue(queue) => {
                for _ in 0..count {
                    sum.add(&queue.get().expect("it is open"));
                }
            }
            Self::Packets(_, receiver) => {
                for _ in 0..count {
                    let Parcel { bytes, .. } = receiver.recv(None).expect("somebody sends");
                    sum.add(&bytes);
                }
            }
            Self::IpcChannel(reader, writer) => {
                drop(reader);
                let (server, name) =
                    IpcOneShotServer::<IpcBytesReceiver>::new().expect("a channel can be made");
                writeln!(file(writer), "{name}").expect("the producer reads");
                let (_, receiver) = server.accept().expect("the producer connects");
                for _ in 0..count {
                    sum.add(&receiver.recv().expect("the producer sends"));
                }
            }
            #[cfg(feature = "iceoryx2")]
            Self::Iceoryx(name) => return iceoryx::consume(&name, count, size),
        }
        sum.sum
    }
}

/// Sends numbered messages.
pub(crate) fn each(first: u64, count: u64, size: usize, mut send: impl FnMut(&[u8])) {
    let mut message = vec![0; size];
    for number in first..first + count {
        message[..8].copy_from_slice(&number.to_le_bytes());
        send(&message);
    }
}

/// Makes an item of a message, as a program makes what it puts.
///
/// It is copied in short parts. The C library copies more with an instruction that some CPUs are slow at,
/// depending on where the item happens to be; that would be measured in place of the queue.
pub(crate) fn item_of(message: &[u8]) -> Vec<u8> {
    let mut item = Vec::with_capacity(message.len());
    for part in message.chunks(2048) {
        item.extend_from_slice(part);
    }
    item
}

/// The numbers of the messages that arrived.
pub(crate) struct Sum {
    pub(crate) size: usize,
    pub(crate) sum: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, message: &[u8]) {
        assert_eq!(message.len(), self.size, "a message arrives whole");
        let number = message.first_chunk().expect("a message has a number");
        self.sum = self.sum.wrapping_add(u64::from_le_bytes(*number));
    }
}

pub(crate) fn file(descriptor: Passed) -> File {
    File::from(OwnedFd::from(descriptor))
}
