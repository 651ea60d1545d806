//! A segment that is a file: mapped, immutable, shared with snapshots.

use std::sync::{Mutex, MutexGuard, PoisonError};

use millpond_state::{FileIdentity, KeyGroup, Result};

use crate::error::corrupt;
use crate::format::{Hint, Layout};
use crate::map::Mapping;
use crate::record::{Item, Record, is_whole};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Segment {
    mapping: Mapping,
    layout: Layout,
    /// What errors call the file.
    name: String,
    /// The file of a completed checkpoint that has the same bytes.
    identity: Mutex<Option<FileIdentity>>,
}

impl Segment {
    /// Checks the ends of a file.
    pub(crate) fn open(mapping: Mapping, name: String) -> Result<Self> {
        let layout = Layout::read(mapping.bytes(), &name)?;
        Ok(Self { mapping, layout, name, identity: Mutex::new(None) })
    }

    /// All bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }

    /// Its parts.
    pub(crate) const fn layout(&self) -> &Layout {
        &self.layout
    }

    fn identity_lock(&self) -> MutexGuard<'_, Option<FileIdentity>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a completed checkpoint that has the same bytes.
    pub(crate) fn identity(&self) -> Option<FileIdentity> {
        self.identity_lock().clone()
    }

    /// A checkpoint that has this file is complete.
    pub(crate) fn set_identity(&self, identity: FileIdentity) {
        *self.identity_lock() = Some(identity);
    }

    /// Records and header, unchecked.
    #[inline(always)]
    pub(crate) fn data(&self) -> &[u8] {
        let end = self.layout.footer.hints_offset as usize;
        self.mapping.bytes().get(..end).unwrap_or_default()
    }

    /// What lies at `offset`, whole.
    pub(crate) fn item(&self, offset: usize) -> Result<Item<'_>> {
        let bytes = self.data().get(offset..).unwrap_or_default();
        let item = Item::parse(bytes);
        let whole = item.filter(|item| is_whole(bytes.get(..item.size()).unwrap_or_default()));
        whole.ok_or_else(|| self.damaged(offset))
    }

    /// The record at `offset`.
    pub(crate) fn record(&self, offset: usize) -> Result<Record<'_>> {
        self.item(offset)?.record().ok_or_else(|| self.damaged(offset))
    }

    /// The error of a record that is not what was written.
    #[cold]
    pub(crate) fn damaged(&self, offset: usize) -> millpond_state::StateError {
        corrupt(&self.name, offset, "the record does not match its checksum")
    }

    /// Calls `each` with every hint of `group`.
    pub(crate) fn for_each_hint(&self, group: KeyGroup, mut each: impl FnMut(Hint)) -> Result<()> {
        let Some(statistics) = self.layout.group(group) else { return Ok(()) };
        for hint in self.layout.hints(statistics, (self.mapping.bytes(), &self.name))? {
            each(hint?);
        }
        Ok(())
    }

    /// Whether the segment has a record, and no tombstone, of the address with this hash and
    /// identity, as far as its hints say; damaged hints say that it may.
    pub(crate) fn may_hold(&self, group: KeyGroup, address: (u64, u32)) -> bool {
        let Some(statistics) = self.layout.group(group) else { return false };
        self.layout
            .search(statistics, self.mapping.bytes(), address)
            .is_none_or(|found| found.is_some_and(|hint| !hint.is_tombstone()))
    }
}
