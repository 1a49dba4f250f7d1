//! Pools of worker processes that run functions of this program.

mod schedule;
pub(crate) mod worker;
