//! What a snapshot leaves out and converts on its way out: written once, for every backend.
//!
//! Invariant: all of it is judged as of the instant at which the snapshot was taken. The task runs
//! later and on another thread; by then event time may have passed what the checkpoint contains.

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
    Box::new(FilteredTask { task, filters: states.iter().map(StateFilter::freeze).collect() })
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
    /// By state index.
    filters: Vec<StateFilter>,
}

impl SnapshotTask for FilteredTask {
    fn run(
        self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        let Self { task, filters } = *self;
        let mut sink = FilteredSink {
            sink,
            filters,
            written: 0,
            migrated: 0,
            converted: Scratch::new(),
            rewritten: Scratch::new(),
        };
        let mut summary = task.run(&mut sink, cancel)?;
        // Which of the entries left out were changed is not known here: at most all that are left.
        summary.entries = sink.written;
        summary.entries_changed =
            summary.entries_changed.saturating_add(sink.migrated).min(sink.written);
        Ok(summary)
    }
}

struct FilteredSink<'a> {
    sink: &'a mut dyn EntrySink,
    filters: Vec<StateFilter>,
    written: u64,
    migrated: u64,
    converted: Scratch,
    rewritten: Scratch,
}

impl EntrySink for FilteredSink<'_> {
    fn begin(&mut self, states: &[StateDescriptor]) -> Result<()> {
        let persisted: Vec<_> = states.iter().map(StateDescriptor::to_persisted).collect();
        self.sink.begin(&persisted)
    }

    fn entry(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let mut value = entry.value;
        if let Some(filter) = self.filters.get(usize::from(entry.state)) {
            if let Some(migration) = &filter.migration {
                self.converted.clear();
                if migration.convert(entry.group, value, &mut self.converted)? {
                    self.migrated += 1;
                    value = self.converted.as_slice();
                }
            }
            if let Some(expiry) = &filter.expiry {
                match expiry.judge(value, filter.now_ms, &mut self.rewritten)? {
                    Expiry::Live => {}
                    Expiry::Expired => return Ok(()),
                    Expiry::Rewrite => value = self.rewritten.as_slice(),
                }
            }
        }
        self.sink.entry(&SnapshotEntry { value, ..*entry })?;
        self.written += 1;
        Ok(())
    }
}
