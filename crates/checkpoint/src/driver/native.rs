//! Native files of backends on their way into and out of storage.
//!
//! What one subtask writes anew for one checkpoint goes into one object, one file after the other:
//! few large objects are cheaper than many small ones. The object is published when the task has
//! ended well; the registry is told before the subtask acknowledges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millpond_snapshot::metadata::{FileHandle, IncrementalHandle, KeyedStateHandle, LogicalFile};
use millpond_snapshot::{ByteSource, check_relative_name};
use millpond_state::{
    CancelFlag, ErrorKind as StateErrorKind, FileIdentity, FileReader, FileSink, FileSource,
    FileTransfer, FileWriter, FilesTask, KeyGroupRange, Result as StateResult, StateError,
    StoredFile,
};
use millpond_storage::{Store, StorePath, StoreWriter};

use super::adapter::ObjectSource;
use super::folder::CheckpointFolder;
use super::keyed_state::{KeyedPart, WriteKeyedState};
use super::shared_files::SharedFiles;
use super::{CheckpointStorage, storage};
use crate::error::{CheckpointError, Result};
use crate::name;
use crate::registry::{ReportedFile, SharedFile};

/// What backends know a file by.
fn place(object: &str, offset: u64) -> String {
    format!("{object}@{offset}")
}

impl CheckpointStorage {
    /// Runs the asynchronous part of a snapshot in files: `backend` is the name of the backend that
    /// made it. On an error or a cancellation nothing is left behind; on success the registry in
    /// `shared` knows the files.
    ///
    /// # Errors
    /// What the task, the store or the registry reports.
    pub fn write_files(
        &self,
        (write, backend): (&WriteKeyedState<'_>, &str),
        task: Box<dyn FilesTask>,
        shared: &SharedFiles,
        cancel: &CancelFlag,
    ) -> Result<KeyedPart> {
        let mut transfer = StoreTransfer::new(self, *write, shared);
        let summary = task.run(&mut transfer, cancel).map_err(super::describe::state)?;
        let written = transfer.finish()?;
        shared.with(|registry| registry.report(write.checkpoint, written.reported))?;
        let handle = IncrementalHandle {
            backend: backend.to_owned(),
            key_groups: write.key_groups,
            states: summary.states.iter().map(|state| state.name().to_owned()).collect(),
            objects: written.objects,
            logical_files: written.logical_files,
            manifest: summary.manifest,
        };
        Ok(KeyedPart {
            handle: KeyedStateHandle::Incremental(handle),
            key_groups: write.key_groups,
            states: summary.states,
            entries: summary.entries,
            entries_changed: summary.entries_changed,
            bytes: written.new_bytes,
        })
    }
}

/// A file of the snapshot.
struct Named {
    name: String,
    /// The file in storage; of a new one its offset, length and checksum in the new object.
    placed: Placed,
}

enum Placed {
    Stored(SharedFile),
    New { offset: u64, bytes: u64, crc32: u32 },
}

/// The object that new files go to.
struct NewObject {
    writer: Box<dyn StoreWriter>,
    offset: u64,
    hasher: crc32fast::Hasher,
}

struct StoreTransfer<'t> {
    store: &'t dyn Store,
    write: WriteKeyedState<'t>,
    /// What may be re-used, by place.
    offers: BTreeMap<String, SharedFile>,
    object_name: String,
    object: Option<NewObject>,
    named: Vec<Named>,
    names: BTreeSet<String>,
}

/// What a transfer came to.
struct Transferred {
    objects: Vec<FileHandle>,
    logical_files: Vec<LogicalFile>,
    reported: Vec<ReportedFile>,
    new_bytes: u64,
}

impl<'t> StoreTransfer<'t> {
    fn new(
        storage: &'t CheckpointStorage,
        write: WriteKeyedState<'t>,
        shared: &SharedFiles,
    ) -> Self {
        let offers = shared.with(|registry| {
            let keyed = |file: &SharedFile| (place(file.object.name(), file.offset), file.clone());
            registry.offers(write.checkpoint).map(keyed).collect()
        });
        let object_name =
            name::shared_object_name(write.attempt, write.checkpoint, write.subtask, 0);
        let (store, named, names) = (storage.store.as_ref(), Vec::new(), BTreeSet::new());
        Self { store, write, offers, object_name, object: None, named, names }
    }

    fn take_name(&mut self, name: &str) -> StateResult<()> {
        check_relative_name(name)?;
        if self.names.insert(name.to_owned()) {
            return Ok(());
        }
        let message = format!("two files of a snapshot are called {name:?}");
        Err(StateError::new(StateErrorKind::InvalidArgument, message))
    }

    fn offer(&self, file: &FileIdentity) -> Option<&SharedFile> {
        let offer = self.offers.get(file.place())?;
        (offer.bytes == file.bytes() && offer.crc32 == file.crc32()).then_some(offer)
    }

    fn open_object(&mut self) -> StateResult<&mut NewObject> {
        let object = match self.object.take() {
            Some(object) => object,
            None => {
                let path = StorePath::new(&self.object_name).map_err(cannot_write)?;
                let writer = self.store.create(&path).map_err(cannot_write)?;
                NewObject { writer, offset: 0, hasher: crc32fast::Hasher::new() }
            }
        };
        Ok(self.object.insert(object))
    }

    /// Publishes the new object.
    fn finish(self) -> Result<Transferred> {
        let mut new = None;
        if let Some(object) = self.object {
            object.writer.finish().map_err(storage)?;
            let crc32 = object.hasher.finalize();
            new = Some(FileHandle::shared(self.object_name, object.offset, crc32)?);
        }
        let new_bytes = new.as_ref().map_or(0, FileHandle::bytes);
        let new = new.map(Arc::new);
        let mut objects: Vec<FileHandle> = Vec::new();
        let (mut logical_files, mut reported) = (Vec::new(), Vec::new());
        for Named { name, placed } in self.named {
            let report = match (placed, &new) {
                (Placed::Stored(file), _) => ReportedFile::Reused(file),
                (Placed::New { offset, bytes, crc32 }, Some(object)) => {
                    let (object, attempt) = (Arc::clone(object), self.write.attempt);
                    let checkpoint = self.write.checkpoint;
                    let file = SharedFile { object, attempt, checkpoint, offset, bytes, crc32 };
                    ReportedFile::New(file)
                }
                // A new file opens the object.
                (Placed::New { .. }, None) => continue,
            };
            logical_files.push(logical_file(name, report.file(), &mut objects));
            reported.push(report);
        }
        Ok(Transferred { objects, logical_files, reported, new_bytes })
    }
}

/// Describes `file`, with its object among `objects`.
fn logical_file(name: String, file: &SharedFile, objects: &mut Vec<FileHandle>) -> LogicalFile {
    let position = objects.iter().position(|known| known == file.object.as_ref());
    let position = position.unwrap_or_else(|| {
        objects.push(file.object.as_ref().clone());
        objects.len() - 1
    });
    LogicalFile {
        name,
        attempt: file.attempt,
        checkpoint: file.checkpoint,
        object: u32::try_from(position).unwrap_or(u32::MAX),
        offset: file.offset,
        bytes: file.bytes,
        crc32: file.crc32,
    }
}

#[cold]
fn cannot_write(error: millpond_storage::StorageError) -> StateError {
    StateError::new(StateErrorKind::Io, "cannot write").with_source(error)
}

impl FileTransfer for StoreTransfer<'_> {
    fn reuse(&mut self, name: &str, file: &FileIdentity) -> StateResult<bool> {
        self.reuse_all(&[(name, file)])
    }

    fn reuse_all(&mut self, files: &[(&str, &FileIdentity)]) -> StateResult<bool> {
        let offered: Option<Vec<SharedFile>> =
            files.iter().map(|(_, file)| self.offer(file).cloned()).collect();
        let Some(offered) = offered else { return Ok(false) };
        for ((name, _), file) in files.iter().zip(offered) {
            self.take_name(name)?;
            let (name, placed) = ((*name).to_owned(), Placed::Stored(file));
            self.named.push(Named { name, placed });
        }
        Ok(true)
    }

    fn add(&mut self, name: &str, write: &mut FileWriter<'_>) -> StateResult<FileIdentity> {
        self.take_name(name)?;
        let object = self.open_object()?;
        let offset = object.offset;
        let mut sink = PartSink { object, hasher: crc32fast::Hasher::new() };
        write(&mut sink)?;
        let crc32 = sink.hasher.finalize();
        let bytes = object.offset - offset;
        let placed = Placed::New { offset, bytes, crc32 };
        self.named.push(Named { name: name.to_owned(), placed });
        Ok(FileIdentity::new(place(&self.object_name, offset), bytes, crc32))
    }

    fn compression_level(&self) -> i32 {
        self.write.compression_level
    }
}

/// Appends a file to the object.
struct PartSink<'o> {
    object: &'o mut NewObject,
    hasher: crc32fast::Hasher,
}

impl FileSink for PartSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> StateResult<()> {
        self.object.writer.write(bytes).map_err(cannot_write)?;
        self.object.hasher.update(bytes);
        self.hasher.update(bytes);
        self.object.offset += bytes.len() as u64;
        Ok(())
    }
}

/// The files of a handle.
pub(super) struct HandleFiles<'f> {
    folder: &'f CheckpointFolder,
    handle: &'f IncrementalHandle,
    files: Vec<StoredFile>,
}

impl<'f> HandleFiles<'f> {
    pub(super) fn new(folder: &'f CheckpointFolder, handle: &'f IncrementalHandle) -> Self {
        let files = handle.placed_files().map(|(logical, object)| {
            let place = place(&folder.rooted_name(object), logical.offset);
            let identity = FileIdentity::new(place, logical.bytes, logical.crc32);
            StoredFile { name: logical.name.clone(), identity }
        });
        Self { folder, handle, files: files.collect() }
    }
}

impl FileSource for HandleFiles<'_> {
    fn backend(&self) -> &str {
        &self.handle.backend
    }

    fn key_groups(&self) -> KeyGroupRange {
        self.handle.key_groups
    }

    fn manifest(&self) -> &[u8] {
        &self.handle.manifest
    }

    fn files(&self) -> &[StoredFile] {
        &self.files
    }

    fn open(&self, name: &str) -> StateResult<Box<dyn FileReader>> {
        let found = self.handle.placed_files().find(|(logical, _)| logical.name == name);
        let Some((logical, object)) = found else {
            let message = format!("the handle has no file {name:?}");
            return Err(StateError::new(StateErrorKind::InvalidArgument, message));
        };
        let part = ObjectPart::open(self.folder, logical, object).map_err(state_error)?;
        Ok(Box::new(part))
    }
}

fn state_error(error: CheckpointError) -> StateError {
    use crate::error::ErrorKind;
    let kind = match error.kind() {
        ErrorKind::Corrupt => StateErrorKind::Corrupt,
        ErrorKind::Incompatible => StateErrorKind::Incompatible,
        ErrorKind::InvalidArgument => StateErrorKind::InvalidArgument,
        _ => StateErrorKind::Io,
    };
    StateError::new(kind, error.to_string())
}

/// A logical file within its object, as readers of formats see it.
#[derive(Debug)]
pub struct ObjectPart {
    object: ObjectSource,
    offset: u64,
    bytes: u64,
    name: String,
}

impl ObjectPart {
    pub(super) fn open(
        folder: &CheckpointFolder,
        logical: &LogicalFile,
        object: &FileHandle,
    ) -> Result<Self> {
        let source = folder.open_sized(object)?;
        let name = format!("{}, logical file {}", ByteSource::name(&source), logical.name);
        Ok(Self { object: source, offset: logical.offset, bytes: logical.bytes, name })
    }
}

impl ByteSource for ObjectPart {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> millpond_snapshot::Result<()> {
        self.object.read_exact_at(self.offset.saturating_add(offset), buffer)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl FileReader for ObjectPart {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> StateResult<()> {
        ByteSource::read_exact_at(self, offset, buffer).map_err(StateError::from)
    }

    fn name(&self) -> &str {
        &self.name
    }
}
