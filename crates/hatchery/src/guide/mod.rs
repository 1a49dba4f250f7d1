//! Chapters on how to use this crate, for reading rather than looking up.

#[doc = include_str!("coming_from_multiprocessing.md")]
pub mod coming_from_multiprocessing {}

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("holes.md")]
pub mod holes {}
