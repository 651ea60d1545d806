//! A map per key and namespace.

use core::marker::PhantomData;
use core::ops::ControlFlow;

use super::access::{Access, store, store_expiring};
use super::{Marker, describe};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::edit::Edit;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::migration::{StateOptions, ValueCodec};
use crate::place::At;
use crate::time::UNKNOWN;
use crate::ttl::{Ttl, stamp};

/// A map from `UK` to `V` for each key `K` and namespace `N`. Walks go in the byte order of the
/// encoded user keys, which for integers is their numeric order.
#[derive(Debug)]
pub struct MapState<K, UK, V, N = (), UC = DefaultCodec<UK>, C = DefaultCodec<V>> {
    access: Access,
    user_key_codec: UC,
    codec: C,
    types: Marker<(K, UK, V, N)>,
}

impl<K: HasCodec, UK, V, N: HasCodec, UC: Codec<UK>, C: Codec<V>> MapState<K, UK, V, N, UC, C> {
    /// Registers the state called `name`, or finds it restored.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`].
    pub fn register<B: KeyedBackend + ?Sized>(backend: &mut B, name: &str) -> Result<Self> {
        Self::register_with(backend, name, StateOptions::new())
    }

    /// As [`Self::register`], with a time to live of each user key, or a say in how restored values
    /// are migrated.
    ///
    /// # Errors
    /// As [`Self::register`], and what the migration meets.
    pub fn register_with<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        name: &str,
        options: StateOptions,
    ) -> Result<Self> {
        let (user_key_codec, codec) = (UC::default(), C::default());
        let user_key = Some(user_key_codec.identity());
        let descriptor = describe::<K, N>(name, StateKind::Map, user_key, codec.identity())?;
        let value = ValueCodec::of::<V, C>(&codec, StateKind::Map);
        let access = Access::register(backend, descriptor, &value, options)?;
        Ok(Self { access, user_key_codec, codec, types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.access.id()
    }

    /// The value of `user_key`, if there is one.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_get`], and what the codecs report.
    #[inline]
    pub fn get<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        user_key: &UK,
    ) -> Result<Option<V>> {
        let user_key = self.encode_user_key(user_key)?;
        match self.access.prepare(backend, at.entry())? {
            None => backend
                .map_get(self.id(), at.entry(), user_key.as_slice())?
                .map(|bytes| self.codec.decode_all(bytes))
                .transpose(),
            Some(ttl) => {
                self.read_expiring(backend, at.entry(), user_key.as_slice(), ttl, |bytes| {
                    self.codec.decode_all(bytes)
                })
            }
        }
    }

    /// Whether `user_key` has a value. To a time to live this is a read.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn contains<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        user_key: &UK,
    ) -> Result<bool> {
        let user_key = self.encode_user_key(user_key)?;
        if let Some(ttl) = self.access.prepare(backend, at.entry())? {
            let user_key = user_key.as_slice();
            let found = self.read_expiring(backend, at.entry(), user_key, ttl, |_| Ok(()))?;
            return Ok(found.is_some());
        }
        Ok(backend.map_get(self.id(), at.entry(), user_key.as_slice())?.is_some())
    }

    /// Sets the value of `user_key`.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_put`], and what the codecs report.
    #[inline]
    pub fn put<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        user_key: &UK,
        value: &V,
    ) -> Result<()> {
        let user_key = self.encode_user_key(user_key)?;
        let mut bytes = Scratch::new();
        if let Some(ttl) = self.access.prepare(backend, at.entry())? {
            stamp::encode_into(ttl.now(), &mut bytes);
        }
        self.codec.encode_into(value, &mut bytes)?;
        backend.map_put(self.id(), at.entry(), user_key.as_slice(), bytes.as_slice())
    }

    /// Sets the values of many user keys, one after the other.
    ///
    /// # Errors
    /// As [`Self::put`]; those before the one that failed are set.
    pub fn put_all<'t, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        entries: impl IntoIterator<Item = (&'t UK, &'t V)>,
    ) -> Result<()>
    where
        UK: 't,
        V: 't,
    {
        entries.into_iter().try_for_each(|(user_key, value)| self.put(backend, at, user_key, value))
    }

    /// Removes `user_key`, if it is there.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_remove`].
    pub fn remove<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        user_key: &UK,
    ) -> Result<()> {
        let user_key = self.encode_user_key(user_key)?;
        backend.map_remove(self.id(), at.entry(), user_key.as_slice())
    }

    /// Whether the map has no user keys. To a time to live this is no read.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_visit`].
    pub fn is_empty<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<bool> {
        let ttl = self.access.prepare(backend, at.entry())?;
        let mut empty = true;
        backend.map_visit(self.id(), at.entry(), &mut |_, edit| {
            empty = hide_expired(edit, ttl)?.is_none();
            Ok(if empty { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(empty)
    }

    /// Calls `visit` with each user key and value, in order.
    ///
    /// # Errors
    /// As [`KeyedBackend::map_visit`], and what the codecs report.
    pub fn for_each<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        mut visit: impl FnMut(UK, V),
    ) -> Result<()> {
        let ttl = self.access.prepare(backend, at.entry())?;
        backend.map_visit(self.id(), at.entry(), &mut |user_key, edit| {
            if let Some(bytes) = see(edit, ttl)? {
                let value = self.codec.decode_all(bytes)?;
                visit(self.user_key_codec.decode_all(user_key)?, value);
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// All user keys and values, in order.
    ///
    /// # Errors
    /// As [`Self::for_each`].
    pub fn entries<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<Vec<(UK, V)>> {
        let mut entries = Vec::new();
        self.for_each(backend, at, |user_key, value| entries.push((user_key, value)))?;
        Ok(entries)
    }

    /// Walks the map in order and replaces each value by what `change` makes of it; `None` removes
    /// the user key.
    ///
    /// # Errors
    /// As [`Self::for_each`]; changes made before an error stay.
    pub fn update_each<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        mut change: impl FnMut(&UK, V) -> Option<V>,
    ) -> Result<()> {
        let ttl = self.access.prepare(backend, at.entry())?;
        backend.map_visit(self.id(), at.entry(), &mut |user_key, edit| {
            let Some(bytes) = see(edit, ttl)? else { return Ok(ControlFlow::Continue(())) };
            let value = self.codec.decode_all(bytes)?;
            let changed = change(&self.user_key_codec.decode_all(user_key)?, value);
            match ttl {
                None => store(edit, &self.codec, changed)?,
                Some(ttl) => store_expiring(edit, &self.codec, ttl, changed)?,
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Deletes the whole map.
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

    #[inline]
    fn encode_user_key(&self, user_key: &UK) -> Result<Scratch> {
        let mut bytes = Scratch::new();
        self.user_key_codec.encode_into(user_key, &mut bytes)?;
        Ok(bytes)
    }

    /// Decodes the value of a user key, if it can be seen; removes it if it has expired, or stamps
    /// it anew, as the time to live says.
    fn read_expiring<R, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
        user_key: &[u8],
        ttl: &Ttl,
        decode: impl FnOnce(&[u8]) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(stored) = backend.map_get(self.id(), at, user_key)? else { return Ok(None) };
        let now = ttl.now();
        let (stamp, bytes) = stamp::split(stored)?;
        if ttl.is_hidden(stamp, now) {
            backend.map_remove(self.id(), at, user_key)?;
            return Ok(None);
        }
        let read = decode(bytes)?;
        if ttl.read_touches(stamp, now) {
            let mut stored = Scratch::new();
            stamp::encode_into(now, &mut stored);
            stored.extend_from_slice(bytes);
            backend.map_put(self.id(), at, user_key, stored.as_slice())?;
        }
        Ok(Some(read))
    }
}

/// Stamp and encoded value that a walk comes to, if it can be seen; removes it if it has expired.
#[inline]
fn hide_expired<'a>(edit: &mut Edit<'a>, ttl: Option<&Ttl>) -> Result<Option<(i64, &'a [u8])>> {
    let stored = edit.current().unwrap_or_default();
    let Some(ttl) = ttl else { return Ok(Some((UNKNOWN, stored))) };
    let (stamp, bytes) = stamp::split(stored)?;
    if ttl.is_hidden(stamp, ttl.now()) {
        edit.remove();
        return Ok(None);
    }
    Ok(Some((stamp, bytes)))
}

/// The encoded value that a walk comes to and reads, if it can be seen; removes it if it has
/// expired, or stamps it anew, as the time to live says.
#[inline]
fn see<'a>(edit: &mut Edit<'a>, ttl: Option<&Ttl>) -> Result<Option<&'a [u8]>> {
    let Some((stamp, bytes)) = hide_expired(edit, ttl)? else { return Ok(None) };
    if let Some(ttl) = ttl
        && ttl.read_touches(stamp, ttl.now())
    {
        edit.replace_with(|out| {
            stamp::encode_into(ttl.now(), out);
            out.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    Ok(Some(bytes))
}
