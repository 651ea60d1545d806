//! A sequence per key and namespace, cheap to append to.

use core::marker::PhantomData;

use super::access::Access;
use super::merge::Merge;
use super::{Marker, describe, update_one};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, HasCodec, skip_one};
use crate::descriptor::StateKind;
use crate::error::Result;
use crate::id::StateId;
use crate::migration::{StateOptions, ValueCodec};
use crate::place::{At, KeyContext, NamespaceContext};
use crate::ttl::{Expiry, ExpiryFilter, Ttl, TtlFilter, stamp};

/// A list of `T` for each key `K` and namespace `N`. Elements keep the order they were added in; an
/// empty list and no list are the same.
#[derive(Debug)]
pub struct ListState<K, T, N = (), C = DefaultCodec<T>> {
    access: Access,
    codec: C,
    types: Marker<(K, T, N)>,
}

impl<K: HasCodec, T, N: HasCodec, C: Codec<T>> ListState<K, T, N, C> {
    /// Registers the state called `name`, or finds it restored.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`].
    pub fn register<B: KeyedBackend + ?Sized>(backend: &mut B, name: &str) -> Result<Self> {
        Self::register_with(backend, name, StateOptions::new())
    }

    /// As [`Self::register`], with a time to live of each element, or a say in how restored
    /// elements are migrated.
    ///
    /// # Errors
    /// As [`Self::register`], and what the migration meets.
    pub fn register_with<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        name: &str,
        options: StateOptions,
    ) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::List, None, codec.identity())?;
        let value = ValueCodec::of::<T, C>(&codec, StateKind::List);
        let access = Access::register(backend, descriptor, &value, options)?;
        Ok(Self { access, codec, types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.access.id()
    }

    /// Appends one element.
    ///
    /// # Errors
    /// As [`KeyedBackend::append`], and what the codec reports.
    #[inline]
    pub fn add<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        element: &T,
    ) -> Result<()> {
        self.add_all(backend, at, core::iter::once(element))
    }

    /// Appends elements in order; either all of them or, on an error, none.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_all<'t, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        elements: impl IntoIterator<Item = &'t T>,
    ) -> Result<()>
    where
        T: 't,
    {
        let ttl = self.access.prepare(backend, at.entry())?;
        let bytes = self.encode(elements, ttl)?;
        if bytes.is_empty() {
            return Ok(());
        }
        backend.append(self.id(), at.entry(), bytes.as_slice())
    }

    /// Replaces the whole list; with no elements, clears it.
    ///
    /// # Errors
    /// As [`KeyedBackend::put`], and what the codec reports.
    pub fn replace<'t, B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        elements: impl IntoIterator<Item = &'t T>,
    ) -> Result<()>
    where
        T: 't,
    {
        let ttl = self.access.prepare(backend, at.entry())?;
        let bytes = self.encode(elements, ttl)?;
        if bytes.is_empty() {
            return self.access.delete(backend, at.entry());
        }
        backend.put(self.id(), at.entry(), bytes.as_slice())
    }

    /// All elements, in order.
    ///
    /// # Errors
    /// As [`KeyedBackend::get`], and what the codec reports.
    pub fn get<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<Vec<T>> {
        let mut elements = Vec::new();
        self.for_each(backend, at, |element| elements.push(element))?;
        Ok(elements)
    }

    /// Calls `visit` with each element in order, without holding them all.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn for_each<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        mut visit: impl FnMut(T),
    ) -> Result<()> {
        if let Some(ttl) = self.access.prepare(backend, at.entry())? {
            return self.for_each_expiring(backend, at, ttl, visit);
        }
        let mut bytes = backend.get(self.id(), at.entry())?.unwrap_or_default();
        while !bytes.is_empty() {
            visit(self.codec.decode_from(&mut bytes)?);
        }
        Ok(())
    }

    /// Clears the list.
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

    /// Moves the lists of the namespaces `sources` to the end of the list of `target`, in the order
    /// given. The sources vanish; one that has no list adds nothing, one that is the target stays.
    ///
    /// # Errors
    /// As [`KeyedBackend::append`] and [`KeyedBackend::delete`]; if appending fails, nothing is
    /// changed.
    pub fn merge_namespaces<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        key: &KeyContext<K>,
        sources: &[NamespaceContext<N>],
        target: &NamespaceContext<N>,
    ) -> Result<()> {
        let merge = Merge { key, sources, target };
        let mut moved = Vec::new();
        for source in merge.sources() {
            let ttl = self.access.prepare(backend, source)?;
            let stored = backend.get(self.id(), source)?.unwrap_or_default();
            match ttl {
                None => moved.extend_from_slice(stored),
                Some(ttl) => self.extend_with_live(&mut moved, stored, ttl)?,
            }
        }
        if !moved.is_empty() {
            self.access.prepare(backend, merge.target())?;
            backend.append(self.id(), merge.target(), &moved)?;
        }
        merge.delete_sources(backend, self.id())
    }

    /// Visits the elements that can be seen, then removes those that cannot, and stamps the others
    /// anew if reading does that.
    fn for_each_expiring<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        ttl: &Ttl,
        mut visit: impl FnMut(T),
    ) -> Result<()> {
        let now = ttl.now();
        let mut rest = backend.get(self.id(), at.entry())?.unwrap_or_default();
        let mut stale = false;
        while !rest.is_empty() {
            let stamp = stamp::decode_from(&mut rest)?;
            let element = self.codec.decode_from(&mut rest)?;
            stale |= ttl.is_hidden(stamp, now) || ttl.read_touches(stamp, now);
            if !ttl.is_hidden(stamp, now) {
                visit(element);
            }
        }
        if !stale {
            return Ok(());
        }
        let filter = TtlFilter::new(ttl.clone(), None);
        update_one(backend, self.id(), at.entry(), |edit| {
            let Some(stored) = edit.current() else { return Ok(()) };
            let mut rewritten = Scratch::new();
            let mode = (now, ttl.refreshes_on_read());
            match filter.judge_list(skip_one::<T, C>, stored, mode, &mut rewritten)? {
                Expiry::Live => {}
                Expiry::Expired => edit.remove(),
                Expiry::Rewrite => edit.replace(rewritten.as_slice()),
            }
            Ok(())
        })
    }

    /// Appends the elements of `stored` that have not expired, with their stamps.
    fn extend_with_live(&self, out: &mut Vec<u8>, stored: &[u8], ttl: &Ttl) -> Result<()> {
        let filter = TtlFilter::new(ttl.clone(), Some(skip_one::<T, C>));
        let mut rewritten = Scratch::new();
        match filter.judge(stored, filter.now_ms(), &mut rewritten)? {
            Expiry::Live => out.extend_from_slice(stored),
            Expiry::Expired => {}
            Expiry::Rewrite => out.extend_from_slice(rewritten.as_slice()),
        }
        Ok(())
    }

    fn encode<'t>(
        &self,
        elements: impl IntoIterator<Item = &'t T>,
        ttl: Option<&Ttl>,
    ) -> Result<Scratch>
    where
        T: 't,
    {
        let mut bytes = Scratch::new();
        for element in elements {
            if let Some(ttl) = ttl {
                stamp::encode_into(ttl.now(), &mut bytes);
            }
            let before = bytes.len();
            self.codec.encode_into(element, &mut bytes)?;
            if bytes.len() == before {
                return Err(super::walk::empty_element(&self.codec.identity()));
            }
        }
        Ok(bytes)
    }
}
