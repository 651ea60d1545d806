//! One value per key and namespace, combined with every value that is added.

use core::fmt;
use core::marker::PhantomData;

use super::merge::Merge;
use super::{Marker, current, describe, replace, update_one};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::place::{At, KeyContext, NamespaceContext};

/// Combines two values into one.
type Reduce<T> = Box<dyn Fn(T, T) -> T + Send + Sync>;

/// The reduction of all values of type `T` added for each key `K` and namespace `N`.
pub struct ReducingState<K, T, N = (), C = DefaultCodec<T>> {
    id: StateId,
    codec: C,
    reduce: Reduce<T>,
    types: Marker<(K, N)>,
}

impl<K: HasCodec, T: 'static, N: HasCodec, C: Codec<T>> ReducingState<K, T, N, C> {
    /// Registers the state called `name`, or finds it restored. `reduce` combines what is stored
    /// (first) with what is added (second); it must be associative for namespaces to merge.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`].
    pub fn register<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        name: &str,
        reduce: impl Fn(T, T) -> T + Send + Sync + 'static,
    ) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::Reducing, None, codec.identity())?;
        let id = backend.register(&descriptor)?;
        Ok(Self { id, codec, reduce: Box::new(reduce), types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.id
    }

    /// The reduction so far; `None` before the first add.
    ///
    /// # Errors
    /// As [`KeyedBackend::get`], and what the codec reports.
    pub fn get<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<Option<T>> {
        backend.get(self.id, at.entry())?.map(|bytes| self.codec.decode_all(bytes)).transpose()
    }

    /// Adds a value.
    ///
    /// # Errors
    /// As [`KeyedBackend::update_many`], and what the codec reports.
    pub fn add<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        value: T,
    ) -> Result<()> {
        let mut value = Some(value);
        update_one(backend, self.id, at.entry(), |edit| match value.take() {
            Some(value) => self.fold(edit, value),
            None => Ok(()),
        })
    }

    /// Adds many values: `value(i)` at `entries[i]`, in order. The backend overlaps their cache
    /// misses: use batches of 16 to 64.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_many<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        entries: &[EntryKey<'_>],
        mut value: impl FnMut(usize) -> T,
    ) -> Result<()> {
        backend.update_many(self.id, entries, &mut |index, edit| self.fold(edit, value(index)))
    }

    /// Forgets all that was added.
    ///
    /// # Errors
    /// As [`KeyedBackend::delete`].
    pub fn delete<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<()> {
        backend.delete(self.id, at.entry())
    }

    /// Makes one reduction of those of the namespaces `target` and `sources`, combined in this order, and
    /// keeps it in `target`. The sources vanish; one that has none adds nothing, one that is the
    /// target is not counted twice.
    ///
    /// # Errors
    /// As [`KeyedBackend::get`], [`KeyedBackend::put`] and [`KeyedBackend::delete`], and what the
    /// codec reports; if reading or putting fails, nothing is changed.
    pub fn merge_namespaces<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        key: &KeyContext<K>,
        sources: &[NamespaceContext<N>],
        target: &NamespaceContext<N>,
    ) -> Result<()> {
        let merge = Merge { key, sources, target };
        let mut combined: Option<T> = None;
        for entry in core::iter::once(merge.target()).chain(merge.sources()) {
            let Some(bytes) = backend.get(self.id, entry)? else { continue };
            let value = self.codec.decode_all(bytes)?;
            combined = Some(match combined {
                Some(before) => (self.reduce)(before, value),
                None => value,
            });
        }
        let Some(combined) = combined else { return Ok(()) };
        let mut bytes = Scratch::new();
        self.codec.encode_into(&combined, &mut bytes)?;
        backend.put(self.id, merge.target(), bytes.as_slice())?;
        merge.delete_sources(backend, self.id)
    }

    #[inline]
    fn fold(&self, edit: &mut crate::Edit<'_>, value: T) -> Result<()> {
        let next = match current(edit, &self.codec)? {
            Some(stored) => (self.reduce)(stored, value),
            None => value,
        };
        replace(edit, &self.codec, &next)
    }
}

impl<K, T, N, C> fmt::Debug for ReducingState<K, T, N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReducingState").field("id", &self.id).finish_non_exhaustive()
    }
}
