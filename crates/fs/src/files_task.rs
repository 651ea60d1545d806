//! The asynchronous part of a native snapshot: names the segments of the log, most of which storage
//! has from earlier checkpoints.
//!
//! # Invariants
//! - A file is re-used only if the checkpoint that it was written for, or restored from, is
//!   complete, and the transfer allows it.
//! - The segments stay in place until the task ends or is dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millpond_state::{
    CancelFlag, CheckpointId, FileIdentity, FileSink, FileTransfer, FilesSummary, FilesTask,
    KeyGroupRange, Result, StateDescriptor,
};

use crate::manifest::{Manifest, segment_name};
use crate::segment::Segment;
use crate::view::View;

/// Bytes that a transfer is given at once.
const COPY_BYTES: usize = 1 << 20;

/// Which files a checkpoint wrote, of which segments.
type Files = Vec<(Weak<Segment>, FileIdentity)>;

/// Where tasks leave which files they wrote, until their checkpoints are decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<(CheckpointId, Files)>>>);

impl Written {
    fn lock(&self) -> MutexGuard<'_, Vec<(CheckpointId, Files)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `checkpoint` is complete: what it wrote may be re-used.
    pub(crate) fn completed(&self, checkpoint: CheckpointId) {
        let mut written = self.lock();
        for (_, files) in written.iter().filter(|(id, _)| *id == checkpoint) {
            for (segment, identity) in files {
                if let Some(segment) = segment.upgrade() {
                    segment.set_identity(identity.clone());
                }
            }
        }
        written.retain(|(id, _)| *id > checkpoint);
    }

    /// `checkpoint` will never complete.
    pub(crate) fn aborted(&self, checkpoint: CheckpointId) {
        self.lock().retain(|(id, _)| *id != checkpoint);
    }
}

/// A native snapshot that was taken and is to be named.
pub(crate) struct FilesSnapshot {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) states: Vec<StateDescriptor>,
    pub(crate) groups: KeyGroupRange,
    pub(crate) group_entries: Vec<u64>,
    pub(crate) view: View,
    pub(crate) written: Written,
}

impl FilesTask for FilesSnapshot {
    fn run(
        self: Box<Self>,
        files: &mut dyn FileTransfer,
        cancel: &CancelFlag,
    ) -> Result<FilesSummary> {
        let Self { checkpoint, states, groups, group_entries, view, written } = *self;
        let folder = Arc::clone(&view.folder);
        let segments = view.resolve(cancel)?.narrowed();
        let mut added = Vec::new();
        let mut changed = 0;
        for (position, (segment, _)) in segments.0.iter().enumerate() {
            cancel.check()?;
            let name = segment_name(position);
            if let Some(identity) = segment.identity()
                && files.reuse(&name, &identity)?
            {
                continue;
            }
            let identity = files.add(&name, &mut |sink| copy(segment, sink, cancel))?;
            added.push((Arc::downgrade(segment), identity));
            changed += u64::from(segment.layout().footer.hints);
        }
        written.lock().push((checkpoint, added));
        let mut summary = FilesSummary::default();
        (summary.entries, summary.entries_changed) = (group_entries.iter().sum(), changed);
        summary.states = states.clone();
        let of_segments = segments.0.iter().map(|(_, groups)| *groups).collect();
        let manifest = Manifest { states, groups, group_entries, segments: of_segments };
        summary.manifest = manifest.encode();
        drop((segments, folder));
        Ok(summary)
    }
}

fn copy(segment: &Segment, sink: &mut dyn FileSink, cancel: &CancelFlag) -> Result<()> {
    for bytes in segment.bytes().chunks(COPY_BYTES) {
        cancel.check()?;
        sink.write(bytes)?;
    }
    Ok(())
}
