//! What a queue promises, within one process, whatever carries its items.

use std::pin::pin;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hatchery_process::Passed;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use tokio::time::timeout;

use super::*;

const TRANSPORTS: [Transport; 2] = [Transport::Ring, Transport::Pipe];

fn queue<T>(transport: Transport, bound: usize) -> Queue<T> {
    let mut builder = Queue::<T>::builder();
    builder.transport(transport).bound(bound).build().unwrap()
}

/// Something that cannot be serialised.
#[derive(Debug, PartialEq)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("no"))
    }
}

#[test]
fn what_is_put_is_there_at_once() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 3);
        for number in 0..200 {
            queue.put(number).unwrap();

            assert_eq!(queue.try_get().unwrap(), number);
        }
    }
}

#[test]
fn a_full_queue_gives_the_item_back() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 2);
        queue.put("a".to_owned()).unwrap();
        queue.put("b".to_owned()).unwrap();
        assert!(queue.is_full());

        let error = queue.try_put("c".to_owned()).unwrap_err();
        assert!(matches!(error.failure(), PutFailure::Full));
        assert_eq!(error.into_item(), "c");

        let error = queue.put_timeout("d".to_owned(), Duration::ZERO);
        let (item, failure) = error.unwrap_err().into_parts();
        assert!(matches!(failure, PutFailure::Timeout));
        assert_eq!((item.as_str(), queue.len()), ("d", 2));
    }
}

#[test]
fn an_empty_queue_and_a_late_one_are_told_apart() {
    for transport in TRANSPORTS {
        let queue = queue::<u8>(transport, 1);

        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        let late = queue.get_timeout(Duration::ZERO);
        assert!(matches!(late, Err(GetError::Timeout)));
    }
}

#[test]
fn an_item_that_cannot_be_serialised_is_an_error_of_put_and_takes_no_room() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 1);

        let error = queue.put(Stubborn).unwrap_err();

        assert!(matches!(error.failure(), PutFailure::Codec(_)));
        assert_eq!(error.into_item(), Stubborn);
        assert!(queue.is_empty());
    }
}

#[test]
fn a_ring_says_what_carries_descriptors_and_a_pipe_does() {
    let ring = queue(Transport::Ring, 1);
    let file = || Passed::<std::os::fd::OwnedFd>(std::fs::File::open("/dev/null").unwrap().into());
    let error = ring.put(file()).unwrap_err();
    assert!(error.to_string().contains("Transport::Pipe"), "{error}");

    let pipe = queue(Transport::Pipe, 1);
    pipe.put(file()).unwrap();

    pipe.get().unwrap();
}

#[test]
fn a_closed_queue_is_emptied_and_then_closed() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 2);
        queue.put(1).unwrap();
        queue.close().unwrap();

        let error = queue.put(2).unwrap_err();
        assert!(matches!(error.failure(), PutFailure::Closed));
        assert_eq!(queue.get().unwrap(), 1);
        assert!(matches!(queue.get(), Err(GetError::Closed)));
    }
}

#[test]
fn an_iterator_ends_when_the_queue_is_closed_and_empty() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 3);
        let producer = queue.clone();
        let thread = std::thread::spawn(move || {
            for number in 0..100 {
                producer.put(number).unwrap();
            }
            producer.close().unwrap();
        });

        let items: Result<Vec<i32>, GetError> = queue.iter().collect();

        assert_eq!(items.unwrap(), (0..100).collect::<Vec<_>>());
        assert!(queue.iter().next().is_none());
        thread.join().unwrap();
    }
}

#[test]
fn an_iterator_goes_on_behind_an_item_of_another_type() {
    for transport in TRANSPORTS {
        let words = queue(transport, 3);
        for word in ["long enough to be no number", "", ""] {
            words.put(word.to_owned()).unwrap();
        }
        words.close().unwrap();
        let parcel = hatchery_process::Parcel::encode(&words).unwrap();
        let numbers: Queue<u8> = parcel.decode().unwrap();

        let got: Vec<Option<u8>> = numbers.iter().map(Result::ok).collect();

        assert_eq!(got, [None, Some(0), Some(0)]);
    }
}

#[test]
fn an_iterator_over_a_joinable_queue_sees_what_comes_back() {
    let queue = JoinableQueue::unbounded().unwrap();
    queue.put(1).unwrap();
    queue.put(2).unwrap();
    queue.close();

    let mut seen = Vec::new();
    for item in &queue {
        let item = item.unwrap();
        seen.push(*item);
        if item.deliveries() == 2 || *item == 2 {
            item.done();
        }
    }

    seen.sort_unstable();
    assert_eq!(seen, [1, 1, 2]);
    queue.join();
}

#[tokio::test]
async fn clones_of_one_queue_are_asynchronous_each_for_itself() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 2);
        let first = queue.clone().into_async().unwrap();
        let second = queue.clone().into_async().unwrap();
        let third = first.to_blocking().into_async().unwrap();

        for receiver in [&first, &second, &third] {
            queue.put(1).unwrap();
            assert_eq!(receiver.get().await.unwrap(), 1);
        }
    }
}

#[test]
fn a_queue_for_no_items_is_refused_with_what_is_allowed() {
    let error = Queue::<u8>::bounded(0).unwrap_err().to_string();

    assert!(error.contains("1 to 4294967295"), "{error}");
}

#[tokio::test]
async fn a_stream_ends_when_the_queue_is_closed_and_empty() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 3);
        for number in 0..3 {
            queue.put(number).unwrap();
        }
        queue.close().unwrap();
        let queue = queue.into_async().unwrap();

        let items: Vec<i32> = queue.map(Result::unwrap).collect().await;

        assert_eq!(items, [0, 1, 2]);
    }
}

#[tokio::test]
async fn a_sink_waits_for_room() {
    for transport in TRANSPORTS {
        let blocking = queue(transport, 2);
        let mut sink = blocking.clone().into_async().unwrap();
        let sender = tokio::spawn(async move {
            for number in 0..100 {
                sink.send(number).await.unwrap();
            }
            sink.close().unwrap();
        });
        let mut receiver = blocking.into_async().unwrap();

        let mut got = Vec::new();
        while let Some(item) = receiver.next().await {
            got.push(item.unwrap());
        }

        assert_eq!(got, (0..100).collect::<Vec<_>>());
        sender.await.unwrap();
    }
}

#[tokio::test]
async fn gets_that_are_cancelled_lose_nothing() {
    const COUNT: u32 = 10_000;
    for transport in TRANSPORTS {
        let queue = queue(transport, 16);
        let producer = queue.clone();
        let thread = std::thread::spawn(move || {
            for number in 0..COUNT {
                producer.put(number).unwrap();
            }
        });
        let queue = queue.into_async().unwrap();

        let mut next = 0;
        while next < COUNT {
            let got = timeout(Duration::from_millis(1), queue.get()).await;
            if let Ok(item) = got {
                assert_eq!(item.unwrap(), next);
                next += 1;
            }
        }

        thread.join().unwrap();
    }
}

#[tokio::test]
async fn a_put_that_is_cancelled_puts_nothing() {
    for transport in TRANSPORTS {
        let queue = queue(transport, 1).into_async().unwrap();
        queue.put(1).await.unwrap();
        {
            let put = pin!(queue.put(2));
            assert!(timeout(Duration::from_millis(5), put).await.is_err());
        }

        assert_eq!(queue.get().await.unwrap(), 1);
        let none = timeout(Duration::from_millis(5), queue.get()).await;
        assert!(none.is_err());
    }
}

#[test]
fn an_item_comes_again_until_somebody_is_done_with_it() {
    let queue = JoinableQueue::bounded(2).unwrap();
    queue.put("egg".to_owned()).unwrap();
    drop(queue.get().unwrap());

    let item = queue.get().unwrap();
    assert_eq!((item.as_str(), item.deliveries()), ("egg", 2));
    assert!(!queue.join_timeout(Duration::ZERO));

    assert_eq!(item.done(), "egg");
    queue.join();
}

#[test]
fn task_done_once_too_often_is_an_error() {
    let queue = JoinableQueue::unbounded().unwrap();
    queue.put(1).unwrap();
    assert_eq!(queue.task_done(), Err(TaskDoneError));

    assert_eq!(queue.get().unwrap().keep(), 1);
    assert_eq!(queue.unfinished(), 1);

    assert_eq!(queue.task_done(), Ok(()));
    assert_eq!(queue.task_done(), Err(TaskDoneError));
    queue.join();
}

#[test]
fn an_item_of_another_type_does_not_come_again() {
    let words = JoinableQueue::unbounded().unwrap();
    words.put("text".to_owned()).unwrap();
    let parcel = hatchery_process::Parcel::encode(&words).unwrap();
    let numbers: JoinableQueue<u8> = parcel.decode().unwrap();

    let error = numbers.get().unwrap_err();

    assert!(matches!(error, GetError::Codec(_)));
    words.join();
}
