//! The asynchronous part: names every captured file to the transfer.
//!
//! # Invariants
//! - The task owns the capture and nothing of the database, which may close meanwhile. Dropped at
//!   any time, it removes the links.
//! - A file that the transfer refuses to re-use is added like a new one.

use std::collections::BTreeSet;

use millpond_state::{
    CancelFlag, FileTransfer, FilesSummary, FilesTask, KeyGroupRange, KeyedBackend, LocalFile,
    Result, SnapshotForm, SnapshotRequest, StateDescriptor,
};

use rocksdb::DB;

use super::capture::{Captured, CapturedFiles, capture};
use super::corrections::{self, Frozen};
use super::known::KnownFiles;
use super::manifest::Manifest;
use super::sst::{SstFile, estimated_entries, file_number};
use crate::backend::RocksDbBackend;

/// Files that a transfer gets at once: enough to pack and write several objects side by side, few
/// enough that one which does not look at the cancel flag ends in time.
const FILES_AT_ONCE: usize = 64;

/// The synchronous part of a snapshot, if `request` wants files.
pub(crate) fn snapshot_files(
    backend: &RocksDbBackend,
    request: &SnapshotRequest,
) -> Result<Option<Box<dyn FilesTask>>> {
    if request.form != SnapshotForm::Incremental {
        return Ok(None);
    }
    let known = backend.native.known.clone();
    Ok(Some(Box::new(NativeSnapshot {
        number: known.next_capture(),
        captured: capture(&backend.store)?,
        key_groups: backend.key_groups(),
        states: backend.registry.persisted_descriptors(),
        frozen: Frozen::of(&backend.registry),
        known,
    })))
}

/// A snapshot that was captured and is to be uploaded.
pub(crate) struct NativeSnapshot {
    /// Captures of a database are numbered as they are taken.
    number: u64,
    captured: Captured,
    key_groups: KeyGroupRange,
    states: Vec<StateDescriptor>,
    frozen: Option<Frozen>,
    /// Of the captured database.
    known: KnownFiles,
}

impl FilesTask for NativeSnapshot {
    fn run(
        mut self: Box<Self>,
        files: &mut dyn FileTransfer,
        cancel: &CancelFlag,
    ) -> Result<FilesSummary> {
        cancel.check()?;
        let db = self.captured.open()?;
        let CapturedFiles { tables, others } = self.captured.files(&db)?;
        let mut new = Vec::new();
        for table in &tables {
            if !self.reuse(files, table)? {
                new.push(table);
            }
        }
        let mut upload = Upload { files, cancel, captured: &self.captured, known: &self.known };
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let tables_new = new.iter().map(|table| table.name.as_str());
        upload.add(&tables_new.chain(others).collect::<Vec<_>>())?;
        let corrections = self.correct(&db, files, cancel)?;
        let names = tables.iter().map(|table| table.name.as_str()).collect::<BTreeSet<_>>();
        self.known.retain(self.number, &names);
        let changed = new.iter().map(|table| table.entries).sum::<u64>();
        let mut summary = FilesSummary::default();
        summary.entries = estimated_entries(&tables);
        summary.entries_changed = changed + corrections;
        let (states, family) = (self.states, self.captured.family().to_owned());
        summary.states.clone_from(&states);
        summary.manifest = Manifest { states, family, files: tables }.encode()?;
        Ok(summary)
    }
}

impl NativeSnapshot {
    /// Adds what the files must not say, if there is anything; returns how many entries.
    fn correct(
        &mut self,
        db: &DB,
        files: &mut dyn FileTransfer,
        cancel: &CancelFlag,
    ) -> Result<u64> {
        let Some(frozen) = self.frozen.take() else { return Ok(0) };
        let (family, states) = (self.captured.family(), &self.states[..]);
        let captured = corrections::Captured { db, family, groups: self.key_groups, states };
        corrections::add(&captured, frozen, files, cancel)
    }

    /// Makes `table` a part of the snapshot as storage has it; `false` if it cannot be.
    fn reuse(&self, files: &mut dyn FileTransfer, table: &SstFile) -> Result<bool> {
        for identity in self.known.of(&table.name) {
            if files.reuse(&table.name, &identity)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

struct Upload<'u> {
    files: &'u mut dyn FileTransfer,
    cancel: &'u CancelFlag,
    captured: &'u Captured,
    known: &'u KnownFiles,
}

impl Upload<'_> {
    /// Adds captured files, of which later snapshots may re-use the tables.
    fn add(&mut self, names: &[&str]) -> Result<()> {
        let local = |name: &&str| LocalFile {
            name: (*name).to_owned(),
            path: self.captured.path().join(name),
        };
        for some in names.chunks(FILES_AT_ONCE) {
            self.cancel.check()?;
            let files: Vec<LocalFile> = some.iter().map(local).collect();
            let identities = self.files.add_local(&files)?;
            for (file, identity) in files.into_iter().zip(identities) {
                if file_number(&file.name).is_some() {
                    self.known.note(&file.name, identity);
                }
            }
        }
        Ok(())
    }
}
