//! The crate `iceoryx2`: a publisher that tries again while there is no room, and a subscriber that looks until
//! something is there.
//!
//! Both yield the processor in between. Its own ways to wait were seen to outlast their time limit, for ever: an event's, which
//! would wake the subscriber at less cost, and that of a publisher that retries until its message is delivered.
//!
//! Building it needs libclang, so it takes part only with the feature `iceoryx2`.

use std::sync::atomic::{AtomicU64, Ordering};

use iceoryx2::node::Node;
use iceoryx2::prelude::{
    BackpressureStrategy, LogLevel, NodeBuilder, PortFactory, ServiceName, ipc, set_log_level,
};
use iceoryx2::service::port_factory::publish_subscribe;

use crate::means::{BOUND, Sum, each};

/// What both sides open by its name.
struct Services {
    messages: publish_subscribe::PortFactory<ipc::Service, [u8], ()>,
    _node: Node<ipc::Service>,
}

/// A name that no other run has.
pub(crate) fn new_name() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("hatchery-bench-{}-{run}", std::process::id())
}

impl Services {
    fn open(name: &str) -> Self {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<ipc::Service>();
        let node = node.expect("a node can be made");
        let name = ServiceName::new(name).expect("it is short");
        let messages = node
            .service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(BOUND as usize)
            .open_or_create();
        Self {
            messages: messages.expect("it can be opened"),
            _node: node,
        }
    }
}

/// Sends messages with the numbers from `first` on, once somebody is there.
pub(crate) fn produce(name: &str, first: u64, count: u64, size: usize) {
    let services = Services::open(name);
    let publisher = services
        .messages
        .publisher_builder()
        .initial_max_slice_len(size)
        .backpressure_strategy(BackpressureStrategy::DiscardData)
        .create()
        .expect("there is one publisher");
    while services.messages.dynamic_config().number_of_subscribers() == 0 {
        std::thread::yield_now();
    }
    each(first, count, size, |message| {
        loop {
            let sample = publisher.loan_slice_uninit(size);
            let sample = sample.expect("there is a sample");
            let delivered = sample.write_from_slice(message).send();
            if delivered.expect("it can be sent") > 0 {
                break;
            }
            std::thread::yield_now();
        }
    });
    // What was sent is the publisher's memory, so it stays until all was received.
    while services.messages.dynamic_config().number_of_subscribers() > 0 {
        std::thread::yield_now();
    }
}

/// Receives so many messages, and returns the sum of their numbers.
pub(crate) fn consume(name: &str, count: u64, size: usize) -> u64 {
    let services = Services::open(name);
    let subscriber = services.messages.subscriber_builder().create();
    let subscriber = subscriber.expect("there is one subscriber");
    let mut sum = Sum { size, sum: 0 };
    let mut received = 0;
    while received < count {
        match subscriber.receive().expect("the publisher is there") {
            Some(sample) => {
                sum.add(sample.payload());
                received += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    sum.sum
}
