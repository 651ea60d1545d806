//! Sources: where records come from, and how to come back to a position.

use std::time::Duration;

use millpond_state::OperatorState;
use millpond_state::codec::HasCodec;

use crate::error::Result;
use crate::watermark::Timestamp;

/// What a poll of a source found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStatus {
    /// There may be more at once.
    Ready,
    /// Nothing more for now: poll again after this long, or sooner.
    Idle(Duration),
    /// There is no more, and never will be.
    End,
}

/// One subtask's part of an input that can be read again from a position.
///
/// Used by one thread. The positions that [`Source::positions`] yields at a barrier go into the
/// snapshot, as a split list, and come back through [`Source::restore`], possibly spread over
/// another number of subtasks.
pub trait Source: Send {
    /// What it yields.
    type Record: Send;
    /// Where one split of the input is to be read on.
    type Position: HasCodec;

    /// Registers operator state that the source keeps beside its positions, such as a union list.
    /// Called first, with restored state there.
    ///
    /// # Errors
    /// What the state reports; the job then fails.
    fn open(&mut self, _state: &mut OperatorState) -> Result<()> {
        Ok(())
    }

    /// Goes to the positions of a checkpoint: those of the splits that this subtask shall read.
    /// Called once before the first poll when the job is restored, with an empty list if none of
    /// the splits falls to this subtask. Without a restore it is not called, and the source starts
    /// at the beginning.
    ///
    /// # Errors
    /// A position that cannot be reached.
    fn restore(&mut self, positions: Vec<Self::Position>) -> Result<()>;

    /// Adds at most `records_max` records to `out` and says what is next. Does not block for long:
    /// barriers wait meanwhile.
    ///
    /// # Errors
    /// What the input reports; the job then fails, and restarts if it may.
    fn poll(&mut self, out: &mut Vec<Self::Record>, records_max: usize) -> Result<SourceStatus>;

    /// The watermark after what was polled so far, if the source knows event time.
    fn watermark(&self) -> Option<Timestamp>;

    /// The positions from which everything not yet polled can be read: one for each split.
    ///
    /// # Errors
    /// What the input reports; the checkpoint then fails, the job goes on.
    fn positions(&mut self) -> Result<Vec<Self::Position>>;

    /// Brings operator state that it has [registered](Self::open) up to date, at a barrier.
    ///
    /// # Errors
    /// As [`Self::positions`].
    fn snapshot(&mut self, _state: &mut OperatorState) -> Result<()> {
        Ok(())
    }
}
