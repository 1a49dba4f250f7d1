//! Pools of worker processes that run functions of this program.

mod schedule;
