//! The accesses of a case, and the values that they write: the same for all subjects.

use millpond_state::codec::HasCodec;

use super::StateOptions;
use super::case::StateCase;
use crate::distribution::Sampler;
use crate::rng::{Rng, key};

/// User keys of a map.
pub(super) const MAP_KEYS: u64 = 10;

/// Elements of a list where there are many.
pub(super) const LIST_ELEMENTS: u64 = 100;

/// Accesses between two movements of time: what a runtime hands over at once.
pub(super) const BATCH: usize = 64;

/// How long parts live, in milliseconds: longer than any measurement.
pub(super) const TTL_MS: i64 = 3_600_000;

/// Time at the start, in milliseconds.
pub(super) const START_MS: i64 = 1_000;

/// The keys of one round, in order.
#[derive(Clone, Debug)]
pub(super) struct Accesses {
    pub(super) keys: Vec<u64>,
}

impl Accesses {
    /// The accesses of a round, which follow from the seed.
    pub(super) fn of_round(case: StateCase, options: &StateOptions, round: u64) -> Self {
        let seed = Rng::new(options.seed.wrapping_add(round)).next_u64();
        let mut keys = Vec::new();
        if case.access.adds_keys() {
            let last = options.keys.saturating_add(options.ops);
            keys.extend((options.keys..last).map(key));
            Rng::new(seed).shuffle(&mut keys);
        } else {
            let mut sampler = Sampler::new(options.distribution, options.keys, seed);
            keys.extend((0..options.ops).map(|_| key(sampler.next_number())));
        }
        Self { keys }
    }

    /// A few of them, to compare what they left behind.
    pub(super) fn sample(&self) -> Self {
        let step = (self.keys.len() / 500).max(1);
        Self { keys: self.keys.iter().copied().step_by(step).collect() }
    }
}

/// The user key that access number `index` goes to.
#[inline]
pub(super) const fn user_key(index: u64) -> u64 {
    index % MAP_KEYS
}

/// The elements that are appended at once.
pub(super) fn many_elements() -> Vec<u64> {
    (0..LIST_ELEMENTS).map(key).collect()
}

/// A value of a value or map state.
pub(super) trait Payload: HasCodec + Clone + 'static {
    /// A value to start from.
    fn template(bytes: usize) -> Self;

    /// Makes it another value.
    fn set_number(&mut self, number: u64);

    /// What it was made with.
    fn number(&self) -> u64;

    /// Appends its bytes.
    #[cfg(feature = "rocksdb")]
    fn write_to(&self, out: &mut Vec<u8>);

    /// The value of these bytes.
    #[cfg(feature = "rocksdb")]
    fn read_from(bytes: &[u8]) -> Self;
}

impl Payload for u64 {
    fn template(_: usize) -> Self {
        0
    }

    #[inline]
    fn set_number(&mut self, number: u64) {
        *self = number;
    }

    #[inline]
    fn number(&self) -> u64 {
        *self
    }

    #[cfg(feature = "rocksdb")]
    fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    #[cfg(feature = "rocksdb")]
    fn read_from(bytes: &[u8]) -> Self {
        first_number(bytes)
    }
}

impl Payload for Vec<u8> {
    /// Half of the bytes are random, so that values compress about as those of a real job do.
    fn template(bytes: usize) -> Self {
        let mut value = vec![0; bytes];
        let mut rng = Rng::new(1);
        value.iter_mut().take(bytes / 2).for_each(|byte| *byte = rng.next_u64() as u8);
        value
    }

    #[inline]
    fn set_number(&mut self, number: u64) {
        for (place, byte) in self.iter_mut().zip(number.to_le_bytes()) {
            *place = byte;
        }
    }

    #[inline]
    fn number(&self) -> u64 {
        first_number(self)
    }

    #[cfg(feature = "rocksdb")]
    fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    #[cfg(feature = "rocksdb")]
    fn read_from(bytes: &[u8]) -> Self {
        bytes.to_vec()
    }
}

/// The number in the first eight bytes, or in as many as there are.
#[inline]
pub(super) fn first_number(bytes: &[u8]) -> u64 {
    if let Some(bytes) = bytes.first_chunk() {
        return u64::from_le_bytes(*bytes);
    }
    let mut all = [0; 8];
    all.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    u64::from_le_bytes(all)
}
