//! The memory that the buffers of all instances of a factory share.
//!
//! # Invariants
//! - What is taken stays within the limit, except for what was taken over it on purpose: each
//!   instance may hold [`INSTANCE_BYTES_MIN`] whatever the others hold, so that none waits for
//!   another one that does nothing.
//! - What is free and what is taken together stay within the limit as well, so far as that is held.
//! - Chunks that come back are kept for the next taker: a writer meets no allocation of the
//!   system's once its factory has run for a while, and never gives memory back to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::{HUGE_PAGE_BYTES, Memory};

/// Bytes by which an instance's memory grows, whatever is taken from the pool for it.
pub(crate) const PAGE_BYTES: usize = 16 << 10;

/// Bytes that each instance may hold although the pool is empty.
pub(crate) const INSTANCE_BYTES_MIN: usize = 4 * PAGE_BYTES;

/// Instances with a smaller share take chunks of a page each: a huge page would be much of it.
const HUGE_SHARE_MIN: usize = 16 * HUGE_PAGE_BYTES;

/// Whether memory may be taken although the pool is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Not above the limit.
    Held,
    /// Above it if need be.
    Passed,
}

/// The pool. Clones share it.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    limit_bytes: usize,
    instances: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free_pages: Vec<Memory>,
    free_huge: Vec<Memory>,
    /// Huge pages of zeros only.
    free_zeros: Vec<Memory>,
    /// Bytes in use: chunks, and what else was charged.
    taken_bytes: usize,
}

impl State {
    const fn free_bytes(&self) -> usize {
        let huge = self.free_huge.len() + self.free_zeros.len();
        self.free_pages.len() * PAGE_BYTES + huge * HUGE_PAGE_BYTES
    }

    /// Takes out what is free beyond the limit: the caller lets go of it after the lock.
    fn surplus(&mut self, limit_bytes: usize) -> Vec<Memory> {
        let mut surplus = Vec::new();
        while self.taken_bytes + self.free_bytes() > limit_bytes {
            let huge = self.free_huge.pop().or_else(|| self.free_zeros.pop());
            let Some(chunk) = huge.or_else(|| self.free_pages.pop()) else { break };
            surplus.push(chunk);
        }
        surplus
    }
}

impl Pool {
    /// A pool of so many bytes, of which nothing is allocated yet.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let (instances, state) = (AtomicUsize::new(0), Mutex::default());
        Self(Arc::new(Inner { limit_bytes, instances, state }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk, of a huge page or of one page, its contents whatever the last user left.
    pub(crate) fn take_chunk(&self, limit: Limit) -> Option<Memory> {
        let is_huge = limit == Limit::Held && self.share_bytes() >= HUGE_SHARE_MIN;
        let bytes = if is_huge { HUGE_PAGE_BYTES } else { PAGE_BYTES };
        let mut state = self.lock();
        let sum = state.taken_bytes + bytes;
        if limit == Limit::Held && sum > self.0.limit_bytes {
            return None;
        }
        state.taken_bytes = sum;
        let chunk = if is_huge {
            state.free_huge.pop().or_else(|| state.free_zeros.pop())
        } else {
            state.free_pages.pop()
        };
        let surplus = state.surplus(self.0.limit_bytes);
        drop(state);
        drop(surplus);
        Some(chunk.unwrap_or_else(|| Memory::zeroed(bytes)))
    }

    /// Huge pages of zeros, above the limit if need be.
    pub(crate) fn take_zeros(&self, count: usize) -> Vec<Memory> {
        let mut state = self.lock();
        state.taken_bytes += count * HUGE_PAGE_BYTES;
        let kept = state.free_zeros.len().saturating_sub(count);
        let mut zeros = state.free_zeros.split_off(kept);
        let kept = state.free_huge.len().saturating_sub(count - zeros.len());
        let used = state.free_huge.split_off(kept);
        let surplus = state.surplus(self.0.limit_bytes);
        drop(state);
        drop(surplus);
        zeros.extend(used.into_iter().map(cleared));
        zeros.resize_with(count, || Memory::zeroed(HUGE_PAGE_BYTES));
        zeros
    }

    /// Takes huge pages of [`Self::take_zeros`] back.
    pub(crate) fn give_back_zeros(&self, chunks: Vec<Memory>) {
        let mut zeros: Vec<_> = chunks.into_iter().map(cleared).collect();
        let mut state = self.lock();
        let bytes = zeros.len() * HUGE_PAGE_BYTES;
        state.taken_bytes = state.taken_bytes.saturating_sub(bytes);
        state.free_zeros.append(&mut zeros);
        let surplus = state.surplus(self.0.limit_bytes);
        drop(state);
        drop(surplus);
    }

    /// Counts memory that a buffer allocates itself.
    pub(crate) fn charge(&self, bytes: usize, limit: Limit) -> bool {
        let mut state = self.lock();
        let sum = state.taken_bytes + bytes;
        if limit == Limit::Held && sum > self.0.limit_bytes {
            return false;
        }
        state.taken_bytes = sum;
        let surplus = state.surplus(self.0.limit_bytes);
        drop(state);
        drop(surplus);
        true
    }

    /// Takes chunks back, and so many bytes of what was charged.
    pub(crate) fn give_back(&self, chunks: Vec<Memory>, charged_bytes: usize) {
        let mut state = self.lock();
        let bytes = chunks.iter().map(|chunk| chunk.len()).sum::<usize>() + charged_bytes;
        state.taken_bytes = state.taken_bytes.saturating_sub(bytes);
        let (huge, pages) = chunks.into_iter().partition(|chunk| chunk.len() == HUGE_PAGE_BYTES);
        let (mut huge, mut pages): (Vec<_>, Vec<_>) = (huge, pages);
        state.free_huge.append(&mut huge);
        state.free_pages.append(&mut pages);
        let surplus = state.surplus(self.0.limit_bytes);
        drop(state);
        drop(surplus);
    }

    /// Bytes for each instance if all take the same.
    pub(crate) fn share_bytes(&self) -> usize {
        self.0.limit_bytes / self.0.instances.load(Ordering::Relaxed).max(1)
    }

    /// Bytes in use.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.lock().taken_bytes
    }

    /// Counts one more instance until the returned value is dropped.
    pub(crate) fn join(&self) -> Member {
        self.0.instances.fetch_add(1, Ordering::Relaxed);
        Member { pool: self.clone() }
    }
}

fn cleared(mut chunk: Memory) -> Memory {
    chunk.fill(0);
    chunk
}

/// One instance's part in the pool.
pub(crate) struct Member {
    pool: Pool,
}

impl Member {
    /// The pool.
    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Bytes for each instance if all take the same.
    pub(crate) fn share_bytes(&self) -> usize {
        self.pool.share_bytes()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.pool.0.instances.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(pool: &Pool) -> Vec<Memory> {
        core::iter::from_fn(|| pool.take_chunk(Limit::Held)).take(1_000).collect()
    }

    #[test]
    fn chunks_are_given_out_up_to_the_limit_and_again_when_they_come_back() {
        for (limit, bytes) in [(3, PAGE_BYTES), (20, HUGE_PAGE_BYTES)] {
            let pool = Pool::new(limit * bytes);
            let chunks = take_all(&pool);
            assert_eq!(chunks.len(), limit);
            assert!(chunks.iter().all(|chunk| chunk.len() == bytes));
            assert_eq!(pool.take_chunk(Limit::Passed).map(|chunk| chunk.len()), Some(PAGE_BYTES));
            assert_eq!(pool.taken_bytes(), limit * bytes + PAGE_BYTES);
            pool.give_back(chunks, PAGE_BYTES);
            assert_eq!((pool.taken_bytes(), pool.lock().free_bytes()), (0, limit * bytes));
            assert!(pool.take_chunk(Limit::Held).is_some());
        }
    }

    #[test]
    fn what_is_charged_displaces_chunks_that_nobody_uses() {
        let pool = Pool::new(4 * PAGE_BYTES);
        pool.give_back(take_all(&pool), 0);
        assert_eq!(pool.lock().free_pages.len(), 4);
        assert!(pool.charge(3 * PAGE_BYTES, Limit::Held));
        assert_eq!(pool.lock().free_pages.len(), 1);
        assert!(!pool.charge(2 * PAGE_BYTES, Limit::Held));
    }

    #[test]
    fn zeros_are_zeros_whatever_the_pages_were_used_for() {
        let pool = Pool::new(18 * HUGE_PAGE_BYTES);
        let mut chunks = take_all(&pool);
        chunks.iter_mut().for_each(|chunk| chunk.fill(1));
        pool.give_back(chunks, 0);
        for round in 1..4 {
            let mut zeros = pool.take_zeros(2 * round);
            assert_eq!(zeros.len(), 2 * round);
            assert!(zeros.iter().all(|chunk| chunk.iter().all(|byte| *byte == 0)));
            zeros.iter_mut().for_each(|chunk| chunk.fill(2));
            pool.give_back_zeros(zeros);
            assert_eq!((pool.taken_bytes(), pool.lock().free_zeros.len()), (0, 2 * round));
        }
        assert_eq!(pool.lock().free_bytes(), 18 * HUGE_PAGE_BYTES);
        assert_eq!(take_all(&pool).len(), 18);
        assert_eq!(pool.take_zeros(1).len(), 1);
    }

    #[test]
    fn pages_displace_huge_ones_that_nobody_uses_when_many_share() {
        let pool = Pool::new(16 * HUGE_PAGE_BYTES);
        pool.give_back(take_all(&pool), 0);
        let members = [pool.join(), pool.join()];
        let page = pool.take_chunk(Limit::Held);
        assert_eq!(page.map(|page| page.len()), Some(PAGE_BYTES));
        assert_eq!(pool.lock().free_huge.len(), 15);
        drop(members);
    }

    #[test]
    fn instances_share_the_limit() {
        let pool = Pool::new(1_000);
        let first = pool.join();
        assert_eq!(first.share_bytes(), 1_000);
        let second = pool.join();
        assert_eq!((first.share_bytes(), second.share_bytes()), (500, 500));
        drop(first);
        assert_eq!(second.share_bytes(), 1_000);
    }
}
