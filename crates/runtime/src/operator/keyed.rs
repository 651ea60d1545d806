//! Operators on keyed streams, with keyed state.

use std::sync::atomic::{AtomicU64, Ordering};

use millpond_state::codec::HasCodec;
use millpond_state::{EntryKey, KeyedBackend};

use crate::error::Result;
use crate::output::{Collector, Keyed};
use crate::watermark::Timestamp;

/// Records of a keyed stream, with the addresses of their keys: what one call of
/// [`KeyedOperator::process`] gets. At most [`KeyedBatch::RECORDS_MAX`] records, so that a batched
/// state access overlaps their cache misses and fits the caches.
#[derive(Debug)]
pub struct KeyedBatch<'a, T> {
    pub(crate) records: &'a [Keyed<T>],
    pub(crate) entries: &'a [EntryKey<'a>],
}

impl<'a, T> KeyedBatch<'a, T> {
    /// Most records in a batch.
    pub const RECORDS_MAX: usize = 64;

    /// Number of records, at least 1.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records; never, as the runtime calls it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record at `index`, if it is below [`Self::len`].
    #[inline]
    #[must_use]
    pub fn record(&self, index: usize) -> Option<&'a T> {
        self.records.get(index).map(|keyed| &keyed.record)
    }

    /// The records in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &'a T> + '_ {
        self.records.iter().map(|keyed| &keyed.record)
    }

    /// The addresses of the records' keys, in the void namespace, in the same order.
    #[must_use]
    pub const fn entries(&self) -> &'a [EntryKey<'a>] {
        self.entries
    }
}

/// What an operator works with during a call: its state, its output, and the time.
pub struct OperatorContext<'a, Out> {
    pub(crate) backend: &'a mut dyn KeyedBackend,
    pub(crate) output: &'a mut dyn Collector<Out>,
    pub(crate) watermark: Timestamp,
    pub(crate) late_records: &'a AtomicU64,
}

impl<Out> OperatorContext<'_, Out> {
    /// The backend that holds the operator's state.
    pub fn backend(&mut self) -> &mut dyn KeyedBackend {
        self.backend
    }

    /// Sends a record on.
    ///
    /// # Errors
    /// As [`Collector::emit`].
    #[inline]
    pub fn emit(&mut self, record: &Out) -> Result<()> {
        self.output.emit(record)
    }

    /// Sends many records on, in order; cheaper than one by one.
    ///
    /// # Errors
    /// As [`Collector::emit_all`].
    #[inline]
    pub fn emit_all(&mut self, records: &[Out]) -> Result<()> {
        self.output.emit_all(records)
    }

    /// The watermark: no record with an earlier timestamp is expected.
    #[must_use]
    pub const fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Counts records that came after their window had closed and were left out.
    pub fn count_late(&mut self, records: u64) {
        self.late_records.fetch_add(records, Ordering::Relaxed);
    }
}

impl<Out> std::fmt::Debug for OperatorContext<'_, Out> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorContext")
            .field("watermark", &self.watermark)
            .finish_non_exhaustive()
    }
}

/// User code on a keyed stream. One instance for each subtask; used by one thread. Whatever it
/// must remember beyond a call belongs into state: an instance is made anew at each restart.
pub trait KeyedOperator: Send {
    /// What it takes.
    type In: Send;
    /// What its input is keyed by.
    type Key: HasCodec;
    /// What it emits.
    type Out;

    /// Registers states. Called once, after restored state is in the backend.
    ///
    /// # Errors
    /// What the backend reports; the job then fails.
    fn open(&mut self, backend: &mut dyn KeyedBackend) -> Result<()>;

    /// Takes records.
    ///
    /// # Errors
    /// What state or output report, or user code; the job then fails, and restarts if it may.
    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Self::In>,
        cx: &mut OperatorContext<'_, Self::Out>,
    ) -> Result<()>;

    /// Event time has come further: see [`OperatorContext::watermark`].
    ///
    /// # Errors
    /// As [`Self::process`].
    fn on_watermark(&mut self, cx: &mut OperatorContext<'_, Self::Out>) -> Result<()>;

    /// All input has been processed: emit what is left to say. Called once, after the watermark
    /// [`Timestamp::MAX`], before the final checkpoint; not called again when a job is restored
    /// from its final checkpoint.
    ///
    /// # Errors
    /// As [`Self::process`].
    fn on_end(&mut self, cx: &mut OperatorContext<'_, Self::Out>) -> Result<()>;
}
