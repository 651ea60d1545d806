//! One checkpoint's folder: what is in it, and whether it is whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use millpond_snapshot::incremental::CHAIN_FORMAT;
use millpond_snapshot::metadata::{FileHandle, KeyedStateHandle, LogicalFile, METADATA_BYTES_MAX};
use millpond_snapshot::{
    ChainEntries, ChainReader, CheckpointMetadata, Damage, FullEntries, FullReader, Report,
    verify_full, verify_metadata, verify_object,
};
use millpond_state::{EntrySource, FileIdentity, KeyGroupRange, SnapshotEntry, StateDescriptor};
use millpond_storage::{Store, StorePath};

use super::adapter::{ObjectSource, read_small};
use super::local::LocalCopies;
use super::native::{ObjectPart, place};
use super::reads::{RestoreReads, RestoredBytes};
use super::storage;
use crate::error::{CheckpointError, ErrorKind, Result};
use crate::name;

/// The folder of one checkpoint or savepoint. May have been moved: names in it are relative.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    store: Arc<dyn Store>,
    /// `None`: the store's root is the folder.
    path: Option<StorePath>,
    /// What is read is read for this restore.
    reads: Option<Arc<RestoreReads>>,
}

impl CheckpointFolder {
    /// The folder `path` of `store`; `None` for the store's root itself. Files that the checkpoint
    /// shares with others are looked for from the store's root, so with `None` there can be none.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, path: Option<StorePath>) -> Self {
        Self { store, path, reads: None }
    }

    /// The same folder, to restore from: its files are taken from `copies` where those are whole,
    /// and each file that state is taken from is checked as a whole. All
    /// [sources](super::KeyedStateSource) of one restore share one such folder, or its clones, so
    /// that each file is checked once; every restore has its own.
    #[must_use]
    pub fn for_restore(&self, copies: Option<Arc<LocalCopies>>) -> Self {
        Self { reads: Some(RestoreReads::new(copies)), ..self.clone() }
    }

    /// What was read through this folder and its clones; nothing unless it is
    /// [for a restore](Self::for_restore).
    #[must_use]
    pub fn restored_bytes(&self) -> RestoredBytes {
        self.reads.as_ref().map(|reads| reads.bytes()).unwrap_or_default()
    }

    pub(super) fn is_for_restore(&self) -> bool {
        self.reads.is_some()
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn url(&self) -> String {
        let root = self.store.url().trim_end_matches('/');
        self.path.as_ref().map_or_else(|| root.to_owned(), |path| format!("{root}/{path}"))
    }

    pub(super) fn store_path(&self) -> Option<&StorePath> {
        self.path.as_ref()
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The store path of a file in the folder.
    pub(super) fn path(&self, name: &str) -> Result<StorePath> {
        match &self.path {
            Some(folder) => folder.join(name),
            None => StorePath::new(name),
        }
        .map_err(storage)
    }

    /// The store path of a file that the metadata names.
    fn locate(&self, file: &FileHandle) -> Result<StorePath> {
        // Metadata takes more names than stores do: such a file cannot be there.
        let unusable = |error: millpond_storage::StorageError| {
            let message = format!("the metadata in {} names no file: {error}", self.url());
            CheckpointError::new(ErrorKind::Corrupt, message)
        };
        if !file.is_shared() {
            return match &self.path {
                Some(folder) => folder.join(file.name()),
                None => StorePath::new(file.name()),
            }
            .map_err(unusable);
        }
        if self.path.is_none() {
            let message = format!(
                "{} shares {} with other checkpoints: name it as a folder of its checkpoint \
                 storage, not as a storage of its own",
                self.url(),
                file.name()
            );
            return Err(CheckpointError::new(ErrorKind::InvalidArgument, message));
        }
        StorePath::new(file.name()).map_err(unusable)
    }

    /// Where a file that the metadata names is, for messages.
    fn file_url(&self, file: &FileHandle) -> String {
        if file.is_shared() {
            return format!("{}/{}", self.store.url().trim_end_matches('/'), file.name());
        }
        format!("{}/{}", self.url(), file.name())
    }

    /// Reads the metadata.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none: no checkpoint exists here. [`ErrorKind::Corrupt`]
    /// if it is damaged, [`ErrorKind::Incompatible`] if a newer Millpond wrote it,
    /// [`ErrorKind::Storage`] if it cannot be read.
    pub fn load(&self) -> Result<CheckpointMetadata> {
        let path = self.path(name::METADATA)?;
        let bytes = read_small(&self.store, &path, METADATA_BYTES_MAX)?;
        let metadata =
            CheckpointMetadata::decode_from(&format!("{}/{path}", self.store.url()), &bytes)?;
        match self.misplaced(&metadata) {
            None => Ok(metadata),
            Some(what) => {
                let message = format!("{}/{path}: {what}", self.store.url());
                Err(CheckpointError::new(ErrorKind::Corrupt, message))
            }
        }
    }

    /// What is wrong if the metadata is that of another checkpoint than the folder is named for.
    fn misplaced(&self, metadata: &CheckpointMetadata) -> Option<String> {
        let named = name::parse_folder(self.path.as_ref()?.name())?;
        (named != metadata.checkpoint).then(|| {
            format!("it is the metadata of checkpoint {}: it was swapped", metadata.checkpoint)
        })
    }

    /// Checks, without reading them, that all files are there and have the right length.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] naming the first file that is missing or has another length;
    /// [`ErrorKind::Storage`] if that cannot be found out.
    pub fn check_present(&self, metadata: &CheckpointMetadata) -> Result<()> {
        for file in metadata.files() {
            self.open_sized(file)?;
        }
        Ok(())
    }

    /// Checks every byte of the metadata and of every file it names, restoring nothing. The report
    /// is over all files together and lists the damage found; none means the checkpoint is whole.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no metadata; [`ErrorKind::Storage`] if something cannot
    /// be read.
    pub fn verify(&self) -> Result<Report> {
        let path = self.path(name::METADATA)?;
        let name = format!("{}/{path}", self.store.url());
        let damaged = |what| {
            let damage = Damage { file: name.clone(), offset: 0, key_group: None, what };
            Report { damage: vec![damage], ..Report::default() }
        };
        let bytes = match read_small(&self.store, &path, METADATA_BYTES_MAX) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return Ok(damaged(error.message().to_owned()));
            }
            bytes => bytes?,
        };
        let mut total = verify_metadata(&name, &bytes)?;
        if !total.is_whole() {
            return Ok(total);
        }
        let metadata = CheckpointMetadata::decode_from(&name, &bytes)?;
        if let Some(what) = self.misplaced(&metadata) {
            return Ok(damaged(what));
        }
        for (file, content) in contents(&metadata) {
            let report = match self.open(file) {
                Ok((source, _)) => match content {
                    Content::Full => verify_full(&source, Some(file))?,
                    Content::LogicalFiles(files) => verify_object(&source, file, files)?,
                },
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let damage = self.unopened(file, error.message());
                    Report { damage: vec![damage], ..Report::default() }
                }
                Err(error) => return Err(error),
            };
            total.damage.extend(report.damage);
            total.unlisted += report.unlisted;
            total.bytes += report.bytes;
            total.blocks += report.blocks;
            total.entries += report.entries;
        }
        Ok(total)
    }

    fn unopened(&self, file: &FileHandle, why: &str) -> Damage {
        let file = self.file_url(file);
        let missing = why == missing(&file);
        let what = if missing { "the file is missing" } else { why }.to_owned();
        Damage { file, offset: 0, key_group: None, what }
    }

    /// Opens the full snapshot that `handle` names.
    ///
    /// # Errors
    /// [`ErrorKind::Incompatible`] if it names native files instead; [`ErrorKind::Corrupt`] if the
    /// file is missing or damaged; [`ErrorKind::Storage`] if it cannot be read.
    pub fn open_full(&self, handle: &KeyedStateHandle) -> Result<FullReader<ObjectSource>> {
        let full = match handle {
            KeyedStateHandle::Full(full) => full,
            KeyedStateHandle::Incremental(native) => return Err(native_handle(&native.backend)),
            _ => return Err(unknown_handle()),
        };
        let file = &full.file;
        let (source, _) = self.open_part(file, (0, file.bytes(), file.crc32()))?;
        Ok(FullReader::open_handle(source, file)?)
    }

    /// Opens keyed state whose entries can be read without the backend that wrote it: a full
    /// snapshot, or a [chain](millpond_snapshot::incremental) merged into one.
    ///
    /// # Errors
    /// As [`Self::open_full`].
    pub fn open_entries(&self, handle: &KeyedStateHandle) -> Result<EntriesReader> {
        match handle {
            KeyedStateHandle::Incremental(native) if native.backend == CHAIN_FORMAT => {
                let mut files = Vec::new();
                for (logical, object) in native.placed_files() {
                    files.push((logical.name.as_str(), ObjectPart::open(self, logical, object)?));
                }
                Ok(EntriesReader::Chain(ChainReader::open(files)?))
            }
            _ => Ok(EntriesReader::Full(self.open_full(handle)?)),
        }
    }

    /// The name of a file that the metadata names, relative to the root of the store.
    pub(super) fn rooted_name(&self, file: &FileHandle) -> String {
        match &self.path {
            Some(folder) if !file.is_shared() => format!("{folder}/{}", file.name()),
            _ => file.name().to_owned(),
        }
    }

    /// What each file of keyed state that the metadata names is known by.
    pub(super) fn places(&self, metadata: &CheckpointMetadata) -> Vec<String> {
        let mut places = Vec::new();
        let subtasks = metadata.vertices.iter().flat_map(|vertex| &vertex.subtasks);
        for handle in subtasks.flat_map(|subtask| &subtask.keyed_state) {
            match handle {
                KeyedStateHandle::Full(full) => {
                    places.push(place(&self.rooted_name(&full.file), 0));
                }
                KeyedStateHandle::Incremental(native) => {
                    let files = native.placed_files();
                    places.extend(
                        files.map(|(file, object)| place(&self.rooted_name(object), file.offset)),
                    );
                }
                _ => {}
            }
        }
        places
    }

    /// Opens an object that the metadata names, to read the file of so many bytes and this checksum
    /// that begins at an offset in it. Returns also where it begins in what was opened.
    pub(super) fn open_part(
        &self,
        object: &FileHandle,
        (offset, bytes, crc32): (u64, u64, u32),
    ) -> Result<(ObjectSource, u64)> {
        let Some(reads) = &self.reads else {
            return Ok((self.open_sized(object)?, offset));
        };
        let place = place(&self.rooted_name(object), offset);
        let check = reads.check(&FileIdentity::new(place, bytes, crc32));
        if let Some(copy) = check.copy() {
            return Ok((ObjectSource::open_copy(copy, Arc::clone(&check))?, 0));
        }
        Ok((self.open_sized(object)?.with_check(offset, check), offset))
    }

    /// Opens a file that the metadata names and checks its length.
    fn open_sized(&self, file: &FileHandle) -> Result<ObjectSource> {
        let (source, len) = self.open(file)?;
        if len == file.bytes() {
            return Ok(source);
        }
        Err(self.wrong_length(file, len))
    }

    fn wrong_length(&self, file: &FileHandle, len: u64) -> CheckpointError {
        let message = format!(
            "{} has {len} bytes, the metadata says {}: it is cut or replaced",
            self.file_url(file),
            file.bytes()
        );
        CheckpointError::new(ErrorKind::Corrupt, message)
    }

    fn open(&self, file: &FileHandle) -> Result<(ObjectSource, u64)> {
        let path = self.locate(file)?;
        let source = ObjectSource::open(&self.store, &path).map_err(|error| {
            if error.kind() != ErrorKind::NotFound {
                return error;
            }
            CheckpointError::new(ErrorKind::Corrupt, missing(&self.file_url(file)))
        })?;
        let len = millpond_snapshot::ByteSource::len(&source);
        Ok((source, len))
    }
}

/// Keyed state whose entries can be read in canonical order.
pub enum EntriesReader {
    /// A full snapshot.
    Full(FullReader<ObjectSource>),
    /// A base and its deltas.
    Chain(ChainReader<ObjectPart>),
}

impl EntriesReader {
    /// The states, which entries refer to by index.
    #[must_use]
    pub fn states(&self) -> &[StateDescriptor] {
        match self {
            Self::Full(full) => full.states(),
            Self::Chain(chain) => chain.states(),
        }
    }

    /// Compares the checksums of the files, if they are read for a restore.
    pub(super) fn settle(&self) -> Result<()> {
        match self {
            Self::Full(full) => {
                let source = full.source();
                source.check().map_or(Ok(()), |check| check.settle(source))
            }
            Self::Chain(chain) => chain.sources().try_for_each(ObjectPart::settle),
        }
    }

    /// The entries of the key groups in `range`, in canonical order.
    #[must_use]
    pub fn entries(&self, range: KeyGroupRange) -> StoredEntries<'_> {
        match self {
            Self::Full(full) => StoredEntries::Full(Box::new(full.entries(range))),
            Self::Chain(chain) => StoredEntries::Chain(Box::new(chain.entries(range))),
        }
    }
}

/// The entries of a range of key groups of an [`EntriesReader`].
pub enum StoredEntries<'r> {
    /// Of a full snapshot.
    Full(Box<FullEntries<'r, ObjectSource>>),
    /// Of a chain.
    Chain(Box<ChainEntries<'r, ObjectPart>>),
}

impl EntrySource for StoredEntries<'_> {
    fn states(&self) -> &[StateDescriptor] {
        match self {
            Self::Full(full) => full.states(),
            Self::Chain(chain) => chain.states(),
        }
    }

    fn next_entry(&mut self) -> millpond_state::Result<Option<SnapshotEntry<'_>>> {
        match self {
            Self::Full(full) => full.next_entry(),
            Self::Chain(chain) => chain.next_entry(),
        }
    }
}

/// What the bytes of a file are.
enum Content<'a> {
    /// A canonical snapshot.
    Full,
    /// Native files, which only their backend understands.
    LogicalFiles(Vec<&'a LogicalFile>),
}

/// Every file that the metadata names, once, in the order of scope and name.
fn contents(metadata: &CheckpointMetadata) -> impl Iterator<Item = (&FileHandle, Content<'_>)> {
    let mut contents = BTreeMap::new();
    let subtasks = metadata.vertices.iter().flat_map(|vertex| &vertex.subtasks);
    for handle in subtasks.flat_map(|subtask| &subtask.keyed_state) {
        for file in handle.files() {
            let content = match handle {
                KeyedStateHandle::Full(_) => Content::Full,
                _ => Content::LogicalFiles(Vec::new()),
            };
            contents.entry((file.scope(), file.name())).or_insert((file, content));
        }
    }
    for handle in metadata.incremental_handles() {
        for (logical, object) in handle.placed_files() {
            if let Some((_, Content::LogicalFiles(files))) =
                contents.get_mut(&(object.scope(), object.name()))
            {
                files.push(logical);
            }
        }
    }
    contents.into_values()
}

fn missing(file: &str) -> String {
    format!("{file} is missing")
}

#[cold]
fn native_handle(backend: &str) -> CheckpointError {
    let message = format!(
        "the checkpoint holds native files of the state backend {backend:?}: only that opens them; \
         take a savepoint with it to go elsewhere"
    );
    CheckpointError::new(ErrorKind::Incompatible, message)
}

#[cold]
fn unknown_handle() -> CheckpointError {
    CheckpointError::new(
        ErrorKind::Incompatible,
        "the checkpoint holds keyed state of a kind that this version cannot read: use a newer one",
    )
}
