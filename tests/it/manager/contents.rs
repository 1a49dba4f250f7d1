//! Dicts, lists, sets, values and namespaces, as one process sees them.

use std::collections::BTreeMap;

use hatchery::{ManagedDict, ManagerError};

use super::{Main, in_thread, manager};

fn key(name: &str) -> String {
    name.to_owned()
}

#[test]
fn a_dict_does_what_pythons_does() {
    let manager = manager();
    let ages = manager.dict::<String, u32>().unwrap();

    assert_eq!(ages.insert(&key("ann"), &30).unwrap(), None);
    assert_eq!(ages.insert(&key("ann"), &31).unwrap(), Some(30));
    assert_eq!(ages.get_or_insert(&key("bob"), &20).unwrap(), 20);
    assert_eq!(ages.get_or_insert(&key("bob"), &99).unwrap(), 20);
    ages.update(&[(key("cid"), 1), (key("ann"), 32)]).unwrap();

    let items = [(key("ann"), 32), (key("bob"), 20), (key("cid"), 1)];
    assert_eq!(ages.items().unwrap(), items);
    assert_eq!(ages.keys().unwrap(), ["ann", "bob", "cid"]);
    assert_eq!(ages.values().unwrap(), [32, 20, 1]);
    assert_eq!(ages.len().unwrap(), 3);
    assert_eq!(ages.get(&key("ann")).unwrap(), Some(32));
    assert_eq!(ages.get(&key("eve")).unwrap(), None);
    assert!(ages.contains_key(&key("bob")).unwrap());
    assert_eq!(ages.remove(&key("bob")).unwrap(), Some(20));
    assert_eq!(ages.remove(&key("bob")).unwrap(), None);
    assert_eq!(ages.pop_item().unwrap(), Some((key("cid"), 1)));
    ages.clear().unwrap();
    assert!(ages.is_empty().unwrap());
}

#[test]
fn what_is_read_and_written_in_one_step_loses_nothing_between_threads() {
    let manager = manager();
    let counts = manager.dict::<u8, i64>().unwrap();
    let rows = manager.dict::<u8, Vec<u16>>().unwrap();
    let threads: Vec<_> = (0..8_u16)
        .map(|thread| {
            let (counts, rows) = (counts.clone(), rows.clone());
            in_thread(move || {
                for _ in 0..50 {
                    counts.add(&0, -1).unwrap();
                    rows.push(&0, &thread).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        super::finish(thread);
    }

    assert_eq!(counts.get(&0).unwrap(), Some(-400));
    let mut seen = BTreeMap::new();
    for thread in rows.get(&0).unwrap().unwrap() {
        *seen.entry(thread).or_insert(0) += 1;
    }
    assert!(seen.len() == 8 && seen.values().all(|&count| count == 50));
}

#[test]
fn several_processes_that_add_to_one_counter_lose_nothing() {
    let mut main = Main::new("");
    let names: Vec<String> = (0..5).map(|number| format!("c{number}")).collect();
    for name in &names {
        main.start(name);
    }

    for name in &names {
        main.say(&format!("{name} add 200"));
    }
    for name in &names {
        assert_eq!(main.line_of(name), "ok");
    }

    assert_eq!(main.ask("main", "count"), "1000");
    assert_eq!(main.ask("main", "score all"), "Some(1000)");
}

#[test]
fn a_swap_wants_the_expected_value() {
    let manager = manager();
    let states = manager.dict::<u8, String>().unwrap();
    let (old, new) = (key("old"), key("new"));

    assert!(states.compare_and_swap(&1, None, Some(&old)).unwrap());
    assert!(!states.compare_and_swap(&1, None, Some(&new)).unwrap());
    assert!(!states.compare_and_swap(&1, Some(&new), None).unwrap());
    assert!(states.compare_and_swap(&1, Some(&old), None).unwrap());

    assert!(states.is_empty().unwrap());
}

#[test]
fn a_list_does_what_pythons_does() {
    let manager = manager();
    let list = manager.list::<i32>().unwrap();

    assert_eq!(list.push(&1).unwrap(), 1);
    assert_eq!(list.extend(&[2, 3, 2]).unwrap(), 4);
    list.insert(0, &0).unwrap();
    assert_eq!(list.to_vec().unwrap(), [0, 1, 2, 3, 2]);
    assert_eq!(list.index_of(&2).unwrap(), Some(2));
    assert_eq!(list.index_of(&9).unwrap(), None);
    assert!(list.contains(&3).unwrap() && !list.contains(&9).unwrap());
    assert!(list.remove_item(&2).unwrap() && !list.remove_item(&9).unwrap());
    list.set(0, &10).unwrap();
    assert_eq!(list.swap(1, &11).unwrap(), 1);
    assert_eq!(list.add(1, 5).unwrap(), 16);
    assert!(list.compare_and_swap(1, &16, &17).unwrap());
    assert_eq!(list.get(1).unwrap(), Some(17));
    list.reverse().unwrap();
    assert_eq!(list.to_vec().unwrap(), [2, 3, 17, 10]);
    assert_eq!(list.remove(2).unwrap(), 17);
    assert_eq!(list.pop().unwrap(), Some(10));
    assert_eq!(list.len().unwrap(), 2);
    let error = list.set(2, &1).unwrap_err();
    let (index, len) = (2, 2);
    assert!(
        matches!(error, ManagerError::IndexOutOfRange { index: i, len: l } if (i, l) == (index, len))
    );
    list.clear().unwrap();
    assert!(list.is_empty().unwrap());
    assert_eq!(list.pop().unwrap(), None);
}

#[test]
fn a_set_does_what_pythons_does() {
    let manager = manager();
    let set = manager.set::<(u8, String)>().unwrap();
    let (a, b) = ((1, key("a")), (2, key("b")));

    assert!(set.insert(&a).unwrap());
    assert!(!set.insert(&a).unwrap());
    assert_eq!(set.extend(&[a.clone(), b.clone()]).unwrap(), 1);
    assert!(set.contains(&b).unwrap());
    assert_eq!(set.to_vec().unwrap(), [a.clone(), b.clone()]);
    assert!(set.remove(&a).unwrap());
    assert_eq!(set.len().unwrap(), 1);
    assert_eq!(set.pop().unwrap(), Some(b));
    assert!(set.is_empty().unwrap());
}

#[test]
fn values_and_namespaces_hold_what_was_set() {
    let manager = manager();
    let value = manager.value(&vec![1_u64]).unwrap();
    let names = manager.namespace().unwrap();

    assert_eq!(value.push(&(1 << 40)).unwrap(), 2);
    assert_eq!(value.swap(&vec![7]).unwrap(), [1, 1 << 40]);
    assert!(value.compare_and_swap(&vec![7], &vec![]).unwrap());
    assert_eq!(value.get().unwrap(), [0; 0]);
    names.set("ratio", &0.5).unwrap();
    names.set("word", "egg").unwrap();
    assert_eq!(names.add("ratio", 0.25).unwrap(), 0.75);
    assert_eq!(names.get::<String>("word").unwrap(), Some(key("egg")));
    assert_eq!(names.get::<u8>("none").unwrap(), None);
    assert_eq!(names.names().unwrap(), ["ratio", "word"]);
    assert!(names.remove("word").unwrap() && !names.contains("word").unwrap());
}

#[test]
fn a_sum_without_room_and_a_value_of_another_type_are_named() {
    let manager = manager();
    let bytes = manager.dict::<u8, u8>().unwrap();
    bytes.insert(&0, &255).unwrap();
    let names = manager.namespace().unwrap();
    names.set("word", "egg").unwrap();

    assert!(matches!(bytes.add(&0, 1), Err(ManagerError::Overflow)));
    assert_eq!(bytes.get(&0).unwrap(), Some(255));
    let error = names.get::<u64>("word").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value cannot be read as u64: 3 bytes are left over"
    );
}

#[test]
fn an_object_is_found_by_its_name_by_whoever_knows_the_manager() {
    let manager = manager();
    let scores = manager.named("scores").dict::<u8, u8>().unwrap();
    scores.insert(&1, &2).unwrap();

    let sent = postcard::to_stdvec(manager.client()).unwrap();
    let client: hatchery::ManagerClient = postcard::from_bytes(&sent).unwrap();
    let found: ManagedDict<u8, u8> = client.named("scores").dict().unwrap();

    assert_eq!(found.get(&1).unwrap(), Some(2));
    let other = client.named("scores").list::<u8>();
    assert!(matches!(other, Err(ManagerError::NameTaken)));
}

#[test]
fn a_value_that_is_too_large_is_refused_and_hurts_nobody() {
    let manager = super::builder().frame_bytes_max(4096).start().unwrap();
    let list = manager.list::<Vec<u8>>().unwrap();

    let large = list.push(&vec![0; 5000]).unwrap_err();
    for _ in 0..3 {
        list.push(&vec![0; 2000]).unwrap();
    }
    let all = list.to_vec().unwrap_err();

    assert!(matches!(
        large,
        ManagerError::TooLarge {
            bytes_max: 4096,
            ..
        }
    ));
    assert!(matches!(
        all,
        ManagerError::TooLarge {
            bytes_max: 4096,
            ..
        }
    ));
    assert_eq!(list.get(2).unwrap().map(|item| item.len()), Some(2000));
}
