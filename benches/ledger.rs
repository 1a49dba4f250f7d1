//! What does it cost a worker to note what it did, and the front end to read it?
//!
//! Run it with `cargo bench -p hatchery-benches --bench ledger`. One iteration is one connection:
//! claimed, finished, and both read. `message` is what it replaces: one message on the channel,
//! sent and received in the same thread, without the wake-up that it would cost on top.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::io::IoSlice;
use std::os::fd::AsFd;

use criterion::{Criterion, criterion_group, criterion_main};
use hatchery_process::{LedgerEvent, LedgerReader, LedgerWriter};

/// How many connections the worker has room for.
const SLOTS: u32 = 1024;

fn ledger(criterion: &mut Criterion) {
    let mut reader = LedgerReader::create(SLOTS).expect("memory can be mapped");
    let memory = reader
        .as_fd()
        .try_clone_to_owned()
        .expect("there is room for a descriptor");
    let writer = LedgerWriter::map(memory, SLOTS).expect("memory can be mapped");
    let ends = hatchery_os::pair().expect("a channel can be made");
    let mut group = criterion.benchmark_group("ledger");
    group.bench_function("connection", |bencher| {
        bencher.iter(|| {
            let rings =
                writer.write(LedgerEvent::Claimed(7)) | writer.write(LedgerEvent::Finished(7));
            assert!(!rings, "nobody asked to be told");
            let claimed = reader.take().expect("the ledger is sound");
            black_box((claimed, reader.take().expect("the ledger is sound")))
        });
    });
    group.bench_function("message", |bencher| {
        bencher.iter(|| {
            hatchery_os::send(&ends.0, &[IoSlice::new(&[1])], &[]).expect("the channel has room");
            hatchery_os::recv(&ends.1, &mut [0; 8], &mut Vec::new()).expect("a message is there")
        });
    });
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
