//! Appending to the values of a segment.
//!
//! Short values stay in the arena with room to grow by half; from [`LIST_INLINE_BYTES_MAX`] on they
//! become side objects, where an append costs its own bytes only, also during a snapshot.

use millpond_state::{Result, check_value_len};

use crate::blob::Blob;
use crate::env::Env;
use crate::probe::Probe;
use crate::segment::{Found, Payload, Segment, Stored};
use crate::side::SideObject;

/// Longest list in the arena.
const LIST_INLINE_BYTES_MAX: usize = 512;

impl Segment {
    /// Appends to an entry's value. Returns whether the entry is new.
    pub(crate) fn append(
        &mut self,
        probe: &Probe<'_>,
        bytes: &[u8],
        env: &mut Env,
    ) -> Result<bool> {
        let Some(found) = self.find(probe) else {
            check_value_len(bytes.len())?;
            self.insert(probe, Payload::of(bytes), env)?;
            return Ok(true);
        };
        match self.value(&found.layout) {
            Stored::Blob(blob) => {
                check_value_len(blob.len() + bytes.len())?;
                env.admit(bytes.len() + blob.len() / 8 + 1_024)?;
                self.update_side(&found.layout, env, |object| {
                    if let SideObject::Blob(blob) = object {
                        blob.append(bytes);
                    }
                });
                Ok(false)
            }
            Stored::Inline(value) => {
                check_value_len(value.len() + bytes.len())?;
                let mut whole = core::mem::take(&mut env.bytes);
                whole.clear();
                whole.extend_from_slice(value);
                let outcome = self.append_inline(&found, probe, &mut whole, bytes, env);
                env.bytes = whole;
                outcome.map(|()| false)
            }
            Stored::Map(_) => Ok(false),
        }
    }

    fn append_inline(
        &mut self,
        found: &Found,
        probe: &Probe<'_>,
        whole: &mut Vec<u8>,
        bytes: &[u8],
        env: &mut Env,
    ) -> Result<()> {
        if whole.len() + bytes.len() > LIST_INLINE_BYTES_MAX {
            let mut blob = Blob::new(whole);
            blob.append(bytes);
            return self.relocate(found, probe, Payload::Side(SideObject::Blob(blob)), env);
        }
        whole.extend_from_slice(bytes);
        if self.overwrite_in_place(&found.layout, whole, env.epoch) {
            return Ok(());
        }
        let capacity = whole.len() + whole.len() / 2;
        self.relocate(found, probe, Payload::Inline { value: whole, capacity }, env)
    }

    /// Whether an entry's value is in pieces.
    pub(crate) fn is_scattered(&self, probe: &Probe<'_>) -> bool {
        self.find(probe).is_some_and(|found| {
            matches!(self.value(&found.layout), Stored::Blob(blob) if blob.contiguous().is_none())
        })
    }

    /// Brings an entry's value into one piece. The entry does not count as changed.
    pub(crate) fn coalesce(&mut self, probe: &Probe<'_>, env: &mut Env) -> Result<()> {
        let Some(found) = self.find(probe) else { return Ok(()) };
        if let Stored::Blob(blob) = self.value(&found.layout) {
            env.admit(blob.len() + blob.len() / 8)?;
        }
        let (newest, epoch) = (self.newest_epoch(), found.layout.epoch());
        self.update_side(&found.layout, env, |object| {
            if let SideObject::Blob(blob) = object {
                blob.coalesce();
            }
        });
        self.restore_epochs(&found.layout, epoch, newest);
        Ok(())
    }
}
