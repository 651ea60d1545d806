//! The log as it was at an instant: what a snapshot holds.
//!
//! Holding it keeps segments in place, and costs the instance nothing else.

use std::sync::Arc;

use millpond_state::{CancelFlag, KeyGroup, KeyGroupRange, Result};

use crate::format::Hint;
use crate::segment::Segment;
use crate::ticket::Ticket;
use crate::workers::Workers;
use millpond_state_folder::InstanceFolder;

/// A segment, or the promise of one.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Promised(Arc<Ticket>),
    Mapped(Arc<Segment>),
}

/// Segments that may not all be written yet, the oldest first, each with the key groups that count.
pub(crate) struct View {
    pub(crate) parts: Vec<(Part, KeyGroupRange)>,
    /// Keeps the folder in place while files are written to it.
    pub(crate) folder: Arc<InstanceFolder>,
    pub(crate) workers: Workers,
}

impl View {
    /// Has the segments written that are not yet, and waits for them.
    pub(crate) fn resolve(self, cancel: &CancelFlag) -> Result<Segments> {
        for (part, _) in &self.parts {
            if let Part::Promised(ticket) = part {
                ticket.start(&self.workers);
            }
        }
        let parts = self.parts.into_iter().map(|(part, groups)| {
            let segment = match part {
                Part::Promised(ticket) => ticket.segment(cancel)?,
                Part::Mapped(segment) => segment,
            };
            Ok((segment, groups))
        });
        Ok(Segments(parts.collect::<Result<_>>()?))
    }
}

/// Segments, the oldest first, each with the key groups that count.
#[derive(Debug, Default)]
pub(crate) struct Segments(pub(crate) Vec<(Arc<Segment>, KeyGroupRange)>);

impl Segments {
    /// Narrows the key groups of each segment to those that it has records or tombstones of, and
    /// leaves out segments that have none: no restore needs to fetch them.
    pub(crate) fn narrowed(self) -> Self {
        let narrowed = self.0.into_iter().filter_map(|(segment, groups)| {
            let groups = segment.layout().groups_within(groups)?;
            Some((segment, groups))
        });
        Self(narrowed.collect())
    }
}

/// The newest record of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    /// Position of the segment.
    pub(crate) segment: u32,
    pub(crate) hint: Hint,
}

impl Segments {
    /// The newest records of all addresses of a key group, tombstones left out. Reads hints only.
    pub(crate) fn newest(&self, group: KeyGroup) -> Result<Vec<Newest>> {
        let mut found = Vec::new();
        // The newest first, so that of equal ones the first stays.
        for (position, (segment, groups)) in self.0.iter().enumerate().rev() {
            if groups.contains(group) {
                let segment_number = position as u32;
                let add = |hint| found.push(Newest { segment: segment_number, hint });
                segment.for_each_hint(group, add)?;
            }
        }
        // Each segment's are sorted already: a stable sort merges them, which is quicker.
        found.sort_by_key(|one: &Newest| one.hint.address());
        found.dedup_by_key(|one| one.hint.address());
        found.retain(|one| !one.hint.is_tombstone());
        Ok(found)
    }
}
