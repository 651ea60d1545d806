//! What a snapshot leaves out and converts on its way out: written once, for every backend.
//!
//! Invariant: all of it is judged as of the instant at which the snapshot was taken. The task runs
//! later and on another thread; by then event time may have passed what the checkpoint contains.

use core::fmt;
use std::sync::Arc;

use crate::buffer::Scratch;
use crate::descriptor::StateDescriptor;
use crate::error::Result;
use crate::migration::FrozenMigration;
use crate::snapshot_api::{CancelFlag, EntrySink, SnapshotEntry, SnapshotSummary, SnapshotTask};
use crate::ttl::{Expiry, ExpiryFilter};

/// Wraps `task` if any of `states` needs it.
pub(crate) fn wrap(
    states: &[StateDescriptor],
    task: Box<dyn SnapshotTask>,
) -> Box<dyn SnapshotTask> {
    if states.iter().all(StateDescriptor::is_plain) {
        return task;
    }
    Box::new(FilteredTask { task, filter: SnapshotFilter::freeze(states) })
}

/// Judges and converts entries on their way out, as of the instant at which it was frozen.
pub struct SnapshotFilter {
    /// By state index.
    filters: Vec<StateFilter>,
    /// Entries that were converted.
    migrated: u64,
    converted: Scratch,
    rewritten: Scratch,
}

impl fmt::Debug for SnapshotFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFilter").field("states", &self.filters.len()).finish()
    }
}

impl SnapshotFilter {
    pub(crate) fn freeze(states: &[StateDescriptor]) -> Self {
        Self {
            filters: states.iter().map(StateFilter::freeze).collect(),
            migrated: 0,
            converted: Scratch::new(),
            rewritten: Scratch::new(),
        }
    }

    /// Runs `task` with each of its entries passed through this on the way to `sink`.
    ///
    /// # Errors
    /// As [`SnapshotTask::run`], and as [`Self::apply`].
    pub fn run(
        self,
        task: Box<dyn SnapshotTask>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        let mut sink = FilteredSink { sink, filter: self, written: 0 };
        let mut summary = task.run(&mut sink, cancel)?;
        // Which of the entries left out were changed is not known here: at most all that are left.
        summary.entries = sink.written;
        summary.entries_changed =
            summary.entries_changed.saturating_add(sink.filter.migrated).min(sink.written);
        Ok(summary)
    }

    /// The value that the snapshot shall have of `entry`; `None` if it has expired.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if the value is not of its state; what the
    /// state's migration reports.
    pub fn apply<'a>(&'a mut self, entry: &SnapshotEntry<'a>) -> Result<Option<&'a [u8]>> {
        let mut value = entry.value;
        let Some(filter) = self.filters.get(usize::from(entry.state)) else {
            return Ok(Some(value));
        };
        if let Some(migration) = &filter.migration {
            self.converted.clear();
            if migration.convert(entry.group, value, &mut self.converted)? {
                self.migrated += 1;
                value = self.converted.as_slice();
            }
        }
        let Some(expiry) = &filter.expiry else { return Ok(Some(value)) };
        Ok(match expiry.judge(value, filter.now_ms, &mut self.rewritten)? {
            Expiry::Live => Some(value),
            Expiry::Expired => None,
            Expiry::Rewrite => Some(self.rewritten.as_slice()),
        })
    }
}

/// What is to be done with the entries of one state.
struct StateFilter {
    migration: Option<FrozenMigration>,
    expiry: Option<Arc<dyn ExpiryFilter>>,
    now_ms: Option<i64>,
}

impl StateFilter {
    fn freeze(state: &StateDescriptor) -> Self {
        let pending = state.migration().filter(|_| state.is_migrating());
        let migration = pending.map(|migration| migration.freeze());
        let expiry = state.expiry().cloned();
        let now_ms = expiry.as_ref().and_then(|filter| filter.now_ms());
        Self { migration, expiry, now_ms }
    }
}

struct FilteredTask {
    task: Box<dyn SnapshotTask>,
    filter: SnapshotFilter,
}

impl SnapshotTask for FilteredTask {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        let Self { task, filter } = *self;
        filter.run(task, sink, cancel)
    }
}

struct FilteredSink<'a> {
    sink: &'a mut dyn EntrySink,
    filter: SnapshotFilter,
    written: u64,
}

impl EntrySink for FilteredSink<'_> {
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<()> {
        let persisted: Vec<_> = states.iter().map(StateDescriptor::to_persisted).collect();
        self.sink.begin(&persisted)
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let Some(value) = self.filter.apply(entry)? else { return Ok(()) };
        self.sink.entry(&SnapshotEntry { value, ..*entry })?;
        self.written += 1;
        Ok(())
    }
}
