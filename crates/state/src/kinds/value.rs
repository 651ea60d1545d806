//! One value per key and namespace.

use core::marker::PhantomData;

use super::{Marker, current, describe, replace, update_one};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::place::At;

/// A value of type `V` for each key `K` and namespace `N`.
#[derive(Debug)]
pub struct ValueState<K, V, N = (), C = DefaultCodec<V>> {
    id: StateId,
    codec: C,
    types: Marker<(K, V, N)>,
}

impl<K: HasCodec, V, N: HasCodec, C: Codec<V>> ValueState<K, V, N, C> {
    /// Registers the state called `name`, or finds it restored.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`].
    pub fn register<B: KeyedBackend + ?Sized>(backend: &mut B, name: &str) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::Value, None, codec.identity())?;
        Ok(Self { id: backend.register(&descriptor)?, codec, types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.id
    }

    /// The value, if there is one.
    ///
    /// # Errors
    /// As [`KeyedBackend::get`], and what the codec reports.
    #[inline]
    pub fn get<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<Option<V>> {
        backend.get(self.id, at.entry())?.map(|bytes| self.codec.decode_all(bytes)).transpose()
    }

    /// The value, or what `default` makes where there is none; the default is not stored.
    ///
    /// # Errors
    /// As [`Self::get`].
    #[inline]
    pub fn get_or_else<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        default: impl FnOnce() -> V,
    ) -> Result<V> {
        Ok(self.get(backend, at)?.unwrap_or_else(default))
    }

    /// Sets the value.
    ///
    /// # Errors
    /// As [`KeyedBackend::put`], and what the codec reports.
    #[inline]
    pub fn put<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        value: &V,
    ) -> Result<()> {
        let mut bytes = Scratch::new();
        self.codec.encode_into(value, &mut bytes)?;
        backend.put(self.id, at.entry(), bytes.as_slice())
    }

    /// Deletes the value, if there is one.
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

    /// Replaces the value by what `change` makes of it; `None` stands for no value on both sides.
    /// Finds the entry once.
    ///
    /// # Errors
    /// As [`Self::get`] and [`Self::put`].
    #[inline]
    pub fn update<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<()> {
        update_one(backend, self.id, at.entry(), |edit| match change(current(edit, &self.codec)?) {
            Some(value) => replace(edit, &self.codec, &value),
            None => {
                edit.remove();
                Ok(())
            }
        })
    }

    /// [`Self::update`] for many addresses at once, in order; `change` gets the position too. The
    /// backend overlaps their cache misses: use batches of 16 to 64.
    ///
    /// # Errors
    /// As [`KeyedBackend::update_many`], and what the codec reports.
    #[inline]
    pub fn update_many<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        entries: &[EntryKey<'_>],
        mut change: impl FnMut(usize, Option<V>) -> Option<V>,
    ) -> Result<()> {
        backend.update_many(self.id, entries, &mut |index, edit| match change(
            index,
            current(edit, &self.codec)?,
        ) {
            Some(value) => replace(edit, &self.codec, &value),
            None => {
                edit.remove();
                Ok(())
            }
        })
    }
}
