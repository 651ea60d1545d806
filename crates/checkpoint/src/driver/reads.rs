//! What a restore reads: each file from the local disk if there is a whole copy of it, else from
//! storage, and every file that state is taken from checked as a whole, once for all subtasks.
//!
//! # Invariants
//! - No state of a file is restored unless the checksum of all its bytes is the one that the
//!   metadata states: an older file of the same name and length is damage, although each of its
//!   blocks is whole.
//! - What readers read is checksummed as it passes, so that no byte is read for the check that
//!   some subtask has read anyway.
//!
//! # How it fails
//! A file of another checksum is [`ErrorKind::Corrupt`], and named; the restored state must be
//! dropped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use millpond_snapshot::ByteSource;
use millpond_state::FileIdentity;

use super::coverage::Coverage;
use super::local::LocalCopies;
use crate::error::{CheckpointError, ErrorKind, Result};

/// Bytes read at once of what no reader has read.
const CHUNK_BYTES: u64 = 1 << 20;

/// Bytes of the files that a restore took state from, each file once, by where it read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoredBytes {
    /// On the local disk.
    pub local: u64,
    /// In checkpoint storage.
    pub storage: u64,
}

/// The reads of one restore, shared by its subtasks.
#[derive(Debug, Default)]
pub(super) struct RestoreReads {
    copies: Option<Arc<LocalCopies>>,
    files: Mutex<BTreeMap<String, Arc<FileCheck>>>,
    local_bytes: AtomicU64,
    storage_bytes: AtomicU64,
}

impl RestoreReads {
    pub(super) fn new(copies: Option<Arc<LocalCopies>>) -> Arc<Self> {
        Arc::new(Self { copies, ..Self::default() })
    }

    /// The check of `file`, which state is about to be taken from.
    pub(super) fn check(&self, file: &FileIdentity) -> Arc<FileCheck> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let check = files.entry(file.place().to_owned()).or_insert_with(|| {
            Arc::new(FileCheck {
                file: file.clone(),
                copy: OnceLock::new(),
                seen: Mutex::default(),
                outcome: OnceLock::new(),
                settling: Mutex::default(),
            })
        });
        let check = Arc::clone(check);
        drop(files);
        check.copy.get_or_init(|| {
            let copy = self.copies.as_ref().and_then(|copies| copies.open_whole(file));
            let bytes = if copy.is_some() { &self.local_bytes } else { &self.storage_bytes };
            bytes.fetch_add(file.bytes(), Ordering::Relaxed);
            copy
        });
        check
    }

    pub(super) fn bytes(&self) -> RestoredBytes {
        RestoredBytes {
            local: self.local_bytes.load(Ordering::Relaxed),
            storage: self.storage_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Whether a file is what metadata says, as far as that is known yet.
#[derive(Debug)]
pub(super) struct FileCheck {
    file: FileIdentity,
    /// The whole copy on the local disk, if there is one.
    copy: OnceLock<Option<PathBuf>>,
    seen: Mutex<Coverage>,
    /// The checksum of all bytes, once it is known.
    outcome: OnceLock<u32>,
    /// Held by who reads what nobody has read.
    settling: Mutex<()>,
}

impl FileCheck {
    /// The local copy, all of which has been checked.
    pub(super) fn copy(&self) -> Option<&Path> {
        self.copy.get()?.as_deref()
    }

    /// Takes bytes of the file that were read, from `offset` on.
    pub(super) fn see(&self, offset: u64, bytes: &[u8]) {
        if self.outcome.get().is_none() {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).see(offset, bytes);
        }
    }

    /// Compares the checksum; reads through `source`, which is the file, what nobody has read.
    pub(super) fn settle(&self, source: &impl ByteSource) -> Result<()> {
        if self.copy().is_some() {
            return Ok(());
        }
        let settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = Vec::new();
        while self.outcome.get().is_none() {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((offset, missing)) = seen.gap(self.file.bytes()) else {
                self.outcome.get_or_init(|| seen.crc32());
                break;
            };
            drop(seen);
            chunk.resize(usize::try_from(missing.min(CHUNK_BYTES)).unwrap_or(usize::MAX), 0);
            source.read_exact_at(offset, &mut chunk)?;
            self.see(offset, &chunk);
        }
        drop(settling);
        match self.outcome.get() {
            Some(crc32) if *crc32 == self.file.crc32() => Ok(()),
            other => Err(self.other_checksum(source.name(), other.copied().unwrap_or(0))),
        }
    }

    #[cold]
    fn other_checksum(&self, name: &str, found: u32) -> CheckpointError {
        let message = format!(
            "{name}: the checksum of the whole file is {found:08x}, expected {:08x}: it is damaged \
             or another file",
            self.file.crc32()
        );
        CheckpointError::new(ErrorKind::Corrupt, message)
    }
}
