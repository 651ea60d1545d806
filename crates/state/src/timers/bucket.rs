//! The addresses of the timers of one time, one after the other in one buffer.
//!
//! ```text
//! record = group:u16 key_bytes:u16 namespace_bytes:u16 key namespace      (little-endian)
//! ```

use std::collections::HashSet;

use crate::entry::EntryKey;
use crate::error::Result;
use crate::key_group::KeyGroup;

const HEADER_BYTES: usize = 6;

/// Records in the order they were added; read from the front.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    bytes: Vec<u8>,
    /// Where the first record begins that was not taken yet.
    front: usize,
}

/// One record.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    group: KeyGroup,
    key: &'a [u8],
    namespace: &'a [u8],
}

impl<'a> Record<'a> {
    pub(super) fn entry(&self) -> EntryKey<'a> {
        EntryKey::in_group(self.key, self.group).in_namespace(self.namespace)
    }

    const fn bytes(&self) -> usize {
        HEADER_BYTES + self.key.len() + self.namespace.len()
    }
}

impl Bucket {
    /// Adds an address whose lengths a backend has accepted.
    pub(super) fn push(&mut self, entry: EntryKey<'_>) {
        let (key, namespace) = (entry.key(), entry.namespace());
        self.bytes.extend_from_slice(&entry.group().get().to_le_bytes());
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(namespace.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(namespace);
    }

    /// The first record that was not taken.
    pub(super) fn front(&self) -> Option<Record<'_>> {
        record(self.bytes.get(self.front..)?)
    }

    /// Takes the first record.
    pub(super) fn advance(&mut self) {
        if let Some(bytes) = self.front().map(|record| record.bytes()) {
            self.front += bytes;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front >= self.bytes.len()
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        (self.bytes.capacity() + size_of::<Self>()) as u64
    }

    /// Keeps the records for which `keep` says so, each address once. On an error nothing changes.
    pub(super) fn retain(
        &mut self,
        mut keep: impl FnMut(EntryKey<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut kept = Vec::new();
        let mut seen = HashSet::new();
        let mut rest = self.bytes.get(self.front..).unwrap_or_default();
        while let Some(next) = record(rest) {
            let (bytes, after) = rest.split_at(next.bytes());
            rest = after;
            if seen.insert(bytes) && keep(next.entry())? {
                kept.extend_from_slice(bytes);
            }
        }
        *self = Self { bytes: kept, front: 0 };
        Ok(())
    }
}

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [g0, g1, k0, k1, n0, n1] = *header;
    let (key, rest) = rest.split_at_checked(u16::from_le_bytes([k0, k1]).into())?;
    let namespace = rest.get(..u16::from_le_bytes([n0, n1]).into())?;
    Some(Record { group: KeyGroup::new(u16::from_le_bytes([g0, g1])), key, namespace })
}
