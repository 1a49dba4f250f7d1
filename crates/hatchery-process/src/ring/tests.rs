//! What a queue promises, within one process. What happens when processes die is tested from
//! outside.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use proptest::prelude::*;

use super::lease::State;
use super::parts::{MESSAGES, PUT_END};
use super::*;
use crate::Parcel;

fn text(ring: &Ring) -> Result<String, RingGetError> {
    let mut buffer = Vec::new();
    let len = ring.try_get(&mut buffer)?;
    Ok(String::from_utf8(buffer[..len].to_vec()).unwrap())
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

#[test]
fn messages_come_out_as_they_went_in() {
    let ring = Ring::new(0).unwrap();
    for message in ["", "a", "12345678", "123456789"] {
        ring.try_put(message.as_bytes()).unwrap();
    }

    assert_eq!(ring.len(), 4);
    for message in ["", "a", "12345678", "123456789"] {
        assert_eq!(text(&ring).as_deref(), Ok(message));
    }
    assert_eq!(text(&ring), Err(RingGetError::Empty));
}

#[test]
fn a_full_queue_takes_no_more_until_there_is_room() {
    let ring = Ring::new(2).unwrap();
    ring.try_put(b"a").unwrap();
    ring.try_put(b"b").unwrap();

    assert_eq!(ring.try_put(b"c"), Err(RingPutError::Full));
    let past = Some(Instant::now());
    assert_eq!(ring.put(b"c", past), Err(RingPutError::Full));

    text(&ring).unwrap();
    ring.try_put(b"c").unwrap();
}

#[test]
fn a_closed_queue_is_emptied_and_then_closed() {
    let ring = Ring::new(0).unwrap();
    ring.try_put(b"last").unwrap();
    ring.close();

    assert_eq!(ring.try_put(b"more"), Err(RingPutError::Closed));
    assert_eq!(text(&ring).as_deref(), Ok("last"));
    assert_eq!(text(&ring), Err(RingGetError::Closed));
}

#[test]
fn closing_wakes_everybody_who_waits() {
    let empty = Ring::new(0).unwrap();
    let full = Ring::new(1).unwrap();
    full.try_put(b"x").unwrap();

    thread::scope(|threads| {
        let getters = [(); 3].map(|()| threads.spawn(|| empty.get(&mut Vec::new(), soon())));
        let putters = [(); 3].map(|()| threads.spawn(|| full.put(b"y", soon())));
        empty.close();
        full.close();

        for getter in getters {
            assert_eq!(getter.join().unwrap(), Err(RingGetError::Closed));
        }
        for putter in putters {
            assert_eq!(putter.join().unwrap(), Err(RingPutError::Closed));
        }
    });
}

#[test]
fn a_message_longer_than_any_may_be_is_refused_with_the_limit() {
    let ring = Ring::new(0).unwrap();
    let long = vec![0; RING_MESSAGE_BYTES_MAX + 1];

    let error = ring.try_put(&long).unwrap_err();

    assert!(
        error
            .to_string()
            .contains(&RING_MESSAGE_BYTES_MAX.to_string())
    );
}

#[test]
fn memory_that_was_scribbled_over_is_an_error() {
    let ring = Ring::new(0).unwrap();
    ring.try_put(b"good").unwrap();
    ring.monitor.wides()[MESSAGES].store(u64::from(u32::MAX), Relaxed);

    assert_eq!(text(&ring), Err(RingGetError::Scribbled));
    ring.monitor.wides()[PUT_END].store(u64::from(u32::MAX / 2), Relaxed);
    assert_eq!(text(&ring), Err(RingGetError::Scribbled));
    ring.monitor.words()[SPAN_LOG].store(77, Relaxed);
    assert_eq!(text(&ring), Err(RingGetError::Scribbled));
}

#[test]
fn a_queue_that_was_sent_is_the_same_queue() {
    let ring = Ring::new(3).unwrap();
    let received: Ring = Parcel::encode(&ring).unwrap().decode().unwrap();
    ring.try_put(b"hello").unwrap();

    assert_eq!(text(&received).as_deref(), Ok("hello"));
    assert_eq!(received.count_max(), Some(3));
}

#[test]
fn a_large_ring_that_runs_empty_gives_its_memory_back() {
    let ring = Ring::new(0).unwrap();
    let message = vec![7; 1 << 20];
    for _ in 0..16 {
        ring.try_put(&message).unwrap();
    }
    let pages = || rustix::fs::fstat(&ring).unwrap().st_blocks;
    assert!(pages() * 512 > 16 << 20);

    let mut buffer = Vec::new();
    for _ in 0..16 {
        let len = ring.try_get(&mut buffer).unwrap();
        assert_eq!(buffer[..len], message);
    }

    assert!(pages() * 512 < 1 << 20);
}

#[test]
fn who_can_wait_for_room_makes_some_where_nobody_gets() {
    let message = vec![7; 1 << 20];
    for deadline in [Some(Instant::now()), soon(), None] {
        let ring = Ring::new(0).unwrap();

        for _ in 0..16 {
            ring.put(&message, deadline).unwrap();
        }

        assert_eq!(ring.len(), 16);
    }
}

#[test]
fn many_threads_lose_and_repeat_nothing() {
    const EACH: u64 = 20_000;
    let ring = Ring::new(64).unwrap();
    let (sum, count) = (AtomicU64::new(0), AtomicU64::new(0));
    let consume = || {
        let mut buffer = Vec::new();
        while let Ok(len) = ring.get(&mut buffer, soon()) {
            let number = u64::from_le_bytes(*buffer[..len].first_chunk().unwrap());
            sum.fetch_add(number, Relaxed);
            count.fetch_add(1, Relaxed);
        }
    };
    let produce = |first: u64| {
        for number in first..first + EACH {
            ring.put(&number.to_le_bytes(), soon()).unwrap();
        }
    };

    thread::scope(|threads| {
        let consumers = [(); 4].map(|()| threads.spawn(consume));
        let producers = [0, 1, 2, 3].map(|index| threads.spawn(move || produce(index * EACH)));
        for producer in producers {
            producer.join().unwrap();
        }
        ring.close();
        for consumer in consumers {
            consumer.join().unwrap();
        }
    });

    assert_eq!(count.into_inner(), 4 * EACH);
    assert_eq!(sum.into_inner(), (0..4 * EACH).sum::<u64>());
}

#[test]
fn tasks_and_threads_share_a_queue() {
    const COUNT: u32 = 5_000;
    let ring = Ring::new(8).unwrap();
    let get_all = async || {
        let mut buffer = Vec::new();
        let mut got = 0;
        while ring.get_async(&mut buffer).await.is_ok() {
            got += 1;
        }
        got
    };

    let got = thread::scope(|threads| {
        threads.spawn(|| {
            for number in 0..COUNT {
                ring.put(&number.to_le_bytes(), soon()).unwrap();
            }
            for number in 0..COUNT {
                block_on(ring.put_async(&number.to_le_bytes())).unwrap();
            }
            ring.close();
        });
        let (one, other, third) =
            block_on(async { futures::join!(get_all(), get_all(), get_all()) });
        one + other + third
    });

    assert_eq!(got, 2 * COUNT);
}

#[test]
fn a_get_that_is_dropped_takes_nothing_and_wakes_the_next() {
    let ring = Ring::new(0).unwrap();
    for _ in 0..200 {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let mut dropped = Box::pin(ring.get_async(&mut one));
        let mut kept = Box::pin(ring.get_async(&mut other));
        let waker = futures::task::noop_waker();
        let mut task = std::task::Context::from_waker(&waker);
        assert!(dropped.as_mut().poll(&mut task).is_pending());
        assert!(kept.as_mut().poll(&mut task).is_pending());

        ring.try_put(b"for the other").unwrap();
        drop(dropped);

        assert_eq!(block_on(kept), Ok(13));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_order_of_puts_and_gets_is_that_of_a_queue(
        steps in proptest::collection::vec(proptest::option::of(0_usize..40_000), 1..200),
    ) {
        let ring = Ring::new(0).unwrap();
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        let mut buffer = Vec::new();
        for (index, step) in steps.into_iter().enumerate() {
            if let Some(len) = step {
                let message: Vec<u8> = (0..len).map(|byte| (byte ^ index) as u8).collect();
                ring.try_put(&message).unwrap();
                model.push_back(message);
            } else {
                let got = ring.try_get(&mut buffer).ok().map(|len| buffer[..len].to_vec());
                prop_assert_eq!(got, model.pop_front());
            }
            prop_assert_eq!(ring.len(), model.len());
        }
    }
}

mod joinable {
    use super::*;

    fn get(ring: &JoinableRing) -> Result<(RingLease, String), RingGetError> {
        let mut buffer = Vec::new();
        let lease = ring.try_get(&mut buffer)?;
        Ok((
            lease,
            String::from_utf8(buffer[..lease.len].to_vec()).unwrap(),
        ))
    }

    fn queue(messages: &[&str]) -> JoinableRing {
        let ring = JoinableRing::new(0).unwrap();
        for message in messages {
            ring.try_put(message.as_bytes()).unwrap();
        }
        ring
    }

    #[test]
    fn a_message_is_unfinished_until_somebody_is_done_with_it() {
        let ring = queue(&["a", "b"]);
        let (a, _) = get(&ring).unwrap();
        let (b, _) = get(&ring).unwrap();
        assert_eq!((ring.len(), ring.unfinished()), (0, 2));

        ring.finish(b).unwrap();
        assert!(!ring.join(Some(Instant::now())));
        ring.finish(a).unwrap();

        assert!(ring.join(Some(Instant::now())));
        assert_eq!(ring.finish(a), Err(NotLeased));
    }

    #[test]
    fn what_is_given_up_comes_again_and_says_how_often() {
        let ring = queue(&["a", "b"]);
        let (lease, _) = get(&ring).unwrap();
        assert_eq!(lease.deliveries, 1);

        ring.give_up(lease).unwrap();

        let (again, message) = get(&ring).unwrap();
        assert_eq!((again.deliveries, message.as_str()), (2, "a"));
        assert_eq!(get(&ring).unwrap().1, "b");
    }

    #[test]
    fn what_is_given_up_takes_the_room_of_another() {
        let ring = JoinableRing::new(2).unwrap();
        ring.try_put(b"a").unwrap();
        ring.try_put(b"b").unwrap();
        let (a, _) = get(&ring).unwrap();
        let (b, _) = get(&ring).unwrap();
        ring.try_put(b"c").unwrap();

        ring.give_up(a).unwrap();

        assert_eq!(ring.try_put(b"d"), Err(RingPutError::Full));
        ring.finish(b).unwrap();
        assert_eq!(ring.len(), 2);
    }

    #[test]
    fn a_closed_queue_is_empty_while_something_may_come_back() {
        let ring = queue(&["a"]);
        ring.close();
        let (lease, _) = get(&ring).unwrap();
        assert_eq!(get(&ring).unwrap_err(), RingGetError::Empty);

        ring.finish(lease).unwrap();

        assert_eq!(get(&ring).unwrap_err(), RingGetError::Closed);
    }

    #[test]
    fn what_is_on_lease_to_the_dead_comes_again() {
        let ring = queue(&["a", "b", "c"]);
        let (lease, _) = get(&ring).unwrap();
        // As if another process had it, which is dead: the table has no such member.
        let frames = ring.ring.parts().frames();
        let (head, tail) = (0, ring.ring.parts().put_end().others().position);
        let header = frames.header(head, tail).unwrap().unwrap();
        let theirs = State::from_word(header.state).of(900);
        frames.set_state(
            head,
            frames::Header {
                state: theirs.word(),
                ..header
            },
        );
        assert_eq!(ring.finish(lease), Err(NotLeased));

        let messages: Vec<String> = (0..3).map(|_| get(&ring).unwrap().1).collect();

        assert_eq!(messages, ["b", "c", "a"]);
    }

    #[test]
    fn whoever_joins_is_woken_by_the_last() {
        let ring = queue(&["a", "b", "c"]);

        thread::scope(|threads| {
            let joiners = [(); 3].map(|()| threads.spawn(|| ring.join(soon())));
            let task = threads.spawn(|| block_on(ring.join_async()));
            for _ in 0..3 {
                let (lease, _) = get(&ring).unwrap();
                ring.finish(lease).unwrap();
            }
            for joiner in joiners {
                assert!(joiner.join().unwrap());
            }
            task.join().unwrap();
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn whatever_is_done_in_whatever_order_each_message_is_finished_once(
            steps in proptest::collection::vec((0_u8..4, 0_usize..3_000), 1..200),
        ) {
            let ring = JoinableRing::new(0).unwrap();
            let (mut put, mut finished) = (0_usize, 0);
            let mut held = Vec::new();
            for (step, size) in steps {
                match step {
                    0 | 1 => {
                        ring.try_put(&vec![1; size]).unwrap();
                        put += 1;
                    }
                    2 => held.extend(get(&ring).ok()),
                    _ if held.is_empty() => {}
                    _ => {
                        let (lease, _) = held.swap_remove(size % held.len());
                        if size % 2 == 0 {
                            ring.finish(lease).unwrap();
                            finished += 1;
                        } else {
                            ring.give_up(lease).unwrap();
                        }
                    }
                }
                prop_assert_eq!(ring.unfinished(), put - finished);
                prop_assert_eq!(ring.len(), put - finished - held.len());
            }
        }
    }
}
