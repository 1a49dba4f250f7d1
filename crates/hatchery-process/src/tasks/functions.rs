//! The functions that the tasks of a pool run, by their numbers.

use std::collections::HashMap;

use hatchery_os::Entry;

/// A function that tasks run, and its number in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskFunction {
    pub(super) index: u32,
    pub(super) entry: Entry,
}

impl TaskFunction {
    /// Its number: how many functions the pool had before.
    #[must_use]
    pub fn index(self) -> u32 {
        self.index
    }
}

/// The functions of a pool, each of which has one number for all workers.
#[derive(Debug, Default)]
pub struct TaskFunctions {
    entries: Vec<Entry>,
    indices: HashMap<Entry, u32>,
    /// The one that was asked for last, which mostly is the next, too.
    last: Option<TaskFunction>,
}

impl TaskFunctions {
    /// Finds a function, or adds it.
    ///
    /// The entry is run in a worker before the first task of this function, with nothing, and is to
    /// make the function known there.
    pub fn add(&mut self, entry: Entry) -> TaskFunction {
        if let Some(last) = self.last.filter(|last| last.entry == entry) {
            return last;
        }
        let next = u32::try_from(self.entries.len()).expect("a program has fewer functions");
        let index = *self.indices.entry(entry).or_insert(next);
        if index == next {
            self.entries.push(entry);
        }
        let function = TaskFunction { index, entry };
        self.last = Some(function);
        function
    }

    /// Returns the function of this number.
    #[must_use]
    pub fn get(&self, index: u32) -> Option<TaskFunction> {
        let entry = *self.entries.get(index as usize)?;
        Some(TaskFunction { index, entry })
    }
}
