//! What a window holds: an aggregate, a reduction, or all its records.

use std::fmt;

use millpond_state::codec::HasCodec;
use millpond_state::{
    Aggregate, AggregatingState, At, EntryKey, KeyContext, KeyedBackend, ListState,
    NamespaceContext, ReducingState, StateId,
};

use crate::error::{JobError, JobErrorKind, Result};

/// What windows of records `In` of keys `K` hold, in a state whose namespaces are the windows.
pub trait WindowState<K, In>: Send {
    /// What a window comes to.
    type Result;

    /// Registers the state under `name`. Called once, before anything else.
    ///
    /// # Errors
    /// What the backend reports.
    fn open(&mut self, backend: &mut dyn KeyedBackend, name: &str) -> Result<()>;

    /// The state in which a look-up is cheap and tells whether a window holds anything; `None` if
    /// there is none.
    fn probe(&self) -> Option<StateId>;

    /// Adds `records[i]` at `entries[i]`, in order. The slices are of one length.
    ///
    /// # Errors
    /// What the state reports.
    fn add_many(
        &self,
        backend: &mut dyn KeyedBackend,
        entries: &[EntryKey<'_>],
        records: &[&In],
    ) -> Result<()>;

    /// What a window comes to; `None` if it holds nothing.
    ///
    /// # Errors
    /// What the state reports.
    fn result(
        &self,
        backend: &mut dyn KeyedBackend,
        at: At<'_, K, i64>,
    ) -> Result<Option<Self::Result>>;

    /// Makes one window of `target` and `sources`, kept in `target`.
    ///
    /// # Errors
    /// What the state reports.
    fn merge(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &KeyContext<K>,
        sources: &[NamespaceContext<i64>],
        target: &NamespaceContext<i64>,
    ) -> Result<()>;

    /// Forgets what a window holds.
    ///
    /// # Errors
    /// What the state reports.
    fn delete(&self, backend: &mut dyn KeyedBackend, at: At<'_, K, i64>) -> Result<()>;
}

/// Windows that hold an aggregate of their records.
pub struct WindowAggregate<K, A: Aggregate>
where
    A::Accumulator: HasCodec,
{
    aggregate: Option<A>,
    state: Option<AggregatingState<K, A, i64>>,
}

impl<K, A: Aggregate> WindowAggregate<K, A>
where
    A::Accumulator: HasCodec,
{
    /// Windows that hold `aggregate` of their records.
    #[must_use]
    pub const fn new(aggregate: A) -> Self {
        Self { aggregate: Some(aggregate), state: None }
    }

    fn state(&self) -> Result<&AggregatingState<K, A, i64>> {
        self.state.as_ref().ok_or_else(not_opened)
    }
}

impl<K, A: Aggregate> fmt::Debug for WindowAggregate<K, A>
where
    A::Accumulator: HasCodec,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowAggregate").finish_non_exhaustive()
    }
}

impl<K: HasCodec, In, A: Aggregate<Input = In>> WindowState<K, In> for WindowAggregate<K, A>
where
    A::Accumulator: HasCodec,
{
    type Result = A::Output;

    fn open(&mut self, backend: &mut dyn KeyedBackend, name: &str) -> Result<()> {
        let aggregate = self.aggregate.take().ok_or_else(opened_twice)?;
        self.state = Some(AggregatingState::register(backend, name, aggregate)?);
        Ok(())
    }

    fn probe(&self) -> Option<StateId> {
        self.state.as_ref().map(AggregatingState::id)
    }

    fn add_many(
        &self,
        backend: &mut dyn KeyedBackend,
        entries: &[EntryKey<'_>],
        records: &[&In],
    ) -> Result<()> {
        Ok(self.state()?.add_many(backend, entries, records)?)
    }

    fn result(
        &self,
        backend: &mut dyn KeyedBackend,
        at: At<'_, K, i64>,
    ) -> Result<Option<A::Output>> {
        Ok(self.state()?.get(backend, at)?)
    }

    fn merge(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &KeyContext<K>,
        sources: &[NamespaceContext<i64>],
        target: &NamespaceContext<i64>,
    ) -> Result<()> {
        Ok(self.state()?.merge_namespaces(backend, key, sources, target)?)
    }

    fn delete(&self, backend: &mut dyn KeyedBackend, at: At<'_, K, i64>) -> Result<()> {
        Ok(self.state()?.delete(backend, at)?)
    }
}

type Reduce<T> = Box<dyn Fn(T, T) -> T + Send + Sync>;

/// Windows that hold the reduction of their records.
pub struct WindowReduce<K, T: HasCodec> {
    reduce: Option<Reduce<T>>,
    state: Option<ReducingState<K, T, i64>>,
}

impl<K, T: HasCodec> WindowReduce<K, T> {
    /// Windows that hold their records combined by `reduce`, earlier ones first. It must be
    /// associative for session windows.
    #[must_use]
    pub fn new(reduce: impl Fn(T, T) -> T + Send + Sync + 'static) -> Self {
        Self { reduce: Some(Box::new(reduce)), state: None }
    }

    fn state(&self) -> Result<&ReducingState<K, T, i64>> {
        self.state.as_ref().ok_or_else(not_opened)
    }
}

impl<K, T: HasCodec> fmt::Debug for WindowReduce<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowReduce").finish_non_exhaustive()
    }
}

impl<K: HasCodec, T: HasCodec + Clone + 'static> WindowState<K, T> for WindowReduce<K, T> {
    type Result = T;

    fn open(&mut self, backend: &mut dyn KeyedBackend, name: &str) -> Result<()> {
        let reduce = self.reduce.take().ok_or_else(opened_twice)?;
        self.state = Some(ReducingState::register(backend, name, reduce)?);
        Ok(())
    }

    fn probe(&self) -> Option<StateId> {
        self.state.as_ref().map(ReducingState::id)
    }

    fn add_many(
        &self,
        backend: &mut dyn KeyedBackend,
        entries: &[EntryKey<'_>],
        records: &[&T],
    ) -> Result<()> {
        let state = self.state()?;
        let mut records = records.iter();
        let Some(first) = records.as_slice().first().copied() else { return Ok(()) };
        // There are as many records as entries.
        let value = |_| records.next().copied().unwrap_or(first).clone();
        Ok(state.add_many(backend, entries, value)?)
    }

    fn result(&self, backend: &mut dyn KeyedBackend, at: At<'_, K, i64>) -> Result<Option<T>> {
        Ok(self.state()?.get(backend, at)?)
    }

    fn merge(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &KeyContext<K>,
        sources: &[NamespaceContext<i64>],
        target: &NamespaceContext<i64>,
    ) -> Result<()> {
        Ok(self.state()?.merge_namespaces(backend, key, sources, target)?)
    }

    fn delete(&self, backend: &mut dyn KeyedBackend, at: At<'_, K, i64>) -> Result<()> {
        Ok(self.state()?.delete(backend, at)?)
    }
}

/// Windows that hold all their records, in the order in which they came; for session windows in
/// that order before they merged.
pub struct WindowList<K, T: HasCodec> {
    state: Option<ListState<K, T, i64>>,
}

impl<K, T: HasCodec> WindowList<K, T> {
    /// Windows that hold all their records.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: None }
    }

    fn state(&self) -> Result<&ListState<K, T, i64>> {
        self.state.as_ref().ok_or_else(not_opened)
    }
}

impl<K, T: HasCodec> Default for WindowList<K, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, T: HasCodec> fmt::Debug for WindowList<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WindowList").finish_non_exhaustive()
    }
}

impl<K: HasCodec, T: HasCodec> WindowState<K, T> for WindowList<K, T> {
    type Result = Vec<T>;

    fn open(&mut self, backend: &mut dyn KeyedBackend, name: &str) -> Result<()> {
        self.state = Some(ListState::register(backend, name)?);
        Ok(())
    }

    fn probe(&self) -> Option<StateId> {
        // A look-up may bring the whole list.
        None
    }

    fn add_many(
        &self,
        backend: &mut dyn KeyedBackend,
        entries: &[EntryKey<'_>],
        records: &[&T],
    ) -> Result<()> {
        let state = self.state()?;
        for (entry, record) in entries.iter().zip(records) {
            state.add(backend, At::from_entry(*entry), record)?;
        }
        Ok(())
    }

    fn result(&self, backend: &mut dyn KeyedBackend, at: At<'_, K, i64>) -> Result<Option<Vec<T>>> {
        let records = self.state()?.get(backend, at)?;
        Ok(if records.is_empty() { None } else { Some(records) })
    }

    fn merge(
        &self,
        backend: &mut dyn KeyedBackend,
        key: &KeyContext<K>,
        sources: &[NamespaceContext<i64>],
        target: &NamespaceContext<i64>,
    ) -> Result<()> {
        Ok(self.state()?.merge_namespaces(backend, key, sources, target)?)
    }

    fn delete(&self, backend: &mut dyn KeyedBackend, at: At<'_, K, i64>) -> Result<()> {
        Ok(self.state()?.delete(backend, at)?)
    }
}

#[cold]
fn opened_twice() -> JobError {
    JobError::new(JobErrorKind::InvalidArgument, "an operator was opened twice")
}

#[cold]
pub(super) fn not_opened() -> JobError {
    JobError::new(JobErrorKind::InvalidArgument, "an operator was used before it was opened")
}
