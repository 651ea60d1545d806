//! Event-time tumbling windows: a window is a namespace.
//!
//! Records of a key are folded into one accumulator for each window they fall into. When the
//! watermark passes a window's last millisecond, its results are emitted and its state is deleted.
//! Which (window, key) pairs are open follows from the state itself: the index of them in memory is
//! rebuilt from the backend when the operator opens, so it need not be in the snapshot.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use millpond_state::codec::{Codec, DefaultCodec, HasCodec};
use millpond_state::{
    Aggregate, AggregatingState, At, EntryKey, KeyedBackend, NamespaceContext, StateError,
};

use super::{KeyedBatch, KeyedOperator, OperatorContext};
use crate::error::{JobError, JobErrorKind, Result};
use crate::watermark::Timestamp;

/// A window of event time, from its start (included) to its end (not included). Encoded by its
/// start, so that namespaces sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// First millisecond of the window.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// First millisecond after the window.
    #[must_use]
    pub const fn end(self) -> Timestamp {
        self.end
    }
}

/// What a window held when it closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowResult<K, R> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
    /// What the aggregate came to.
    pub result: R,
}

/// Folds records into event-time tumbling windows and emits each window's result when it closes.
/// A record whose window has closed already is counted as late and left out.
pub struct TumblingWindows<In, K, A: Aggregate, T>
where
    A::Accumulator: HasCodec,
{
    state_name: String,
    size_ms: i64,
    aggregate: Option<A>,
    timestamp: T,
    state: Option<AggregatingState<K, A, i64>>,
    /// Keys with state, by the start of their window.
    open: BTreeMap<i64, HashSet<Box<[u8]>>>,
    types: std::marker::PhantomData<fn(In)>,
}

impl<In, K, A, T> TumblingWindows<In, K, A, T>
where
    K: HasCodec,
    A: Aggregate<Input = In>,
    A::Accumulator: HasCodec,
    T: Fn(&In) -> Timestamp,
{
    /// Windows of `size_ms` milliseconds, aligned to the Unix epoch, kept in the state called
    /// `state_name`; `timestamp` says when a record happened.
    ///
    /// # Errors
    /// [`JobErrorKind::InvalidArgument`] if `size_ms` is not above 0.
    pub fn new(
        state_name: impl Into<String>,
        size_ms: i64,
        aggregate: A,
        timestamp: T,
    ) -> Result<Self> {
        if size_ms <= 0 {
            let message = format!("a window of {size_ms} ms has no room: give at least 1 ms");
            return Err(JobError::new(JobErrorKind::InvalidArgument, message));
        }
        Ok(Self {
            state_name: state_name.into(),
            size_ms,
            aggregate: Some(aggregate),
            timestamp,
            state: None,
            open: BTreeMap::new(),
            types: std::marker::PhantomData,
        })
    }

    fn window_start(&self, timestamp: Timestamp) -> i64 {
        let ms = timestamp.as_ms();
        ms.saturating_sub(ms.rem_euclid(self.size_ms))
    }

    fn is_closed(&self, start: i64, watermark: Timestamp) -> bool {
        start.saturating_add(self.size_ms - 1) <= watermark.as_ms() && watermark > Timestamp::MIN
    }

    fn track(&mut self, start: i64, key: &[u8]) {
        let keys = self.open.entry(start).or_default();
        if !keys.contains(key) {
            keys.insert(key.into());
        }
    }
}

impl<In, K, A, T> KeyedOperator for TumblingWindows<In, K, A, T>
where
    In: Send,
    K: HasCodec,
    A: Aggregate<Input = In>,
    A::Accumulator: HasCodec,
    T: Fn(&In) -> Timestamp + Send,
{
    type In = In;
    type Key = K;
    type Out = WindowResult<K, A::Output>;

    fn open(&mut self, backend: &mut dyn KeyedBackend) -> Result<()> {
        let aggregate = self.aggregate.take().ok_or_else(opened_twice)?;
        let state = AggregatingState::register(backend, &self.state_name, aggregate)?;
        let groups = backend.key_groups();
        let open = &mut self.open;
        backend.visit_entries(state.id(), groups, None, &mut |_, key, namespace| {
            let start = DefaultCodec::<i64>::default().decode_all(namespace)?;
            open.entry(start).or_default().insert(key.into());
            Ok(ControlFlow::Continue(()))
        })?;
        self.state = Some(state);
        Ok(())
    }

    fn process(
        &mut self,
        batch: &KeyedBatch<'_, In>,
        cx: &mut OperatorContext<'_, Self::Out>,
    ) -> Result<()> {
        let watermark = cx.watermark();
        let mut namespaces = Vec::with_capacity(batch.len());
        let mut inputs = Vec::with_capacity(batch.len());
        let mut keys = Vec::with_capacity(batch.len());
        for (record, entry) in batch.records().zip(batch.entries()) {
            let start = self.window_start((self.timestamp)(record));
            if self.is_closed(start, watermark) {
                cx.count_late(1);
                continue;
            }
            self.track(start, entry.key());
            namespaces.push(NamespaceContext::new(&start)?);
            inputs.push(record);
            keys.push(entry);
        }
        let entries: Vec<EntryKey<'_>> = keys
            .iter()
            .zip(&namespaces)
            .map(|(entry, namespace)| entry.in_namespace(namespace.as_bytes()))
            .collect();
        let state = self.state.as_ref().ok_or_else(not_opened)?;
        state.add_many(cx.backend(), &entries, &inputs)?;
        Ok(())
    }

    fn on_watermark(&mut self, cx: &mut OperatorContext<'_, Self::Out>) -> Result<()> {
        while let Some(first) = self.open.first_entry() {
            let start = *first.key();
            if start.saturating_add(self.size_ms - 1) > cx.watermark().as_ms() {
                break;
            }
            let keys = first.remove();
            let window = Window {
                start: Timestamp::from_ms(start),
                end: Timestamp::from_ms(start.saturating_add(self.size_ms)),
            };
            self.close(window, &keys, cx)?;
        }
        Ok(())
    }

    fn on_end(&mut self, _cx: &mut OperatorContext<'_, Self::Out>) -> Result<()> {
        Ok(())
    }
}

impl<In, K, A, T> TumblingWindows<In, K, A, T>
where
    K: HasCodec,
    A: Aggregate<Input = In>,
    A::Accumulator: HasCodec,
{
    fn close(
        &self,
        window: Window,
        keys: &HashSet<Box<[u8]>>,
        cx: &mut OperatorContext<'_, WindowResult<K, A::Output>>,
    ) -> Result<()> {
        let state = self.state.as_ref().ok_or_else(not_opened)?;
        let namespace = NamespaceContext::new(&window.start.as_ms())?;
        let mut keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        keys.sort_unstable();
        for bytes in keys {
            let entry = EntryKey::new(bytes, cx.backend().max_parallelism());
            let at = At::from_entry(entry.in_namespace(namespace.as_bytes()));
            let Some(result) = state.get(cx.backend(), at)? else { continue };
            let key = DefaultCodec::<K>::default().decode_all(bytes)?;
            cx.emit(&WindowResult { key, window, result })?;
            state.delete(cx.backend(), at)?;
        }
        Ok(())
    }
}

impl<In, K, A: Aggregate, T> std::fmt::Debug for TumblingWindows<In, K, A, T>
where
    A::Accumulator: HasCodec,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TumblingWindows")
            .field("state", &self.state_name)
            .field("size_ms", &self.size_ms)
            .finish_non_exhaustive()
    }
}

#[cold]
fn opened_twice() -> StateError {
    StateError::new(millpond_state::ErrorKind::InvalidArgument, "an operator was opened twice")
}

#[cold]
fn not_opened() -> JobError {
    JobError::new(JobErrorKind::InvalidArgument, "an operator was used before it was opened")
}
