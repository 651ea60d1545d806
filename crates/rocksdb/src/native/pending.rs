//! A capture that is taken at once, or, with a hash buffer, when what was frozen has landed.
//!
//! # Invariants
//! - The capture has what was written before the freeze, and nothing else: the thread that lands
//!   takes it between two landings.
//! - Nothing that was alive at the freeze expires before the capture.
//! - When nobody waits any more, nothing is captured, or what was captured is removed.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use millpond_state::{CancelFlag, Result};

use super::capture::{Captured, capture};
use crate::buffer::{AfterLanding, Starter};
use crate::expiry::Hold;
use crate::store::Store;
use crate::tables::Tables;

/// See the module.
pub(super) enum Pending {
    Taken(Captured),
    Awaited { slot: Arc<Slot>, starter: Starter },
}

/// Where the thread that lands leaves the capture.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Result<Captured>>>);

impl Slot {
    fn put(&self, captured: Result<Captured>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(captured);
    }

    fn take(&self) -> Option<Result<Captured>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Pending {
    /// Of what `tables` hold now; `hold` keeps it from expiring.
    pub(super) fn begin(tables: &mut Tables, hold: Hold) -> Result<Self> {
        let Some(buffer) = &mut tables.buffer else {
            return capture(&tables.store).map(Self::Taken);
        };
        let slot = Arc::new(Slot::default());
        let starter = buffer.freeze_and(capture_into(Arc::downgrade(&slot), hold));
        Ok(Self::Awaited { slot, starter })
    }

    /// Waits for the capture.
    ///
    /// # Errors
    /// If what was frozen cannot be written out; if it fails itself; when cancelled.
    pub(super) fn wait(self, cancel: &CancelFlag) -> Result<Captured> {
        let (slot, starter) = match self {
            Self::Taken(captured) => return Ok(captured),
            Self::Awaited { slot, starter } => (slot, starter),
        };
        let failures = starter.failures();
        starter.start();
        loop {
            if let Some(captured) = slot.take() {
                return captured;
            }
            cancel.check()?;
            starter.wait(failures)?;
        }
    }
}

/// Captures the store into `slot` if that is still there.
fn capture_into(slot: Weak<Slot>, hold: Hold) -> AfterLanding {
    Box::new(move |store: &Arc<Store>| {
        if let Some(slot) = slot.upgrade() {
            slot.put(capture(store));
        }
        drop(hold);
    })
}

#[cfg(test)]
mod tests;
