//! Channels between subtasks: bounded, carrying batches, with barriers and watermarks in band.
//!
//! Every pair of an upstream and a downstream subtask of an exchange has a channel of its own, so
//! that a channel held back at a barrier does not hold back others. Capacity is counted in
//! messages; a full channel makes the sender wait: that is the back-pressure. When either side is
//! dropped the other one notices at once and ends.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use millpond_checkpoint::CheckpointKind;
use millpond_state::CheckpointId;

use crate::error::{JobError, JobErrorKind, Result};
use crate::watermark::Timestamp;

/// A checkpoint barrier as it travels between records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Barrier {
    pub(crate) checkpoint: CheckpointId,
    pub(crate) kind: CheckpointKind,
}

/// What travels on a channel.
#[derive(Debug)]
pub(crate) enum Message<T> {
    /// Records, at least one.
    Batch(Vec<T>),
    /// Word for every receiver.
    Signal(Signal),
}

/// What concerns every receiver, whatever the record type.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Event time has reached this.
    Watermark(Timestamp),
    /// All records before belong to the checkpoint, none after.
    Barrier(Barrier),
    /// The barrier of this checkpoint will not come.
    Cancelled(CheckpointId),
    /// No more records or watermarks come; barriers still may.
    EndOfInput,
}

/// The channels of one exchange in one execution attempt: a matrix of upstream by downstream
/// subtasks, taken out row by row and column by column.
#[derive(Debug)]
pub(crate) struct Exchange<T> {
    ends: Mutex<Ends<T>>,
}

#[derive(Debug)]
struct Ends<T> {
    senders: Vec<Option<Vec<Sender<Message<T>>>>>,
    receivers: Vec<Option<Vec<Receiver<Message<T>>>>>,
}

impl<T> Exchange<T> {
    pub(crate) const fn new() -> Self {
        Self { ends: Mutex::new(Ends { senders: Vec::new(), receivers: Vec::new() }) }
    }

    /// The channels from upstream subtask `index` to each downstream subtask.
    pub(crate) fn take_senders(&self, index: usize) -> Result<Vec<Sender<Message<T>>>> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.senders.get_mut(index).and_then(Option::take).ok_or_else(not_connected)
    }

    /// The channels to downstream subtask `index` from each upstream subtask.
    pub(crate) fn take_receivers(&self, index: usize) -> Result<Vec<Receiver<Message<T>>>> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.receivers.get_mut(index).and_then(Option::take).ok_or_else(not_connected)
    }
}

/// Makes new channels for an execution attempt; what is left of the last one is dropped.
pub(crate) trait Reconnect: Send + Sync {
    fn reconnect(&self, upstream: usize, downstream: usize, capacity: usize);
}

impl<T: Send> Reconnect for Exchange<T> {
    fn reconnect(&self, upstream: usize, downstream: usize, capacity: usize) {
        let mut senders: Vec<Vec<_>> = (0..upstream).map(|_| Vec::new()).collect();
        let mut receivers: Vec<Vec<_>> = (0..downstream).map(|_| Vec::new()).collect();
        for row in &mut senders {
            for column in &mut receivers {
                let (sender, receiver) = bounded(capacity);
                row.push(sender);
                column.push(receiver);
            }
        }
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.senders = senders.into_iter().map(Some).collect();
        ends.receivers = receivers.into_iter().map(Some).collect();
    }
}

/// Sends, waiting for room.
pub(crate) fn send<T>(sender: &Sender<Message<T>>, message: Message<T>) -> Result<()> {
    sender.send(message).map_err(|_| disconnected())
}

#[cold]
pub(crate) fn disconnected() -> JobError {
    JobError::new(JobErrorKind::Cancelled, "a neighbouring subtask has ended")
}

#[cold]
fn not_connected() -> JobError {
    JobError::new(JobErrorKind::InvalidArgument, "an exchange was used twice or not connected")
}
