//! The manager itself is killed: everybody learns of it at once.

use std::time::{Duration, Instant};

use hatchery::{ManagedGetError, ManagerError, ManagerShutdownError};

use super::{LOST, Main, builder, finish, in_thread, manager};
use crate::support::{Deadline, Process, eventually};

#[test]
fn every_process_learns_at_once_that_the_manager_was_killed_waiting_or_not() {
    let mut main = Main::new("");
    main.tell("main", "lock");
    main.tell("main", "acquire");
    main.tell("main", "enter");
    let waits = [
        "get", "lock", "rlock", "acquire", "take", "wait", "enter", "barrier",
    ];
    for (number, command) in waits.iter().enumerate() {
        let name = format!("c{number}");
        main.start(&name);
        if *command == "rlock" {
            main.tell("main", "rlock");
        }
        main.begin(&name, command);
    }
    main.start("idle");
    assert_eq!(main.ask("idle", "count"), "0");
    let manager = main.manager();

    manager.kill();

    for (number, command) in waits.iter().enumerate() {
        let mut answer = main.line_of(&format!("c{number}"));
        // The queues' errors have it as their cause.
        answer = answer.replace("no item was got: ", "");
        assert_eq!(answer, LOST, "{command}");
    }
    for command in ["count", "lock", "set", "score x", "join", "barrier"] {
        assert_eq!(main.ask("idle", command), LOST, "{command}");
    }
    assert_eq!(main.ask("main", "unlock"), LOST, "what is held is lost too");
}

#[test]
fn a_manager_that_was_killed_is_lost_in_no_time() {
    let manager = manager();
    let queue = manager.queue::<u8>(0).unwrap();
    let lock = manager.lock().unwrap();
    let held = lock.lock().unwrap();
    let (getter, locker) = (queue.clone(), lock);
    let getter = in_thread(move || getter.get());
    let locker = in_thread(move || locker.lock().map(drop));
    let process = Process::find(manager.pid()).unwrap();

    process.kill();
    let begun = Instant::now();

    let got = finish(getter);
    assert!(matches!(
        got,
        Err(ManagedGetError::Failed(ManagerError::ManagerLost))
    ));
    assert!(finish(locker).unwrap_err().is_lost());
    assert!(queue.len().unwrap_err().is_lost());
    assert!(manager.ping().unwrap_err().is_lost());
    let put = queue.put(5).unwrap_err();
    assert_eq!(put.into_inner(), 5);
    drop(held);
    assert!(begun.elapsed() < Duration::from_secs(1));
    let ended = manager.shutdown();
    assert!(matches!(ended, Err(ManagerShutdownError::ManagerLost)));
}

#[test]
fn a_supervised_manager_comes_back_at_its_address_without_what_it_held() {
    for tcp in [false, true] {
        let mut builder = builder();
        builder.supervised(true);
        if tcp {
            builder.tcp("127.0.0.1:0").authkey(b"key of this test");
        }
        let manager = builder.start().unwrap();
        let value = manager.value(&1_u8).unwrap();
        let address = manager.tcp_address();
        for _ in 0..3 {
            let process = Process::find(manager.pid()).unwrap();

            process.kill();

            let is_back = || manager.ping().is_ok() && manager.pid() != process.pid();
            eventually(Deadline::usual(), "it is back", is_back);
        }
        assert_eq!(manager.tcp_address(), address);
        assert!(matches!(value.get(), Err(ManagerError::NoSuchObject)));
        assert_eq!(manager.value(&2_u8).unwrap().get().unwrap(), 2);
        manager.shutdown().unwrap();
    }
}

#[test]
fn a_manager_that_is_stopped_does_not_keep_a_call_beyond_its_time() {
    let manager = manager();
    let event = manager.event().unwrap();
    let process = Process::find(manager.pid()).unwrap();
    process.signal(rustix::process::Signal::STOP);
    let begun = Instant::now();

    let is_set = event.wait_timeout(Duration::from_millis(30)).unwrap();

    assert!(!is_set && begun.elapsed() < Duration::from_secs(1));
    process.signal(rustix::process::Signal::CONT);
    event.set().unwrap();
    assert!(event.is_set().unwrap());
}

#[test]
fn a_manager_that_was_shut_down_is_lost_and_leaves_no_process() {
    let manager = manager();
    let list = manager.list::<u8>().unwrap();
    let process = Process::find(manager.pid()).unwrap();

    manager.shutdown().unwrap();

    assert!(!process.is_alive());
    assert!(list.len().unwrap_err().is_lost());
}
