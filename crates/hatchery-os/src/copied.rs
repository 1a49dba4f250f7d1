//! Bytes copied into words that processes share, and out of them.
//!
//! Others may write to the words meanwhile. Then the bytes that arrive are a mixture, and nothing worse: each of
//! them is read or written as by a relaxed atomic access. Short copies are just that, word by word. Long ones
//! would take twice the time that way, since the compiler joins no atomic accesses, so where we know
//! how they are made of instructions, of which it knows nothing.
#![expect(unsafe_code, reason = "long copies are written in assembly language")]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The bytes of a word.
const WORD_BYTES: usize = size_of::<u64>();

/// The bytes that are copied in one go.
const BLOCK_BYTES: usize = 64;

/// The words of a block.
const BLOCK_WORDS: usize = BLOCK_BYTES / WORD_BYTES;

/// From how many bytes on a copy is made in blocks.
const BLOCKS_FROM: usize = 4 * BLOCK_BYTES;

/// Copies bytes to the start of words; the last word is filled up with zeros.
///
/// # Panics
///
/// Panics if there are fewer words than that takes.
#[inline(always)]
pub fn copy_in(words: &[AtomicU64], bytes: &[u8]) {
    if bytes.len() < BLOCKS_FROM {
        return copy_in_words(words, bytes);
    }
    copy_in_long(words, bytes);
}

fn copy_in_long(words: &[AtomicU64], bytes: &[u8]) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let (for_blocks, for_rest) = words.split_at(blocks.len() * BLOCK_WORDS);
    copy_in_blocks(for_blocks, blocks);
    copy_in_words(for_rest, rest);
}

/// Copies the bytes at the start of words.
///
/// # Panics
///
/// Panics if there are fewer words than that takes.
#[inline(always)]
pub fn copy_out(words: &[AtomicU64], bytes: &mut [u8]) {
    if bytes.len() < BLOCKS_FROM {
        return copy_out_words(words, bytes);
    }
    copy_out_long(words, bytes);
}

fn copy_out_long(words: &[AtomicU64], bytes: &mut [u8]) {
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    let (of_blocks, of_rest) = words.split_at(blocks.len() * BLOCK_WORDS);
    copy_out_blocks(of_blocks, blocks);
    copy_out_words(of_rest, rest);
}

#[inline(always)]
fn copy_in_words(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD_BYTES>();
    let (for_whole, for_rest) = words.split_at(whole.len());
    for (word, chunk) in for_whole.iter().zip(whole) {
        word.store(u64::from_le_bytes(*chunk), Relaxed);
    }
    if !rest.is_empty() {
        // The last eight bytes end with the rest. A copy of unknown length would cost more.
        let last = bytes.last_chunk().map_or_else(
            || u64::from_le_bytes(padded(rest)),
            |last| u64::from_le_bytes(*last) >> (8 * (WORD_BYTES - rest.len())),
        );
        for_rest[0].store(last, Relaxed);
    }
}

#[inline(always)]
fn copy_out_words(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<WORD_BYTES>();
    let (of_whole, of_rest) = words.split_at(whole.len());
    let mut before = 0;
    for (word, chunk) in of_whole.iter().zip(whole) {
        before = word.load(Relaxed);
        *chunk = before.to_le_bytes();
    }
    let rest_len = rest.len();
    if rest_len == 0 {
        return;
    }
    let last = of_rest[0].load(Relaxed);
    if let Some(end) = bytes.last_chunk_mut() {
        let both = before >> (8 * rest_len) | last << (8 * (WORD_BYTES - rest_len));
        *end = both.to_le_bytes();
    } else {
        bytes.copy_from_slice(&last.to_le_bytes()[..rest_len]);
    }
}

fn padded(rest: &[u8]) -> [u8; WORD_BYTES] {
    let mut last = [0; WORD_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    last
}

#[cfg(target_arch = "x86_64")]
fn copy_in_blocks(words: &[AtomicU64], blocks: &[[u8; BLOCK_BYTES]]) {
    assert_eq!(words.len(), blocks.len() * BLOCK_WORDS);
    // Interior mutability lets a shared reference be written through.
    let to = words.as_ptr().cast_mut().cast();
    // SAFETY: both are as long as the blocks, and the words may be written, since they are atomic.
    unsafe { copy_blocks(blocks.as_ptr().cast(), to, blocks.len()) }
}

#[cfg(target_arch = "x86_64")]
fn copy_out_blocks(words: &[AtomicU64], blocks: &mut [[u8; BLOCK_BYTES]]) {
    assert_eq!(words.len(), blocks.len() * BLOCK_WORDS);
    let to = blocks.as_mut_ptr().cast();
    // SAFETY: both are as long as the blocks, and these may be written, since they are ours alone.
    unsafe { copy_blocks(words.as_ptr().cast(), to, blocks.len()) }
}

/// Copies blocks of memory, as by relaxed atomic accesses to each byte.
///
/// # Safety
///
/// So many blocks can be read at `from` and written at `to`, if need be by atomic accesses only,
/// and the two do not overlap.
#[cfg(target_arch = "x86_64")]
unsafe fn copy_blocks(from: *const u8, to: *mut u8, blocks: usize) {
    if blocks == 0 {
        return;
    }
    // SAFETY: the caller vouches for the memory. The compiler takes nothing for granted of what the
    // instructions read, so a byte that another process changes meanwhile is only old or new. All
    // registers that are written are declared, and neither stack nor direction flag is touched.
    unsafe {
        std::arch::asm!(
            "2:",
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "dec {blocks}",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            blocks = inout(reg) blocks => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn copy_in_blocks(words: &[AtomicU64], blocks: &[[u8; BLOCK_BYTES]]) {
    copy_in_words(words, blocks.as_flattened());
}

#[cfg(not(target_arch = "x86_64"))]
fn copy_out_blocks(words: &[AtomicU64], blocks: &mut [[u8; BLOCK_BYTES]]) {
    copy_out_words(words, blocks.as_flattened_mut());
}

/// Tells the CPU that a word will be written soon, so that it takes its memory from other CPUs now.
///
/// It changes nothing but the time that takes.
#[inline]
pub fn expect_write(word: &AtomicU64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads and writes nothing as far as a program can tell, and never faults.
    unsafe {
        std::arch::asm!(
            "prefetchw [{word}]",
            word = in(reg) word.as_ptr(),
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _not_needed = word;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_number_come_out_as_they_went_in_and_nothing_else_is_written() {
        const WORDS: usize = 100;
        for len in 0..=(WORDS - 1) * WORD_BYTES {
            let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(u64::MAX)).collect();
            let bytes: Vec<u8> = (0..len).map(|index| (index * 7 + len) as u8).collect();
            // One byte before and behind, which also shifts it from where a word would begin.
            let mut copy = vec![0xaa; len + 2];

            copy_in(&words, &bytes);
            copy_out(&words, &mut copy[1..=len]);

            assert_eq!(copy[1..=len], bytes, "{len} bytes");
            assert_eq!((copy[0], copy[len + 1]), (0xaa, 0xaa), "{len} bytes");
            let behind = words[len.div_ceil(WORD_BYTES)].load(Relaxed);
            assert_eq!(behind, u64::MAX, "{len} bytes");
        }
    }

    #[test]
    #[should_panic(expected = "mid")]
    fn copying_more_than_there_are_words_is_a_panic() {
        let words = [const { AtomicU64::new(0) }; 3];

        copy_in(&words, &[0; 999]);
    }
}
