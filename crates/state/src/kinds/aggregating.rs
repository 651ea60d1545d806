//! One accumulator per key and namespace, into which values of another type are folded.

use core::marker::PhantomData;

use super::access::Access;
use super::merge::Merge;
use super::{Marker, describe};
use crate::backend::KeyedBackend;
use crate::codec::{Codec, DefaultCodec, HasCodec};
use crate::descriptor::StateKind;
use crate::entry::EntryKey;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;
use crate::id::StateId;
use crate::migration::{StateOptions, ValueCodec};
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
    access: Access,
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
        Self::register_with(backend, name, aggregate, StateOptions::new())
    }

    /// As [`Self::register`], with a time to live, or a say in how restored accumulators are
    /// migrated.
    ///
    /// # Errors
    /// As [`Self::register`], and what the migration meets.
    pub fn register_with<B: KeyedBackend + ?Sized>(
        backend: &mut B,
        name: &str,
        aggregate: A,
        options: StateOptions,
    ) -> Result<Self> {
        let codec = C::default();
        let descriptor = describe::<K, N>(name, StateKind::Aggregating, None, codec.identity())?;
        let value = ValueCodec::of::<A::Accumulator, C>(&codec, StateKind::Aggregating);
        let access = Access::register(backend, descriptor, &value, options)?;
        Ok(Self { access, codec, aggregate, types: PhantomData })
    }

    /// The state's id in its backend.
    #[must_use]
    pub const fn id(&self) -> StateId {
        self.access.id()
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
        let accumulator = self.access.get(backend, at.entry(), &self.codec)?;
        Ok(accumulator.map(|accumulator| self.aggregate.result(&accumulator)))
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
        self.access.update(backend, at.entry(), &self.codec, |stored| self.fold(stored, input))
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
        self.access.update_many(backend, entries, &self.codec, |index, stored| {
            match inputs.get(index) {
                Some(input) => self.fold(stored, input),
                None => stored,
            }
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

    /// Makes one aggregate of those of the namespaces `target` and `sources`, combined in this
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
        let mut combined: Option<A::Accumulator> = None;
        for entry in core::iter::once(merge.target()).chain(merge.sources()) {
            let live = self.access.get_live(backend, entry, &self.codec)?;
            match (&mut combined, live) {
                (Some(combined), Some(live)) => self.aggregate.merge(combined, live),
                (None, live) => combined = live,
                (Some(_), None) => {}
            }
        }
        if let Some(combined) = combined {
            self.access.put(backend, merge.target(), &self.codec, &combined)?;
        }
        merge.delete_sources(backend, self.id())
    }

    #[inline]
    fn fold(&self, stored: Option<A::Accumulator>, input: &A::Input) -> Option<A::Accumulator> {
        let mut accumulator = stored.unwrap_or_else(|| self.aggregate.create());
        self.aggregate.add(&mut accumulator, input);
        Some(accumulator)
    }
}
