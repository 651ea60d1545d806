//! Counting.

use std::marker::PhantomData;

use millpond_state::Aggregate;

/// Counts records of any sort.
pub(super) struct Count<T>(PhantomData<fn(&T)>);

impl<T> Count<T> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: 'static> Aggregate for Count<T> {
    type Input = T;
    type Accumulator = u64;
    type Output = u64;

    fn create(&self) -> u64 {
        0
    }

    fn add(&self, count: &mut u64, _: &T) {
        *count = count.saturating_add(1);
    }

    fn merge(&self, count: &mut u64, other: u64) {
        *count = count.saturating_add(other);
    }

    fn result(&self, count: &u64) -> u64 {
        *count
    }
}
