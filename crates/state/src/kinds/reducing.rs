//! One value per key and namespace, combined with every value that is added.

use core::fmt;
use core::marker::PhantomData;

use super::{Marker, current, describe, replace, update_one};
use crate::backend::KeyedBackend;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::place::At;

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
