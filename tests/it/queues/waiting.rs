//! Waiting for queues together with processes and pipes.

use super::{METHODS, TRANSPORTS, check};

#[test]
fn waiting_is_for_queues_beside_processes_and_pipes() {
    for method in METHODS {
        for transport in TRANSPORTS {
            check(&format!("{method} wait {transport}"));
        }
    }
}

#[test]
fn waiting_is_for_joinable_queues_whose_items_come_back() {
    for method in METHODS {
        check(&format!("{method} wait-joinable"));
    }
}
