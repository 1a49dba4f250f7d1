//! The connections of one worker, each in a slot, held until the worker has used it.

/// What a worker reported that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LeaseError {
    /// It says it has done something with a connection that it does not have.
    #[error("it reported on connection slot {0}, which it does not have")]
    NotHeld(u32),
    /// It says twice that it began to use a connection.
    #[error("it reported twice that it uses connection slot {0}")]
    UsedTwice(u32),
    /// It sends back a connection that it cannot have failed to take.
    #[error("it sent back connection slot {0}, which was not on its way")]
    NotOnItsWay(u32),
    /// It sends back nothing.
    #[error("it sent back no connection at all")]
    EmptyNack,
    /// It says it took more connections than were on their way.
    #[error("it reported {0} connections taken, more than were sent")]
    Received(u32),
}

/// The slots of one worker.
#[derive(Debug)]
pub(crate) struct Leases<C> {
    slots: Vec<Slot<C>>,
    free: Vec<u32>,
    len: u32,
    unused: u32,
}

#[derive(Debug)]
enum Slot<C> {
    Free,
    /// Given to the worker, which has not used it: another worker could still have it. The number
    /// says how many it was given before.
    Leased(C, u32),
    /// The worker has it and has not said that it uses it, but nobody holds it for another.
    Released,
    /// The worker's alone.
    Used,
}

impl<C> Leases<C> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
            unused: 0,
        }
    }

    /// How many connections the worker has.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// How many of them it has not used.
    pub(crate) fn unused(&self) -> u32 {
        self.unused
    }

    /// Leases a connection, and says in which slot. A slot below the most that were ever held at
    /// once is used again before there is a new one.
    pub(crate) fn give(&mut self, connection: C, number: u32) -> u32 {
        self.len += 1;
        self.unused += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            u32::try_from(self.slots.len() - 1).expect("a worker has fewer than 2³² connections")
        });
        self.slots[slot as usize] = Slot::Leased(connection, number);
        slot
    }

    pub(crate) fn leased(&self, slot: u32) -> Option<&C> {
        match self.slots.get(slot as usize)? {
            Slot::Leased(connection, _) => Some(connection),
            Slot::Free | Slot::Released | Slot::Used => None,
        }
    }

    /// Ends the lease of a connection that the worker uses, if there still is one.
    pub(crate) fn claim(&mut self, slot: u32) -> Result<Option<C>, LeaseError> {
        let place = self.slots.get_mut(slot as usize);
        let place = place.ok_or(LeaseError::NotHeld(slot))?;
        match std::mem::replace(place, Slot::Used) {
            Slot::Leased(connection, _) => {
                self.unused -= 1;
                Ok(Some(connection))
            }
            Slot::Released => Ok(None),
            Slot::Used => Err(LeaseError::UsedTwice(slot)),
            Slot::Free => {
                *place = Slot::Free;
                Err(LeaseError::NotHeld(slot))
            }
        }
    }

    /// Frees the slot of a connection that is over, and ends its lease if it still had one.
    pub(crate) fn end(&mut self, slot: u32) -> Result<Option<C>, LeaseError> {
        let place = self.slots.get_mut(slot as usize);
        let place = place.ok_or(LeaseError::NotHeld(slot))?;
        let lease = match std::mem::replace(place, Slot::Free) {
            Slot::Free => return Err(LeaseError::NotHeld(slot)),
            Slot::Released | Slot::Used => None,
            Slot::Leased(connection, _) => {
                self.unused -= 1;
                Some(connection)
            }
        };
        self.len -= 1;
        self.free.push(slot);
        Ok(lease)
    }

    /// Gives up every lease; the connections, each with its number, stay with the worker.
    pub(crate) fn release_all(&mut self) -> Vec<(C, u32)> {
        let mut released = Vec::new();
        for slot in &mut self.slots {
            if matches!(slot, Slot::Leased(..))
                && let Slot::Leased(connection, number) = std::mem::replace(slot, Slot::Released)
            {
                released.push((connection, number));
            }
        }
        self.unused = 0;
        released
    }

    /// Takes every connection that the worker has not used away from it.
    pub(crate) fn take_unused(&mut self) -> Vec<(C, u32)> {
        let taken = self.release_all();
        self.len -= u32::try_from(taken.len()).expect("a worker has fewer than 2³² connections");
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One connection leased, one released, one used, and a free slot, in slots 0 to 3.
    fn one_of_each() -> Leases<char> {
        let mut leases = Leases::new();
        for connection in ['r', 'u', 'f'] {
            leases.give(connection, 0);
        }
        leases.claim(1).unwrap();
        leases.end(2).unwrap();
        leases.release_all();
        leases.give('l', 0);
        leases.give('f', 0);
        leases.end(3).unwrap();
        leases
    }

    const RELEASED: u32 = 0;
    const USED: u32 = 1;
    const LEASED: u32 = 2;
    const FREE: u32 = 3;
    const NEVER_GIVEN: u32 = 4;

    #[test]
    fn slots_are_numbered_from_zero_and_used_again_before_there_is_a_new_one() {
        let mut leases = Leases::new();
        assert_eq!(
            [
                leases.give('a', 0),
                leases.give('b', 0),
                leases.give('c', 0)
            ],
            [0, 1, 2]
        );

        leases.end(0).unwrap();
        leases.end(2).unwrap();

        let mut again = [leases.give('d', 0), leases.give('e', 0)];
        again.sort_unstable();
        assert_eq!(again, [0, 2]);
        assert_eq!(leases.give('f', 0), 3);
    }

    #[test]
    fn what_is_held_and_what_is_unused_are_counted() {
        let mut leases = one_of_each();
        assert_eq!((leases.len(), leases.unused()), (3, 1));

        leases.end(LEASED).unwrap();
        assert_eq!((leases.len(), leases.unused()), (2, 0));

        leases.end(RELEASED).unwrap();
        leases.end(USED).unwrap();
        assert_eq!(leases.len(), 0);
    }

    #[test]
    fn only_what_is_leased_is_lent() {
        let leases = one_of_each();

        let lent = [RELEASED, USED, LEASED, FREE, NEVER_GIVEN].map(|slot| leases.leased(slot));

        assert_eq!(lent, [None, None, Some(&'l'), None, None]);
    }

    #[test]
    fn a_claim_ends_the_lease_if_there_still_is_one() {
        let mut leases = one_of_each();

        assert_eq!(leases.claim(LEASED), Ok(Some('l')));
        assert_eq!(leases.claim(RELEASED), Ok(None));

        assert_eq!((leases.len(), leases.unused()), (3, 0));
    }

    #[test]
    fn a_claim_of_what_is_used_or_not_held_is_an_error_and_changes_nothing() {
        let mut leases = one_of_each();
        let before = format!("{leases:?}");

        assert_eq!(leases.claim(USED), Err(LeaseError::UsedTwice(USED)));
        for slot in [FREE, NEVER_GIVEN, u32::MAX] {
            assert_eq!(leases.claim(slot), Err(LeaseError::NotHeld(slot)));
        }

        assert_eq!(format!("{leases:?}"), before);
    }

    #[test]
    fn the_end_of_a_connection_gives_its_lease_back_if_it_had_one() {
        let mut leases = one_of_each();

        assert_eq!(leases.end(LEASED), Ok(Some('l')));
        assert_eq!(leases.end(RELEASED), Ok(None));
        assert_eq!(leases.end(USED), Ok(None));
    }

    #[test]
    fn the_end_of_what_is_not_held_is_an_error_and_changes_nothing() {
        let mut leases = one_of_each();
        let before = format!("{leases:?}");

        for slot in [FREE, NEVER_GIVEN, u32::MAX] {
            assert_eq!(leases.end(slot), Err(LeaseError::NotHeld(slot)));
        }

        assert_eq!(format!("{leases:?}"), before);
    }

    #[test]
    fn what_is_released_stays_with_the_worker_until_it_ends() {
        let mut leases = one_of_each();

        assert_eq!(leases.release_all(), [('l', 0)]);

        assert_eq!((leases.len(), leases.unused()), (3, 0));
        assert_eq!(leases.release_all(), []);
        assert_eq!(leases.end(LEASED), Ok(None));
    }

    #[test]
    fn what_is_taken_away_is_all_that_is_unused_and_still_held() {
        let mut leases = one_of_each();
        leases.give('m', 0);

        assert_eq!(leases.take_unused(), [('l', 0), ('m', 0)]);

        assert_eq!((leases.len(), leases.unused()), (2, 0));
    }
}
