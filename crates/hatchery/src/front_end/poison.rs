//! Which connections workers die of, by what is known of each: who sent it, where, and what first.
//!
//! Plain code: the caller brings the clock and the bytes. A worker that crashes accuses all
//! connections that it had in hand. One whose like ended well is acquitted; one that is accused
//! often enough is refused for a while, with all that are like it.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

/// How many suspects and places are remembered at most; the oldest make room.
const REMEMBERED_MAX: usize = 1024;

/// Where a connection comes from: the peer's address, if it has one, and by which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) peer: Option<IpAddr>,
    pub(crate) listener: u16,
}

/// What is known of a connection: where it comes from, and the hash of its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Evidence {
    pub(crate) place: Place,
    pub(crate) first: u64,
}

/// Who is suspected, and who is refused.
#[derive(Debug)]
pub(crate) struct Poison {
    /// After how many deaths a connection is refused; 0 is never.
    after: u32,
    /// For how long deaths are remembered, and connections refused.
    time: Duration,
    places: HashMap<Place, Duration>,
    suspects: HashMap<Evidence, Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    deaths: u32,
    /// Whose death was the latest: a worker dies once, however many it had that are alike.
    latest: Option<u32>,
    until: Duration,
}

impl Poison {
    pub(crate) fn new(after: u32, time: Duration) -> Self {
        Self {
            after,
            time,
            places: HashMap::new(),
            suspects: HashMap::new(),
        }
    }

    /// Changes after how many deaths connections are refused, and for how long.
    pub(crate) fn change(&mut self, after: u32, time: Duration) {
        (self.after, self.time) = (after, time);
    }

    /// Whether the first bytes of connections from this place are to be looked at.
    pub(crate) fn watches(&self, place: Place, now: Duration) -> bool {
        // Mostly there is none, and nothing is hashed.
        !self.places.is_empty() && self.places.get(&place).is_some_and(|&until| until > now)
    }

    /// Whether connections like this one are refused.
    pub(crate) fn refuses(&self, evidence: Evidence, now: Duration) -> bool {
        let suspect = self.suspects.get(&evidence);
        suspect.is_some_and(|it| self.after > 0 && it.deaths >= self.after && it.until > now)
    }

    /// Has connections from this place looked at, for a worker died with one in hand.
    pub(crate) fn watch(&mut self, place: Place, now: Duration) {
        if self.after > 0 {
            make_room(&mut self.places, now, |&until| until);
            self.places.insert(place, now.saturating_add(self.time));
        }
    }

    /// Accuses a connection of the death of the worker of this generation; says of how many it is
    /// guilty if it is refused from now on.
    pub(crate) fn accuse(
        &mut self,
        evidence: Evidence,
        generation: u32,
        now: Duration,
    ) -> Option<u32> {
        self.watch(evidence.place, now);
        if self.after == 0 {
            return None;
        }
        make_room(&mut self.suspects, now, |suspect| suspect.until);
        let until = now.saturating_add(self.time);
        let fresh = Suspect {
            deaths: 0,
            latest: None,
            until,
        };
        let suspect = self.suspects.entry(evidence).or_insert(fresh);
        if suspect.until <= now {
            *suspect = fresh;
        }
        suspect.until = until;
        if suspect.latest.replace(generation) == Some(generation) {
            return None;
        }
        suspect.deaths += 1;
        (suspect.deaths == self.after).then_some(suspect.deaths)
    }

    /// Acquits a connection that ended while its worker lived on.
    pub(crate) fn acquit(&mut self, evidence: Evidence) {
        self.suspects.remove(&evidence);
    }
}

/// Forgets what is over if the table is full, and then the oldest if it still is.
fn make_room<K: Copy + Eq + Hash, V>(
    table: &mut HashMap<K, V>,
    now: Duration,
    until: impl Fn(&V) -> Duration,
) {
    if table.len() < REMEMBERED_MAX {
        return;
    }
    table.retain(|_, value| until(value) > now);
    if table.len() < REMEMBERED_MAX {
        return;
    }
    let oldest = table.iter().min_by_key(|(_, value)| until(value));
    if let Some(&oldest) = oldest.map(|(key, _)| key) {
        table.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Evidence from a place of this number.
    fn evidence(listener: u16, first: u64) -> Evidence {
        let peer = Some(IpAddr::from([10, 0, 0, 1]));
        let place = Place { peer, listener };
        Evidence { place, first }
    }

    #[test]
    fn what_is_accused_often_enough_is_refused_and_nothing_else() {
        let mut poison = Poison::new(3, at(60));
        let deadly = evidence(0, 7);

        let deaths = [(5, 0), (6, 1), (6, 1), (7, 2), (8, 3)];
        let verdicts =
            deaths.map(|(generation, second)| poison.accuse(deadly, generation, at(second)));

        assert_eq!(verdicts, [None, None, None, Some(3), None]);
        assert!(poison.refuses(deadly, at(4)));
        assert!(!poison.refuses(evidence(0, 8), at(4)));
        assert!(!poison.refuses(evidence(1, 7), at(4)));
        assert!(poison.watches(deadly.place, at(4)));
        assert!(!poison.watches(evidence(1, 7).place, at(4)));
    }

    #[test]
    fn what_ended_well_is_acquitted() {
        let mut poison = Poison::new(2, at(60));
        let common = evidence(0, 7);

        poison.accuse(common, 0, at(0));
        poison.acquit(common);

        assert_eq!(poison.accuse(common, 1, at(1)), None);
        assert_eq!(poison.accuse(common, 2, at(1)), Some(2));
    }

    #[test]
    fn after_a_while_all_is_forgiven() {
        let mut poison = Poison::new(2, at(60));
        let deadly = evidence(0, 7);
        poison.accuse(deadly, 0, at(0));
        poison.accuse(deadly, 1, at(1));

        assert!(poison.refuses(deadly, at(60)));
        assert!(!poison.refuses(deadly, at(61)));
        assert!(!poison.watches(deadly.place, at(61)));
        assert_eq!(poison.accuse(deadly, 2, at(61)), None);
        assert!(!poison.refuses(deadly, at(62)));
    }

    #[test]
    fn only_so_many_are_remembered_and_the_oldest_make_room() {
        let mut poison = Poison::new(1, at(1_000_000));
        for number in 0..5000_u64 {
            let listener = u16::try_from(number).unwrap();
            poison.accuse(evidence(listener, number), 0, at(number));
        }

        assert_eq!(poison.places.len(), REMEMBERED_MAX);
        assert_eq!(poison.suspects.len(), REMEMBERED_MAX);
        assert!(poison.refuses(evidence(4999, 4999), at(5000)));
        assert!(!poison.refuses(evidence(0, 0), at(5000)));
    }

    #[test]
    fn zero_deaths_are_never_enough() {
        let mut poison = Poison::new(0, at(60));

        assert!((0..9).all(|death| poison.accuse(evidence(0, 7), death, at(0)).is_none()));

        assert!(!poison.refuses(evidence(0, 7), at(0)));
        assert!(!poison.watches(evidence(0, 7).place, at(0)));
    }
}
