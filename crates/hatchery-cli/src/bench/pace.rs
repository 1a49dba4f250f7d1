//! When the next request is due.
//!
//! In a closed loop it is due when the reply to the last one is checked. In an open loop it is due
//! at its time, whether the server keeps up or not; a request that could not be sent in time is
//! still measured from then, so that a slow server cannot hide behind the requests it held up. What
//! could not be sent by the end is given up and counted.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long after its end an open loop still sends what was due before.
const GRACE: Duration = Duration::from_millis(100);
/// How often an open loop looks at the clock at most.
const TICK_MIN: Duration = Duration::from_micros(50);

/// The pace of one client.
#[derive(Debug)]
pub(super) enum Pace {
    /// As fast as the server answers, until then.
    Closed { until: Instant },
    /// As a metronome says.
    Open(Turns),
}

impl Pace {
    /// Waits for the next request to be due, and returns when that was or `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Instant> {
        match self {
            Self::Closed { until } => {
                let now = Instant::now();
                (now < *until).then_some(now)
            }
            Self::Open(turns) => turns.next().await,
        }
    }

    /// Returns how many requests there was no time for.
    pub(super) fn unsent(&self) -> u64 {
        match self {
            Self::Closed { .. } => 0,
            Self::Open(turns) => turns.left(),
        }
    }
}

/// Beats at a constant rate for all clients of an open loop, in turn.
///
/// tokio's timers are a millisecond coarse, which would be most of the latency measured here. The
/// metronome has a timer of its own.
#[derive(Debug)]
pub(super) struct Metronome {
    score: Score,
    /// How many beats are due by now.
    beats: Arc<AtomicU64>,
    /// One for each client.
    wakers: Vec<Arc<Notify>>,
}

impl Metronome {
    /// Returns a metronome for so many clients.
    pub(super) fn new(score: Score, clients: usize) -> Self {
        Self {
            score,
            beats: Arc::new(AtomicU64::new(0)),
            wakers: (0..clients).map(|_| Arc::default()).collect(),
        }
    }

    /// Returns the turns of the client with this index.
    pub(super) fn turns(&self, client: usize) -> Turns {
        Turns {
            score: self.score,
            beats: Arc::clone(&self.beats),
            waker: Arc::clone(&self.wakers[client]),
            beat: client as u64,
            stride: self.wakers.len() as u64,
        }
    }

    /// Beats until the last one.
    ///
    /// # Errors
    ///
    /// Returns the error of a system call on the timer.
    pub(super) async fn beat(self) -> io::Result<()> {
        let timer = timer(self.score.interval().max(TICK_MIN))?;
        let mut done = 0;
        loop {
            let due = self.score.due(Instant::now());
            self.beats.store(due, Ordering::Relaxed);
            for beat in done..due {
                self.wakers[(beat % self.wakers.len() as u64) as usize].notify_one();
            }
            done = due;
            if done == self.score.beats {
                return Ok(());
            }
            timer
                .readable()
                .await?
                .try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?))
                .ok();
        }
    }
}

/// When the beats of an open loop are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    start: Instant,
    rate: f64,
    beats: u64,
}

impl Score {
    /// Returns the score of `rate` beats per second for `duration`.
    pub(super) fn new(start: Instant, rate: f64, duration: Duration) -> Self {
        Self {
            start,
            rate,
            beats: ((duration.as_secs_f64() * rate).ceil() as u64).max(1),
        }
    }

    /// Returns when even what is late is no longer sent.
    fn end(&self) -> Instant {
        self.time_of(self.beats) + GRACE
    }

    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate)
    }

    fn time_of(&self, beat: u64) -> Instant {
        self.start + Duration::from_secs_f64(beat as f64 / self.rate)
    }

    /// Returns how many beats are due at `now`.
    fn due(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start).as_secs_f64();
        ((passed * self.rate) as u64 + 1).min(self.beats)
    }
}

/// Every so many-th beat of a metronome.
#[derive(Debug)]
pub(super) struct Turns {
    score: Score,
    beats: Arc<AtomicU64>,
    waker: Arc<Notify>,
    beat: u64,
    stride: u64,
}

impl Turns {
    async fn next(&mut self) -> Option<Instant> {
        if self.beat >= self.score.beats {
            return None;
        }
        // A wake-up may be left over from a beat that we did not wait for.
        while self.beats.load(Ordering::Relaxed) <= self.beat {
            self.waker.notified().await;
        }
        if Instant::now() > self.score.end() {
            return None;
        }
        let intended = self.score.time_of(self.beat);
        self.beat += self.stride;
        Some(intended)
    }

    /// Returns how many turns are still to come.
    fn left(&self) -> u64 {
        let beats_left = self.score.beats.saturating_sub(self.beat);
        beats_left.div_ceil(self.stride)
    }
}

/// Returns a timer that expires at each `interval`.
#[expect(
    deprecated,
    reason = "the new name is unsafe, for types that may close their descriptor; an OwnedFd does not"
)]
fn timer(interval: Duration) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(
        TimerfdClockId::Monotonic,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let interval = Timespec {
        tv_sec: interval.as_secs() as i64,
        tv_nsec: i64::from(interval.subsec_nanos()),
    };
    let each = Itimerspec {
        it_interval: interval,
        it_value: interval,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &each)?;
    AsyncFd::with_interest(timer, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_due_at_the_times_of_its_beats_and_then_ends() {
        let start = Instant::now();
        let score = Score::new(start, 4.0, Duration::from_secs(2));

        assert_eq!(score.due(start), 1);
        assert_eq!(score.due(start + Duration::from_millis(249)), 1);
        assert_eq!(score.due(start + Duration::from_millis(250)), 2);
        assert_eq!(score.due(start + Duration::from_secs(60)), 8);
        assert_eq!(score.time_of(6), start + Duration::from_millis(1500));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_take_turns_and_none_is_left_out() {
        let score = Score::new(Instant::now(), 1e6, Duration::from_micros(7));
        let metronome = Metronome::new(score, 3);
        let mut turns: Vec<Turns> = (0..3).map(|client| metronome.turns(client)).collect();

        metronome.beats.store(7, Ordering::Relaxed);

        for (client, count) in [(0, 3), (1, 2), (2, 2)] {
            for turn in 0..count {
                let intended = score.time_of(client as u64 + 3 * turn);
                assert_eq!(turns[client].next().await, Some(intended));
            }
            assert_eq!(turns[client].next().await, None);
            assert_eq!(turns[client].left(), 0);
        }
    }

    #[tokio::test]
    async fn turns_that_are_far_too_late_are_given_up() {
        let long_ago = Instant::now() - Duration::from_secs(10);
        let score = Score::new(long_ago, 1e3, Duration::from_millis(7));
        let metronome = Metronome::new(score, 3);
        let mut turns = metronome.turns(0);

        metronome.beat().await.unwrap();

        assert_eq!(turns.next().await, None);
        assert_eq!(turns.left(), 3);
    }
}
