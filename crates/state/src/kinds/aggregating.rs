//! One accumulator per key and namespace, into which values of another type are folded.

use core::marker::PhantomData;

use super::merge::Merge;
use super::{Marker, current, describe, replace, update_one};
use crate::backend::KeyedBackend;
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::edit::Edit;
use crate::entry::EntryKey;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::id::StateId;
use crate::place::{At, KeyContext, NamespaceContext};

/// How values are folded into an accumulator, and what comes out of it.
pub trait Aggregate: Send + Sync + 'static {
    /// What is added.
    type Input;
    /// What is stored.
    type Accumulator;
    /// What is read.
    type Output;

    /// The accumulator before the first add.
    fn create(&self) -> Self::Accumulator;

    /// Folds a value into the accumulator.
    fn add(&self, accumulator: &mut Self::Accumulator, input: &Self::Input);

    /// Adds to `accumulator` all that was added to `other`, which came later: for namespaces that
    /// become one.
    fn merge(&self, accumulator: &mut Self::Accumulator, other: Self::Accumulator);

    /// What the accumulator stands for.
    fn result(&self, accumulator: &Self::Accumulator) -> Self::Output;
}

/// The aggregate `A` of all values added for each key `K` and namespace `N`.
#[derive(Debug)]
pub struct AggregatingState<
    K,
    A: Aggregate,
    N = (),
    C = DefaultCodec<<A as Aggregate>::Accumulator>,
> {
    id: StateId,
    codec: C,
    aggregate: A,
    types: Marker<(K, N)>,
}

impl<K: HasCodec, A: Aggregate, N: HasCodec, C: Codec<A::Accumulator>>
    AggregatingState<K, A, N, C>
{
    /// Registers the state called `name`, or finds it restored.
    ///
    /// # Errors
    /// As [`KeyedBackend::register`].
    pub fn register<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        name: &str,
        aggregate: A,
    ) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::Aggregating, None, codec.identity())?;
        Ok(Self { id: backend.register(&descriptor)?, codec, aggregate, types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.id
    }

    /// The aggregate so far; `None` before the first add.
    ///
    /// # Errors
    /// As [`KeyedBackend::get`], and what the codec reports.
    pub fn get<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
    ) -> Result<Option<A::Output>> {
        let bytes = backend.get(self.id, at.entry())?;
        bytes.map(|bytes| Ok(self.aggregate.result(&self.codec.decode_all(bytes)?))).transpose()
    }

    /// Adds a value.
    ///
    /// # Errors
    /// As [`KeyedBackend::update_many`], and what the codec reports.
    pub fn add<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        at: At<'_, K, N>,
        input: &A::Input,
    ) -> Result<()> {
        update_one(backend, self.id, at.entry(), |edit| self.fold(edit, input))
    }

    /// Adds many values: `inputs[i]` at `entries[i]`, in order. The backend overlaps their cache
    /// misses: use batches of 16 to 64.
    ///
    /// # Errors
    /// As [`Self::add`]; [`ErrorKind::InvalidArgument`] if the slices differ in length.
    pub fn add_many<B: KeyedBackend + ?Sized>(
        &self,
        backend: &mut B,
        entries: &[EntryKey<'_>],
        inputs: &[&A::Input],
    ) -> Result<()> {
        if entries.len() != inputs.len() {
            return Err(super::lengths_differ(entries.len(), inputs.len()));
        }
        backend.update_many(self.id, entries, &mut |index, edit| match inputs.get(index) {
            Some(input) => self.fold(edit, input),
            None => Ok(()),
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
        backend.delete(self.id, at.entry())
    }

    /// Makes one aggregate of those of the namespaces `target` and `sources`, combined in this order, and
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
        let mut combined: Option<A::Accumulator> = None;
        for entry in core::iter::once(merge.target()).chain(merge.sources()) {
            let Some(bytes) = backend.get(self.id, entry)? else { continue };
            let value = self.codec.decode_all(bytes)?;
            combined = Some(match combined {
                Some(mut before) => {
                    self.aggregate.merge(&mut before, value);
                    before
                }
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
    fn fold(&self, edit: &mut Edit<'_>, input: &A::Input) -> Result<()> {
        let stored = current(edit, &self.codec)?;
        let mut accumulator = stored.unwrap_or_else(|| self.aggregate.create());
        self.aggregate.add(&mut accumulator, input);
        replace(edit, &self.codec, &accumulator)
    }
}
