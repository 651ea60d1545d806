//! The asynchronous part: names every captured file to the transfer.
//!
//! # Invariants
//! - The task owns the capture and nothing of the database, which may close meanwhile: then what
//!   was frozen lands all the same. Dropped at any time, it removes the links.
//! - A file that the transfer refuses to re-use is added like a new one.

use std::collections::BTreeSet;

use millpond_state::{
    CancelFlag, FileTransfer, FilesSummary, FilesTask, KeyGroupRange, KeyedBackend, LocalFile,
    Result, SnapshotForm, SnapshotRequest, StateDescriptor,
};

use super::capture::{Captured, CapturedFiles};
use super::corrections::{self, Frozen};
use super::known::KnownFiles;
use super::manifest::Manifest;
use super::pending::Pending;
use super::sst::{SstFile, estimated_entries, file_number};
use crate::backend::RocksDbBackend;

/// Files that a transfer gets at once: enough to pack and write several objects side by side, few
/// enough that one which does not look at the cancel flag ends in time.
const FILES_AT_ONCE: usize = 64;

/// The synchronous part of a snapshot, if `request` wants files.
pub(crate) fn snapshot_files(
    backend: &mut RocksDbBackend,
    request: &SnapshotRequest,
) -> Result<Option<Box<dyn FilesTask>>> {
    if request.form != SnapshotForm::Incremental {
        return Ok(None);
    }
    let known = backend.native.known.clone();
    Ok(Some(Box::new(NativeSnapshot {
        number: known.next_capture(),
        key_groups: backend.key_groups(),
        states: backend.registry.persisted_descriptors(),
        frozen: Frozen::of(&backend.registry),
        pending: Pending::begin(&mut backend.tables, backend.expiries.hold())?,
        known,
    })))
}

/// A snapshot that was taken and is to be uploaded.
pub(crate) struct NativeSnapshot {
    /// Captures of a database are numbered as they are taken.
    number: u64,
    pending: Pending,
    key_groups: KeyGroupRange,
    states: Vec<StateDescriptor>,
    frozen: Option<Frozen>,
    /// Of the captured database.
    known: KnownFiles,
}

impl FilesTask for NativeSnapshot {
    fn run(
        self: Box<Self>,
        files: &mut dyn FileTransfer,
        cancel: &CancelFlag,
    ) -> Result<FilesSummary> {
        cancel.check()?;
        let Self { number, pending, key_groups, states, frozen, known } = *self;
        let captured = pending.wait(cancel)?;
        let db = captured.open()?;
        let CapturedFiles { tables, others } = captured.files(&db)?;
        let mut new = Vec::new();
        for table in &tables {
            if !reuse(files, table, &known)? {
                new.push(table);
            }
        }
        let mut upload = Upload { files, cancel, captured: &captured, known: &known };
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let tables_new = new.iter().map(|table| table.name.as_str());
        upload.add(&tables_new.chain(others).collect::<Vec<_>>())?;
        let mut changed = new.iter().map(|table| table.entries).sum::<u64>();
        let family = captured.family();
        if let Some(frozen) = frozen {
            let of = corrections::Captured { db: &db, family, groups: key_groups, states: &states };
            changed += corrections::add(&of, frozen, files, cancel)?;
        }
        let names = tables.iter().map(|table| table.name.as_str()).collect::<BTreeSet<_>>();
        known.retain(number, &names);
        let mut summary = FilesSummary::default();
        summary.entries = estimated_entries(&tables);
        summary.entries_changed = changed;
        summary.states.clone_from(&states);
        let family = family.to_owned();
        summary.manifest = Manifest { states, family, files: tables }.encode()?;
        Ok(summary)
    }
}

/// Makes `table` a part of the snapshot as storage has it; `false` if it cannot be.
fn reuse(files: &mut dyn FileTransfer, table: &SstFile, known: &KnownFiles) -> Result<bool> {
    for identity in known.of(&table.name) {
        if files.reuse(&table.name, &identity)? {
            return Ok(true);
        }
    }
    Ok(false)
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
