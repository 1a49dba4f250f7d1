//! Both sides in one process.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hatchery_os::{Entry, Start};

use super::lane::{Consumer, Header, LANE_WORDS, Lane, Producer};
use super::*;
use crate::packets::Outgoing;

/// Long enough for whatever does happen.
const SOON: Duration = Duration::from_secs(10);

struct Pair {
    sender: TaskSender,
    receiver: TaskReceiver,
    doorbell: Doorbell,
    function: TaskFunction,
    buffer: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let doorbell = Doorbell::new().unwrap();
        let (sender, end) = TaskSender::new(&doorbell).unwrap();
        Self {
            sender,
            receiver: TaskReceiver::adopt(&mut end.into_start()).unwrap(),
            doorbell,
            function: TaskFunctions::default().add(Entry::new(|_: Start| 0)),
            buffer: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> u64 {
        let content = TaskContent::Light(bytes);
        self.sender.send(self.function, content).unwrap()
    }

    fn send_heavy(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) -> u64 {
        let packet = Outgoing::new(bytes, descriptors).unwrap();
        let content = TaskContent::Heavy(&packet);
        self.sender.send(self.function, content).unwrap()
    }

    #[track_caller]
    fn receive(&mut self) -> ReceivedTask {
        let received = self.receiver.next(&mut self.buffer).unwrap();
        received.expect("a task was sent")
    }

    #[track_caller]
    fn result(&mut self) -> TaskResult {
        let result = self.sender.result(&mut self.buffer).unwrap();
        result.expect("a result was put")
    }

    fn put(&mut self, bytes: &[u8]) {
        let kind = ResultKind::Returned;
        self.receiver.put(kind, bytes, Vec::new()).unwrap();
    }

    /// Writes words into the lane of results, as a worker out of its mind.
    fn scribble(&mut self, words: [u64; 3]) {
        let results = self.sender.watch().0;
        for (place, word) in results.results().words.iter().zip(words) {
            place.store(word, Relaxed);
        }
        results.results().tail.store(3, Relaxed);
    }
}

fn some_descriptor() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[test]
fn a_task_arrives_and_its_result_comes_back() {
    let mut pair = Pair::new();
    let seq = pair.send(b"argument");

    let task = pair.receive();
    assert_eq!(
        (task.seq, task.function, &*pair.buffer),
        (seq, 0, &b"argument"[..])
    );
    assert_eq!(pair.receiver.function().unwrap().0, 0);
    assert_eq!(pair.sender.running().map(|task| task.seq), Some(seq));
    pair.put(b"result");

    let result = pair.result();
    assert_eq!((result.seq, result.kind), (seq, ResultKind::Returned));
    assert_eq!(pair.buffer, b"result");
    assert_eq!(pair.sender.running(), None);
    assert!(!pair.sender.has_results());
}

#[test]
fn a_function_is_sent_once() {
    let mut pair = Pair::new();
    let mut functions = TaskFunctions::default();
    let first = functions.add(Entry::new(|_: Start| 1));
    let second = functions.add(Entry::new(|_: Start| 2));
    assert_eq!(
        functions.add(Entry::new(|_: Start| 1)).index(),
        2,
        "another closure"
    );

    for function in [second, second, first] {
        pair.sender.send(function, TaskContent::Light(b"")).unwrap();
    }

    let codes: Vec<_> = std::iter::from_fn(|| pair.receiver.function().ok())
        .map(|(index, entry)| (index, entry.run(Start::default())))
        .collect();
    assert_eq!(codes, [(1, 2), (0, 1)]);
    assert_eq!(functions.get(1), Some(second));
}

#[test]
fn long_tasks_and_descriptors_arrive_whole_and_in_order() {
    let mut pair = Pair::new();
    let long = vec![7; 3 << 20];
    pair.send(b"light");
    pair.send_heavy(&long, Vec::new());
    pair.send_heavy(b"with a descriptor", vec![some_descriptor()]);

    let lengths = [5, long.len(), 17];
    for (expected, count) in lengths.into_iter().zip([0, 0, 1]) {
        let task = pair.receive();
        assert_eq!(pair.buffer.len(), expected);
        assert_eq!(task.descriptors.unwrap().len(), count);
        let back = if count > 0 {
            vec![some_descriptor()]
        } else {
            Vec::new()
        };
        let kind = ResultKind::Returned;
        pair.receiver.put(kind, &vec![1; expected], back).unwrap();
        let result = pair.result();
        assert_eq!(
            (pair.buffer.len(), result.descriptors.len()),
            (expected, count)
        );
    }
}

#[test]
fn a_task_that_was_taken_back_is_not_run_and_its_packet_is_not_left() {
    let mut pair = Pair::new();
    let heavy = pair.send_heavy(b"heavy", vec![some_descriptor()]);
    let light = pair.send(b"light");
    let last = pair.send_heavy(b"last", vec![some_descriptor()]);

    assert!(pair.sender.revoke(heavy));
    assert!(pair.sender.revoke(light));
    assert!(!pair.sender.revoke(light), "it is back already");

    assert_eq!(pair.receive().seq, last);
    assert_eq!(pair.buffer, b"last");
    assert!(!pair.sender.revoke(last), "it runs");
}

#[test]
fn no_more_tasks_are_sent_ahead_than_there_are_places() {
    let mut pair = Pair::new();
    for _ in 0..TASKS_AHEAD_MAX {
        pair.send(b"");
    }
    let full = pair.sender.send(pair.function, TaskContent::Light(b""));
    assert!(matches!(full, Err(TaskSendError::Full)), "{full:?}");

    pair.receive();
    pair.put(b"");
    pair.result();

    pair.send(b"");
}

#[test]
fn a_lane_or_a_channel_without_room_says_so_and_has_nothing_of_the_task() {
    let mut pair = Pair::new();
    let long = vec![1; TASK_LIGHT_BYTES_MAX];
    let packet = Outgoing::new(&*long, Vec::new()).unwrap();

    for content in [TaskContent::Light(&long), TaskContent::Heavy(&packet)] {
        let mut sent = 0;
        let error = loop {
            match pair.sender.send(pair.function, content) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, TaskSendError::Full), "{error:?}");
        assert!((1..=16).contains(&sent), "{sent}");
        for _ in 0..sent {
            pair.receive();
            assert_eq!(pair.buffer, long);
            pair.put(b"");
            pair.result();
        }
    }
}

#[test]
fn a_worker_that_is_gone_is_noticed_where_the_kernel_tells() {
    let mut pair = Pair::new();
    let packet = Outgoing::new(&b""[..], vec![some_descriptor()]).unwrap();
    drop(std::mem::replace(&mut pair.receiver, Pair::new().receiver));

    let gone = pair.sender.send(pair.function, TaskContent::Heavy(&packet));

    assert!(matches!(gone, Err(TaskSendError::Gone)), "{gone:?}");
}

#[test]
fn the_fate_of_a_task_is_what_its_worker_had_begun() {
    let mut pair = Pair::new();
    let [done, begun, sent] = [pair.send(b"a"), pair.send(b"b"), pair.send(b"c")];
    pair.receive();
    pair.put(b"A");
    pair.receive();

    assert_eq!(pair.result().seq, done);
    assert!(!pair.sender.is_open(done));

    assert_eq!(pair.sender.fate(begun), TaskFate::Started);
    assert_eq!(pair.sender.fate(sent), TaskFate::NotStarted);
    assert!(pair.sender.is_open(begun) && pair.sender.is_open(sent));
}

#[test]
fn a_task_learns_that_it_is_to_stop_and_the_next_one_does_not() {
    let mut pair = Pair::new();
    let [first, _second] = [pair.send(b""), pair.send(b"")];
    let bell = pair.receiver.bell();
    assert!(!bell.is_stopping(), "nothing runs");

    pair.receive();
    pair.sender.ask_to_stop(first);
    assert!(bell.is_stopping());
    pair.put(b"");

    pair.receive();
    assert!(!bell.is_stopping());
}

#[test]
fn items_are_put_as_far_as_credit_goes() {
    let mut pair = Pair::new();
    let seq = pair.send(b"");
    pair.receive();
    pair.sender.grant(seq, 2);
    let Pair {
        sender,
        mut receiver,
        ..
    } = pair;

    let (sender, items) = thread::scope(|threads| {
        let putting = threads.spawn(move || {
            let mut items = 0;
            while receiver.put_item(&[items], Vec::new()).unwrap() {
                items += 1;
            }
            receiver.put(ResultKind::Returned, b"", Vec::new()).unwrap();
            items
        });
        let (mut sender, mut buffer, mut taken) = (sender, Vec::new(), 0);
        let deadline = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < deadline, "it ends");
            let Some(result) = sender.result(&mut buffer).unwrap() else {
                thread::yield_now();
                continue;
            };
            if result.kind == ResultKind::Returned {
                break;
            }
            assert_eq!(buffer, [taken]);
            taken += 1;
            match taken {
                2 => sender.grant(seq, 5),
                5 => sender.ask_to_stop(seq),
                _ => {}
            }
        }
        (sender, putting.join().unwrap())
    });

    assert_eq!(items, 5);
    assert!(!sender.is_open(seq));
}

#[test]
fn a_worker_waits_while_there_is_no_room_for_results() {
    const COUNT: usize = 100;
    let mut pair = Pair::new();
    for _ in 0..COUNT {
        pair.send(b"");
    }
    let Pair {
        mut sender,
        mut receiver,
        doorbell,
        ..
    } = pair;

    let lengths = thread::scope(|threads| {
        threads.spawn(move || {
            let (mut buffer, long) = (Vec::new(), vec![0; TASK_LIGHT_BYTES_MAX]);
            for _ in 0..COUNT {
                receiver.next(&mut buffer).unwrap();
                receiver
                    .put(ResultKind::Returned, &long, Vec::new())
                    .unwrap();
            }
        });
        let (mut buffer, mut lengths) = (Vec::new(), Vec::new());
        while lengths.len() < COUNT {
            doorbell.wait_as_pump(None, || sender.has_results());
            while sender.result(&mut buffer).unwrap().is_some() {
                lengths.push(buffer.len());
            }
            sender.wake();
        }
        lengths
    });

    assert_eq!(lengths, [TASK_LIGHT_BYTES_MAX; COUNT]);
}

#[test]
fn a_worker_that_waits_is_woken_by_a_task_and_by_the_end() {
    let pair = Pair::new();
    let Pair {
        mut sender,
        mut receiver,
        doorbell,
        function,
        ..
    } = pair;
    let watch = sender.watch();

    let tasks = thread::scope(|threads| {
        let worker = threads.spawn(move || {
            let (mut buffer, mut tasks) = (Vec::new(), 0);
            while receiver.next(&mut buffer).unwrap().is_some() {
                receiver
                    .put(ResultKind::Returned, &buffer, Vec::new())
                    .unwrap();
                tasks += 1;
            }
            tasks
        });
        let leader = doorbell.lead();
        let mut buffer = Vec::new();
        for round in 0..1_000_u32 {
            let bytes = round.to_le_bytes();
            sender.send(function, TaskContent::Light(&bytes)).unwrap();
            sender.wake();
            while !watch.has_results() {
                leader.wait(None, || watch.has_results());
            }
            sender.result(&mut buffer).unwrap().unwrap();
            assert_eq!(buffer, bytes);
        }
        leader.leave(|| false);
        sender.close();
        worker.join().unwrap()
    });

    assert_eq!(tasks, 1_000);
}

#[test]
fn a_worker_tells_that_it_is_ready_or_why_not() {
    for (outcome, kind) in [
        (Ok(()), ResultKind::Ready),
        (Err("why"), ResultKind::Failed),
    ] {
        let mut pair = Pair::new();
        pair.receiver.put_readiness(outcome).unwrap();

        let told = pair.result();

        assert_eq!((told.seq, told.kind), (0, kind));
        assert_eq!(pair.buffer, outcome.err().unwrap_or("").as_bytes());
    }
}

#[test]
fn what_no_worker_puts_is_not_believed() {
    let kind = |kind: u64, len: u64| kind << 32 | len;
    let impossible = [
        ("an unknown kind", [kind(7, 0), 1, 0]),
        ("a task that was never sent", [kind(0, 0), 2, 0]),
        (
            "a task of another lap",
            [kind(0, 0), 1 + TASKS_AHEAD_MAX as u64, 0],
        ),
        ("no task", [kind(0, 0), 0, 0]),
        ("a task that is a worker", [kind(5, 0), 1, 0]),
        ("more bytes than there are", [kind(0, 8), 1, 0]),
        ("more bytes than there may be", [kind(0, 1 << 20), 1, 0]),
        ("a packet that is missing", [kind(0x80, 0), 1, 0]),
        ("more than a kind", [u64::MAX, 1, 0]),
    ];
    for (what, words) in impossible {
        let mut pair = Pair::new();
        pair.send(b"");
        pair.scribble(words);

        let believed = pair.sender.result(&mut pair.buffer);

        assert_eq!(believed.map(|_| ()), Err(Scribbled), "{what}");
    }
}

#[test]
fn a_result_that_comes_twice_or_for_a_task_taken_back_is_not_believed() {
    let mut pair = Pair::new();
    let [done, back] = [pair.send(b""), pair.send(b"")];
    pair.receive();
    pair.put(b"");
    pair.result();
    assert!(pair.sender.revoke(back));

    for seq in [done, back] {
        pair.receiver.pretend(seq);
        pair.put(b"");
        let believed = pair.sender.result(&mut pair.buffer);
        assert_eq!(believed.map(|_| ()), Err(Scribbled));
    }
}

#[test]
fn positions_that_cannot_be_are_noticed() {
    let mut pair = Pair::new();
    let desk = pair.sender.watch().0;
    desk.results().tail.store(u32::MAX, Relaxed);
    assert_eq!(
        pair.sender.result(&mut pair.buffer).map(|_| ()),
        Err(Scribbled)
    );

    desk.tasks().head.store(u32::MAX / 2, Relaxed);
    let error = loop {
        if let Err(error) = pair
            .sender
            .send(pair.function, TaskContent::Light(&[0; 60_000]))
        {
            break error;
        }
    };
    assert!(matches!(error, TaskSendError::Scribbled(_)), "{error:?}");
}

#[test]
fn a_lane_carries_messages_of_every_length_round_and_round() {
    let words: Vec<AtomicU64> = (0..LANE_WORDS).map(|_| AtomicU64::new(0)).collect();
    let (head, tail) = (AtomicU32::new(0), AtomicU32::new(0));
    let lane = Lane {
        head: &head,
        tail: &tail,
        words: &words,
    };
    let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
    let mut buffer = Vec::new();

    for round in 0..300_u32 {
        let len = [round as usize % 40, 32_749, TASK_LIGHT_BYTES_MAX][round as usize % 3];
        let bytes: Vec<u8> = (0..len).map(|place| (place as u32 ^ round) as u8).collect();
        let header = Header {
            kind: round as u8,
            seq: u64::from(round) << 40,
            extra: u64::MAX,
        };
        assert!(producer.has_room(lane, len).unwrap());
        producer.put(lane, header, &bytes);

        assert_eq!(consumer.take(lane, &mut buffer), Ok(Some(header)));
        assert_eq!(buffer, bytes);
        assert_eq!(consumer.take(lane, &mut buffer), Ok(None));
    }
}

#[test]
fn a_process_that_was_not_started_as_a_worker_is_none() {
    let (_, end) = TaskSender::new(&Doorbell::new().unwrap()).unwrap();
    let mut start = end.into_start();
    start.descriptors.swap(0, 1);
    assert!(matches!(
        TaskReceiver::adopt(&mut start),
        Err(TaskReceiveError::Memory(_))
    ));

    let empty = TaskReceiver::adopt(&mut Start::default());
    assert!(matches!(empty, Err(TaskReceiveError::NotAWorker)));
}

#[test]
fn a_sender_that_is_dropped_closes_what_was_on_its_way() {
    let mut pair = Pair::new();
    let (reader, writer) = std::io::pipe().unwrap();
    pair.send_heavy(b"", vec![writer.into()]);

    drop(pair);

    // It would block if the writing end were still on its way somewhere.
    let mut polled = [rustix::event::PollFd::from_borrowed_fd(
        reader.as_fd(),
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut polled, None).unwrap();
    assert!(polled[0].revents().contains(rustix::event::PollFlags::HUP));
}
