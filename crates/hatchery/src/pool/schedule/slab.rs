//! Where tasks are kept, and the queues that go through them.
//!
//! A queue is a chain of places in the slab, so a million waiting tasks cost no memory beside their
//! own, and one in the middle is taken out as cheaply as the first.

/// The place of nothing.
const NONE: u32 = u32::MAX;

/// Names a task for as long as anybody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId {
    index: u32,
    /// How many had this place before.
    generation: u32,
}

impl TaskId {
    /// The two numbers as one, by which people know the task.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

/// Values with stable names.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Queue,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    before: u32,
    after: u32,
    value: Option<T>,
}

/// A chain of entries of a slab, first in, first out.
#[derive(Debug)]
pub(crate) struct Queue {
    first: u32,
    last: u32,
    len: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            first: NONE,
            last: NONE,
            len: 0,
        }
    }
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: Queue::default(),
        }
    }

    #[cfg(test)]
    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len as usize
    }

    pub(crate) fn insert(&mut self, value: T) -> TaskId {
        // The place that became free last is still in the cache.
        let free = self.free.last;
        if free != NONE {
            self.unchain(free, |slab| &mut slab.free);
            let entry = &mut self.entries[free as usize];
            entry.value = Some(value);
            return TaskId {
                index: free,
                generation: entry.generation,
            };
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
        assert!(index < NONE, "memory ends before the numbers do");
        self.entries.push(Entry {
            generation: 0,
            before: NONE,
            after: NONE,
            value: Some(value),
        });
        TaskId {
            index,
            generation: 0,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskId, &T)> {
        let entries = (0..).zip(&self.entries);
        entries.filter_map(|(index, entry)| {
            let generation = entry.generation;
            Some((TaskId { index, generation }, entry.value.as_ref()?))
        })
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<&T> {
        let entry = self.entries.get(id.index as usize)?;
        let is_current = entry.generation == id.generation;
        entry.value.as_ref().filter(|_| is_current)
    }

    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.index as usize)?;
        let is_current = entry.generation == id.generation;
        entry.value.as_mut().filter(|_| is_current)
    }

    /// Takes out a value that is in no queue.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<T> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.chain_last(id.index, |slab| &mut slab.free);
        Some(value)
    }

    /// Puts a task that is in no queue at the end of one.
    pub(crate) fn push_back(&mut self, queue: &mut Queue, id: TaskId) {
        let former = queue.last;
        let entry = &mut self.entries[id.index as usize];
        (entry.before, entry.after) = (former, NONE);
        match former {
            NONE => queue.first = id.index,
            former => self.entries[former as usize].after = id.index,
        }
        queue.last = id.index;
        queue.len += 1;
    }

    /// Puts a task that is in no queue at the front of one.
    pub(crate) fn push_front(&mut self, queue: &mut Queue, id: TaskId) {
        let former = queue.first;
        let entry = &mut self.entries[id.index as usize];
        (entry.before, entry.after) = (NONE, former);
        match former {
            NONE => queue.last = id.index,
            former => self.entries[former as usize].before = id.index,
        }
        queue.first = id.index;
        queue.len += 1;
    }

    pub(crate) fn pop_front(&mut self, queue: &mut Queue) -> Option<TaskId> {
        let index = queue.first;
        if index == NONE {
            return None;
        }
        let id = TaskId {
            index,
            generation: self.entries[index as usize].generation,
        };
        self.take_out(queue, id);
        Some(id)
    }

    /// Takes a task out of the queue that it is in.
    pub(crate) fn take_out(&mut self, queue: &mut Queue, id: TaskId) {
        let Entry { before, after, .. } = self.entries[id.index as usize];
        match before {
            NONE => queue.first = after,
            before => self.entries[before as usize].after = after,
        }
        match after {
            NONE => queue.last = before,
            after => self.entries[after as usize].before = before,
        }
        queue.len -= 1;
    }

    fn unchain(&mut self, index: u32, queue: impl Fn(&mut Self) -> &mut Queue) {
        let mut taken = std::mem::take(queue(self));
        let generation = self.entries[index as usize].generation;
        self.take_out(&mut taken, TaskId { index, generation });
        *queue(self) = taken;
    }

    fn chain_last(&mut self, index: u32, queue: impl Fn(&mut Self) -> &mut Queue) {
        let mut taken = std::mem::take(queue(self));
        let generation = self.entries[index as usize].generation;
        self.push_back(&mut taken, TaskId { index, generation });
        *queue(self) = taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_value_that_was_taken_out_names_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        slab.remove(first);

        let second = slab.insert("second");

        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_queue_keeps_its_order_when_one_in_the_middle_is_taken_out() {
        let mut slab = Slab::new();
        let mut queue = Queue::default();
        let ids = [1, 2, 3, 4].map(|value| slab.insert(value));
        for id in &ids[1..] {
            slab.push_back(&mut queue, *id);
        }
        slab.push_front(&mut queue, ids[0]);

        slab.take_out(&mut queue, ids[2]);

        let order: Vec<_> = std::iter::from_fn(|| slab.pop_front(&mut queue)).collect();
        assert_eq!(order, [ids[0], ids[1], ids[3]]);
        assert!(queue.is_empty());
    }
}
