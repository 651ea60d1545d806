//! What is measured: something that has state and can be accessed.

use super::case::Access;
use super::workload::{Accesses, BATCH, START_MS};
use crate::error::Result;

/// Something that has state: a backend or its floor.
pub(super) trait Subject {
    /// Puts keys with the given numbers into the state of the case, with values that follow from
    /// the numbers, and lists of as many elements as the case reads.
    fn preset(&mut self, access: Access, keys: u64) -> Result<()>;

    /// Another subject that starts from the state that this one has, which no access has changed
    /// since it was filled. `None` if filling one anew is as quick.
    fn copy(&mut self) -> Result<Option<Box<dyn Subject>>> {
        Ok(None)
    }

    /// Does the accesses and returns a checksum of what they read.
    fn run(&mut self, access: Access, accesses: &Accesses) -> Result<u64>;

    /// Reads what `access` leaves behind at these keys and returns a checksum of it.
    fn read_back(&mut self, access: Access, accesses: &Accesses) -> Result<u64>;
}

/// The time that state with a time to live sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticker {
    pub(super) now_ms: i64,
}

impl Ticker {
    pub(super) const fn new() -> Self {
        Self { now_ms: START_MS }
    }

    /// Does `work` for each access with its key and position, and adds up what it returns. Time
    /// moves on by a millisecond for each batch, of which `tick` hears.
    #[inline]
    pub(super) fn each(
        &mut self,
        accesses: &Accesses,
        mut tick: impl FnMut(i64),
        mut work: impl FnMut(u64, u64, i64) -> Result<u64>,
    ) -> Result<u64> {
        let (mut sum, mut index) = (0u64, 0);
        for batch in accesses.keys.chunks(BATCH) {
            self.now_ms += 1;
            tick(self.now_ms);
            for key in batch {
                sum = sum.wrapping_add(work(*key, index, self.now_ms)?);
                index += 1;
            }
        }
        Ok(sum)
    }
}
