//! The keys, what they have, and when they expire.
//!
//! The clock is the caller's: whoever asks says what time it is.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How much all keys and what they have may come to.
const BYTES_MAX: usize = 256 << 20;

/// What a key or an item costs besides its bytes, about.
const OVERHEAD_BYTES: usize = 64;

/// Why a command was not done. Nothing has changed then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    /// The key has a value of the other type.
    WrongType,
    /// The value is no number that could be added to.
    NoNumber,
    /// All keys together would be too large.
    Full,
}

/// What a key has.
#[derive(Debug)]
enum Value {
    Bytes(Vec<u8>),
    List(VecDeque<Vec<u8>>),
}

#[derive(Debug)]
struct Entry {
    value: Value,
    expires: Option<Instant>,
}

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: HashMap<Vec<u8>, Entry>,
    /// Every key that expires, the next one first.
    deadlines: BTreeSet<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Store {
    /// Forgets every key whose time is over.
    pub(crate) fn forget_expired(&mut self, now: Instant) {
        while let Some((deadline, _)) = self.deadlines.first()
            && *deadline <= now
        {
            let (_, key) = self.deadlines.pop_first().expect("it was there just now");
            self.remove(&key);
        }
    }

    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&[u8]>, Refusal> {
        match self.entries.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Value::List(_)) => Err(Refusal::WrongType),
        }
    }

    /// Gives a key a string in place of whatever it has.
    pub(crate) fn set(
        &mut self,
        key: &[u8],
        bytes: &[u8],
        expires: Option<Instant>,
    ) -> Result<(), Refusal> {
        self.make_sure_of(cost(key) + cost(bytes))?;
        self.remove(key);
        self.bytes += cost(key) + cost(bytes);
        let value = Value::Bytes(bytes.to_vec());
        let entry = Entry { value, expires };
        self.entries.insert(key.to_vec(), entry);
        if let Some(expires) = expires {
            self.deadlines.insert((expires, key.to_vec()));
        }
        Ok(())
    }

    /// Gives each key its string, or none of them.
    pub(crate) fn set_all(&mut self, pairs: &[[&[u8]; 2]]) -> Result<(), Refusal> {
        self.make_sure_of(pairs.as_flattened().iter().map(|bytes| cost(bytes)).sum())?;
        pairs
            .iter()
            .try_for_each(|[key, bytes]| self.set(key, bytes, None))
    }

    /// Removes a key, and tells whether it was there.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else {
            return false;
        };
        self.bytes -= cost(&key);
        self.bytes -= match entry.value {
            Value::Bytes(bytes) => cost(&bytes),
            Value::List(items) => items.iter().map(|item| cost(item)).sum(),
        };
        if let Some(expires) = entry.expires {
            self.deadlines.remove(&(expires, key));
        }
        true
    }

    /// Adds one to the number that a key has, which is 0 if there is no such key.
    pub(crate) fn increment(&mut self, key: &[u8]) -> Result<i64, Refusal> {
        let number = match self.get(key)? {
            None => Some(0),
            Some(bytes) => super::resp::number(bytes),
        };
        let sum = number.and_then(|number| number.checked_add(1));
        let sum = sum.ok_or(Refusal::NoNumber)?;
        let expires = self.entries.get(key).and_then(|entry| entry.expires);
        self.set(key, sum.to_string().as_bytes(), expires)?;
        Ok(sum)
    }

    /// Has a key expire at `deadline`, and tells whether there is such a key.
    pub(crate) fn expire(&mut self, key: &[u8], deadline: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        if let Some(before) = entry.expires.replace(deadline) {
            self.deadlines.remove(&(before, key.to_vec()));
        }
        self.deadlines.insert((deadline, key.to_vec()));
        true
    }

    /// Returns how long a key has still to live, if it is there and is to expire.
    pub(crate) fn time_left(&self, key: &[u8], now: Instant) -> Option<Option<Duration>> {
        let expires = self.entries.get(key)?.expires;
        Some(expires.map(|expires| expires.saturating_duration_since(now)))
    }

    /// Puts items before those of a list, one after the other, and returns its length.
    pub(crate) fn push(&mut self, key: &[u8], items: &[&[u8]]) -> Result<usize, Refusal> {
        if let Some(Value::Bytes(_)) = self.entries.get(key).map(|entry| &entry.value) {
            return Err(Refusal::WrongType);
        }
        let added: usize = items.iter().map(|item| cost(item)).sum();
        self.make_sure_of(cost(key) + added)?;
        self.bytes += added;
        if !self.has(key) {
            self.bytes += cost(key);
            let value = Value::List(VecDeque::new());
            let expires = None;
            self.entries.insert(key.to_vec(), Entry { value, expires });
        }
        let Some(Value::List(list)) = self.entries.get_mut(key).map(|entry| &mut entry.value)
        else {
            unreachable!("a key that has no string has a list by now");
        };
        items.iter().for_each(|item| list.push_front(item.to_vec()));
        Ok(list.len())
    }

    /// Returns the items of a list from `first` to `last`, which count from the end if negative.
    pub(crate) fn range(&self, key: &[u8], first: i64, last: i64) -> Result<Vec<&[u8]>, Refusal> {
        let list = match self.entries.get(key).map(|entry| &entry.value) {
            None => return Ok(Vec::new()),
            Some(Value::Bytes(_)) => return Err(Refusal::WrongType),
            Some(Value::List(list)) => list,
        };
        let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
        let place = |index: i64| {
            if index < 0 {
                length.saturating_add(index)
            } else {
                index
            }
        };
        let first = usize::try_from(place(first)).unwrap_or(0);
        let end = usize::try_from(place(last).saturating_add(1).min(length)).unwrap_or(0);
        let items = list.iter().take(end).skip(first);
        Ok(items.map(Vec::as_slice).collect())
    }

    fn make_sure_of(&self, bytes: usize) -> Result<(), Refusal> {
        if self.bytes + bytes > BYTES_MAX {
            return Err(Refusal::Full);
        }
        Ok(())
    }
}

fn cost(bytes: &[u8]) -> usize {
    bytes.len() + OVERHEAD_BYTES
}
