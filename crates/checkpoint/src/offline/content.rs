//! Sums of content that do not depend on how it is spread.

use millpond_snapshot::metadata::VertexMetadata;
use millpond_state::{SnapshotEntry, key_hash};

/// What a state holds, as a number of entries and a checksum that does not depend on their order,
/// on key groups, subtasks or files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateContent {
    /// The operator.
    pub operator: String,
    /// The state.
    pub state: String,
    /// Its entries.
    pub entries: u64,
    /// The sum, modulo 2^64, of the hashes of its entries: XXH3-64 over key, namespace and user
    /// key, each after its length as 32 bits little-endian, and the value.
    pub checksum: u64,
}

/// Sums up the states of a vertex.
pub(super) struct Summing {
    states: Vec<StateContent>,
    buffer: Vec<u8>,
}

impl Summing {
    pub(super) fn new(vertex: &VertexMetadata) -> Self {
        let states = vertex.states.iter().map(|state| StateContent {
            operator: vertex.name.clone(),
            state: state.name().to_owned(),
            entries: 0,
            checksum: 0,
        });
        Self { states: states.collect(), buffer: Vec::new() }
    }

    /// Adds an entry whose state is an index into the vertex's states.
    pub(super) fn add(&mut self, entry: &SnapshotEntry<'_>) {
        self.buffer.clear();
        for part in [entry.key, entry.namespace, entry.user_key] {
            self.buffer.extend_from_slice(&(part.len() as u32).to_le_bytes());
            self.buffer.extend_from_slice(part);
        }
        self.buffer.extend_from_slice(entry.value);
        if let Some(state) = self.states.get_mut(usize::from(entry.state)) {
            state.entries += 1;
            state.checksum = state.checksum.wrapping_add(key_hash(&self.buffer));
        }
    }

    pub(super) fn finish(self) -> Vec<StateContent> {
        self.states
    }
}
