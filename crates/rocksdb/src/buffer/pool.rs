//! The memory that the buffers of all instances of a factory share.
//!
//! # Invariants
//! - What is taken stays within the limit, except for what was taken over it on purpose: each
//!   instance may hold [`INSTANCE_BYTES_MIN`] whatever the others hold, so that none waits for
//!   another one that does nothing.
//! - Pages that come back are kept for the next taker: a writer meets no allocation of the system's
//!   once its factory has run for a while, and never gives memory back to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = 16 << 10;

/// Bytes that each instance may hold although the pool is empty.
pub(crate) const INSTANCE_BYTES_MIN: usize = 4 * PAGE_BYTES;

/// Memory that records are written to.
pub(crate) type Page = Box<[u8; PAGE_BYTES]>;

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

struct State {
    free: Vec<Page>,
    /// Bytes in use: pages, and what else was charged.
    taken_bytes: usize,
}

impl Pool {
    /// A pool of so many bytes, of which nothing is allocated yet.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let state = Mutex::new(State { free: Vec::new(), taken_bytes: 0 });
        Self(Arc::new(Inner { limit_bytes, instances: AtomicUsize::new(0), state }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page, its contents whatever the last user left.
    pub(crate) fn take_page(&self, limit: Limit) -> Option<Page> {
        let mut state = self.lock();
        if limit == Limit::Held && state.taken_bytes + PAGE_BYTES > self.0.limit_bytes {
            return None;
        }
        state.taken_bytes += PAGE_BYTES;
        let page = state.free.pop();
        drop(state);
        Some(page.unwrap_or_else(|| Box::new([0; PAGE_BYTES])))
    }

    /// Counts memory that a buffer allocates itself.
    pub(crate) fn charge(&self, bytes: usize, limit: Limit) -> bool {
        let mut state = self.lock();
        let sum = state.taken_bytes + bytes;
        if limit == Limit::Held && sum > self.0.limit_bytes {
            return false;
        }
        state.taken_bytes = sum;
        // Pages that nobody uses are memory as well.
        let pages = self.0.limit_bytes.saturating_sub(sum) / PAGE_BYTES;
        state.free.truncate(pages);
        true
    }

    /// Takes pages back, and so many bytes of what was charged.
    pub(crate) fn give_back(&self, pages: &mut Vec<Page>, charged_bytes: usize) {
        let mut state = self.lock();
        let bytes = pages.len() * PAGE_BYTES + charged_bytes;
        state.taken_bytes = state.taken_bytes.saturating_sub(bytes);
        let kept = self.0.limit_bytes.saturating_sub(state.taken_bytes) / PAGE_BYTES;
        let room = kept.saturating_sub(state.free.len()).min(pages.len());
        state.free.extend(pages.drain(..room));
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
        let inner = &self.pool.0;
        inner.limit_bytes / inner.instances.load(Ordering::Relaxed).max(1)
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

    #[test]
    fn pages_are_given_out_up_to_the_limit_and_again_when_they_come_back() {
        let pool = Pool::new(3 * PAGE_BYTES);
        let mut pages: Vec<Page> =
            core::iter::from_fn(|| pool.take_page(Limit::Held)).take(10).collect();
        assert_eq!(pages.len(), 3);
        assert!(pool.take_page(Limit::Passed).is_some());
        assert_eq!(pool.taken_bytes(), 4 * PAGE_BYTES);
        pool.give_back(&mut pages, PAGE_BYTES);
        assert_eq!(pool.taken_bytes(), 0);
        assert!(pool.take_page(Limit::Held).is_some());
    }

    #[test]
    fn what_is_charged_displaces_pages_that_nobody_uses() {
        let pool = Pool::new(4 * PAGE_BYTES);
        let mut pages: Vec<Page> =
            core::iter::from_fn(|| pool.take_page(Limit::Held)).take(4).collect();
        pool.give_back(&mut pages, 0);
        assert_eq!(pool.lock().free.len(), 4);
        assert!(pool.charge(3 * PAGE_BYTES, Limit::Held));
        assert_eq!(pool.lock().free.len(), 1);
        assert!(!pool.charge(2 * PAGE_BYTES, Limit::Held));
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
