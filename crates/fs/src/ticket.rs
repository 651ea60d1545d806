//! What becomes of a piece of the log that was frozen, to be written to a file.
//!
//! A snapshot freezes pieces and does not hand them over yet: a thread that is woken may take the
//! writer's processor at once, for as long as the whole piece takes. Whoever needs the file first
//! does: the snapshot's task, or the writer when it needs room.

use std::time::Duration;

use millpond_state::{CancelFlag, Result, StateError};

use crate::error::again;
use crate::segment::Segment;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use crate::workers::{Job, Workers};
use millpond_state_folder::InstanceFolder;

/// How often a snapshot that waits looks whether it was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
enum State {
    #[default]
    Pending,
    Written(Arc<Segment>),
    Failed(StateError),
}

/// A piece that is to be written.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// Its records; returned before the ticket is settled.
    pub(crate) buffer: Arc<Vec<u8>>,
    /// Bytes of it that are used.
    pub(crate) used: usize,
    /// The file's name.
    pub(crate) name: String,
    /// Kept in place until the file is written.
    pub(crate) folder: Arc<InstanceFolder>,
}

/// A promise of a segment file. The instance and its snapshots share it.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: Mutex<State>,
    decided: Condvar,
    /// What was not handed over yet.
    waiting: Mutex<Option<Frozen>>,
}

impl Ticket {
    /// A promise to write `piece` once it is handed over.
    pub(crate) fn new(piece: Frozen) -> Self {
        Self { waiting: Mutex::new(Some(piece)), ..Self::default() }
    }

    /// Hands the piece over, if nobody did.
    pub(crate) fn start(self: &Arc<Self>, workers: &Workers) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(piece) = waiting {
            workers.submit(Job { piece, ticket: Arc::clone(self) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the promise, or says why it cannot be kept.
    pub(crate) fn settle(&self, outcome: Result<Segment>) {
        *self.lock() = match outcome {
            Ok(segment) => State::Written(Arc::new(segment)),
            Err(error) => State::Failed(error),
        };
        self.decided.notify_all();
    }

    /// The segment if it is written; the error if it could not be.
    pub(crate) fn outcome(&self) -> Option<Result<Arc<Segment>>> {
        match &*self.lock() {
            State::Pending => None,
            State::Written(segment) => Some(Ok(Arc::clone(segment))),
            State::Failed(error) => Some(Err(again(error))),
        }
    }

    /// The same promise once more, after it failed.
    pub(crate) fn renew(&self, piece: Frozen) {
        *self.lock() = State::Pending;
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(piece);
    }

    /// Waits until it is decided.
    pub(crate) fn wait(&self) {
        let mut state = self.lock();
        while matches!(*state, State::Pending) {
            state = self.decided.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the segment.
    pub(crate) fn segment(&self, cancel: &CancelFlag) -> Result<Arc<Segment>> {
        loop {
            cancel.check()?;
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            let state = self.lock();
            if matches!(*state, State::Pending) {
                drop(self.decided.wait_timeout(state, CANCEL_CHECK));
            }
        }
    }
}
