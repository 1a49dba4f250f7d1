//! What Hatchery promises, proved on running programs and seen from outside.
#![forbid(unsafe_code)]

mod bench;
mod examples;
mod fork_server;
mod holes;
mod manager;
mod pool;
mod processes;
mod queues;
mod server;
mod support;
mod sync;
mod tasks;
mod tidy;
mod tools;
