//! What is true of one worker: what it has, what is on its way, and how much it may have.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::front_end::roster::{Stage, WINDOW};

/// The age at which what a worker was sent and has not taken shows that it is stuck.
const STALLED_AFTER: Duration = Duration::from_millis(20);

/// What a worker does with a connection that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Leased,
    Released,
    Used,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) id: usize,
    pub(super) state: Use,
}

/// What is true of a worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) stage: Stage,
    pub(super) room: u32,
    pub(super) capacity: u32,
    pub(super) held: BTreeMap<u32, Held>,
    pub(super) on_the_way: VecDeque<u32>,
    pub(super) taken: u32,
    pub(super) taken_untold: u32,
    pub(super) served: u32,
    pub(super) progress: Duration,
    pub(super) is_declining: bool,
    /// How many more it gets one by one.
    pub(super) one_by_one: u32,
}

impl Worker {
    pub(super) fn starting(limit: u32) -> Self {
        Self {
            stage: Stage::Starting,
            room: limit,
            capacity: limit,
            held: BTreeMap::new(),
            on_the_way: VecDeque::new(),
            taken: 0,
            taken_untold: 0,
            served: 0,
            progress: Duration::ZERO,
            is_declining: false,
            one_by_one: 0,
        }
    }

    pub(super) fn load(&self) -> u32 {
        u32::try_from(self.held.len()).unwrap()
    }

    /// What the front end believes to be on its way.
    pub(super) fn in_flight(&self) -> u32 {
        u32::try_from(self.on_the_way.len()).unwrap() + self.taken_untold
    }

    pub(super) fn is_free(&self) -> bool {
        self.is_open() && self.in_flight() < self.window()
    }

    /// Whether it may have another connection.
    pub(super) fn is_open(&self) -> bool {
        let has_room = self.load() < self.capacity;
        self.stage == Stage::Ready && has_room && !self.is_declining
    }

    /// How many may be on their way to it.
    pub(super) fn window(&self) -> u32 {
        if self.one_by_one > 0 { 1 } else { WINDOW }
    }

    pub(super) fn is_stalled(&self, now: Duration) -> bool {
        self.in_flight() > 0 && now - self.progress >= STALLED_AFTER
    }

    pub(super) fn slots(&self, is_wanted: impl Fn(u32, Held) -> bool) -> Vec<u32> {
        let held = self.held.iter();
        let held = held.filter(|&(&slot, &held)| is_wanted(slot, held));
        held.map(|(&slot, _)| slot).collect()
    }

    pub(super) fn has_taken(&self, slot: u32) -> bool {
        !self.on_the_way.contains(&slot)
    }

    pub(super) fn unused(&self) -> u32 {
        let leased = |held: &&Held| held.state == Use::Leased;
        u32::try_from(self.held.values().filter(leased).count()).unwrap()
    }
}
