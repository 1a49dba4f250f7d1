//! Connections that wait for their clients, since when, and which have waited too long.
//!
//! Plain code: the caller brings the clock, and knows by its own means who has stopped waiting.

use std::collections::VecDeque;
use std::time::Duration;

/// How many entries of connections that are gone the order may hold beside those that wait.
const STALE_MAX: usize = 64;

/// Which connection: its place, and how many had that place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdleKey {
    place: u32,
    generation: u32,
}

impl IdleKey {
    /// The key as one number, for whoever can keep no more.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }

    /// The key of which [`to_bits`](Self::to_bits) made this number.
    pub(crate) fn from_bits(bits: u64) -> Self {
        let [low, high] = [bits & u64::from(u32::MAX), bits >> 32];
        let half = |bits| u32::try_from(bits).expect("it is one half of the number");
        Self {
            place: half(low),
            generation: half(high),
        }
    }
}

/// Connections that wait, each known by a key of its own.
#[derive(Debug)]
pub(crate) struct Idle<C> {
    places: Vec<Place<C>>,
    free: Vec<u32>,
    /// Since when each has waited, the longest first; entries of those that are gone are passed over.
    order: VecDeque<(Duration, IdleKey)>,
    len: usize,
}

#[derive(Debug)]
struct Place<C> {
    generation: u32,
    /// The connection, and since when it waits.
    held: Option<(C, Duration)>,
}

impl<C> Idle<C> {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            len: 0,
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Lets a connection wait from `now` on; time does not go backwards between two calls.
    pub(crate) fn put(&mut self, connection: C, now: Duration) -> IdleKey {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place {
                generation: 0,
                held: None,
            });
            u32::try_from(self.places.len() - 1).expect("there are fewer than 2³² connections")
        });
        let held = &mut self.places[place as usize];
        held.held = Some((connection, now));
        let key = IdleKey {
            place,
            generation: held.generation,
        };
        self.len += 1;
        self.order.push_back((now, key));
        self.forget_the_gone();
        key
    }

    /// Lends a connection that waits.
    pub(crate) fn get(&self, key: IdleKey) -> Option<&C> {
        let place = self.places.get(key.place as usize)?;
        let held = place.held.as_ref()?;
        (place.generation == key.generation).then_some(&held.0)
    }

    /// Takes a connection that waits no more.
    pub(crate) fn take(&mut self, key: IdleKey) -> Option<C> {
        let place = self.places.get_mut(key.place as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let (connection, _) = place.held.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.place);
        self.len -= 1;
        Some(connection)
    }

    /// Names the connection that has waited longest, if it has waited for `timeout` at `now`.
    pub(crate) fn expired(&mut self, now: Duration, timeout: Duration) -> Option<IdleKey> {
        let (since, key) = self.oldest()?;
        (now.saturating_sub(since) >= timeout).then_some(key)
    }

    /// Lets a connection wait anew, from `now` on.
    pub(crate) fn renew(&mut self, key: IdleKey, now: Duration) {
        let place = self.places.get_mut(key.place as usize);
        let place = place.filter(|place| place.generation == key.generation);
        if let Some((_, since)) = place.and_then(|place| place.held.as_mut()) {
            *since = now;
            self.order.push_back((now, key));
            self.forget_the_gone();
        }
    }

    /// When the connection that has waited longest will have waited for `timeout`.
    ///
    /// It may be too early, if that one is gone.
    pub(crate) fn next_expiry(&self, timeout: Duration) -> Option<Duration> {
        let (since, _) = self.order.front()?;
        Some(since.saturating_add(timeout))
    }

    /// Takes all connections.
    pub(crate) fn take_all(&mut self) -> Vec<C> {
        let keys: Vec<IdleKey> = self.order.drain(..).map(|(_, key)| key).collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }

    /// The entry of the connection that has waited longest.
    fn oldest(&mut self) -> Option<(Duration, IdleKey)> {
        while let Some(&entry) = self.order.front() {
            if is_current(&self.places, entry) {
                return Some(entry);
            }
            self.order.pop_front();
        }
        None
    }

    /// Drops entries of those that are gone before they are more than those that wait.
    fn forget_the_gone(&mut self) {
        if self.order.len() > 2 * self.len + STALE_MAX {
            let places = &self.places;
            self.order.retain(|&entry| is_current(places, entry));
        }
    }
}

/// Whether an entry of the order is the newest of a connection that waits.
fn is_current<C>(places: &[Place<C>], (since, key): (Duration, IdleKey)) -> bool {
    let place = &places[key.place as usize];
    let held = place.held.as_ref();
    place.generation == key.generation && held.is_some_and(|&(_, newest)| newest == since)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// One event; what it names is counted modulo what there ever was.
    #[derive(Clone, Debug)]
    enum Op {
        Put,
        Take(usize),
        Renew(usize),
        Expire(u64),
        TakeAll,
        Wait(u64),
    }

    fn any_op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => Just(Op::Put),
            6 => any::<usize>().prop_map(Op::Take),
            2 => any::<usize>().prop_map(Op::Renew),
            3 => (0..20_u64).prop_map(Op::Expire),
            1 => Just(Op::TakeAll),
            4 => (0..5_u64).prop_map(Op::Wait),
        ]
    }

    /// What is true: who waits, since when, by which key; and every key there ever was.
    #[derive(Default)]
    struct World {
        now: u64,
        born: usize,
        waiting: Vec<(usize, u64, IdleKey)>,
        keys: Vec<IdleKey>,
    }

    impl World {
        fn apply(&mut self, idle: &mut Idle<usize>, op: &Op) {
            match *op {
                Op::Wait(seconds) => self.now += seconds,
                Op::Put => {
                    let key = idle.put(self.born, at(self.now));
                    assert!(!self.keys.contains(&key), "a key is given once");
                    assert_eq!(IdleKey::from_bits(key.to_bits()), key);
                    self.waiting.push((self.born, self.now, key));
                    self.keys.push(key);
                    self.born += 1;
                }
                Op::Take(which) => {
                    let Some(key) = pick(&self.keys, which) else {
                        return;
                    };
                    let expected = self.remove(key);
                    assert_eq!(idle.take(key), expected);
                }
                Op::Renew(which) => {
                    let Some(key) = pick(&self.keys, which) else {
                        return;
                    };
                    idle.renew(key, at(self.now));
                    for (_, since, _) in self.waiting.iter_mut().filter(|it| it.2 == key) {
                        *since = self.now;
                    }
                }
                Op::Expire(timeout) => self.expire(idle, timeout),
                Op::TakeAll => {
                    let mut taken = idle.take_all();
                    taken.sort_unstable();
                    let all: Vec<usize> = self.waiting.drain(..).map(|it| it.0).collect();
                    assert_eq!(taken, all);
                }
            }
        }

        fn expire(&mut self, idle: &mut Idle<usize>, timeout: u64) {
            let first = self.waiting.iter().map(|it| it.1).min();
            let is_due = first.is_some_and(|since| self.now - since >= timeout);
            if is_due {
                let next = idle.next_expiry(at(timeout)).unwrap();
                assert!(next <= at(self.now), "nobody would wake for it");
            }
            let expired = idle.expired(at(self.now), at(timeout));
            assert_eq!(expired.is_some(), is_due);
            if let Some(key) = expired {
                let since = self.waiting.iter().find(|it| it.2 == key).map(|it| it.1);
                assert_eq!(since, first);
                assert_eq!(idle.take(key), self.remove(key));
            }
        }

        fn remove(&mut self, key: IdleKey) -> Option<usize> {
            let place = self.waiting.iter().position(|it| it.2 == key)?;
            Some(self.waiting.remove(place).0)
        }

        fn check(&self, idle: &Idle<usize>) {
            assert_eq!(idle.len(), self.waiting.len());
            assert!(
                idle.order.len() <= 2 * idle.len() + STALE_MAX + 1 || idle.order.len() <= self.born
            );
            for (connection, _, key) in &self.waiting {
                assert_eq!(idle.get(*key), Some(connection));
            }
        }
    }

    fn pick(keys: &[IdleKey], which: usize) -> Option<IdleKey> {
        Some(keys[which.checked_rem(keys.len())?])
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    proptest! {
        #[test]
        fn who_waits_and_since_when_is_always_known(ops in vec(any_op(), 1..200)) {
            let mut idle = Idle::new();
            let mut world = World::default();

            for op in &ops {
                world.apply(&mut idle, op);
                world.check(&idle);
            }
        }
    }

    #[test]
    fn those_that_are_gone_leave_little_behind() {
        let mut idle = Idle::new();
        idle.put('a', at(0));

        for _ in 0..10_000 {
            let key = idle.put('b', at(1));
            assert_eq!(idle.take(key), Some('b'));
        }

        assert!(idle.order.len() <= STALE_MAX + 4, "{}", idle.order.len());
        assert_eq!(idle.places.len(), 2);
    }
}
