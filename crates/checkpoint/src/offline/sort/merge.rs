//! Merging sorted runs.

use core::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use millpond_snapshot::{FullEntries, FullReader};
use millpond_state::{EntrySource, MAX_PARALLELISM_LIMIT, MaxParallelism, SnapshotEntry};

use super::owned::OwnedEntry;
use super::run::Run;
use super::{SortedState, combine};
use crate::driver::ObjectSource;
use crate::error::Result;
use crate::offline::state_error;

/// Runs that are open for reading.
pub(in crate::offline) struct OpenRuns {
    readers: Vec<FullReader<ObjectSource>>,
}

impl OpenRuns {
    pub(super) fn open(runs: &[Run]) -> Result<Self> {
        Ok(Self { readers: runs.iter().map(Run::open).collect::<Result<_>>()? })
    }

    /// Stands at the first entry.
    pub(in crate::offline) fn merge<'r>(&'r self, states: &'r [SortedState]) -> Result<Merge<'r>> {
        let all = MaxParallelism::new(MAX_PARALLELISM_LIMIT).map_err(state_error)?.full_range();
        let mut sources: Vec<_> = self.readers.iter().map(|reader| reader.entries(all)).collect();
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (run, source) in sources.iter_mut().enumerate() {
            let mut head = Head { entry: OwnedEntry::new(), run };
            if let Some(entry) = source.next_entry().map_err(state_error)? {
                head.entry.set(&entry);
                heads.push(head);
            }
        }
        let current = OwnedEntry::new();
        let mut merge = Merge { states, sources, heads, current, at_end: false };
        merge.advance()?;
        Ok(merge)
    }
}

/// The entries of several runs in canonical order, each address once.
pub(in crate::offline) struct Merge<'r> {
    states: &'r [SortedState],
    sources: Vec<FullEntries<'r, ObjectSource>>,
    heads: BinaryHeap<Head>,
    current: OwnedEntry,
    at_end: bool,
}

impl Merge<'_> {
    /// The entry it stands at; `None` at the end.
    pub(in crate::offline) fn current(&self) -> Option<SnapshotEntry<'_>> {
        (!self.at_end).then(|| self.current.as_entry())
    }

    /// Moves to the next entry.
    pub(in crate::offline) fn advance(&mut self) -> Result<()> {
        let Some(mut head) = self.heads.peek_mut() else {
            self.at_end = true;
            return Ok(());
        };
        core::mem::swap(&mut self.current, &mut head.entry);
        refill(&mut self.sources, head)?;
        while let Some(head) = self.heads.peek_mut() {
            if head.entry.compare(&self.current) != Ordering::Equal {
                break;
            }
            combine(self.states, &head.entry.as_entry(), &mut self.current.value)?;
            refill(&mut self.sources, head)?;
        }
        Ok(())
    }
}

/// Replaces a head that was taken by the next entry of its run.
fn refill(
    sources: &mut [FullEntries<'_, ObjectSource>],
    mut head: PeekMut<'_, Head>,
) -> Result<()> {
    let next = match sources.get_mut(head.run) {
        Some(source) => source.next_entry().map_err(state_error)?,
        None => None,
    };
    match next {
        Some(entry) => head.entry.set(&entry),
        None => drop(PeekMut::pop(head)),
    }
    Ok(())
}

/// The next entry of a run. The greatest is the one that comes first, of equal addresses that of
/// the earliest run.
struct Head {
    entry: OwnedEntry,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.entry.compare(&self.entry).then_with(|| other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
