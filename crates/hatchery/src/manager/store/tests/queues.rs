//! Queues and joinable queues.

use proptest::prelude::*;

use super::*;

#[test]
fn a_queue_is_first_in_first_out_and_has_as_much_room_as_it_was_given() {
    let mut world = World::new();
    let queue = world.make(Spec::Queue { room: Some(2) });
    assert_eq!(world.answer(1, queue, put(1)), Reply::Done);
    assert_eq!(world.answer(1, queue, put(2)), Reply::Done);
    let try_put = QueueOperation::Put {
        item: blob(&9_u32),
        waits: false,
    };
    let full = world.answer(1, queue, Operation::Queue(try_put));
    assert_eq!(full, Reply::Refused(Refusal::Full));
    assert_eq!(world.call(1, queue, put(3)), []);

    let got = world.call(2, queue, GET);

    assert_eq!(got, [(2, item(1, 1)), (1, Reply::Done)]);
    assert_eq!(world.answer(3, queue, GET), item(2, 1));
    assert_eq!(world.answer(4, queue, GET), item(3, 1));
}

#[test]
fn an_item_that_did_not_arrive_goes_to_the_next_in_its_old_place() {
    let mut world = World::new();
    let queue = world.make(Spec::Queue { room: None });
    for number in 1..=3 {
        world.answer(1, queue, put(number));
    }
    world.answer(2, queue, GET);

    world.leave(2);

    assert_eq!(world.answer(3, queue, GET), item(1, 2));
    world.ask(3, Request::Tell(queue, DONE));
    world.leave(3);
    assert_eq!(world.answer(4, queue, GET), item(2, 1));
}

#[test]
fn a_waiter_that_leaves_or_gives_up_takes_nothing() {
    let mut world = World::new();
    let queue = world.make(Spec::Queue { room: None });
    for client in 1..=3 {
        assert_eq!(world.call(client, queue, GET), []);
    }
    world.leave(1);
    let given_up = world.ask(2, Request::Cancel);

    let got = world.call(9, queue, put(7));

    assert_eq!(given_up, [(2, Reply::Refused(Refusal::Empty))]);
    assert_eq!(got, [(9, Reply::Done), (3, item(7, 1))]);
    assert_eq!(
        world.ask(2, Request::Cancel),
        [],
        "nothing is owed any more"
    );
}

#[test]
fn a_closed_queue_is_drained_and_then_closed_to_all() {
    let mut world = World::new();
    let queue = world.make(Spec::Queue { room: Some(1) });
    world.answer(1, queue, put(1));
    assert_eq!(world.call(2, queue, put(2)), []);
    let closed = Reply::Refused(Refusal::Closed);

    let sent = world.call(1, queue, Operation::Queue(QueueOperation::Close));

    assert_eq!(sent, [(1, Reply::Done), (2, closed.clone())]);
    assert_eq!(world.answer(3, queue, put(3)), closed);
    assert_eq!(world.answer(3, queue, GET), item(1, 1));
    assert_eq!(world.call(4, queue, GET), [], "the item may yet come back");
    let arrived = world.ask(3, Request::Tell(queue, DONE));
    assert_eq!(arrived, [(4, closed)]);
}

#[test]
fn a_joinable_queue_is_done_when_every_item_is() {
    let mut world = World::new();
    let queue = world.make(Spec::JoinableQueue { room: None });
    let join = || Operation::Queue(QueueOperation::Join);
    assert_eq!(world.answer(1, queue, join()), YES);
    world.answer(1, queue, put(1));
    world.answer(2, queue, GET);
    assert_eq!(world.call(1, queue, join()), []);

    world.leave(2);
    assert_eq!(world.answer(3, queue, GET), item(1, 2));
    let done = world.call(3, queue, DONE);

    assert_eq!(done, [(3, Reply::Done), (1, YES)]);
}

#[test]
fn an_item_that_was_kept_is_done_once_and_not_twice() {
    let mut world = World::new();
    let queue = world.make(Spec::JoinableQueue { room: None });
    let queue_of = |operation| Operation::Queue(operation);
    world.answer(1, queue, put(1));
    world.answer(1, queue, GET);
    world.answer(1, queue, queue_of(QueueOperation::Keep));
    assert_eq!(world.call(2, queue, queue_of(QueueOperation::Join)), []);

    let done = world.call(1, queue, queue_of(QueueOperation::TaskDone));
    let again = world.answer(1, queue, queue_of(QueueOperation::TaskDone));

    assert_eq!(done, [(1, Reply::Done), (2, YES)]);
    assert_eq!(again, Reply::Refused(Refusal::TooManyDone));
}

/// What a client may do next in the random runs below.
#[derive(Clone, Debug)]
enum Step {
    Put,
    Get,
    Done,
    GiveBack,
    Cancel,
    Leave,
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        3 => Just(Step::Put),
        3 => Just(Step::Get),
        2 => Just(Step::Done),
        1 => Just(Step::GiveBack),
        1 => Just(Step::Cancel),
        1 => Just(Step::Leave),
    ];
    (1..6_u64, step)
}

proptest! {
    #[test]
    fn no_item_is_lost_or_made_whatever_clients_do(
        steps in proptest::collection::vec(step(), 0..200),
        room in proptest::option::of(1..4_u64),
    ) {
        let mut world = World::new();
        let queue = world.make(Spec::JoinableQueue { room });
        let (mut next, mut put_items, mut done_items) = (0, Vec::new(), Vec::new());
        let mut putting = HashMap::new();
        let mut in_hand = HashMap::new();
        for (client, step) in steps {
            let state = world.0.clients.get(&ClientId(client));
            let is_waiting = state.is_some_and(|state| state.waits_for.is_some());
            let sent = match step {
                Step::Put if !is_waiting => {
                    next += 1;
                    putting.insert(client, next);
                    world.call(client, queue, put(next))
                }
                Step::Get if !is_waiting && !in_hand.contains_key(&client) => {
                    world.call(client, queue, GET)
                }
                Step::Done if !is_waiting && in_hand.contains_key(&client) => {
                    done_items.extend(in_hand.remove(&client));
                    world.call(client, queue, DONE)
                }
                Step::GiveBack if !is_waiting && in_hand.remove(&client).is_some() => {
                    world.call(client, queue, Operation::Queue(QueueOperation::GiveBack))
                }
                Step::Cancel => world.ask(client, Request::Cancel),
                Step::Leave => {
                    putting.remove(&client);
                    in_hand.remove(&client);
                    world.leave(client)
                }
                _ => continue,
            };
            for (client, reply) in sent {
                match reply {
                    Reply::Item { item, .. } => {
                        let number: u32 = postcard::from_bytes(item.bytes()).unwrap();
                        prop_assert!(in_hand.insert(client, number).is_none());
                    }
                    Reply::Done => put_items.extend(putting.remove(&client)),
                    _ => drop(putting.remove(&client)),
                }
            }
        }
        for client in 1..6 {
            world.leave(client);
        }
        loop {
            let get = QueueOperation::Get { waits: false };
            match world.answer(9, queue, Operation::Queue(get)) {
                Reply::Item { item, .. } => {
                    done_items.push(postcard::from_bytes(item.bytes()).unwrap());
                    world.answer(9, queue, DONE);
                }
                _ => break,
            }
        }
        done_items.sort_unstable();
        put_items.sort_unstable();
        prop_assert_eq!(done_items, put_items);
    }
}
