//! A byte buffer that lives on the stack until it grows past [`Scratch::INLINE_BYTES`].
//!
//! Keys, namespaces and values are encoded into one on every access: as long as they are small, no
//! access allocates.

/// A growable byte buffer whose first [`Scratch::INLINE_BYTES`] bytes need no allocation.
///
/// ```
/// use millpond_state::Scratch;
///
/// let mut buffer = Scratch::new();
/// buffer.extend_from_slice(b"mill");
/// buffer.extend_from_slice(b"pond");
/// assert_eq!(buffer.as_slice(), b"millpond");
/// ```
#[derive(Clone, Debug)]
pub struct Scratch {
    inline: [u8; Self::INLINE_BYTES],
    /// Bytes used in `inline`; meaningless once spilled.
    len: usize,
    /// Holds everything once the inline part was too small: never empty then.
    spill: Vec<u8>,
}

impl Scratch {
    /// How many bytes fit without an allocation.
    pub const INLINE_BYTES: usize = 64;

    /// An empty buffer.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { inline: [0; Self::INLINE_BYTES], len: 0, spill: Vec::new() }
    }

    /// The bytes written so far.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        if self.spill.is_empty() {
            self.inline.get(..self.len).unwrap_or_default()
        } else {
            &self.spill
        }
    }

    /// How many bytes were written.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        if self.spill.is_empty() { self.len } else { self.spill.len() }
    }

    /// Whether nothing was written.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends one byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Appends bytes.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if self.spill.is_empty() {
            if let Some(free) = self.inline.get_mut(self.len..self.len + bytes.len()) {
                free.copy_from_slice(bytes);
                self.len += bytes.len();
                return;
            }
            self.start_spill(bytes.len());
        }
        self.spill.extend_from_slice(bytes);
    }

    /// Forgets the contents; keeps a spilled allocation for re-use.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
        self.spill.clear();
    }

    #[cold]
    fn start_spill(&mut self, more: usize) {
        let inline = self.inline.get(..self.len).unwrap_or_default();
        self.spill.reserve(inline.len() + more);
        self.spill.extend_from_slice(inline);
        self.len = 0;
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Extend<u8> for Scratch {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        for byte in bytes {
            self.push(byte);
        }
    }
}

impl AsRef<[u8]> for Scratch {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_survive_the_move_to_the_heap_and_a_clear() {
        let mut buffer = Scratch::new();
        let bytes: Vec<u8> = (0..200).collect();
        for chunk in bytes.chunks(7) {
            buffer.extend_from_slice(chunk);
        }
        assert_eq!(buffer.as_slice(), bytes);
        buffer.clear();
        assert!(buffer.is_empty());
        buffer.extend_from_slice(b"abc");
        assert_eq!(buffer.as_slice(), b"abc");
        buffer.extend_from_slice(&bytes);
        assert_eq!(buffer.len(), 203);
        assert_eq!(&buffer.as_slice()[..3], b"abc");
    }
}
