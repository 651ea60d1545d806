//! A segment's place in a directory: owned by the table alone, or shared with snapshots.
//!
//! # Invariants
//! - While `shared` is set, `own` is empty. Reads work on either; the first write takes the segment
//!   back: without a copy if all snapshots let go of it, else as a copy of its two buffers.
//! - Writers never wait: reference counts are all that the sides share. The path of a write to an
//!   owned segment has no atomic operation.

use std::sync::Arc;

use millpond_state::Result;

use crate::env::Env;
use crate::segment::Segment;

/// Bytes that sharing a segment takes.
const SHARED_BYTES: usize = size_of::<Segment>() + 2 * size_of::<usize>();

/// A segment that may be shared. What a search reads of an own segment is in one cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    shared: Option<Arc<Segment>>,
    own: Segment,
}

impl Slot {
    /// A slot that owns `segment`.
    pub(crate) const fn new(segment: Segment) -> Self {
        Self { shared: None, own: segment }
    }

    /// The segment, for reading.
    #[inline]
    pub(crate) fn segment(&self) -> &Segment {
        match &self.shared {
            None => &self.own,
            Some(shared) => shared,
        }
    }

    /// The segment, if the table alone owns it.
    #[inline(always)]
    pub(crate) const fn own_mut(&mut self) -> Option<&mut Segment> {
        if self.shared.is_none() { Some(&mut self.own) } else { None }
    }

    /// The segment, for writing.
    #[inline]
    pub(crate) fn segment_mut(&mut self, env: &mut Env) -> Result<&mut Segment> {
        if self.shared.is_some() {
            self.take_back(env)?;
        }
        Ok(&mut self.own)
    }

    /// Shares the segment with a snapshot; `None` if it is empty.
    pub(crate) fn share(&mut self, env: &mut Env) -> Option<Arc<Segment>> {
        if self.shared.is_none() {
            if self.own.is_empty() {
                return None;
            }
            env.account(0, SHARED_BYTES);
            self.shared = Some(Arc::new(core::mem::take(&mut self.own)));
        }
        self.shared.clone()
    }

    #[cold]
    fn take_back(&mut self, env: &mut Env) -> Result<()> {
        let Some(shared) = self.shared.take() else { return Ok(()) };
        match Arc::try_unwrap(shared) {
            Ok(segment) => self.own = segment,
            Err(shared) => {
                if let Err(error) = env.admit(shared.buffer_bytes()) {
                    self.shared = Some(shared);
                    return Err(error);
                }
                self.own = Segment::clone(&shared);
                env.detached.add(shared.buffer_bytes());
                env.account(shared.memory_bytes(), self.own.memory_bytes());
                env.detached.release(shared);
            }
        }
        env.account(SHARED_BYTES, 0);
        env.moves += 1;
        Ok(())
    }

    /// Replaces the segment by `segment`, which was made from it.
    pub(crate) fn replace(&mut self, segment: Segment, env: &mut Env) {
        env.account(self.segment().memory_bytes(), segment.memory_bytes());
        if let Some(shared) = self.shared.take() {
            env.account(SHARED_BYTES, 0);
            env.detached.add(shared.buffer_bytes());
            env.detached.release(shared);
        }
        self.own = segment;
    }
}
