//! Namespaces of one key that become one: the byte-level part.

use crate::backend::KeyedBackend;
use crate::codec::HasCodec;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::place::{KeyContext, NamespaceContext};

/// Where the entries to be merged lie.
pub(super) struct Merge<'a, K, N> {
    pub(super) key: &'a KeyContext<K>,
    pub(super) sources: &'a [NamespaceContext<N>],
    pub(super) target: &'a NamespaceContext<N>,
}

impl<'a, K: HasCodec, N: HasCodec> Merge<'a, K, N> {
    /// The entry that holds the combination.
    pub(super) fn target(&self) -> EntryKey<'a> {
        self.key.within(self.target).entry()
    }

    /// The other entries, each once, in the order given: a source that is the target stays, one
    /// that is named twice counts once.
    pub(super) fn sources(&self) -> impl Iterator<Item = EntryKey<'a>> {
        let (all, target) = (self.sources, self.target);
        let is_new = move |index: usize, source: &NamespaceContext<N>| {
            let mut before = all.iter().take(index).chain(core::iter::once(target));
            !before.any(|before| before.as_bytes() == source.as_bytes())
        };
        let new = all.iter().enumerate().filter(move |(index, source)| is_new(*index, source));
        let key = self.key;
        new.map(move |(_, source)| key.within(source).entry())
    }

    /// Deletes the entries of the sources.
    pub(super) fn delete_sources<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        state: StateId,
    ) -> Result<()> {
        self.sources().try_for_each(|source| backend.delete(state, source))
    }
}
