//! Operators on keyed streams, with keyed state.

use millpond_state::EntryKey;
use millpond_state::codec::HasCodec;

use super::context::{OpenContext, OperatorContext};
use super::timers::Timer;
use crate::error::Result;
use crate::output::Keyed;

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

/// User code on a keyed stream. One instance for each subtask; used by one thread. Whatever it
/// must remember beyond a call belongs into state: an instance is made anew at each restart.
pub trait KeyedOperator: Send {
    /// What it takes.
    type In: Send;
    /// What its input is keyed by.
    type Key: HasCodec;
    /// What it emits.
    type Out;
    /// What it emits to its side output; `()` for an operator without one.
    type Side;
    /// The namespace of its timers; `()` for an operator that has one set of them for each key, or
    /// none at all.
    type TimerNamespace: HasCodec;

    /// Registers states. Called once, when restored state is there.
    ///
    /// # Errors
    /// What the backend reports; the job then fails.
    fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()>;

    /// Takes records.
    ///
    /// # Errors
    /// What state or output report, or user code; the job then fails, and restarts if it may.
    fn process(
        &mut self,
        batch: &KeyedBatch<'_, Self::In>,
        cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()>;

    /// The time of a timer has come; it is no longer set. Timers of event time fire when the
    /// watermark reaches their time; timers of processing time when the clock has passed it, so
    /// that all records processed in that millisecond come before. Each kind fires in order of
    /// time. Timers set meanwhile for a time that has come fire too, in their turn: who sets one on
    /// every firing must set it later each time. When all input has been processed, pending timers
    /// of event time fire and those of processing time do not.
    ///
    /// # Errors
    /// As [`Self::process`].
    fn on_timer(
        &mut self,
        _timer: &Timer<Self::Key, Self::TimerNamespace>,
        _cx: &mut OperatorContext<'_, Self>,
    ) -> Result<()> {
        Ok(())
    }

    /// Event time has come further: see [`OperatorContext::watermark`]. The timers that were due
    /// have fired.
    ///
    /// # Errors
    /// As [`Self::process`].
    fn on_watermark(&mut self, _cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        Ok(())
    }

    /// All input has been processed: emit what is left to say. Called once, after the watermark
    /// [`Timestamp::MAX`](crate::Timestamp::MAX), before the final checkpoint; not called again
    /// when a job is restored from its final checkpoint.
    ///
    /// # Errors
    /// As [`Self::process`].
    fn on_end(&mut self, _cx: &mut OperatorContext<'_, Self>) -> Result<()> {
        Ok(())
    }
}
