//! Dicts, lists, sets and values, names, and what a snapshot keeps.

use super::*;

#[test]
fn a_number_in_a_dict_is_added_to_in_one_step() {
    let mut world = World::new();
    let dict = world.make(Spec::Dict);
    let add = |more: u8| at("n", CellOperation::Add(NumberKind::U8, blob(&more)));

    assert_eq!(
        world.answer(1, dict, add(200)),
        Reply::Blob(Some(blob(&200_u8)))
    );
    assert_eq!(
        world.answer(2, dict, add(55)),
        Reply::Blob(Some(blob(&255_u8)))
    );
    let over = world.answer(1, dict, add(1));

    assert_eq!(over, Reply::Refused(Refusal::Overflow));
    let held = world.answer(1, dict, at("n", CellOperation::Get));
    assert_eq!(held, Reply::Blob(Some(blob(&255_u8))));
}

#[test]
fn an_item_is_pushed_onto_a_vector_that_is_not_decoded() {
    let mut world = World::new();
    let dict = world.make(Spec::Dict);
    // Past 127 items their number takes two bytes.
    let full: Vec<String> = (0..90).map(|_| String::new()).collect();
    world.answer(1, dict, at("v", CellOperation::Set(blob(&full))));

    let count = world.answer(1, dict, at("v", CellOperation::Push(blob("last"))));

    assert_eq!(count, Reply::Count(91));
    let mut expected = full;
    expected.push("last".to_owned());
    let held = world.answer(1, dict, at("v", CellOperation::Get));
    assert_eq!(held, Reply::Blob(Some(blob(&expected))));
}

#[test]
fn a_vector_grows_to_the_limit_and_no_further() {
    let mut world = World::new();
    let dict = world.make(Spec::Dict);
    let item = "x".repeat(60);
    world.answer(1, dict, at("v", CellOperation::Push(blob(&item))));

    let refused = world.answer(1, dict, at("v", CellOperation::Push(blob(&item))));

    let (bytes, bytes_max) = (123, BYTES_MAX as u64);
    let too_large = Refusal::TooLarge { bytes, bytes_max };
    assert_eq!(refused, Reply::Refused(too_large));
}

#[test]
fn a_swap_happens_only_where_the_value_is_expected() {
    let mut world = World::new();
    let dict = world.make(Spec::Dict);
    let (a, b) = (Some(blob("a")), Some(blob("b")));
    let none: Option<Blob> = None;
    let cases = [
        (&none, &a, YES, &a),
        (&none, &b, NO, &a),
        (&b, &b, NO, &a),
        (&a, &b, YES, &b),
        (&b, &none, YES, &none),
        (&a, &b, NO, &none),
    ];
    for (expected, new, swapped, held) in cases {
        let (expected, new) = (expected.clone(), new.clone());
        let operation = CellOperation::CompareAndSwap { expected, new };

        assert_eq!(world.answer(1, dict, at("k", operation)), swapped);
        let now = world.answer(1, dict, at("k", CellOperation::Get));
        assert_eq!(now, Reply::Blob(held.clone()));
    }
}

#[test]
fn a_dict_keeps_the_order_in_which_keys_came() {
    let mut world = World::new();
    let dict = world.make(Spec::Dict);
    for key in ["c", "a", "b", "a"] {
        world.answer(1, dict, at(key, CellOperation::Set(blob(&1_u8))));
    }
    world.answer(1, dict, at("c", CellOperation::Remove));
    world.answer(1, dict, at("c", CellOperation::GetOrInsert(blob(&2_u8))));

    let keys = world.answer(1, dict, Operation::Map(MapOperation::Keys));
    let last = world.answer(1, dict, Operation::Map(MapOperation::PopItem));

    assert_eq!(keys, Reply::Blobs(vec![blob("a"), blob("b"), blob("c")]));
    assert_eq!(last, Reply::Pair(Some((blob("c"), blob(&2_u8)))));
}

#[test]
fn a_list_refuses_an_index_that_it_does_not_have() {
    let mut world = World::new();
    let list = world.make(Spec::List);
    let list_of = |operation| Operation::List(operation);
    let items = vec![blob(&1_u8), blob(&2_u8)];
    world.answer(1, list, list_of(ListOperation::Extend(items)));
    let index = |index, operation| Operation::Cell(Place::Index(index), operation);
    let out = |index| Reply::Refused(Refusal::IndexOutOfRange { index, len: 2 });

    assert_eq!(
        world.answer(1, list, index(2, CellOperation::Get)),
        Reply::Blob(None)
    );
    let set = CellOperation::Set(blob(&3_u8));
    assert_eq!(world.answer(1, list, index(2, set)), out(2));
    assert_eq!(
        world.answer(1, list, index(u64::MAX, CellOperation::Remove)),
        out(u64::MAX)
    );
    let insert = ListOperation::Insert(3, blob(&3_u8));
    assert_eq!(world.answer(1, list, list_of(insert)), out(3));
    let insert = ListOperation::Insert(2, blob(&3_u8));
    assert_eq!(world.answer(1, list, list_of(insert)), Reply::Done);
}

#[test]
fn a_set_tells_what_is_new() {
    let mut world = World::new();
    let set = world.make(Spec::Set);
    let insert = |member: &str| Operation::Set(SetOperation::Insert(blob(member)));

    assert_eq!(world.answer(1, set, insert("a")), YES);
    assert_eq!(world.answer(1, set, insert("a")), NO);
    let more = SetOperation::Extend(vec![blob("a"), blob("b"), blob("b")]);
    assert_eq!(world.answer(1, set, Operation::Set(more)), Reply::Count(1));
    let items = world.answer(1, set, Operation::Set(SetOperation::Items));
    assert_eq!(items, Reply::Blobs(vec![blob("a"), blob("b")]));
}

#[test]
fn an_operation_of_another_kind_is_refused() {
    let mut world = World::new();
    let list = world.make(Spec::List);
    let missing = ObjectId(99);

    let wrong = world.answer(1, list, Operation::Event(EventOperation::Wait));
    let none = world.answer(1, missing, Operation::Event(EventOperation::Wait));

    assert_eq!(wrong, Reply::Refused(Refusal::WrongKind));
    assert_eq!(none, Reply::Refused(Refusal::NoSuchObject));
}

#[test]
fn a_name_finds_its_object_and_no_other_kind() {
    let mut world = World::new();
    let mut named = |spec| {
        let name = Some("n".to_owned());
        world.ask(1, Request::Create { name, spec }).remove(0).1
    };

    let made = named(Spec::Queue { room: None });
    let found = named(Spec::Queue { room: Some(3) });
    let other = named(Spec::JoinableQueue { room: None });

    assert_eq!(made, found);
    assert_eq!(other, Reply::Refused(Refusal::NameTaken));
}

#[test]
fn a_client_that_asks_while_it_waits_is_not_one_of_ours() {
    let mut world = World::new();
    let queue = world.make(Spec::Queue { room: None });
    assert_eq!(world.call(1, queue, GET), []);

    let outcome = world
        .0
        .handle(ClientId(1), Request::Ping, &mut Outbox::default());

    assert_eq!(outcome, Err(Violation));
}

#[test]
fn an_image_brings_back_contents_and_names_but_no_holders() {
    let mut world = World::new();
    let spec = Spec::JoinableQueue { room: Some(9) };
    let name = Some("jobs".to_owned());
    let Reply::Created(queue) = world.ask(0, Request::Create { name, spec }).remove(0).1 else {
        panic!("not made");
    };
    let (dict, held) = (world.make(Spec::Dict), world.make(Spec::Lock));
    world.answer(1, dict, at("k", CellOperation::Set(blob("v"))));
    world.answer(1, queue, put(1));
    world.answer(1, queue, put(2));
    world.answer(2, queue, GET);
    world.answer(3, held, lock(3, true));

    let mut restored = World(Store::new(1 << 32, BYTES_MAX));
    restored.0.restore(world.0.image());

    assert_eq!(restored.0.image(), world.0.image());
    let value = restored.answer(4, dict, at("k", CellOperation::Get));
    assert_eq!(value, Reply::Blob(Some(blob("v"))));
    assert_eq!(restored.answer(4, queue, GET), item(1, 2));
    assert_eq!(restored.answer(5, held, lock(5, true)), YES);
    assert_eq!(restored.make(Spec::List), ObjectId(1 << 32));
}
