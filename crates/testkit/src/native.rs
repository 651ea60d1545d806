//! Native snapshots seen as canonical ones, so that every behaviour and every random test of
//! snapshots checks a backend's own files too.
//!
//! [`NativeFactory`] opens a backend's instances with another
//! [`snapshot`](millpond_state::KeyedBackend::snapshot): its task writes the backend's files to a
//! [`MemoryFiles`], restores them into a fresh instance, and hands out what that has.
//!
//! # Failures
//! A backend without a native form is refused with
//! [`ErrorKind::InvalidArgument`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_state::{
    BackendContext, BackendFactory, BatchVisitor, CancelFlag, CheckpointId, EntryKey, EntrySink,
    EntrySource, EntryVisitor, ErrorKind, FileIdentity, FileReader, FileSink, FileSource,
    FileTransfer, FileWriter, FilesTask, KeyGroupRange, KeyedBackend, MapVisitor, MaxParallelism,
    Result, SnapshotRequest, SnapshotSummary, SnapshotTask, StateDescriptor, StateError, StateId,
    StoredFile,
};

/// Files in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>);

impl MemoryFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many files there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Deletes all files for which `keep` does not hold of their identity's place: they cannot be
    /// re-used any longer.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|place, _| keep(place));
    }

    /// Changes the bytes of the file at `place`.
    pub fn damage(&self, place: &str, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(bytes) = self.lock().get_mut(place) {
            let mut damaged = bytes.to_vec();
            change(&mut damaged);
            *bytes = damaged.into();
        }
    }

    /// Takes the files of one snapshot.
    #[must_use]
    pub fn transfer(&self) -> MemoryTransfer {
        MemoryTransfer { files: self.clone(), named: Vec::new(), added_bytes: 0 }
    }

    /// Hands out the files that a transfer was given, as those of `backend`'s state of
    /// `key_groups`.
    #[must_use]
    pub fn source(
        &self,
        backend: &str,
        key_groups: KeyGroupRange,
        snapshot: &MemorySnapshot,
    ) -> MemorySource {
        let (files, snapshot) = (self.clone(), snapshot.clone());
        MemorySource { files, backend: backend.to_owned(), key_groups, snapshot }
    }
}

/// A finished snapshot in [`MemoryFiles`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemorySnapshot {
    /// Its files.
    pub files: Vec<StoredFile>,
    /// The backend's manifest.
    pub manifest: Vec<u8>,
}

/// A transfer into [`MemoryFiles`].
#[derive(Debug)]
pub struct MemoryTransfer {
    files: MemoryFiles,
    named: Vec<StoredFile>,
    added_bytes: u64,
}

impl MemoryTransfer {
    /// Bytes of the files that were added.
    #[must_use]
    pub const fn added_bytes(&self) -> u64 {
        self.added_bytes
    }

    /// The snapshot, whose task ended with `manifest`.
    #[must_use]
    pub fn finish(self, manifest: Vec<u8>) -> MemorySnapshot {
        MemorySnapshot { files: self.named, manifest }
    }

    fn check_name(&self, name: &str) -> Result<()> {
        if name.is_empty() || self.named.iter().any(|file| file.name == name) {
            return Err(invalid(format!("{name:?} is no name, or is taken")));
        }
        Ok(())
    }

    fn has(&self, file: &FileIdentity) -> bool {
        let known = self.files.lock().get(file.place()).cloned();
        known.is_some_and(|bytes| {
            bytes.len() as u64 == file.bytes() && checksum(&bytes) == file.crc32()
        })
    }
}

/// As transfers of checkpoints have it: backends compare it.
fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cold]
fn invalid(message: impl Into<String>) -> StateError {
    StateError::new(ErrorKind::InvalidArgument, message)
}

impl FileTransfer for MemoryTransfer {
    fn reuse(&mut self, name: &str, file: &FileIdentity) -> Result<bool> {
        self.reuse_all(&[(name, file)])
    }

    fn reuse_all(&mut self, files: &[(&str, &FileIdentity)]) -> Result<bool> {
        if !files.iter().all(|(_, file)| self.has(file)) {
            return Ok(false);
        }
        for (name, file) in files {
            self.check_name(name)?;
            let (name, identity) = ((*name).to_owned(), (*file).clone());
            self.named.push(StoredFile { name, identity });
        }
        Ok(true)
    }

    fn add(&mut self, name: &str, write: &mut FileWriter<'_>) -> Result<FileIdentity> {
        self.check_name(name)?;
        let mut sink = Bytes(Vec::new());
        write(&mut sink)?;
        let bytes = sink.0;
        self.added_bytes += bytes.len() as u64;
        let mut files = self.files.lock();
        let next = files.keys().next_back().and_then(|last| last.parse::<u64>().ok());
        let place = format!("{:020}", next.map_or(0, |last| last + 1));
        let identity = FileIdentity::new(place.as_str(), bytes.len() as u64, checksum(&bytes));
        files.insert(place, bytes.into());
        drop(files);
        self.named.push(StoredFile { name: name.to_owned(), identity: identity.clone() });
        Ok(identity)
    }

    fn compression_level(&self) -> i32 {
        0
    }
}

struct Bytes(Vec<u8>);

impl FileSink for Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The files of one snapshot in [`MemoryFiles`].
#[derive(Debug)]
pub struct MemorySource {
    files: MemoryFiles,
    backend: String,
    key_groups: KeyGroupRange,
    snapshot: MemorySnapshot,
}

impl FileSource for MemorySource {
    fn backend(&self) -> &str {
        &self.backend
    }

    fn key_groups(&self) -> KeyGroupRange {
        self.key_groups
    }

    fn manifest(&self) -> &[u8] {
        &self.snapshot.manifest
    }

    fn files(&self) -> &[StoredFile] {
        &self.snapshot.files
    }

    fn open(&self, name: &str) -> Result<Box<dyn FileReader>> {
        let missing = || StateError::new(ErrorKind::Corrupt, format!("file {name} is missing"));
        let file = self.snapshot.files.iter().find(|file| file.name == name).ok_or_else(missing)?;
        let bytes = self.files.lock().get(file.identity.place()).cloned().ok_or_else(missing)?;
        Ok(Box::new(MemoryFile { name: name.to_owned(), bytes }))
    }
}

struct MemoryFile {
    name: String,
    bytes: Arc<[u8]>,
}

impl FileReader for MemoryFile {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).ok();
        let wanted = start
            .and_then(|start| self.bytes.get(start..start.checked_add(buffer.len())?))
            .ok_or_else(|| StateError::new(ErrorKind::Corrupt, "read past the end"))?;
        buffer.copy_from_slice(wanted);
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// Opens instances whose canonical snapshots go by way of their native files.
#[derive(Clone)]
pub struct NativeFactory {
    inner: Arc<dyn BackendFactory>,
}

impl NativeFactory {
    /// Wraps what `factory` opens.
    #[must_use]
    pub fn new(factory: impl BackendFactory + 'static) -> Self {
        Self { inner: Arc::new(factory) }
    }
}

impl BackendFactory for NativeFactory {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        Ok(Box::new(NativeBackend {
            inner: self.inner.open(context)?,
            files: MemoryFiles::new(),
            factory: Arc::clone(&self.inner),
            context: context.clone(),
        }))
    }
}

struct NativeBackend {
    inner: Box<dyn KeyedBackend>,
    files: MemoryFiles,
    factory: Arc<dyn BackendFactory>,
    context: BackendContext,
}

struct NativeTask {
    task: Box<dyn FilesTask>,
    files: MemoryFiles,
    factory: Arc<dyn BackendFactory>,
    context: BackendContext,
}

impl SnapshotTask for NativeTask {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        let Self { task, files, factory, context } = *self;
        let mut transfer = files.transfer();
        let native = task.run(&mut transfer, cancel)?;
        let mut source =
            files.source(factory.name(), context.key_groups, &transfer.finish(native.manifest));
        let mut backend = factory.open(&context)?;
        backend.restore_files(&mut source, context.key_groups)?;
        let request = SnapshotRequest::full(CheckpointId::new(1));
        let mut summary = backend.snapshot(&request)?.run(sink, cancel)?;
        // New files count each version of an entry that they hold.
        summary.entries_changed = native.entries_changed.min(summary.entries);
        Ok(summary)
    }
}

impl KeyedBackend for NativeBackend {
    fn key_groups(&self) -> KeyGroupRange {
        self.inner.key_groups()
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.inner.max_parallelism()
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        self.inner.register(descriptor)
    }

    fn states(&self) -> &[StateDescriptor] {
        self.inner.states()
    }

    fn get<'a>(&'a mut self, state: StateId, at: EntryKey<'_>) -> Result<Option<&'a [u8]>> {
        self.inner.get(state, at)
    }

    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        self.inner.put(state, at, value)
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        self.inner.delete(state, at)
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        self.inner.append(state, at, bytes)
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        self.inner.get_many(state, entries, out)
    }

    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        self.inner.put_many(state, entries, values)
    }

    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        self.inner.update_many(state, entries, change)
    }

    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        self.inner.map_get(state, at, user_key)
    }

    fn map_put(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        self.inner.map_put(state, at, user_key, value)
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        self.inner.map_remove(state, at, user_key)
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        self.inner.map_visit(state, at, visit)
    }

    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        self.inner.visit_entries(state, groups, namespace, visit)
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        self.inner.entry_count(state)
    }

    fn memory_bytes(&self) -> u64 {
        self.inner.memory_bytes()
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        let request = SnapshotRequest::incremental(request.checkpoint);
        let task = self.inner.snapshot_files(&request)?;
        let task = task.ok_or_else(|| invalid("the backend has no native snapshots"))?;
        let (files, factory) = (self.files.clone(), Arc::clone(&self.factory));
        Ok(Box::new(NativeTask { task, files, factory, context: self.context.clone() }))
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        self.inner.checkpoint_completed(checkpoint);
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.inner.checkpoint_aborted(checkpoint);
    }

    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64> {
        self.inner.restore(source)
    }
}
