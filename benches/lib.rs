//! The workload that all benchmarks share: keys, order of access, states, sizes.
//!
//! Everything follows from fixed seeds: equal settings give equal work, and each series returns a
//! checksum of what it read so that its results can be compared with the floor's.
//!
//! Sizes come from the environment:
//! - `MILLPOND_BENCH_KEYS`: numbers of keys, comma-separated; 500000,5000000 by default
//! - `MILLPOND_BENCH_VALUE_BYTES`: value sizes; 8,100 by default
//! - `MILLPOND_BENCH_ROUNDS`: rounds over all series for the table of ratios; 9 by default
//!
//! Under `cargo test --benches` the input is tiny: the run shows that the benchmark works.

use millpond_memory::{MemoryBackend, MemoryOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    EntryKey, KeyedBackend, MaxParallelism, Result, StateCodecs, StateDescriptor, StateId,
    StateKind,
};

/// Deterministic numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Numbers that follow from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[inline]
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.0)
    }

    /// The next number below `bound`.
    #[inline]
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }
}

const fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key with this number: a permutation of all numbers, so that keys are distinct and scattered.
#[inline]
#[must_use]
pub const fn key(number: u64) -> u64 {
    scramble(number.wrapping_add(0x1234_5678))
}

/// The sizes of a run.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Numbers of keys.
    pub keys: Vec<u64>,
    /// Bytes of a value.
    pub value_bytes: Vec<usize>,
    /// Rounds over all series.
    pub rounds: usize,
    /// Operations of a series in one round.
    pub operations: usize,
}

impl Sizes {
    /// The sizes that arguments and environment ask for.
    #[must_use]
    pub fn from_environment() -> Self {
        if !is_measuring() {
            return Self {
                keys: vec![3_000],
                value_bytes: vec![8, 100],
                rounds: 1,
                operations: 640,
            };
        }
        Self {
            keys: list("MILLPOND_BENCH_KEYS").unwrap_or_else(|| vec![500_000, 5_000_000]),
            value_bytes: list("MILLPOND_BENCH_VALUE_BYTES").unwrap_or_else(|| vec![8, 100]),
            rounds: list("MILLPOND_BENCH_ROUNDS").and_then(|l| l.first().copied()).unwrap_or(9),
            operations: 192_000,
        }
    }
}

/// Whether this run measures, and not merely tests that the benchmark works.
#[must_use]
pub fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

fn list<T: std::str::FromStr>(variable: &str) -> Option<Vec<T>> {
    let text = std::env::var(variable).ok()?;
    text.split(',').map(|item| item.trim().parse().ok()).collect()
}

/// The job's number of key groups in all benchmarks.
///
/// # Errors
/// None that can happen.
pub fn max_parallelism() -> Result<MaxParallelism> {
    MaxParallelism::new(128)
}

/// The address of an encoded key.
#[inline]
#[must_use]
pub fn at(key: &[u8; 8], max: MaxParallelism) -> EntryKey<'_> {
    EntryKey::new(key, max)
}

/// A memory backend with one value state.
///
/// # Errors
/// What the backend reports.
pub fn memory_backend() -> Result<(MemoryBackend, StateId)> {
    let max = max_parallelism()?;
    let mut backend = MemoryBackend::create(max.full_range(), max, MemoryOptions::new())?;
    let identity = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs {
        key: identity(),
        namespace: CodecIdentity::void(),
        user_key: None,
        value: identity(),
    };
    let state = backend.register(&StateDescriptor::new("totals", StateKind::Value, codecs)?)?;
    Ok((backend, state))
}

/// Puts `count` keys with values of `value_bytes` bytes: the key's number, then zeroes.
///
/// # Errors
/// What the backend reports.
pub fn fill(
    backend: &mut dyn KeyedBackend,
    state: StateId,
    count: u64,
    value_bytes: usize,
) -> Result<()> {
    let max = max_parallelism()?;
    let mut value = vec![0; value_bytes.max(8)];
    for number in 0..count {
        if let Some(place) = value.first_chunk_mut() {
            *place = number.to_le_bytes();
        }
        backend.put(state, at(&key(number).to_be_bytes(), max), &value)?;
    }
    Ok(())
}

/// The number in the first eight bytes of a value.
#[inline]
#[must_use]
pub fn number_in(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The middle of some figures; 0 of none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
