//! The examples of state that processes share, with a lock and without.

use std::collections::BTreeSet;

use super::{lines_of, run};

#[test]
fn manager_dict_list_has_all_five_in_both() {
    let said = run("manager_dict_list", "--fast");
    let lines = lines_of("main", &said);
    let ids = (1..=5).map(|number| {
        let start = format!("writer {number} was process ");
        let mut ids = lines.iter().filter_map(|line| line.strip_prefix(&*start));
        let id = ids.next().and_then(|id| id.parse::<u32>().ok());
        id.unwrap_or_else(|| panic!("writer {number} has no id: {said:?}"))
    });
    let ids: Vec<u32> = ids.collect();

    let [.., list, dict] = lines[..] else {
        panic!("{said:?}");
    };

    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 5, "{ids:?}");
    let list = list.strip_prefix("the list is ").expect("it comes first");
    let mut listed: Vec<u32> = serde_json::from_str(list).unwrap();
    listed.sort_unstable();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    for (number, id) in (1..).zip(ids) {
        let entry = format!("(\"writer {number}\", {id})");
        assert!(dict.contains(&entry), "no {entry} in {dict}");
    }
    assert_eq!(dict.matches('(').count(), 5, "{dict}");
}

#[test]
fn tickets_race_sells_the_one_ticket_more_than_once() {
    let said = run("tickets_race", "--fast");

    assert_eq!(winners(&said).len(), 100);
    let last = "main: there was 1 ticket, and I have sold 100; 0 left";
    assert_eq!(said.last().unwrap(), last);
}

#[test]
fn tickets_lock_sells_the_one_ticket_once() {
    // With the pause, everybody else wants the ticket while it is being paid for.
    for arguments in ["--fast", "", "--seed 7"] {
        let said = run("tickets_lock", arguments);

        assert_eq!(winners(&said).len(), 1, "{said:?}");
        let last = "main: there was 1 ticket, and I have sold 1; 0 left";
        assert_eq!(said.last().unwrap(), last);
        assert_eq!(said.len(), 3, "{said:?}");
    }
}

/// Lists who says that it has the ticket.
fn winners(said: &[String]) -> BTreeSet<&str> {
    let lines = said.iter();
    lines
        .filter_map(|line| line.strip_suffix(": I have it"))
        .collect()
}
