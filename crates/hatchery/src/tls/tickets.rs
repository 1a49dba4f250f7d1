//! Session tickets that any worker can read.
//!
//! All workers have the same secret. Time is divided into periods, and each has a key that is derived
//! from the secret and the period's number: so keys change without anybody telling the workers. A
//! ticket is the number of its period, a nonce, and the session, encrypted.

use std::fmt;
use std::time::Duration;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::server::ProducesTickets;

/// How long the secret is.
pub(super) const SECRET_BYTES: usize = 32;

/// What keys are derived for, so that the secret could serve for something else too.
const PURPOSE: &[u8] = b"hatchery session tickets 1";

/// How long the number of a period is.
const PERIOD_BYTES: usize = size_of::<u64>();

/// The longest ticket that is looked at; those that are made are much shorter.
const TICKET_BYTES_MAX: usize = 16 * 1024;

/// Makes a secret that nobody knows; `None` if the kernel does not.
pub(super) fn new_secret() -> Option<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    SystemRandom::new().fill(&mut secret).ok()?;
    Some(secret)
}

/// Makes tickets and reads them.
pub(super) struct Tickets {
    secret: hmac::Key,
    period_seconds: u64,
    random: SystemRandom,
}

impl Tickets {
    pub(super) fn new(secret: &[u8; SECRET_BYTES], period: Duration) -> Self {
        Self {
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
            period_seconds: period.as_secs().max(1),
            random: SystemRandom::new(),
        }
    }

    fn period_at(&self, now: UnixTime) -> u64 {
        now.as_secs() / self.period_seconds
    }

    fn key_of(&self, period: u64) -> Option<LessSafeKey> {
        let mut derivation = hmac::Context::with_key(&self.secret);
        derivation.update(PURPOSE);
        derivation.update(&period.to_be_bytes());
        let key = UnboundKey::new(&CHACHA20_POLY1305, derivation.sign().as_ref());
        key.ok().map(LessSafeKey::new)
    }

    fn encrypt_at(&self, now: UnixTime, session: &[u8]) -> Option<Vec<u8>> {
        let period = self.period_at(now);
        let name = period.to_be_bytes();
        // Workers share no counter, and random ones do not meet before a key is out of use.
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = session.to_vec();
        let key = self.key_of(period)?;
        let unique = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(unique, Aad::from(name), &mut sealed)
            .ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn decrypt_at(&self, now: UnixTime, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<PERIOD_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (period, current) = (u64::from_be_bytes(*name), self.period_at(now));
        if period != current && period.checked_add(1) != Some(current) {
            return None;
        }
        let key = self.key_of(period)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut session = sealed.to_vec();
        let len = key
            .open_in_place(nonce, Aad::from(*name), &mut session)
            .ok()?
            .len();
        session.truncate(len);
        Some(session)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        // One that was made at the end of its period is good for one more.
        u32::try_from(self.period_seconds).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(UnixTime::now(), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(UnixTime::now(), cipher)
    }
}

/// Shows no secret.
impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tickets")
            .field("period_seconds", &self.period_seconds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: u64 = 100;

    fn worker(secret: u8) -> Tickets {
        Tickets::new(&[secret; SECRET_BYTES], Duration::from_secs(PERIOD))
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn any_worker_reads_a_ticket_in_its_period_and_the_next() {
        let ticket = worker(1).encrypt_at(at(250), b"session").unwrap();

        for (seconds, is_good) in [(199, false), (200, true), (399, true), (400, false)] {
            let read = worker(1).decrypt_at(at(seconds), &ticket);

            let expected = is_good.then(|| b"session".to_vec());
            assert_eq!(read, expected, "after {seconds} s");
        }
    }

    #[test]
    fn no_ticket_is_like_another() {
        let tickets = worker(1);

        let [first, second] = [(); 2].map(|()| tickets.encrypt_at(at(0), b"session"));

        assert_ne!(first, second);
    }

    #[test]
    fn another_server_reads_nothing() {
        let ticket = worker(1).encrypt_at(at(250), b"session").unwrap();

        assert_eq!(worker(2).decrypt_at(at(250), &ticket), None);
    }

    proptest! {
        #[test]
        fn what_was_changed_is_not_read(session: Vec<u8>, place: prop::sample::Index, bit in 0_u8..8) {
            let mut ticket = worker(1).encrypt_at(at(250), &session).unwrap();
            let place = place.index(ticket.len());
            ticket[place] ^= 1_u8 << bit;

            prop_assert_eq!(worker(1).decrypt_at(at(250), &ticket), None);
        }

        #[test]
        fn what_anybody_may_send_does_no_harm(ticket: Vec<u8>, seconds: u32) {
            prop_assert_eq!(worker(1).decrypt_at(at(seconds.into()), &ticket), None);
        }
    }
}
