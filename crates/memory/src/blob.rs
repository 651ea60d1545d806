//! A large value or list outside the arena: a sequence of shared byte chunks.
//!
//! # Invariants
//! - The value is the concatenation of the chunks; there is always at least one.
//! - Only a chunk that nobody shares is changed. An append to a shared value therefore starts a
//!   chunk of its own instead of copying: a list of any length costs the appended bytes.
//! - A new chunk has room for an eighth of the whole, so there are few chunks, and the unused room
//!   is small.

use std::sync::Arc;

const CHUNK_BYTES_MIN: usize = 1_024;

/// A value of any length. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    chunks: Vec<Arc<Vec<u8>>>,
    len: usize,
    memory_bytes: usize,
}

/// Bytes that a chunk takes beside its contents.
const CHUNK_OVERHEAD: usize = size_of::<Arc<Vec<u8>>>() + size_of::<Vec<u8>>() + 16;

impl Blob {
    /// A blob of `bytes`.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let memory_bytes = bytes.len() + CHUNK_OVERHEAD;
        Self { chunks: vec![Arc::new(bytes.to_vec())], len: bytes.len(), memory_bytes }
    }

    /// The length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory held.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    fn count_memory(&mut self) {
        self.memory_bytes = self.chunks.iter().map(|chunk| chunk.capacity() + CHUNK_OVERHEAD).sum();
    }

    /// The value, if it is in one piece.
    #[inline]
    pub(crate) fn contiguous(&self) -> Option<&[u8]> {
        match self.chunks.as_slice() {
            [chunk] => Some(chunk),
            _ => None,
        }
    }

    /// Appends the value to `out`.
    pub(crate) fn copy_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.len);
        for chunk in &self.chunks {
            out.extend_from_slice(chunk);
        }
    }

    /// Replaces the value, in place if that wastes little.
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        self.chunks.truncate(1);
        self.len = bytes.len();
        if let Some(chunk) = self.chunks.first_mut().and_then(Arc::get_mut) {
            let fits = bytes.len() <= chunk.capacity() && bytes.len() >= chunk.capacity() / 4;
            if fits {
                chunk.clear();
                chunk.extend_from_slice(bytes);
                self.count_memory();
                return;
            }
        }
        self.chunks.clear();
        self.chunks.push(Arc::new(bytes.to_vec()));
        self.count_memory();
    }

    /// Appends `bytes`.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(chunk) = self.chunks.last_mut().and_then(Arc::get_mut)
            && bytes.len() <= chunk.capacity() - chunk.len()
        {
            chunk.extend_from_slice(bytes);
            return;
        }
        let mut chunk = Vec::with_capacity(bytes.len().max(self.len / 8).max(CHUNK_BYTES_MIN));
        chunk.extend_from_slice(bytes);
        self.memory_bytes += chunk.capacity() + CHUNK_OVERHEAD;
        self.chunks.push(Arc::new(chunk));
    }

    /// Brings the value into one piece. Costs the bytes appended since the last time, amortised,
    /// unless a snapshot shares the first chunk.
    pub(crate) fn coalesce(&mut self) {
        let Some((first, rest)) = self.chunks.split_first_mut() else { return };
        if rest.is_empty() {
            return;
        }
        if let Some(whole) = Arc::get_mut(first) {
            if self.len > whole.capacity() {
                whole.reserve_exact(self.len + self.len / 8 - whole.len());
            }
            for chunk in rest {
                whole.extend_from_slice(chunk);
            }
            self.chunks.truncate(1);
            self.count_memory();
            return;
        }
        let mut whole = Vec::with_capacity(self.len + self.len / 8);
        self.copy_to(&mut whole);
        self.chunks.clear();
        self.chunks.push(Arc::new(whole));
        self.count_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(blob: &Blob) -> Vec<u8> {
        let mut out = Vec::new();
        blob.copy_to(&mut out);
        out
    }

    #[test]
    fn appends_to_a_shared_blob_neither_copy_nor_change_it() {
        let mut blob = Blob::new(&[1; 100_000]);
        let shared = blob.clone();
        for _ in 0..10_000 {
            blob.append(&[2; 10]);
        }
        assert_eq!(bytes(&shared), [1; 100_000]);
        assert_eq!(blob.len(), 200_000);
        assert!(Arc::ptr_eq(&blob.chunks[0], &shared.chunks[0]));
        assert!(blob.chunks.len() < 12, "{}", blob.chunks.len());
        blob.coalesce();
        assert_eq!(blob.contiguous().unwrap(), [[1; 100_000], [2; 100_000]].concat());
        assert_eq!(bytes(&shared), [1; 100_000]);
    }

    #[test]
    fn replacing_by_a_value_of_similar_length_allocates_no_new_chunk() {
        let mut blob = Blob::new(&[1; 1000]);
        let at = blob.chunks[0].as_ptr();
        blob.replace(&[3; 900]);
        assert_eq!(blob.chunks[0].as_ptr(), at);
        assert_eq!(bytes(&blob), [3; 900]);
        blob.replace(&[4; 10]);
        assert!(blob.memory_bytes() < 200);
    }

    #[test]
    fn alternating_appends_and_reads_copy_each_byte_a_bounded_number_of_times() {
        let mut blob = Blob::new(&[]);
        let (mut moves, mut at) = (0, core::ptr::null());
        for i in 0..10_000u32 {
            blob.append(&i.to_le_bytes());
            blob.coalesce();
            let now = blob.contiguous().unwrap().as_ptr();
            moves += usize::from(now != at);
            at = now;
        }
        assert!(moves < 100, "{moves}");
        assert_eq!(blob.len(), 40_000);
    }
}
