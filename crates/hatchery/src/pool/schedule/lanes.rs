//! Whose task is next: by priority, then in turn among those who submit.

use std::collections::VecDeque;

use super::slab::{Queue, Slab, TaskId};

/// How many priorities there are.
const PRIORITIES: usize = 3;

/// Of so many tasks one is of a lower priority than need be, so that none waits for ever.
const TURNS: u32 = 16;

/// How urgent a task is.
///
/// Tasks of a higher priority go first; of every sixteen, one of a lower priority goes before them, so
/// that these do not starve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After all others.
    Low,
    /// What a task is unless something else is said.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl Priority {
    fn place(self) -> usize {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

/// Names one who submits tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId(u32);

/// The waiting tasks that any worker may run.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Lane>,
    closed: Vec<u32>,
    levels: [Level; PRIORITIES],
    taken: u32,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: [Queue; PRIORITIES],
    /// Nobody submits through it any more.
    is_closed: bool,
}

/// What waits with one priority.
#[derive(Debug, Default)]
struct Level {
    /// What was sent before and came back; it goes first.
    again: Queue,
    /// The lanes in which something waits, in the order of their turns.
    turns: VecDeque<u32>,
}

impl Level {
    fn is_empty(&self) -> bool {
        self.again.is_empty() && self.turns.is_empty()
    }
}

/// A task as the lanes see it.
pub(crate) trait Queued {
    fn lane(&self) -> LaneId;
    fn priority(&self) -> Priority;
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            lanes: Vec::new(),
            closed: Vec::new(),
            levels: Default::default(),
            taken: 0,
        }
    }

    pub(crate) fn open(&mut self) -> LaneId {
        let index = self.closed.pop().unwrap_or_else(|| {
            self.lanes.push(Lane::default());
            u32::try_from(self.lanes.len() - 1).expect("there are fewer submitters than that")
        });
        self.lanes[index as usize].is_closed = false;
        LaneId(index)
    }

    /// Gives up a lane; what waits in it is not affected.
    pub(crate) fn close(&mut self, lane: LaneId) {
        self.lanes[lane.0 as usize].is_closed = true;
        self.forget_if_over(lane.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.levels.iter().all(Level::is_empty)
    }

    /// Adds a task to its lane.
    pub(crate) fn push<T: Queued>(&mut self, slab: &mut Slab<T>, id: TaskId) {
        let Some((lane, place)) = position(slab, id) else {
            return;
        };
        let queue = &mut self.lanes[lane as usize].waiting[place];
        if queue.is_empty() {
            self.levels[place].turns.push_back(lane);
        }
        slab.push_back(queue, id);
    }

    /// Adds a task that was taken before, in front of all others.
    pub(crate) fn push_again<T: Queued>(&mut self, slab: &mut Slab<T>, id: TaskId) {
        if let Some((_, place)) = position(slab, id) {
            slab.push_front(&mut self.levels[place].again, id);
        }
    }

    /// Takes the next task.
    pub(crate) fn pop<T: Queued>(&mut self, slab: &mut Slab<T>) -> Option<TaskId> {
        let mut filled = (0..PRIORITIES).filter(|&place| !self.levels[place].is_empty());
        let highest = filled.next()?;
        self.taken = self.taken.wrapping_add(1);
        let place = match filled.next_back() {
            // Lower ones take the odd turn, the lowest every other of those.
            Some(lowest) if self.taken.is_multiple_of(2 * TURNS) => lowest,
            Some(lowest) if self.taken.is_multiple_of(TURNS) => {
                let between = (highest + 1..lowest).find(|&place| !self.levels[place].is_empty());
                between.unwrap_or(lowest)
            }
            _ => highest,
        };
        let level = &mut self.levels[place];
        if let Some(id) = slab.pop_front(&mut level.again) {
            return Some(id);
        }
        let lane = level.turns.pop_front()?;
        let queue = &mut self.lanes[lane as usize].waiting[place];
        let id = slab.pop_front(queue);
        if queue.is_empty() {
            self.forget_if_over(lane);
        } else {
            level.turns.push_back(lane);
        }
        id
    }

    /// Takes out a task that waits, from among those that came back if `is_again`.
    pub(crate) fn take_out<T: Queued>(&mut self, slab: &mut Slab<T>, id: TaskId, is_again: bool) {
        let Some((lane, place)) = position(slab, id) else {
            return;
        };
        if is_again {
            slab.take_out(&mut self.levels[place].again, id);
            return;
        }
        let queue = &mut self.lanes[lane as usize].waiting[place];
        slab.take_out(queue, id);
        if queue.is_empty() {
            self.levels[place].turns.retain(|&turn| turn != lane);
            self.forget_if_over(lane);
        }
    }

    /// Makes room for another lane in the place of one that is closed and empty.
    fn forget_if_over(&mut self, index: u32) {
        let lane = &self.lanes[index as usize];
        let is_over = lane.is_closed && lane.waiting.iter().all(Queue::is_empty);
        if is_over && !self.closed.contains(&index) {
            self.closed.push(index);
        }
    }
}

fn position<T: Queued>(slab: &Slab<T>, id: TaskId) -> Option<(u32, usize)> {
    let task = slab.get(id)?;
    Some((task.lane().0, task.priority().place()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Waiting(LaneId, Priority);

    impl Queued for Waiting {
        fn lane(&self) -> LaneId {
            self.0
        }

        fn priority(&self) -> Priority {
            self.1
        }
    }

    fn push(lanes: &mut Lanes, slab: &mut Slab<Waiting>, lane: LaneId, priority: Priority) {
        let id = slab.insert(Waiting(lane, priority));
        lanes.push(slab, id);
    }

    #[test]
    fn submitters_take_turns_however_much_each_has() {
        let (mut lanes, mut slab) = (Lanes::new(), Slab::new());
        let (busy, modest) = (lanes.open(), lanes.open());
        for _ in 0..100 {
            push(&mut lanes, &mut slab, busy, Priority::Normal);
        }
        for _ in 0..3 {
            push(&mut lanes, &mut slab, modest, Priority::Normal);
        }

        let first: Vec<_> = (0..6).filter_map(|_| lanes.pop(&mut slab)).collect();

        let of_modest = first
            .iter()
            .filter(|id| slab.get(**id).is_some_and(|task| task.0 == modest));
        assert_eq!(of_modest.count(), 3);
    }

    #[test]
    fn high_goes_first_and_yet_low_gets_its_turn() {
        let (mut lanes, mut slab) = (Lanes::new(), Slab::new());
        let lane = lanes.open();
        for _ in 0..64 {
            for priority in [Priority::Low, Priority::Normal, Priority::High] {
                push(&mut lanes, &mut slab, lane, priority);
            }
        }

        let first: Vec<_> = (0..64).filter_map(|_| lanes.pop(&mut slab)).collect();

        let count = |priority| {
            let tasks = first.iter().filter_map(|id| slab.get(*id));
            tasks.filter(|task| task.1 == priority).count()
        };
        assert_eq!(count(Priority::High), 60);
        assert_eq!(count(Priority::Normal), 2);
        assert_eq!(count(Priority::Low), 2);
    }

    #[test]
    fn what_came_back_goes_before_the_others_of_its_priority() {
        let (mut lanes, mut slab) = (Lanes::new(), Slab::new());
        let lane = lanes.open();
        push(&mut lanes, &mut slab, lane, Priority::Normal);
        push(&mut lanes, &mut slab, lane, Priority::Normal);
        let first = lanes.pop(&mut slab).unwrap();

        lanes.push_again(&mut slab, first);

        assert_eq!(lanes.pop(&mut slab), Some(first));
        assert!(!lanes.is_empty());
    }

    #[test]
    fn a_lane_that_is_closed_is_emptied_first_and_used_again_then() {
        let (mut lanes, mut slab) = (Lanes::new(), Slab::new());
        let lane = lanes.open();
        push(&mut lanes, &mut slab, lane, Priority::Low);
        lanes.close(lane);
        assert_ne!(lanes.open(), lane);

        assert!(lanes.pop(&mut slab).is_some());

        assert_eq!(lanes.open(), lane);
    }
}
