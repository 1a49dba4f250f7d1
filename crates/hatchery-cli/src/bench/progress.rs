//! A bar for those who wait, on a terminal only.

use std::future::Future;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::tally::SharedTally;

/// How often the bar moves: seldom, for it takes time from the load.
const REDRAW_INTERVAL: Duration = Duration::from_millis(250);
const STYLE: &str = "{bar:40} {elapsed_precise} {msg}";

/// How far the measuring has come.
///
/// Clones move the same bar.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Returns a bar that is full after `total` of measuring.
    pub(super) fn new(total: Duration) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(millis(total)), target);
        bar.set_style(ProgressStyle::with_template(STYLE).expect("the template is well-formed"));
        Self { bar }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Moves the bar until `measuring`, which is to take `duration`, is done.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as `measuring`, which is dropped.
    pub(super) async fn during<F: Future>(
        &self,
        title: String,
        duration: Duration,
        tally: &SharedTally,
        measuring: F,
    ) -> F::Output {
        let start = Instant::now();
        let before = self.bar.position();
        let moving = async {
            if self.bar.is_hidden() {
                return std::future::pending::<()>().await;
            }
            loop {
                let operations = tally.lock().operations();
                self.bar.set_message(format!("{title}{operations} done"));
                let passed = start.elapsed().min(duration);
                self.bar.set_position(before + millis(passed));
                tokio::time::sleep(REDRAW_INTERVAL).await;
            }
        };
        let output = tokio::select! {
            output = measuring => output,
            () = moving => unreachable!("the bar moves until the measuring is done"),
        };
        self.bar.set_position(before + millis(duration));
        output
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
