//! What the tests share: factories over temporary folders, states, a sink, processes of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use millpond_rocksdb::{
    RocksDbBackend, RocksDbBackendFactory, RocksDbOptions, RocksDbProfile, WriteBuffer,
};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, BackendFactory, EntryKey, EntrySink, EntrySource, KeyGroup, KeyGroupRange,
    KeyedBackend, MaxParallelism, Result, SnapshotEntry, StateCodecs, StateDescriptor, StateKind,
};
use tempfile::TempDir;

/// Instances in a folder that goes with the factory.
pub(crate) struct TemporaryFactory {
    inner: RocksDbBackendFactory,
    dir: TempDir,
}

impl TemporaryFactory {
    pub(crate) fn new(settings: impl FnOnce(RocksDbOptions) -> RocksDbOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksDbOptions::with_profile(dir.path(), RocksDbProfile::SmallMemory);
        Self { inner: RocksDbBackendFactory::create(settings(options)).unwrap(), dir }
    }

    pub(crate) fn usual() -> Self {
        Self::new(|options| options)
    }

    /// Writes buffers out every 16 KiB and compacts as often: entries are found in buffers, in
    /// files, and spread over both.
    pub(crate) fn tiny_buffers() -> Self {
        Self::new(tiny)
    }

    /// With RocksDB's own write buffers.
    pub(crate) fn memtables() -> Self {
        Self::new(|options| options.with_write_buffer(WriteBuffer::Memtable))
    }

    /// As [`Self::tiny_buffers`], with RocksDB's own write buffers.
    pub(crate) fn tiny_memtables() -> Self {
        Self::new(|options| tiny(options).with_write_buffer(WriteBuffer::Memtable))
    }

    /// As [`Self::tiny_buffers`], but that the writer writes them out itself.
    pub(crate) fn tiny_buffers_without_threads() -> Self {
        Self::new(|options| tiny(options).with_landing_threads(0))
    }

    /// As [`Self::tiny_buffers`], with many small files on several levels.
    pub(crate) fn tiny_files() -> Self {
        Self::new(tiny_files)
    }

    /// As [`Self::tiny_files`], with RocksDB's own write buffers.
    pub(crate) fn tiny_memtable_files() -> Self {
        Self::new(|options| tiny_files(options).with_write_buffer(WriteBuffer::Memtable))
    }

    /// Writes a file for each flush, and none besides.
    pub(crate) fn without_compactions() -> Self {
        Self::new(|options| options.with_rocksdb_options("disable_auto_compactions=true"))
    }

    /// An instance for all key groups.
    pub(crate) fn backend(&self) -> RocksDbBackend {
        self.backend_of(max().full_range())
    }

    /// An instance for some key groups.
    pub(crate) fn backend_of(&self, groups: KeyGroupRange) -> RocksDbBackend {
        self.inner.open_backend(&context(groups)).unwrap()
    }

    /// All SST files of all instances.
    pub(crate) fn sst_files(&self) -> Vec<PathBuf> {
        sst_files(self.dir.path())
    }
}

impl BackendFactory for TemporaryFactory {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        self.inner.open(context)
    }
}

fn tiny(options: RocksDbOptions) -> RocksDbOptions {
    options
        .with_write_buffer_size(16 << 10)
        .with_rocksdb_options("level0_file_num_compaction_trigger=2;arena_block_size=4096")
}

fn tiny_files(mut options: RocksDbOptions) -> RocksDbOptions {
    options.target_file_size_base = 8 << 10;
    options.max_bytes_for_level_base = 32 << 10;
    options
        .with_write_buffer_size(16 << 10)
        .with_rocksdb_options("max_bytes_for_level_multiplier=4;arena_block_size=4096")
}

fn sst_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Folders of captures may go meanwhile.
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let Ok(entry) = entry else { continue };
        let path = entry.path();
        if path.is_dir() {
            found.extend(sst_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "sst") {
            found.push(path);
        }
    }
    found
}

pub(crate) fn max() -> MaxParallelism {
    MaxParallelism::new(16).unwrap()
}

pub(crate) fn context(groups: KeyGroupRange) -> BackendContext {
    BackendContext::new("test", groups, max())
}

/// The address of a key in the empty namespace.
pub(crate) fn at(key: &[u8]) -> EntryKey<'_> {
    EntryKey::new(key, max())
}

/// A state of this name and kind, of byte codecs.
pub(crate) fn descriptor(name: &str, kind: StateKind) -> StateDescriptor {
    let bytes = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs {
        key: bytes(),
        namespace: bytes(),
        user_key: kind.is_map().then(bytes),
        value: bytes(),
    };
    StateDescriptor::new(name, kind, codecs).unwrap()
}

/// Counts entries and adds up the numbers that their values start with.
#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) entries: u64,
    pub(crate) numbers: u64,
}

impl EntrySink for Sum {
    fn begin(&mut self, _: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        self.entries += 1;
        let number = u64::from_le_bytes(entry.value[..8].try_into().unwrap());
        self.numbers = self.numbers.wrapping_add(number);
        Ok(())
    }
}

/// Runs a test of this binary in a process of its own, under `wrapper` if there is one.
pub(crate) fn run_alone(test: &str, wrapper: &[&str], variables: &[(&str, String)]) -> String {
    let exe = std::env::current_exe().unwrap();
    let mut line: Vec<String> = wrapper.iter().map(ToString::to_string).collect();
    line.push(exe.to_string_lossy().into_owned());
    line.extend(["--exact", test, "--nocapture"].map(String::from));
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test} failed on its own:\n{text}");
    assert!(text.contains("1 passed"), "{test} did not run:\n{text}");
    text
}

/// Bytes of a [`value`].
pub(crate) const VALUE_BYTES: usize = 120;

/// Values that do not compress.
pub(crate) fn value(key: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    let mut number = key;
    for chunk in value.chunks_mut(8) {
        chunk.copy_from_slice(&number.to_le_bytes());
        number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29) ^ key;
    }
    value
}

/// Values of one key group, made up on the fly, in canonical order: keys are the last numbers there
/// are.
pub(crate) struct MadeUp {
    states: Vec<StateDescriptor>,
    left: u64,
    key: [u8; 8],
    value: [u8; VALUE_BYTES],
}

impl MadeUp {
    /// The key group of all entries.
    pub(crate) const GROUP: KeyGroup = KeyGroup::new(3);

    pub(crate) fn new(states: Vec<StateDescriptor>, count: u64) -> Self {
        Self { states, left: count, key: [0; 8], value: [0; VALUE_BYTES] }
    }
}

impl EntrySource for MadeUp {
    fn states(&self) -> &[StateDescriptor] {
        &self.states
    }

    fn next_entry(&mut self) -> Result<Option<SnapshotEntry<'_>>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let number = u64::MAX - self.left;
        (self.key, self.value) = (number.to_be_bytes(), value(number));
        Ok(Some(SnapshotEntry {
            group: Self::GROUP,
            state: 0,
            key: &self.key,
            namespace: &[],
            user_key: &[],
            value: &self.value,
        }))
    }
}
