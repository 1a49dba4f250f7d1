//! What does it cost to pass a descriptor, and what does a batch save?
//!
//! Run it with `cargo bench -p hatchery-benches --bench hand_off`. Each case sends one message and
//! receives it in the same thread, so there is no wake-up in it; the throughput is descriptors a
//! second. `bytes` is the floor: the same message with no descriptor.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hatchery_process::{DESCRIPTORS_MAX, Handover, Peer, ToWorker, encode};

/// A message as the front end sends it.
fn message(count: usize) -> Vec<u8> {
    let address = "127.0.0.1:40000".parse().expect("it is an address");
    let handovers = (0..count).map(|slot| Handover {
        id: 1_000_000,
        slot: u32::try_from(slot).expect("a batch is small"),
        listener: 0,
        peer: Peer::Inet(address),
        state: None,
        sent_at: 0,
    });
    let mut bytes = Vec::new();
    encode(&ToWorker::Connections(handovers.collect()), &mut bytes);
    bytes
}

fn exchange(ends: &(OwnedFd, OwnedFd), bytes: &[u8], passed: &[BorrowedFd<'_>]) -> Vec<OwnedFd> {
    hatchery_os::send(&ends.0, &[IoSlice::new(bytes)], passed).expect("the channel has room");
    let mut descriptors = Vec::with_capacity(passed.len());
    hatchery_os::recv(&ends.1, &mut [0; 2048], &mut descriptors).expect("a message is there");
    descriptors
}

fn hand_off(criterion: &mut Criterion) {
    let ends = hatchery_os::pair().expect("a channel can be made");
    let socket = ends.0.try_clone().expect("there is room for a descriptor");
    let mut group = criterion.benchmark_group("hand_off");
    group.bench_function("bytes", |bencher| {
        let bytes = message(1);
        bencher.iter(|| black_box(exchange(&ends, &bytes, &[])));
    });
    for count in [1, 4, 16, DESCRIPTORS_MAX] {
        let bytes = message(count);
        let passed = vec![socket.as_fd(); count];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(
            BenchmarkId::new("descriptors", count),
            &count,
            |bencher, _| {
                // What arrives is closed, as a worker does in the end.
                bencher.iter(|| drop(black_box(exchange(&ends, &bytes, &passed))));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, hand_off);
criterion_main!(benches);
