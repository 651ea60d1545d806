//! Expired entries go when RocksDB compacts the files that they are in.
//!
//! # Invariants
//! - What was alive when a snapshot was taken stays until that snapshot is written: RocksDB's own
//!   snapshots do not protect entries from compaction filters, and event time may have passed by
//!   then what the checkpoint contains. So compactions judge by the time of the oldest snapshot
//!   under way.
//! - While a state is being migrated nothing of it goes: some of its values are still of the older
//!   form, and would be mistaken.
//! - What does not decode, and what has expired only in parts, stays as it is.
//! - Entries of key groups that the instance does not own came with files of another: nobody sees
//!   them, so they go whatever their age.

use core::ffi::CStr;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_state::{Expiry, ExpiryFilter, KeyGroupRange, Scratch, StateDescriptor};
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};

use crate::layout;

/// Shown in RocksDB's log.
const NAME: &CStr = c"millpond.expiry";

/// The states of an instance that expire, and the snapshots under way. Clones share them.
#[derive(Clone)]
pub(crate) struct Expiries {
    /// The key groups that the instance owns.
    own: KeyGroupRange,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// By id.
    states: Vec<StateDescriptor>,
    /// The time of each state's clock when a snapshot under way was taken, oldest first.
    held: BTreeMap<u64, Vec<Option<i64>>>,
    next_hold: u64,
}

impl Inner {
    fn times(&self) -> Vec<Option<i64>> {
        let states = self.states.iter();
        states.map(|state| state.expiry().and_then(|filter| filter.now_ms())).collect()
    }
}

impl Expiries {
    /// Of an instance that owns `own`, none yet.
    pub(crate) fn new(own: KeyGroupRange) -> Self {
        Self { own, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all states as they are now declared.
    pub(crate) fn set(&self, states: &[StateDescriptor]) {
        self.lock().states = states.to_vec();
    }

    /// Keeps what is alive now until the hold is dropped.
    pub(crate) fn hold(&self) -> Hold {
        let mut inner = self.lock();
        let (number, times) = (inner.next_hold, inner.times());
        inner.next_hold += 1;
        inner.held.insert(number, times);
        Hold { expiries: self.clone(), number }
    }

    /// What to judge by in a compaction that begins now.
    fn judge(&self) -> Judge {
        let inner = self.lock();
        let times =
            inner.held.first_key_value().map_or_else(|| inner.times(), |(_, it)| it.clone());
        let states = inner.states.iter().zip(times).map(|(state, now_ms)| {
            let filter = state.expiry().filter(|_| !state.is_migrating())?;
            Some((Arc::clone(filter), now_ms?))
        });
        let states = states.collect();
        Judge { own: self.own, states, rewritten: Scratch::new() }
    }
}

/// Keeps what was alive when it was made.
pub(crate) struct Hold {
    expiries: Expiries,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.expiries.lock().held.remove(&self.number);
    }
}

impl CompactionFilterFactory for Expiries {
    type Filter = Judge;

    fn create(&mut self, _: CompactionFilterContext) -> Judge {
        self.judge()
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// Judges the entries of one compaction, all at one instant.
pub(crate) struct Judge {
    own: KeyGroupRange,
    /// By state: filter and time, if it expires and its time is known.
    states: Vec<Option<(Arc<dyn ExpiryFilter>, i64)>>,
    rewritten: Scratch,
}

impl Judge {
    fn is_unwanted(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Some((group, state, _)) = layout::split_scope(key) else { return false };
        if !self.own.contains(group) {
            return true;
        }
        let Some(Some((filter, now))) = self.states.get(state.index()) else { return false };
        matches!(filter.judge(value, Some(*now), &mut self.rewritten), Ok(Expiry::Expired))
    }
}

impl CompactionFilter for Judge {
    fn filter(&mut self, _level: u32, key: &[u8], value: &[u8]) -> CompactionDecision {
        if self.is_unwanted(key, value) {
            CompactionDecision::Remove
        } else {
            CompactionDecision::Keep
        }
    }

    fn name(&self) -> &CStr {
        NAME
    }
}
