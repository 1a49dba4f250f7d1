//! What is sent, and what must come back.
//!
//! A message is pseudo-random: letters of both cases, and bytes of every value, which upper-casing
//! leaves alone unless they are lower-case letters. A stamp of sixteen letters, repeated every
//! [`STRIDE`] bytes, holds the sequence number and the connection number, so that a reply that was
//! swapped, repeated or cut together from two is not the one expected. A message shorter than a
//! stamp holds as much of it as fits.
//!
//! The upper-cased twin is prepared too, so that a check is a comparison of memory. Only the
//! stamps change from one message to the next.

/// How far apart the stamps are, in bytes.
const STRIDE: usize = 1024;
/// How many letters a number takes, at four bits each.
const DIGITS: usize = 8;

/// One connection's message and the reply to it.
#[derive(Debug)]
pub(super) struct Message {
    request: Vec<u8>,
    reply: Vec<u8>,
    sequence: u32,
}

impl Message {
    /// Prepares the messages of the connection numbered `connection`.
    pub(super) fn new(connection: u32, size_bytes: usize) -> Self {
        let mut random = SplitMix(u64::from(connection));
        let request: Vec<u8> = (0..size_bytes).map(|_| random.byte()).collect();
        let reply = request.to_ascii_uppercase();
        let mut message = Self {
            request,
            reply,
            // The shortest messages have only room for this, so connections start apart.
            sequence: connection,
        };
        message.stamp(1, connection);
        message.stamp(0, message.sequence);
        message
    }

    /// Changes into the next message of this connection.
    pub(super) fn advance(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.stamp(0, self.sequence);
    }

    /// Returns what to send.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Returns whether `bytes` are what must come back from `offset` on.
    pub(super) fn matches(&self, offset: usize, bytes: &[u8]) -> bool {
        self.reply
            .get(offset..offset + bytes.len())
            .is_some_and(|expected| expected == bytes)
    }

    /// Writes `number` into every other letter of each stamp, beginning with letter `first`.
    fn stamp(&mut self, first: usize, number: u32) {
        let stamps = self
            .request
            .chunks_mut(STRIDE)
            .zip(self.reply.chunks_mut(STRIDE));
        for (request, reply) in stamps {
            let letters = request.iter_mut().zip(reply).skip(first).step_by(2);
            for (digit, (request, reply)) in letters.take(DIGITS).enumerate() {
                let letter = b'a' + (number >> (4 * digit) & 0xf) as u8;
                *request = letter;
                *reply = letter.to_ascii_uppercase();
            }
        }
    }
}

/// A small generator of pseudo-random numbers, the same for the same seed.
struct SplitMix(u64);

impl SplitMix {
    /// Returns a lower-case letter, an upper-case letter or any byte.
    fn byte(&mut self) -> u8 {
        let random = self.next();
        let [kind, value, ..] = random.to_le_bytes();
        match kind % 4 {
            0 | 1 => b'a' + value % 26,
            2 => b'A' + value % 26,
            _ => value,
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply_to(message: &Message) -> Vec<u8> {
        message.request().to_ascii_uppercase()
    }

    #[test]
    fn the_right_reply_is_accepted_whole_and_in_parts() {
        let mut message = Message::new(7, 3000);
        message.advance();
        let reply = reply_to(&message);

        assert!(message.matches(0, &reply));
        assert!(message.matches(0, &reply[..1000]));
        assert!(message.matches(1000, &reply[1000..]));
        assert_ne!(message.request(), reply);
        assert!(message.request().iter().any(|&byte| byte >= 0x80));
    }

    #[test]
    fn one_altered_byte_is_detected() {
        let message = Message::new(7, 64);
        let reply = reply_to(&message);

        for index in 0..reply.len() {
            let mut altered = reply.clone();
            altered[index] ^= 0x20;
            assert!(!message.matches(0, &altered));
        }
    }

    #[test]
    fn a_reply_of_another_connection_is_detected() {
        for size in [1, 2, 16, 64, 5000] {
            let mine = Message::new(7, size);
            let other = Message::new(8, size);
            assert!(!mine.matches(0, &reply_to(&other)));
        }
    }

    #[test]
    fn a_repeated_reply_is_detected_wherever_it_is_cut_in() {
        for size in [1, 16, 64, 5000] {
            let mut message = Message::new(7, size);
            let before = reply_to(&message);
            message.advance();
            let last_stride = (size - 1) / STRIDE * STRIDE;
            assert!(!message.matches(0, &before));
            assert!(!message.matches(last_stride, &before[last_stride..]));
        }
    }

    #[test]
    fn a_shifted_or_surplus_reply_is_detected() {
        let message = Message::new(7, 64);
        let mut reply = reply_to(&message);

        assert!(!message.matches(1, &reply[..63]));
        reply.push(b'X');
        assert!(!message.matches(0, &reply));
    }
}
