//! A sequence per key and namespace, cheap to append to.

use core::marker::PhantomData;

use super::merge::Merge;
use super::{Marker, describe};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::error::Result;
use crate::id::StateId;
use crate::place::{At, KeyContext, NamespaceContext};

/// A list of `T` for each key `K` and namespace `N`. Elements keep the order they were added in; an
/// empty list and no list are the same.
#[derive(Debug)]
pub struct ListState<K, T, N = (), C = DefaultCodec<T>> {
    id: StateId,
    codec: C,
    types: Marker<(K, T, N)>,
}

impl<K: HasCodec, T, N: HasCodec, C: Codec<T>> ListState<K, T, N, C> {
    /// Registers the state called `name`, or finds it restored.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`].
    pub fn register<B: KeyedBackend + ?Sized>(backend: &mut B, name: &str) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::List, None, codec.identity())?;
        Ok(Self { id: backend.register(&descriptor)?, codec, types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.id
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
        let bytes = self.encode(elements)?;
        if bytes.is_empty() {
            return Ok(());
        }
        backend.append(self.id, at.entry(), bytes.as_slice())
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
        let bytes = self.encode(elements)?;
        if bytes.is_empty() {
            return backend.delete(self.id, at.entry());
        }
        backend.put(self.id, at.entry(), bytes.as_slice())
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
        let mut bytes = backend.get(self.id, at.entry())?.unwrap_or_default();
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
        backend.delete(self.id, at.entry())
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
            moved.extend_from_slice(backend.get(self.id, source)?.unwrap_or_default());
        }
        if moved.is_empty() {
            return Ok(());
        }
        backend.append(self.id, merge.target(), &moved)?;
        merge.delete_sources(backend, self.id)
    }

    fn encode<'t>(&self, elements: impl IntoIterator<Item = &'t T>) -> Result<Scratch>
    where
        T: 't,
    {
        let mut bytes = Scratch::new();
        for element in elements {
            let before = bytes.len();
            self.codec.encode_into(element, &mut bytes)?;
            if bytes.len() == before {
                return Err(super::walk::empty_element(&self.codec.identity()));
            }
        }
        Ok(bytes)
    }
}
