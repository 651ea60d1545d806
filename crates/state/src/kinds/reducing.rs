//! One value per key and namespace, combined with every value that is added.

use core::fmt;
use core::marker::PhantomData;

use super::access::Access;
use super::merge::Merge;
use super::{Marker, describe};
use crate::backend::KeyedBackend;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::migration::{StateOptions, ValueCodec};
use crate::place::{At, KeyContext, NamespaceContext};

/// Combines two values into one.
type Reduce<T> = Box<dyn Fn(T, T) -> T + Send + Sync>;

/// The reduction of all values of type `T` added for each key `K` and namespace `N`.
pub struct ReducingState<K, T, N = (), C = DefaultCodec<T>> {
    access: Access,
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
        Self::register_with(backend, name, reduce, StateOptions::new())
    }

    /// As [`Self::register`], with a time to live, or a say in how restored values are migrated.
    ///
    /// # Errors
    /// As [`Self::register`], and what the migration meets.
    pub fn register_with<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        name: &str,
        reduce: impl Fn(T, T) -> T + Send + Sync + 'static,
        options: StateOptions,
    ) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::Reducing, None, codec.identity())?;
        let value = ValueCodec::of::<T, C>(&codec, StateKind::Reducing);
        let access = Access::register(backend, descriptor, &value, options)?;
        Ok(Self { access, codec, reduce: Box::new(reduce), types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.access.id()
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
        self.access.get(backend, at.entry(), &self.codec)
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
        self.access.update(backend, at.entry(), &self.codec, |stored| match value.take() {
            Some(value) => Some(self.fold(stored, value)),
            None => stored,
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
        self.access.update_many(backend, entries, &self.codec, |index, stored| {
            Some(self.fold(stored, value(index)))
        })
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
        self.access.delete(backend, at.entry())
    }

    /// Makes one reduction of those of the namespaces `target` and `sources`, combined in this
    /// order, and keeps it in `target`. The sources vanish; one that has none adds nothing, one
    /// that is the target is not counted twice.
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
            if let Some(value) = self.access.get_live(backend, entry, &self.codec)? {
                combined = Some(self.fold(combined, value));
            }
        }
        if let Some(combined) = combined {
            self.access.put(backend, merge.target(), &self.codec, &combined)?;
        }
        merge.delete_sources(backend, self.id())
    }

    #[inline]
    fn fold(&self, stored: Option<T>, value: T) -> T {
        match stored {
            Some(stored) => (self.reduce)(stored, value),
            None => value,
        }
    }
}

impl<K, T, N, C> fmt::Debug for ReducingState<K, T, N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReducingState").field("access", &self.access).finish_non_exhaustive()
    }
}
