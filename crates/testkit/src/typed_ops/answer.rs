//! What an operation gives, and the arithmetic that system and oracle must do alike.

use super::op::{Kind, Place};

/// What an operation on one place gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Nothing,
    Number(Option<u64>),
    Numbers(Vec<u64>),
    Entries(Vec<(u8, u64)>),
    Flag(bool),
    Times(Vec<i64>),
}

/// Timers that fired: time and place, sorted.
pub(super) type Fired = Vec<(i64, Place)>;

/// Entries of a finished snapshot by kind, and the version of its codecs of values.
pub(super) type Written = (u32, Vec<(Kind, usize)>);

/// What an update makes of a number.
pub(super) const fn updated(old: Option<u64>, by: u64) -> Option<u64> {
    match old {
        None => Some(by),
        Some(old) if old.is_multiple_of(3) => None,
        Some(old) => Some(old.wrapping_add(by)),
    }
}

/// Not commutative, so that the order of reductions shows.
pub(super) const fn reduced(left: u64, right: u64) -> u64 {
    left.wrapping_mul(31).wrapping_add(right)
}

/// How an input is folded into an accumulator.
pub(super) const fn folded(accumulator: u64, input: u64) -> u64 {
    accumulator.wrapping_mul(17).wrapping_add(input)
}

/// How two accumulators become one.
pub(super) const fn joined(accumulator: u64, other: u64) -> u64 {
    accumulator.wrapping_mul(1_009).wrapping_add(other)
}

/// What is read of an accumulator.
pub(super) const fn result(accumulator: u64) -> u64 {
    accumulator ^ 0xff
}

/// What the migration from `version` to the next one makes of a number.
pub(super) const fn migrated(version: u32, number: u64) -> u64 {
    match version {
        1 => number.wrapping_mul(2).wrapping_add(1),
        _ => number ^ 0x5555,
    }
}
