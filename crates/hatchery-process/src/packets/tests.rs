//! What a channel of messages promises.

use std::fs;
use std::io::{self, IoSlice, Read};
use std::thread;

use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use super::*;

/// Longer than anything here takes, and shorter than anyone waits.
fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 251) as u8).collect()
}

fn send_raw(socket: &Packets, header: (u8, u64), body: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut bytes = vec![header.0];
    bytes.extend_from_slice(&header.1.to_le_bytes());
    bytes.extend_from_slice(body);
    hatchery_os::send(socket, &[IoSlice::new(&bytes)], descriptors).unwrap();
}

#[test]
fn messages_of_every_size_arrive_whole() {
    let (here, there) = Packets::pair().unwrap();
    let sizes = [0, 1, HEAD_BYTES_MAX, HEAD_BYTES_MAX + 1, 3 << 20];

    let sender = thread::spawn(move || {
        for size in sizes {
            let message = Outgoing::new(numbered(size), Vec::new()).unwrap();
            here.send(&message, soon()).unwrap();
        }
    });

    for size in sizes {
        let parcel = there.recv(soon()).unwrap();
        assert!(parcel.bytes == numbered(size), "{size} bytes");
        assert!(parcel.descriptors.is_empty());
    }
    assert!(matches!(there.recv(soon()), Err(PacketRecvError::Closed)));
    sender.join().unwrap();
}

#[test]
fn a_long_message_carries_as_many_descriptors_as_a_short_one() {
    let (here, there) = Packets::pair().unwrap();
    for size in [0, 1 << 20] {
        let descriptors = (0..Parcel::DESCRIPTORS_MAX)
            .map(|_| here.as_fd().try_clone_to_owned().unwrap())
            .collect();
        let message = Outgoing::new(numbered(size), descriptors).unwrap();

        here.send(&message, soon()).unwrap();
        let parcel = there.recv(soon()).unwrap();

        assert_eq!(parcel.bytes.len(), size);
        assert_eq!(parcel.descriptors.len(), Parcel::DESCRIPTORS_MAX);
    }
}

#[test]
fn what_can_never_be_sent_is_refused_by_number() {
    let (here, _there) = Packets::pair().unwrap();
    let descriptors = (0..=Parcel::DESCRIPTORS_MAX)
        .map(|_| here.as_fd().try_clone_to_owned().unwrap())
        .collect();

    let many = Outgoing::new(&b""[..], descriptors);
    let long = Outgoing::new(vec![0; MESSAGE_BYTES_MAX + 1], Vec::new());

    assert!(matches!(
        many,
        Err(PacketSendError::TooManyDescriptors { count: 31, max: 30 })
    ));
    let max = MESSAGE_BYTES_MAX;
    assert!(
        matches!(long, Err(PacketSendError::TooLarge { len, max: most }) if len == max + 1 && most == max)
    );
}

#[test]
fn a_sender_that_is_faster_waits_and_its_deadline_holds() {
    let (here, there) = Packets::pair().unwrap();
    let long = Outgoing::new(numbered(1 << 20), Vec::new()).unwrap();
    let mut sent = 0;
    while here.try_send(&long).is_ok() {
        sent += 1;
    }
    assert!(
        (1..=8).contains(&sent),
        "{sent} long messages are on their way"
    );

    let began = Instant::now();
    let deadline = began + Duration::from_millis(30);
    let outcome = here.send(&long, Some(deadline));

    assert!(matches!(outcome, Err(PacketSendError::Timeout)));
    assert!(began.elapsed() >= Duration::from_millis(30));
    let waiter = thread::spawn(move || here.send(&long, soon()).unwrap());
    for _ in 0..=sent {
        assert_eq!(there.recv(soon()).unwrap().bytes.len(), 1 << 20);
    }
    waiter.join().unwrap();
}

#[test]
fn an_empty_channel_is_told_from_one_whose_time_is_up() {
    let (here, there) = Packets::pair().unwrap();
    let now = Some(Instant::now());

    assert!(matches!(there.try_recv(), Err(PacketRecvError::Empty)));
    assert!(matches!(there.recv(now), Err(PacketRecvError::Timeout)));
    assert!(!there.poll(now).unwrap());

    drop(here);
    assert!(there.poll(now).unwrap());
    assert!(matches!(there.recv(None), Err(PacketRecvError::Closed)));
    let message = Outgoing::new(&b"x"[..], Vec::new()).unwrap();
    assert!(matches!(
        there.try_send(&message),
        Err(PacketSendError::Closed)
    ));
}

#[test]
fn an_end_can_be_passed_through_a_channel() {
    let (here, there) = Packets::pair().unwrap();
    let (inner, passed) = Packets::pair().unwrap();

    let parcel = Parcel::encode(&passed).unwrap();
    drop(passed);
    here.send(&parcel.try_into().unwrap(), soon()).unwrap();
    let arrived: Packets = there.recv(soon()).unwrap().decode().unwrap();

    let message = Outgoing::new(&b"through"[..], Vec::new()).unwrap();
    arrived.send(&message, soon()).unwrap();
    assert_eq!(inner.recv(soon()).unwrap().bytes, b"through");
}

#[test]
fn a_descriptor_that_is_no_channel_is_not_taken_for_one() {
    let file = fs::File::open("/dev/null").unwrap();

    let parcel = Parcel::encode(&crate::Passed(file)).unwrap();

    assert!(parcel.decode::<Packets>().is_err());
}

#[test]
fn memory_that_could_change_while_it_is_read_is_refused() {
    let (here, there) = Packets::pair().unwrap();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let open = memfd_create("open", flags).unwrap();
    ftruncate(&open, 4096).unwrap();
    let sealed = open.try_clone().unwrap();

    send_raw(&here, (WITH_TAIL, 4096), b"", &[open.as_fd()]);
    let unsealed = there.try_recv();
    fcntl_add_seals(
        &sealed,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )
    .unwrap();
    send_raw(&here, (WITH_TAIL, 5000), b"", &[sealed.as_fd()]);
    let short = there.try_recv();
    send_raw(&here, (WITH_TAIL, 4097), b"x", &[sealed.as_fd()]);

    assert!(matches!(unsealed, Err(PacketRecvError::Malformed(_))));
    assert!(matches!(short, Err(PacketRecvError::Malformed(_))));
    assert_eq!(there.try_recv().unwrap().bytes.len(), 4097);
}

#[test]
fn what_is_refused_leaves_no_descriptor_and_does_not_harm_the_next() {
    let (here, there) = Packets::pair().unwrap();
    let (mut reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();

    for header in [(b'?', 0), (WHOLE, 7), (WITH_TAIL, 0), (WITH_TAIL, u64::MAX)] {
        send_raw(&here, header, b"", &[writer.as_fd(); 4]);
        assert!(matches!(
            there.try_recv(),
            Err(PacketRecvError::Malformed(_))
        ));
    }
    send_raw(&here, (WHOLE, 4), b"next", &[]);

    assert_eq!(there.try_recv().unwrap().bytes, b"next");
    // The pipe ends only if this was the last of all copies.
    drop(writer);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

proptest! {
    #[test]
    fn no_packet_makes_receiving_panic(bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
        let (here, there) = Packets::pair().unwrap();
        hatchery_os::send(&here, &[IoSlice::new(&bytes)], &[here.as_fd()]).unwrap();
        let _received = there.try_recv();
        let _next = there.try_recv();
    }
}
