//! What becomes of a piece of the log that was handed over to be written.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millpond_state::{CancelFlag, Result, StateError};

use crate::error::again;
use crate::segment::Segment;

/// How often a snapshot that waits looks whether it was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
enum State {
    #[default]
    Pending,
    Written(Arc<Segment>),
    Failed(StateError),
}

/// A promise of a segment file. The instance and its snapshots share it.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: Mutex<State>,
    decided: Condvar,
}

impl Ticket {
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
    pub(crate) fn renew(&self) {
        *self.lock() = State::Pending;
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
