//! One value per key and namespace.

use core::marker::PhantomData;

use super::access::Access;
use super::{Marker, describe};
use crate::backend::KeyedBackend;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::migration::{StateOptions, ValueCodec};
use crate::place::At;

/// A value of type `V` for each key `K` and namespace `N`.
#[derive(Debug)]
pub struct ValueState<K, V, N = (), C = DefaultCodec<V>> {
    access: Access,
    codec: C,
    types: Marker<(K, V, N)>,
}

impl<K: HasCodec, V, N: HasCodec, C: Codec<V>> ValueState<K, V, N, C> {
    /// Registers the state called `name`, or finds it restored.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`].
    pub fn register<B: KeyedBackend + ?Sized>(backend: &mut B, name: &str) -> Result<Self> {
        Self::register_with(backend, name, StateOptions::new())
    }

    /// As [`Self::register`], with a time to live, or a say in how restored values are migrated.
    ///
    /// # Errors
    /// As [`Self::register`], and what the migration meets.
    pub fn register_with<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        name: &str,
        options: StateOptions,
    ) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::Value, None, codec.identity())?;
        let value = ValueCodec::of::<V, C>(&codec, StateKind::Value);
        let access = Access::register(backend, descriptor, &value, options)?;
        Ok(Self { access, codec, types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.access.id()
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
        self.access.get(backend, at.entry(), &self.codec)
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
        self.access.put(backend, at.entry(), &self.codec, value)
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
        self.access.delete(backend, at.entry())
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
        change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<()> {
        self.access.update(backend, at.entry(), &self.codec, change)
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
        change: impl FnMut(usize, Option<V>) -> Option<V>,
    ) -> Result<()> {
        self.access.update_many(backend, entries, &self.codec, change)
    }
}
