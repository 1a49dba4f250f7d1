//! The board: every page there is, what those that are gone have left, and what has happened.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::history::{History, LoggedEvent};
use super::page::{Counts, PageReader, Tally};
use super::totals::Totals;
use crate::control::{Retirement, ServerEvent};

/// What one server counts, over all its processes.
#[derive(Debug, Default)]
pub(crate) struct Board {
    accepted: AtomicU64,
    handed: AtomicU64,
    declined: AtomicU64,
    rejected: AtomicU64,
    /// Whether workers accept, and the front end sees nothing of it.
    is_direct: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The pages of workers, by generation.
    pages: BTreeMap<u32, Arc<PageReader>>,
    /// The page of this process.
    own: Option<Arc<PageReader>>,
    /// What those have counted that are gone.
    gone: Totals,
    life: Life,
    history: History,
}

/// What has become of workers so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    pub(crate) starts: u64,
    /// Ends that were meant.
    pub(crate) ends: u64,
    pub(crate) deaths: u64,
    /// Starts in place of one that died.
    pub(crate) restarts: u64,
    /// Deaths that nobody has been started for yet.
    vacancies: u64,
    pub(crate) lost: u64,
    pub(crate) passed_on: u64,
    pub(crate) reloads: u64,
    pub(crate) failed_reloads: u64,
    /// How many were started with each number; there are no more numbers than places for workers.
    starts_of: BTreeMap<u32, u64>,
    /// How many were replaced for each reason.
    pub(super) recycled: Vec<(Retirement, u64)>,
}

/// What is on the board at one moment.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) accepted: u64,
    pub(crate) handed: u64,
    pub(crate) declined: u64,
    pub(crate) rejected: u64,
    pub(crate) life: Life,
    pub(crate) totals: Totals,
    /// What each worker that is there has counted, by generation.
    pub(crate) workers: BTreeMap<u32, Counts>,
}

impl Board {
    /// Makes this the board of a server that starts.
    pub(crate) fn open_server(&self, is_direct: bool) {
        self.is_direct.store(is_direct, Relaxed);
        #[cfg(feature = "metrics")]
        {
            self.lock().own = super::recorder::own_page();
        }
    }

    /// Makes the page of a worker that is about to be started.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel.
    pub(crate) fn open(&self, generation: u32) -> io::Result<Arc<PageReader>> {
        let page = Arc::new(PageReader::create()?);
        self.lock().pages.insert(generation, Arc::clone(&page));
        Ok(page)
    }

    /// Takes the page of a worker off the board; what it has counted stays.
    pub(crate) fn close(&self, generation: u32) {
        let mut inner = self.lock();
        if let Some(page) = inner.pages.remove(&generation) {
            inner.gone.absorb(&page);
        }
    }

    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn handed(&self) {
        self.handed.fetch_add(1, Relaxed);
    }

    pub(crate) fn declined(&self) {
        self.declined.fetch_add(1, Relaxed);
    }

    pub(crate) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// Counts and keeps what has happened.
    pub(crate) fn note(&self, event: &ServerEvent) {
        if let ServerEvent::WorkerExited(exit) = event {
            self.close(exit.generation);
        }
        let mut inner = self.lock();
        inner.life.note(event);
        inner.history.keep(event.clone());
    }

    /// The last events, the oldest first.
    pub(crate) fn events(&self) -> Vec<LoggedEvent> {
        self.lock().history.all()
    }

    /// Reads everything.
    pub(crate) fn look(&self) -> Sight {
        let inner = self.lock();
        let (pages, own) = (inner.pages.clone(), inner.own.clone());
        let (mut totals, life) = (inner.gone.clone(), inner.life.clone());
        drop(inner);
        let counts = |(&generation, page): (&u32, &Arc<PageReader>)| (generation, page.counts());
        let workers = pages.iter().map(counts).collect();
        for page in pages.values().chain(&own) {
            totals.add(page);
        }
        let taken = totals.counts.of(Tally::Taken);
        let or_taken = |count: &AtomicU64| match self.is_direct.load(Relaxed) {
            true => taken,
            false => count.load(Relaxed),
        };
        Sight {
            accepted: or_taken(&self.accepted),
            handed: or_taken(&self.handed),
            declined: self.declined.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            life,
            totals,
            workers,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Life {
    fn note(&mut self, event: &ServerEvent) {
        match event {
            ServerEvent::WorkerStarted { worker, .. } => {
                self.starts += 1;
                *self.starts_of.entry(*worker).or_default() += 1;
                let is_restart = self.vacancies > 0;
                self.restarts += u64::from(is_restart);
                self.vacancies -= u64::from(is_restart);
            }
            ServerEvent::WorkerRetiring { why, .. } => self.note_recycling(*why),
            ServerEvent::WorkerExited(exit) => {
                self.ends += u64::from(exit.is_expected);
                self.deaths += u64::from(!exit.is_expected);
                self.vacancies += u64::from(!exit.is_expected);
                self.lost += u64::from(exit.in_hand);
                self.passed_on += exit.passed_on as u64;
            }
            ServerEvent::Reloaded => self.reloads += 1,
            ServerEvent::ReloadFailed { .. } => self.failed_reloads += 1,
            _ => {}
        }
    }

    /// How many workers of this number there were before the one there is.
    pub(crate) fn restarts_of(&self, worker: u32) -> u64 {
        let starts = self.starts_of.get(&worker).copied();
        starts.unwrap_or(0).saturating_sub(1)
    }

    /// How many were replaced, for any reason.
    pub(crate) fn recycles(&self) -> u64 {
        self.recycled.iter().map(|(_, count)| count).sum()
    }

    fn note_recycling(&mut self, why: Retirement) {
        match self.recycled.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, count)) => *count += 1,
            None => self.recycled.push((why, 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::control::WorkerExit;
    use crate::metrics::Page;

    fn open(board: &Board, generation: u32) -> Page {
        let page = board.open(generation).unwrap();
        Page::map(page.as_fd().try_clone_to_owned().unwrap()).unwrap()
    }

    fn exited(generation: u32, is_expected: bool) -> ServerEvent {
        ServerEvent::WorkerExited(WorkerExit {
            worker: 0,
            generation,
            pid: Some(1),
            how: "ended".to_owned(),
            exit_code: Some(0),
            signal: None,
            core_dumped: false,
            oom_killed: false,
            complaint: None,
            is_expected,
            leased: 3,
            in_hand: 2,
            passed_on: 1,
            served: 9,
            age_ms: 1,
            quiet_ms: None,
            cpu_user_ms: None,
            cpu_system_ms: None,
            memory_peak_bytes: None,
        })
    }

    #[test]
    fn what_a_dead_worker_has_counted_stays_in_the_totals() {
        let board = Board::default();
        let (first, second) = (open(&board, 0), open(&board, 1));
        first.count(Tally::Finished, 5);
        second.count(Tally::Finished, 7);

        board.note(&exited(0, false));
        first.count(Tally::Finished, 100);

        let sight = board.look();
        assert_eq!(sight.totals.counts.of(Tally::Finished), 12);
        assert_eq!((sight.life.deaths, sight.life.lost), (1, 2));
    }

    #[test]
    fn a_start_after_a_death_is_a_restart_and_no_other_is() {
        let board = Board::default();
        let started = |generation| ServerEvent::WorkerStarted {
            worker: 0,
            generation,
            pid: 1,
        };

        board.note(&started(0));
        board.note(&exited(0, true));
        board.note(&started(1));
        board.note(&exited(1, false));
        board.note(&started(2));

        let life = board.look().life;
        assert_eq!((life.starts, life.restarts), (3, 1));
    }

    #[test]
    fn where_workers_accept_their_counts_are_those_of_the_server() {
        let board = Board::default();
        board.open_server(true);

        open(&board, 0).count(Tally::Taken, 4);

        assert_eq!(board.look().accepted, 4);
    }
}
