//! Keys and values in the order in which the keys came: dicts, namespaces and sets.

use std::collections::{BTreeMap, HashMap};

use super::cells::Cells;
use crate::manager::protocol::{Blob, MapOperation, Place, Refusal, Reply, SetOperation};

/// A map that keeps the order of insertion, as Python's `dict` does.
#[derive(Debug, Default)]
pub(super) struct Map {
    /// When each key came.
    turns: HashMap<Blob, u64>,
    entries: BTreeMap<u64, (Blob, Blob)>,
    next: u64,
}

impl Map {
    pub(super) fn insert(&mut self, key: Blob, value: Blob) -> Option<Blob> {
        if let Some(turn) = self.turns.get(&key) {
            let (_, held) = self.entries.get_mut(turn).expect("each turn has an entry");
            return Some(std::mem::replace(held, value));
        }
        self.turns.insert(key.clone(), self.next);
        self.entries.insert(self.next, (key, value));
        self.next += 1;
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Blob, Blob)> {
        self.entries.values()
    }

    pub(super) fn operate(&mut self, operation: MapOperation) -> Reply {
        match operation {
            MapOperation::Contains(key) => Reply::Bool(self.turns.contains_key(&key)),
            MapOperation::Len => Reply::Count(self.turns.len() as u64),
            MapOperation::Keys => Reply::Blobs(self.iter().map(|(key, _)| key.clone()).collect()),
            MapOperation::Values => {
                Reply::Blobs(self.iter().map(|(_, value)| value.clone()).collect())
            }
            MapOperation::Items => Reply::Pairs(self.iter().cloned().collect()),
            MapOperation::Update(pairs) => {
                for (key, value) in pairs {
                    self.insert(key, value);
                }
                Reply::Done
            }
            MapOperation::PopItem => Reply::Pair(self.pop()),
            MapOperation::Clear => {
                *self = Self::default();
                Reply::Done
            }
        }
    }

    /// Does what is asked of a set, whose members are keys.
    pub(super) fn operate_as_set(&mut self, operation: SetOperation) -> Reply {
        match operation {
            SetOperation::Insert(member) => Reply::Bool(self.add(member)),
            SetOperation::Extend(members) => {
                let added = members
                    .into_iter()
                    .filter(|member| self.add(member.clone()));
                Reply::Count(added.count() as u64)
            }
            SetOperation::Remove(member) => Reply::Bool(self.remove(&member).is_some()),
            SetOperation::Contains(member) => Reply::Bool(self.turns.contains_key(&member)),
            SetOperation::Pop => Reply::Blob(self.pop().map(|(member, _)| member)),
            SetOperation::Len => Reply::Count(self.turns.len() as u64),
            SetOperation::Items => self.operate(MapOperation::Keys),
            SetOperation::Clear => self.operate(MapOperation::Clear),
        }
    }

    /// Adds a member to a set, and tells whether it is new.
    fn add(&mut self, member: Blob) -> bool {
        let is_new = !self.turns.contains_key(&member);
        if is_new {
            self.insert(member, Vec::new().into());
        }
        is_new
    }

    fn remove(&mut self, key: &Blob) -> Option<Blob> {
        let turn = self.turns.remove(key)?;
        self.entries.remove(&turn).map(|(_, value)| value)
    }

    fn pop(&mut self) -> Option<(Blob, Blob)> {
        let (_, (key, value)) = self.entries.pop_last()?;
        self.turns.remove(&key);
        Some((key, value))
    }
}

impl Cells for Map {
    fn get(&self, place: &Place) -> Result<Option<Blob>, Refusal> {
        let turn = self.turns.get(key(place)?);
        let entry = turn.and_then(|turn| self.entries.get(turn));
        Ok(entry.map(|(_, value)| value.clone()))
    }

    fn set(&mut self, place: &Place, value: Blob) -> Result<Option<Blob>, Refusal> {
        Ok(self.insert(key(place)?.clone(), value))
    }

    fn remove(&mut self, place: &Place) -> Result<Option<Blob>, Refusal> {
        Ok(Self::remove(self, key(place)?))
    }
}

fn key(place: &Place) -> Result<&Blob, Refusal> {
    match place {
        Place::Key(key) => Ok(key),
        Place::Whole | Place::Index(_) => Err(Refusal::WrongKind),
    }
}
