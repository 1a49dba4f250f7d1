//! What a manager knows after its process has died, and in the next run.

use std::fs;
use std::time::Duration;

use hatchery::{Manager, ManagerError, ManagerShutdownError, ManagerStartError, SnapshotError};

use super::{Main, builder};
use crate::support::{Deadline, Process, eventually};

#[test]
fn a_supervised_manager_that_was_killed_comes_back_with_its_last_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut main = Main::new(path.to_str().unwrap());
    main.start("a");
    main.tell("a", "add 3");
    main.tell("a", "job egg");
    main.tell("a", "lock");
    let manager = main.manager();
    // A change that can only be seen in a file that was written after those before it.
    let len = || fs::metadata(&path).map_or(0, |file| file.len());
    let before = len();
    main.tell("a", &format!("job {}", "x".repeat(500)));
    eventually(Deadline::usual(), "a snapshot", || len() >= before + 500);

    manager.kill();

    let old = manager.pid().to_string();
    let is_back = || main.ask("main", "manager") != old && main.ask("a", "count") == "3";
    eventually(Deadline::usual(), "it is back", is_back);
    assert_eq!(main.ask("a", "score all"), "Some(3)");
    assert_eq!(main.ask("a", "take"), "egg 1");
    main.tell("main", "lock");
    let late = main.ask("a", "unlock");
    assert!(late.starts_with("error: "), "the lock was lost: {late}");
}

#[test]
fn objects_are_found_by_name_in_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let start = || builder().snapshot(&path).start().unwrap();
    let fill = |manager: &Manager| -> Result<(), ManagerError> {
        let named = |name| manager.named(name);
        named("dict").dict::<u8, u8>()?.insert(&1, &2)?;
        named("list").list::<u8>()?.extend(&[1, 2])?;
        named("set").set::<u8>()?.insert(&3)?;
        named("value").value::<u8>(&4)?.add(1)?;
        named("names").namespace()?.set("x", "y")?;
        named("queue").queue::<u8>(2)?.put(6).unwrap();
        named("lock").lock()?;
        Ok(())
    };

    let manager = start();
    fill(&manager).unwrap();
    let held = manager.named("lock").lock().unwrap().lock().unwrap();
    manager.shutdown().unwrap();
    drop(held);
    let manager = start();

    let named = |name| manager.named(name);
    let dict = named("dict").dict::<u8, u8>().unwrap();
    assert_eq!(dict.items().unwrap(), [(1, 2)]);
    assert_eq!(
        named("list").list::<u8>().unwrap().to_vec().unwrap(),
        [1, 2]
    );
    assert_eq!(named("set").set::<u8>().unwrap().to_vec().unwrap(), [3]);
    assert_eq!(named("value").value::<u8>(&9).unwrap().get().unwrap(), 5);
    let names = named("names").namespace().unwrap();
    assert_eq!(names.get::<String>("x").unwrap(), Some("y".to_owned()));
    let queue = named("queue").queue::<u8>(0).unwrap();
    assert_eq!(queue.get().unwrap(), 6);
    assert!(!named("lock").lock().unwrap().is_locked().unwrap());
}

#[test]
fn dropping_a_manager_keeps_what_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut builder = builder();
    // The interval never comes.
    builder
        .snapshot(&path)
        .snapshot_interval(Duration::from_secs(3600))
        .supervised(true);
    let manager = builder.start().unwrap();
    manager.named("n").value(&7_u8).unwrap();

    drop(manager);

    let manager = builder.start().unwrap();
    assert_eq!(manager.named("n").value(&0_u8).unwrap().get().unwrap(), 7);
}

#[test]
fn a_damaged_snapshot_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let start = || builder().snapshot(&path).start();
    let manager = start().unwrap();
    manager.named("n").value(&7_u8).unwrap();
    manager.shutdown().unwrap();
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut other_version = whole.clone();
    other_version[8] = 200;
    let length = SnapshotError::Length {
        found: whole.len() as u64 - 1,
        expected: whole.len() as u64,
    };
    let (found, known) = (200, 1);
    let damaged: [(&[u8], SnapshotError); 4] = [
        (&flipped, SnapshotError::Checksum),
        (&whole[..whole.len() - 1], length),
        (b"something else", SnapshotError::NotSnapshot),
        (&other_version, SnapshotError::Version { found, known }),
    ];
    for (bytes, expected) in damaged {
        fs::write(&path, bytes).unwrap();

        let error = start().unwrap_err();

        let ManagerStartError::Snapshot {
            path: named,
            source,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((named, source), (path.clone(), expected));
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_is_told_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("gone");
    fs::create_dir(&missing).unwrap();
    let manager = builder().snapshot(missing.join("state")).start().unwrap();
    fs::remove_dir(&missing).unwrap();
    manager.value(&7_u8).unwrap();
    let process = Process::find(manager.pid()).unwrap();

    let outcome = manager.shutdown();

    assert!(matches!(
        outcome,
        Err(ManagerShutdownError::Snapshot(SnapshotError::Os(_)))
    ));
    assert!(!process.is_alive());
}
