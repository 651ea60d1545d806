//! What lies below the active generation, as of one instant.
//!
//! # Invariants
//! - Generations land in the order in which they were frozen, each at once, and nothing else is
//!   written to the database while a buffer is in use.
//! - A view is whole: its [base](Base) shows exactly the generations that its `unlanded` ones came
//!   after. So what an unlanded generation appends is not in its base, however far the database
//!   has come meanwhile: nothing is counted twice. A key of which no unlanded generation of a view
//!   has a record reads the same from the base and from the newest state of the database.
//! - Of a generation that has landed everything is in the base. It is kept for what it says as a
//!   whole; its appends say nothing any more.

use std::sync::Arc;

use rocksdb::{DBPinnableSlice, DBRawIterator, ReadOptions, Snapshot};

use millpond_state::Result;

use super::generation::Generation;
use crate::store::Store;

self_cell::self_cell!(
    /// A RocksDB snapshot together with the database that it borrows.
    pub(crate) struct HeldSnapshot {
        owner: Arc<Store>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// A state of the database that stays.
pub(crate) struct Base {
    // Fields drop in this order: the options point to the snapshot.
    read: ReadOptions,
    held: HeldSnapshot,
}

impl Base {
    /// The present state of `store`.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        let held = HeldSnapshot::new(store, |store| store.snapshot());
        let mut read = ReadOptions::default();
        read.set_snapshot(held.borrow_dependent());
        Self { read, held }
    }

    /// The value of a key in this state.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>> {
        self.held.borrow_owner().get_with(key, &self.read)
    }

    /// An iterator over this state.
    pub(crate) fn iterator(&self, options: ReadOptions) -> Result<DBRawIterator<'_>> {
        let family = self.held.borrow_owner().family()?;
        Ok(self.held.borrow_dependent().raw_iterator_cf_opt(family, options))
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct View {
    /// Newest first.
    pub(crate) unlanded: Vec<Arc<Generation>>,
    /// Newest first; all older than the unlanded ones.
    pub(crate) landed: Vec<Arc<Generation>>,
    pub(crate) base: Arc<Base>,
}

impl View {
    /// A view of nothing but the database.
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        let base = Arc::new(Base::new(Arc::clone(store)));
        Self { unlanded: Vec::new(), landed: Vec::new(), base }
    }

    /// Bytes of the generations that have not landed.
    pub(crate) fn unlanded_bytes(&self) -> usize {
        self.unlanded.iter().map(|generation| generation.bytes()).sum()
    }

    /// Bytes of all generations.
    pub(crate) fn bytes(&self) -> usize {
        let landed = self.landed.iter().map(|generation| generation.bytes());
        self.unlanded_bytes() + landed.sum::<usize>()
    }
}
