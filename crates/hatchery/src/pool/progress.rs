//! Telling of a pool's progress, without keeping it waiting.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::engine::{Engine, own_waker};
use super::stats::PoolStats;

/// The shortest time between two calls.
const PACE: Duration = Duration::from_millis(50);

/// Calls a function whenever tasks have ended, but not too often, until the pool has.
pub(super) fn start(
    engine: Arc<Engine>,
    mut callback: impl FnMut(&PoolStats) + Send + 'static,
) -> io::Result<()> {
    let tell = move || {
        let waker = own_waker();
        loop {
            let (stats, is_over) = engine.turn(|state| (state.stats(), state.is_over()));
            callback(&stats);
            if is_over {
                return;
            }
            thread::park_timeout(PACE);
            let finished = stats.finished();
            while engine.turn(|state| state.await_progress(finished, &waker)) {
                thread::park();
            }
        }
    };
    thread::Builder::new()
        .name("pool-progress".to_owned())
        .spawn(tell)
        .map(drop)
}
