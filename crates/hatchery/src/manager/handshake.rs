//! How a manager and its clients convince each other.
//!
//! On a Unix socket the kernel says who is at the other end. On TCP each side proves that it knows
//! the authkey, which never travels: it authenticates a challenge of both sides' random numbers
//! with HMAC-SHA256, under a label of its own role, so that no proof of one side is one of the
//! other. What follows on the connection is neither encrypted nor authenticated.

use std::fmt;
use std::io;

use hmac::{Hmac, KeyInit, Mac};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::error::Rejection;

/// The version of the protocol that follows.
pub(super) const VERSION: u32 = 1;

/// A random number that is used once.
pub(super) type Nonce = [u8; 32];

/// What only somebody who knows the authkey can make.
pub(super) type Proof = [u8; 32];

/// Which side made a proof.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Client,
    Manager,
}

/// What the manager says before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Greeting {
    Welcome(Terms),
    Challenge(Nonce),
    Rejected(Rejection),
}

/// What a client answers to a challenge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) nonce: Nonce,
    pub(super) proof: Proof,
}

/// What the manager says to an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Verdict {
    Welcome { proof: Proof, terms: Terms },
    Rejected(Rejection),
}

/// What holds for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) version: u32,
    pub(super) frame_bytes_max: u64,
}

/// The secret that a manager on TCP shares with its clients; it is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Authkey(#[serde(with = "serde_bytes")] pub(super) Vec<u8>);

impl fmt::Debug for Authkey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authkey(..)")
    }
}

impl Authkey {
    /// Proves to know this key, in `role`, for the challenge that both sides made.
    pub(super) fn prove(&self, role: Role, manager: &Nonce, client: &Nonce) -> Proof {
        self.mac(role, manager, client)
            .finalize()
            .into_bytes()
            .into()
    }

    /// Checks a proof, in a time that does not depend on where it is wrong.
    pub(super) fn verify(
        &self,
        proof: &Proof,
        role: Role,
        manager: &Nonce,
        client: &Nonce,
    ) -> bool {
        let mac = self.mac(role, manager, client);
        mac.verify_slice(proof).is_ok()
    }

    fn mac(&self, role: Role, manager: &Nonce, client: &Nonce) -> Hmac<Sha256> {
        let label: &[u8] = match role {
            Role::Client => b"hatchery manager 1: client",
            Role::Manager => b"hatchery manager 1: manager",
        };
        let mac = Hmac::<Sha256>::new_from_slice(&self.0);
        let mut mac = mac.expect("HMAC takes a key of any length");
        // The label is no prefix of the other's, and the nonces have one length.
        mac.update(label);
        mac.update(manager);
        mac.update(client);
        mac
    }
}

/// Makes a number that nobody can guess.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled +=
            rustix::io::retry_on_intr(|| getrandom(&mut bytes[filled..], GetRandomFlags::empty()))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANAGER: Nonce = [1; 32];
    const CLIENT: Nonce = [2; 32];

    fn key(bytes: &[u8]) -> Authkey {
        Authkey(bytes.to_vec())
    }

    #[test]
    fn a_proof_convinces_whoever_knows_the_key() {
        let proof = key(b"key").prove(Role::Client, &MANAGER, &CLIENT);

        assert!(key(b"key").verify(&proof, Role::Client, &MANAGER, &CLIENT));
        assert!(!key(b"kez").verify(&proof, Role::Client, &MANAGER, &CLIENT));
    }

    #[test]
    fn a_proof_that_is_reflected_convinces_nobody() {
        let proof = key(b"key").prove(Role::Client, &MANAGER, &CLIENT);

        assert!(!key(b"key").verify(&proof, Role::Manager, &MANAGER, &CLIENT));
        assert!(!key(b"key").verify(&proof, Role::Client, &CLIENT, &MANAGER));
    }

    #[test]
    fn a_proof_is_good_for_one_challenge() {
        let proof = key(b"key").prove(Role::Client, &MANAGER, &CLIENT);

        assert!(!key(b"key").verify(&proof, Role::Client, &[3; 32], &CLIENT));
    }

    #[test]
    fn random_numbers_are_fresh() {
        let (one, other): (Nonce, Nonce) = (random().unwrap(), random().unwrap());

        assert_ne!(one, other);
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", key(b"secret")), "Authkey(..)");
    }
}
