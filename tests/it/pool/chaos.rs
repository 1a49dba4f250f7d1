//! Whatever happens to a pool, all at once.

use std::env;
use std::time::Duration;

use super::check_for;

/// `HATCHERY_CHAOS_SECONDS` makes it longer or shorter, and `HATCHERY_CHAOS_SEED` does again what failed.
#[test]
fn of_all_that_happens_at_random_every_task_has_one_end_and_nothing_is_left() {
    let seconds = env::var("HATCHERY_CHAOS_SECONDS");
    let seconds = seconds.ok().and_then(|seconds| seconds.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(30));

    check_for(length + Duration::from_secs(60), "fork", "chaos");
}
