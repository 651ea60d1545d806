//! Snapshots in RocksDB's own files, and what becomes of them on restore.
//!
//! ```text
//! synchronous    pending    hash buffer frozen; without one, captured at once
//! asynchronous   capture    when that has landed: files hard-linked into a folder of the instance
//!                upload     lists the linked files, names those that storage has, adds the others
//!                corrections  what had expired, and what is being migrated, as a delta
//! restore        fetch      files into the instance's folder, checksums compared
//!                adopt      all key groups of one handle: opened with their MANIFEST
//!                import     else: whole files of several databases become one family
//! ```
//!
//! # Invariants
//! - A file is known by the database and the name under which that wrote it: RocksDB never gives a
//!   number out twice within a database. Name and size alone say nothing.
//! - Files keep level and sequence numbers wherever they go. They are never ingested again: that
//!   loses their sequence numbers, and old values come back.
//! - Files may hold entries of key groups that the instance does not own, of a time when the
//!   database was shared. Nobody sees those, compactions drop them, and they are clipped before an
//!   instance imports the files that owns those key groups from elsewhere.
//! - A database that is restored is complete before it takes the place of the one before.
//!
//! # Failures
//! A file whose bytes are not those of its identity is named and never opened. After a failed
//! restore the instance must be dropped.

mod adopt;
mod capture;
mod clip;
mod corrections;
mod fetch;
mod import;
mod known;
mod manifest;
mod pending;
mod reput;
mod restore;
mod sst;
#[expect(unsafe_code, reason = "what the binding does not wrap is called through its sys crate")]
mod sys;
mod upload;

pub(crate) use restore::restore_files;
pub(crate) use upload::snapshot_files;

/// What metadata calls the backend of these files.
pub(crate) const FORMAT: &str = "rocksdb";

/// What a backend keeps for its native snapshots.
#[derive(Debug)]
pub(crate) struct Native {
    /// Files that fetch at once.
    transfer_threads: usize,
    /// The files of the present database that storage has.
    known: known::KnownFiles,
    /// The key groups that were restored so far.
    restored: Vec<millpond_state::KeyGroupRange>,
}

impl Native {
    /// Nothing is known yet; up to `transfer_threads` files are fetched at once.
    pub(crate) fn new(transfer_threads: usize) -> Self {
        let transfer_threads = transfer_threads.max(1);
        Self { transfer_threads, known: known::KnownFiles::default(), restored: Vec::new() }
    }

    /// Entries of `groups` have come from elsewhere.
    pub(crate) fn note_restored(&mut self, groups: millpond_state::KeyGroupRange) {
        self.restored.push(groups);
    }
}
