//! Checkpoint barriers at a subtask's inputs: pure state machines, told of what arrives on which
//! channel, answering what to do.
//!
//! Barriers travel in band (Chandy and Lamport 1985, as Carbone et al. 2015 have it for dataflows):
//! all records before a checkpoint's barrier are in its snapshot, none after it.
//! - [`Aligner`] (exactly-once) holds back a channel from its barrier on until every channel's has
//!   arrived.
//! - [`Tracker`] (at-least-once) only counts: records after a barrier may reach the state before
//!   the snapshot, so they count twice after a restore.
//!
//! Engines with a runtime of their own can drive these machines; they do no I/O and know no thread.

mod align;
mod channels;
mod track;

pub use align::Aligner;
pub use channels::ChannelSet;
pub use track::Tracker;

use millpond_state::CheckpointId;

/// The index of an input channel of a subtask, from 0.
pub type ChannelIndex = usize;

/// What arrives on a channel, as far as barriers are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierEvent {
    /// The barrier of a checkpoint.
    Barrier(CheckpointId),
    /// Word from upstream that the barrier of a checkpoint will not come.
    Cancelled(CheckpointId),
    /// The end of the channel: nothing comes after it.
    Ended,
}

/// What a subtask shall do, in this order, after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierAction {
    /// Give up a checkpoint: tell the coordinator, and send word downstream that its barrier will
    /// not come.
    Abandon(CheckpointId),
    /// Every channel is at the barrier: forward it and take the snapshot. No channel is held back
    /// any more.
    Snapshot(CheckpointId),
}

/// The barrier handling of one subtask, by checkpointing mode.
#[derive(Clone, Debug)]
pub enum BarrierHandler {
    /// Exactly-once.
    Align(Aligner),
    /// At-least-once.
    Track(Tracker),
}

impl BarrierHandler {
    /// Takes an event of `channel`; what is to be done goes to `actions`.
    pub fn on_event(
        &mut self,
        channel: ChannelIndex,
        event: BarrierEvent,
        actions: &mut Vec<BarrierAction>,
    ) {
        match self {
            Self::Align(aligner) => aligner.on_event(channel, event, actions),
            Self::Track(tracker) => tracker.on_event(channel, event, actions),
        }
    }

    /// Whether `channel` must not be read for now.
    #[must_use]
    pub fn is_blocked(&self, channel: ChannelIndex) -> bool {
        match self {
            Self::Align(aligner) => aligner.is_blocked(channel),
            Self::Track(_) => false,
        }
    }

    /// The checkpoint whose barrier has arrived on some channels only, the oldest if several.
    #[must_use]
    pub fn under_way(&self) -> Option<CheckpointId> {
        match self {
            Self::Align(aligner) => aligner.under_way(),
            Self::Track(tracker) => tracker.under_way(),
        }
    }
}
