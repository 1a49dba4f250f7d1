//! Putting frames together from what arrives in pieces.

use super::protocol::{LENGTH_BYTES, frame_len};

/// Room that is made before anything arrives; more is made as bytes come, and no sooner.
const CHUNK_BYTES: usize = 16 * 1024;

/// A frame is longer than this connection allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Bytes that arrived, and are not yet taken as frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Takes the next frame's body, if it is there in full.
    pub(super) fn take(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, TooLong> {
        let Some(length) = self.bytes.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = frame_len(*length);
        if length > bytes_max {
            return Err(TooLong);
        }
        let end = LENGTH_BYTES + length;
        if self.bytes.len() < end {
            return Ok(None);
        }
        let rest = self.bytes.split_off(end);
        let mut frame = std::mem::replace(&mut self.bytes, rest);
        frame.drain(..LENGTH_BYTES);
        Ok(Some(frame))
    }

    /// Where the next bytes are to be put.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.reserve(CHUNK_BYTES);
        &mut self.bytes
    }

    /// Whether nothing has arrived that was not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_however_they_arrive() {
        let stream = [3, 0, 0, 0, b'o', b'n', b'e', 0, 0, 0, 0, 1, 0, 0, 0, b'2'];
        for piece in 1..=stream.len() {
            let mut frames = Frames::default();
            let mut taken = Vec::new();

            for piece in stream.chunks(piece) {
                frames.room().extend_from_slice(piece);
                while let Some(frame) = frames.take(3).unwrap() {
                    taken.push(frame);
                }
            }

            assert_eq!(taken, [b"one".to_vec(), vec![], b"2".to_vec()]);
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_by_its_length() {
        let mut frames = Frames::default();
        frames.room().extend_from_slice(&[4, 0, 0, 0]);

        assert_eq!(frames.take(3), Err(TooLong));
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut frames = Frames::default();
        frames.room().extend_from_slice(&[0xff, 0xff, 0xff, 0x7f]);

        assert_eq!(frames.take(usize::MAX), Ok(None));
        assert!(frames.room().capacity() <= 4 * CHUNK_BYTES);
    }
}
