//! What pipes promise within one process.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hatchery_process::Passed;
use serde::{Deserialize, Serialize, Serializer};

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A message that cannot be serialised.
#[derive(Deserialize)]
struct Broken;

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("as it was told"))
    }
}

#[test]
fn both_ends_of_a_duplex_pipe_send_and_receive() {
    let (here, there) = pipe::<Vec<String>>().unwrap();

    here.send(&vec!["to".to_owned()]).unwrap();
    there.send(&vec!["fro".to_owned()]).unwrap();

    assert_eq!(there.recv().unwrap(), ["to"]);
    assert_eq!(here.recv().unwrap(), ["fro"]);
}

#[test]
fn the_end_of_a_pipe_comes_after_all_that_was_sent() {
    let (sender, receiver) = one_way_pipe::<u8>().unwrap();
    let other = sender.try_clone().unwrap();
    sender.send(&1).unwrap();
    drop(sender);
    other.send(&2).unwrap();
    drop(other);

    assert_eq!(receiver.recv().unwrap(), 1);
    assert_eq!(receiver.try_recv().unwrap(), 2);
    assert!(receiver.poll(Duration::ZERO).unwrap());
    assert!(matches!(receiver.recv(), Err(PipeRecvError::Closed)));
}

#[test]
fn what_is_empty_and_what_is_full_are_told_by_type() {
    let (sender, receiver) = one_way_pipe::<Vec<u8>>().unwrap();
    let message = vec![0; 60_000];
    let short = Duration::from_millis(5);

    assert!(matches!(receiver.try_recv(), Err(PipeRecvError::Empty)));
    assert!(matches!(
        receiver.recv_timeout(short),
        Err(PipeRecvError::Timeout)
    ));
    assert!(!receiver.poll(Duration::ZERO).unwrap());
    while sender.try_send(&message).is_ok() {}

    assert!(matches!(
        sender.try_send(&message),
        Err(PipeSendError::Full)
    ));
    assert!(matches!(
        sender.send_timeout(&message, short),
        Err(PipeSendError::Timeout)
    ));
    drop(receiver);
    assert!(matches!(sender.send(&message), Err(PipeSendError::Closed)));
}

#[test]
fn a_message_that_cannot_be_serialised_is_an_error_of_the_sender() {
    let (sender, receiver) = one_way_pipe::<Broken>().unwrap();

    assert!(matches!(sender.send(&Broken), Err(PipeSendError::Codec(_))));

    assert!(!receiver.poll(Duration::ZERO).unwrap());
}

#[test]
fn a_message_of_another_type_leaves_the_next_one_whole() {
    let (sender, receiver) = one_way_pipe::<(u8, u8)>().unwrap();
    sender.send_bytes(&[1, 2, 3]).unwrap();
    sender.send(&(4, 5)).unwrap();

    assert!(matches!(receiver.recv(), Err(PipeRecvError::Codec(_))));

    assert_eq!(receiver.recv().unwrap(), (4, 5));
}

#[test]
fn bytes_of_every_length_arrive_as_they_are() {
    let (sender, receiver) = one_way_pipe::<()>().unwrap();
    for len in [0, 1, 65_536, 65_537, 200_000] {
        let bytes: Vec<u8> = (0..len).map(|place| place as u8).collect();

        sender.send_bytes(&bytes).unwrap();

        assert!(receiver.recv_bytes().unwrap() == bytes, "{len} bytes");
    }
}

#[test]
fn sockets_and_pipe_ends_go_through_a_pipe() {
    type Message = (Passed<TcpStream>, PipeSender<u8>);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = stream.local_addr().unwrap();
    let (inner, answers) = one_way_pipe::<u8>().unwrap();
    let (sender, receiver) = one_way_pipe::<Message>().unwrap();

    sender.send(&(stream.into(), inner)).unwrap();
    let (stream, inner) = receiver.recv().unwrap();
    inner.send(&7).unwrap();
    drop(inner);

    assert_eq!(stream.0.local_addr().unwrap(), address);
    assert_eq!(answers.recv().unwrap(), 7);
    assert!(matches!(answers.recv(), Err(PipeRecvError::Closed)));
}

#[test]
fn receiving_in_a_select_with_a_timer_loses_nothing() {
    const COUNT: u32 = 10_000;
    runtime().block_on(async {
        let (sender, receiver) = one_way_pipe::<u32>().unwrap();
        let feeder = thread::spawn(move || {
            for number in 0..COUNT {
                sender.send(&number).unwrap();
                if number % 64 == 0 {
                    thread::yield_now();
                }
            }
        });
        let receiver = receiver.into_async().unwrap();
        let mut timer = tokio::time::interval(Duration::from_millis(1));
        let mut expected = 0;
        while expected < COUNT {
            tokio::select! {
                number = receiver.recv() => {
                    assert_eq!(number.unwrap(), expected);
                    expected += 1;
                }
                _ = timer.tick() => {}
            }
        }
        assert!(matches!(receiver.recv().await, Err(PipeRecvError::Closed)));
        feeder.join().unwrap();
    });
}

type Body = (u32, u32, Vec<u32>);

async fn send_bodies(sender: Arc<AsyncPipeSender<Body>>, task: u32, count: u32) {
    for number in 0..count {
        // Some are longer than a packet.
        let len = if number % 50 == 0 { 40_000 } else { number };
        let body = vec![task; len as usize];
        sender.send(&(task, number, body)).await.unwrap();
    }
}

#[test]
fn four_tasks_that_share_a_sender_keep_every_message_whole() {
    const COUNT: u32 = 300;
    runtime().block_on(async {
        let (sender, receiver) = one_way_pipe::<Body>().unwrap();
        let sender = Arc::new(sender.into_async().unwrap());
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let sender = Arc::clone(&sender);
                tokio::spawn(send_bodies(sender, task, COUNT))
            })
            .collect();
        drop(sender);
        let mut receiver = receiver.into_async().unwrap();
        let mut next = BTreeMap::new();
        while let Some(message) = receiver.next().await {
            let (task, number, body) = message.unwrap();
            assert!(body.iter().all(|&word| word == task));
            let expected = next.entry(task).or_insert(0);
            assert_eq!(number, *expected, "of task {task}");
            *expected += 1;
        }
        assert!(next.values().all(|&count| count == COUNT), "{next:?}");
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_sink_keeps_what_there_is_no_room_for_until_it_is_flushed() {
    runtime().block_on(async {
        let (here, there) = pipe::<Vec<u8>>().unwrap();
        let mut sink = here.into_async().unwrap();
        let receiver = tokio::spawn(async move {
            let there = there.into_async().unwrap();
            for number in 0..40 {
                assert_eq!(there.recv().await.unwrap(), vec![number; 50_000]);
            }
            assert!(matches!(there.recv().await, Err(PipeRecvError::Closed)));
        });

        for number in 0..40 {
            sink.feed(vec![number; 50_000]).await.unwrap();
        }
        SinkExt::<Vec<u8>>::flush(&mut sink).await.unwrap();
        drop(sink);

        receiver.await.unwrap();
    });
}
