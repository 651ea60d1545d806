//! What all typed handles share: the state's id, its time to live, and its migration if one is
//! under way.
//!
//! Most states have neither of the two: a handle asks once per call, one branch that never changes
//! its way, and goes straight to the backend.

use std::sync::Arc;

use super::{current, replace, update_one};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::Codec;
use crate::descriptor::StateDescriptor;
use crate::edit::Edit;
use crate::entry::EntryKey;
use crate::error::Result;
use crate::id::StateId;
use crate::key_group::KeyGroup;
use crate::migration::{PendingMigration, StateOptions, ValueCodec, declare};
use crate::ttl::{ExpiryFilter, Ttl, TtlFilter, stamp};

/// How a handle reaches its state.
#[derive(Debug)]
pub(super) struct Access {
    id: StateId,
    /// Neither expiring nor being migrated.
    plain: bool,
    ttl: Option<Ttl>,
    migration: Option<Arc<PendingMigration>>,
}

impl Access {
    /// Registers the state that `descriptor` describes without regard to `options`.
    pub(super) fn register<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        mut descriptor: StateDescriptor,
        value: &ValueCodec,
        options: StateOptions,
    ) -> Result<Self> {
        let expiry = options.ttl.as_ref().map(|ttl| -> Arc<dyn ExpiryFilter> {
            Arc::new(TtlFilter::new(ttl.clone(), value.is_list.then_some(value.skip)))
        });
        if let Some(ttl) = &options.ttl {
            descriptor.set_value_codec(ttl.identity_of(&value.identity));
        }
        descriptor.declare(options.ttl.clone(), expiry);
        let id = declare(backend, descriptor, value, &options)?;
        let migration =
            backend.states().get(id.index()).and_then(|state| state.migration().cloned());
        let ttl = options.ttl;
        Ok(Self { id, plain: ttl.is_none() && migration.is_none(), ttl, migration })
    }

    pub(super) const fn id(&self) -> StateId {
        self.id
    }

    /// The time to live, after making sure that the entry's key group is migrated: to be asked
    /// before anything else is done with an entry.
    #[inline]
    pub(super) fn prepare<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
    ) -> Result<Option<&Ttl>> {
        if self.plain {
            return Ok(None);
        }
        if let Some(migration) = &self.migration {
            migration.ensure(backend, self.id, at.group())?;
        }
        Ok(self.ttl.as_ref())
    }

    fn prepare_many<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        entries: &[EntryKey<'_>],
    ) -> Result<Option<&Ttl>> {
        if let Some(migration) = &self.migration {
            for at in entries {
                migration.ensure(backend, self.id, at.group())?;
            }
        }
        Ok(self.ttl.as_ref())
    }

    /// Reads a value.
    #[inline]
    pub(super) fn get<V, C: Codec<V>, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
        codec: &C,
    ) -> Result<Option<V>> {
        match self.prepare(backend, at)? {
            None => backend.get(self.id, at)?.map(|bytes| codec.decode_all(bytes)).transpose(),
            Some(ttl) => self.get_expiring(backend, at, codec, ttl),
        }
    }

    /// Kept small, and what is rare out of it: the fewer instructions a read has, the more reads a
    /// processor overlaps.
    ///
    /// The address is not used again after the read; where it is needed it is put together anew
    /// from its parts. Else compilers copy it for the read, in loads wider than the stores that
    /// wrote it just before: those cannot be forwarded and wait for all before them to retire,
    /// which halves the rate of reads.
    #[inline]
    fn get_expiring<V, C: Codec<V>, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
        codec: &C,
        ttl: &Ttl,
    ) -> Result<Option<V>> {
        let (key, namespace, route) = (at.key(), at.namespace(), (at.hash(), at.group()));
        let Some(stored) = backend.get(self.id, at)? else { return Ok(None) };
        let (stamp, bytes) = stamp::split(stored)?;
        if ttl.is_settled(stamp, ttl.now()) {
            return codec.decode_all(bytes).map(Some);
        }
        self.get_unsettled(backend, key, namespace, route, codec)
    }

    /// Reads a value that has expired or must be stamped anew.
    #[inline(never)]
    fn get_unsettled<V, C: Codec<V>, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        key: &[u8],
        namespace: &[u8],
        (hash, group): (u64, KeyGroup),
        codec: &C,
    ) -> Result<Option<V>> {
        let at = EntryKey::with_parts(key, hash, group).in_namespace(namespace);
        let Some(ttl) = &self.ttl else { return Ok(None) };
        let Some(stored) = backend.get(self.id, at)? else { return Ok(None) };
        let now = ttl.now();
        let (stamp, bytes) = stamp::split(stored)?;
        if ttl.is_hidden(stamp, now) {
            backend.delete(self.id, at)?;
            return Ok(None);
        }
        let value = codec.decode_all(bytes)?;
        if ttl.read_touches(stamp, now) {
            let mut stored = Scratch::new();
            stamp::encode_into(now, &mut stored);
            stored.extend_from_slice(bytes);
            backend.put(self.id, at, stored.as_slice())?;
        }
        Ok(Some(value))
    }

    /// Reads a value that takes part in a merge: not one that has expired, whoever may see it.
    pub(super) fn get_live<V, C: Codec<V>, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
        codec: &C,
    ) -> Result<Option<V>> {
        let ttl = self.prepare(backend, at)?;
        let Some(mut bytes) = backend.get(self.id, at)? else { return Ok(None) };
        if let Some(ttl) = ttl
            && ttl.is_expired(stamp::decode_from(&mut bytes)?, ttl.now())
        {
            return Ok(None);
        }
        codec.decode_all(bytes).map(Some)
    }

    /// Writes a value.
    #[inline]
    pub(super) fn put<V, C: Codec<V>, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
        codec: &C,
        value: &V,
    ) -> Result<()> {
        let mut bytes = Scratch::new();
        if let Some(ttl) = self.prepare(backend, at)? {
            stamp::encode_into(ttl.now(), &mut bytes);
        }
        codec.encode_into(value, &mut bytes)?;
        backend.put(self.id, at, bytes.as_slice())
    }

    /// Reads, modifies and writes a value; `None` stands for no value on both sides.
    #[inline]
    pub(super) fn update<V, C: Codec<V>, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
        codec: &C,
        mut change: impl FnMut(Option<V>) -> Option<V>,
    ) -> Result<()> {
        match self.prepare(backend, at)? {
            None => update_one(backend, self.id, at, |edit| {
                let changed = change(current(edit, codec)?);
                store(edit, codec, changed)
            }),
            Some(ttl) => update_one(backend, self.id, at, |edit| {
                let changed = change(current_expiring(edit, codec, ttl)?);
                store_expiring(edit, codec, ttl, changed)
            }),
        }
    }

    /// [`Self::update`] for many entries in order, with their positions.
    #[inline]
    pub(super) fn update_many<V, C: Codec<V>, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        entries: &[EntryKey<'_>],
        codec: &C,
        mut change: impl FnMut(usize, Option<V>) -> Option<V>,
    ) -> Result<()> {
        match self.prepare_many(backend, entries)? {
            None => backend.update_many(self.id, entries, &mut |index, edit| {
                let changed = change(index, current(edit, codec)?);
                store(edit, codec, changed)
            }),
            Some(ttl) => backend.update_many(self.id, entries, &mut |index, edit| {
                let changed = change(index, current_expiring(edit, codec, ttl)?);
                store_expiring(edit, codec, ttl, changed)
            }),
        }
    }

    /// Deletes an entry. It need not be migrated for that.
    #[inline]
    pub(super) fn delete<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: EntryKey<'_>,
    ) -> Result<()> {
        backend.delete(self.id, at)
    }
}

/// Stores a value, or removes the entry.
#[inline]
pub(super) fn store<V, C: Codec<V>>(
    edit: &mut Edit<'_>,
    codec: &C,
    value: Option<V>,
) -> Result<()> {
    match value {
        Some(value) => replace(edit, codec, &value),
        None => {
            edit.remove();
            Ok(())
        }
    }
}

/// Decodes the edit's current value, if there is one that can be seen.
#[inline]
fn current_expiring<V, C: Codec<V>>(edit: &Edit<'_>, codec: &C, ttl: &Ttl) -> Result<Option<V>> {
    let Some(stored) = edit.current() else { return Ok(None) };
    let (stamp, bytes) = stamp::split(stored)?;
    if ttl.is_hidden(stamp, ttl.now()) {
        return Ok(None);
    }
    codec.decode_all(bytes).map(Some)
}

/// Stores a value as touched now.
#[inline]
pub(super) fn store_expiring<V, C: Codec<V>>(
    edit: &mut Edit<'_>,
    codec: &C,
    ttl: &Ttl,
    value: Option<V>,
) -> Result<()> {
    let Some(value) = value else {
        edit.remove();
        return Ok(());
    };
    edit.replace_with(|out| {
        stamp::encode_into(ttl.now(), out);
        codec.encode_into(&value, out)
    })
}
