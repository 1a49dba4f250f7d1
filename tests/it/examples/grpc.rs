//! The example that speaks gRPC, asked by tonic's own client.

use std::thread;

use super::app::{App, process_in};
use super::run;

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
    const CALLS: usize = 1000;
    let app = App::start("grpc_hello");
    let arguments = format!("ask {} {}", app.address, "you ".repeat(CALLS));

    let said = thread::scope(|scope| {
        let asking = scope.spawn(|| run("grpc_hello", &arguments));
        for _ in 0..3 {
            app.reload();
        }
        asking.join().unwrap()
    });

    let is_greeting = |line: &&String| line.starts_with("Hello you! ");
    assert_eq!(said.iter().filter(is_greeting).count(), CALLS);
    app.end();
}
