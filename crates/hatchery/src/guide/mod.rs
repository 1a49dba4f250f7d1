//! Chapters on how to use this crate, for reading rather than looking up.
//!
//! | chapter | for whom |
//! |---|---|
//! | [`getting_started`] | those who begin |
//! | [`architecture`] | those who want to know who does what, and what a death costs |
//! | [`fork_safety`] | those who preload, log, or hold connections |
//! | [`configuration`] | those who look for a key |
//! | [`operations`] | those who run a server |
//! | [`observing`] | those who want to see what a server does, and to scrape it |
//! | [`performance`] | those who want more of it |
//! | [`coming_from_servers`] | those who know gunicorn, nginx or Node's cluster |
//! | [`coming_from_multiprocessing`] | those who know Python's `multiprocessing` |
//! | [`holes`] | those who were bitten by it |

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("coming_from_multiprocessing.md")]
pub mod coming_from_multiprocessing {}

#[doc = include_str!("coming_from_servers.md")]
pub mod coming_from_servers {}

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("fork_safety.md")]
pub mod fork_safety {}

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("holes.md")]
pub mod holes {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("performance.md")]
pub mod performance {}
