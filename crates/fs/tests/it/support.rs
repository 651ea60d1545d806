//! What the tests share: factories over temporary folders, states, addresses.

use std::sync::Arc;

use millpond_fs::{FsBackend, FsBackendFactory, FsOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, BackendFactory, CancelFlag, CheckpointId, EntryKey, KeyGroupRange,
    KeyedBackend, MaxParallelism, Result, SnapshotRequest, StateCodecs, StateDescriptor, StateKind,
};
use millpond_testkit::entries::{CollectedSnapshot, CollectingSink};
use tempfile::TempDir;

/// Instances in a folder that goes with the factory.
#[derive(Clone)]
pub(crate) struct TemporaryFactory {
    inner: FsBackendFactory,
    _dir: Arc<TempDir>,
}

impl TemporaryFactory {
    pub(crate) fn new(settings: impl FnOnce(FsOptions) -> FsOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = settings(FsOptions::new(dir.path()));
        Self { inner: FsBackendFactory::new(options).unwrap(), _dir: Arc::new(dir) }
    }

    pub(crate) fn usual() -> Self {
        Self::new(|options| options)
    }

    /// Segments of 4 KiB, two in memory, compacted as soon as a quarter is dead.
    pub(crate) fn tiny_segments() -> Self {
        Self::new(|options| {
            options
                .with_segment_bytes(4 << 10)
                .with_tail_bytes(8 << 10)
                .with_space_amplification_max(1.3)
        })
    }

    pub(crate) fn backend(&self) -> FsBackend {
        self.backend_of(max().full_range())
    }

    pub(crate) fn backend_of(&self, groups: KeyGroupRange) -> FsBackend {
        self.inner.open_backend(&BackendContext::new("test", groups, max())).unwrap()
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

pub(crate) fn max() -> MaxParallelism {
    MaxParallelism::new(16).unwrap()
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

/// A canonical snapshot of all there is.
pub(crate) fn collect(backend: &mut dyn KeyedBackend) -> CollectedSnapshot {
    let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
    let mut sink = CollectingSink::new();
    task.run(&mut sink, &CancelFlag::new()).unwrap();
    sink.into_snapshot()
}
