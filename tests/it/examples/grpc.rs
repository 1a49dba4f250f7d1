//! The example that speaks gRPC, asked by tonic's own client.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use super::app::{App, process_in};
use super::{example, run};

#[test]
fn grpc_hello_greets_all_names_of_a_client_in_one_worker() {
    let app = App::start("grpc_hello");

    let said = run("grpc_hello", &format!("ask {} Ada Linus", app.address));

    let [ada, linus] = &said[..] else {
        panic!("{said:?}");
    };
    assert!(ada.starts_with("Hello Ada! This is process "), "{ada}");
    assert!(linus.starts_with("Hello Linus! "), "{linus}");
    assert_eq!(process_in(ada), process_in(linus));
    app.end();
}

#[test]
fn grpc_hello_answers_every_call_while_it_reloads() {
    let app = App::start("grpc_hello");
    // More calls than there is time for: it is ended when there were enough reloads.
    let arguments = format!("ask {} {}", app.address, "you ".repeat(20_000));
    let mut client = example("grpc_hello").args(&arguments).start();
    let first = process_in(&client.line());
    let is_over = AtomicBool::new(false);

    let last = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut last = first;
            while !is_over.load(Relaxed) || last == first {
                let answer = client.line();
                assert!(answer.starts_with("Hello you! "), "{answer}");
                last = process_in(&answer);
            }
            last
        });
        for _ in 0..10 {
            app.reload();
        }
        is_over.store(true, Relaxed);
        asking.join().unwrap()
    });

    assert_ne!(last, first);
    drop(client);
    app.end();
}
