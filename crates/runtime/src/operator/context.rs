//! What an operator works with: when it opens, and during each call.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_state::{KeyGroupRange, KeyedBackend, OperatorState, StateTime};

use super::keyed::KeyedOperator;
use super::timers::{OperatorTimers, TimerStore};
use crate::error::Result;
use crate::output::Collector;
use crate::watermark::Timestamp;

/// What an operator registers its states with. Restored state is there already.
pub struct OpenContext<'a> {
    pub(crate) backend: &'a mut dyn KeyedBackend,
    pub(crate) operator_state: &'a mut OperatorState,
    pub(crate) time: &'a StateTime,
}

impl OpenContext<'_> {
    /// The backend that holds the operator's keyed state.
    pub fn backend(&mut self) -> &mut dyn KeyedBackend {
        self.backend
    }

    /// State that belongs to no key: split and union lists, broadcast state.
    pub fn operator_state(&mut self) -> &mut OperatorState {
        self.operator_state
    }

    /// The times that state expires by. The runtime advances them: processing time with each batch
    /// of records, event time with the watermark.
    #[must_use]
    pub const fn state_time(&self) -> &StateTime {
        self.time
    }

    /// The key groups of this subtask.
    #[must_use]
    pub fn key_groups(&self) -> KeyGroupRange {
        self.backend.key_groups()
    }
}

impl fmt::Debug for OpenContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenContext").field("time", self.time).finish_non_exhaustive()
    }
}

/// What an operator works with during a call: its state, its timers, its outputs, and the time.
pub struct OperatorContext<'a, Op: KeyedOperator + ?Sized> {
    pub(crate) backend: &'a mut dyn KeyedBackend,
    pub(crate) operator_state: &'a mut OperatorState,
    pub(crate) timers: &'a mut TimerStore<Op::Key, Op::TimerNamespace>,
    pub(crate) output: &'a mut dyn Collector<Op::Out>,
    pub(crate) side: &'a mut dyn Collector<Op::Side>,
    pub(crate) time: &'a StateTime,
    pub(crate) watermark: Timestamp,
    pub(crate) late_records: &'a AtomicU64,
}

impl<Op: KeyedOperator + ?Sized> OperatorContext<'_, Op> {
    /// The backend that holds the operator's keyed state.
    #[inline]
    pub fn backend(&mut self) -> &mut dyn KeyedBackend {
        self.backend
    }

    /// State that belongs to no key, to read it.
    #[must_use]
    pub fn operator_state(&self) -> &OperatorState {
        self.operator_state
    }

    /// State that belongs to no key, to change it. Broadcast state must only be changed from
    /// [`on_broadcast`](crate::BroadcastOperator::on_broadcast): elsewhere subtasks would come to
    /// hold different values.
    pub fn operator_state_mut(&mut self) -> &mut OperatorState {
        self.operator_state
    }

    /// The operator's timers.
    pub fn timers(&mut self) -> OperatorTimers<'_, Op::Key, Op::TimerNamespace> {
        OperatorTimers { store: self.timers, backend: self.backend }
    }

    /// Sends a record on.
    ///
    /// # Errors
    /// As [`Collector::emit`].
    #[inline]
    pub fn emit(&mut self, record: &Op::Out) -> Result<()> {
        self.output.emit(record)
    }

    /// Sends many records on, in order; cheaper than one by one.
    ///
    /// # Errors
    /// As [`Collector::emit_all`].
    #[inline]
    pub fn emit_all(&mut self, records: &[Op::Out]) -> Result<()> {
        self.output.emit_all(records)
    }

    /// Sends a record to the side output.
    ///
    /// # Errors
    /// As [`Collector::emit`].
    pub fn emit_side(&mut self, record: &Op::Side) -> Result<()> {
        self.side.emit(record)
    }

    /// The watermark: no record with an earlier timestamp is expected.
    #[must_use]
    pub const fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Processing time in milliseconds since the Unix epoch: the clock's at the begin of the batch
    /// or timers at hand. Never goes back.
    #[must_use]
    pub fn processing_ms(&self) -> i64 {
        self.time.processing_ms().unwrap_or(i64::MIN)
    }

    /// Counts records that came too late for their window and were left out.
    pub fn count_late(&mut self, records: u64) {
        self.late_records.fetch_add(records, Ordering::Relaxed);
    }
}

impl<Op: KeyedOperator + ?Sized> fmt::Debug for OperatorContext<'_, Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorContext")
            .field("watermark", &self.watermark)
            .finish_non_exhaustive()
    }
}
