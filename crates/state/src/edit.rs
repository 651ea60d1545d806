//! Read-modify-write of one value: what a visitor sees and what it decides.

use crate::buffer::Scratch;
use crate::error::Result;

/// What a visitor decided about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Decision {
    /// Leave the entry as it is.
    #[default]
    Keep,
    /// Store the bytes in the buffer.
    Replace,
    /// Delete the entry.
    Remove,
}

/// Scratch space of an [`Edit`]; a backend keeps one and re-uses it, so that edits of small values
/// do not allocate.
#[derive(Debug, Default)]
pub struct EditBuffer {
    bytes: Scratch,
    decision: Decision,
}

impl EditBuffer {
    /// An empty buffer that keeps.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Scratch::new(), decision: Decision::Keep }
    }

    /// Starts an edit of `current`.
    #[inline]
    pub fn begin<'a>(&'a mut self, current: Option<&'a [u8]>) -> Edit<'a> {
        self.bytes.clear();
        self.decision = Decision::Keep;
        Edit { current, buffer: self }
    }

    /// What the finished edit decided.
    #[inline]
    #[must_use]
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// The bytes of a [`Decision::Replace`].
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

/// One entry in the hands of a visitor: its current value, and what shall become of it. Doing
/// nothing keeps the entry.
#[derive(Debug)]
pub struct Edit<'a> {
    current: Option<&'a [u8]>,
    buffer: &'a mut EditBuffer,
}

impl<'a> Edit<'a> {
    /// The value before the edit; `None` if there is no entry.
    #[inline]
    #[must_use]
    pub const fn current(&self) -> Option<&'a [u8]> {
        self.current
    }

    /// Stores `value` as the new value.
    #[inline]
    pub fn replace(&mut self, value: &[u8]) {
        self.buffer.bytes.clear();
        self.buffer.bytes.extend_from_slice(value);
        self.buffer.decision = Decision::Replace;
    }

    /// Stores what `encode` writes as the new value.
    ///
    /// # Errors
    /// What `encode` returns; the decision is then what it was.
    #[inline]
    pub fn replace_with(&mut self, encode: impl FnOnce(&mut Scratch) -> Result<()>) -> Result<()> {
        self.buffer.bytes.clear();
        encode(&mut self.buffer.bytes)?;
        self.buffer.decision = Decision::Replace;
        Ok(())
    }

    /// Deletes the entry.
    #[inline]
    pub fn remove(&mut self) {
        self.buffer.decision = Decision::Remove;
    }
}
