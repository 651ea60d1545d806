//! Where bytes go to and come from. The two traits are all that formats need of a store; adapters
//! to real stores live with the caller. Implementations report failures as
//! [`SnapshotError::io`](crate::SnapshotError::io).

use std::cell::RefCell;
use std::sync::Arc;

use crc32fast::Hasher;

use crate::error::{Result, SnapshotError};

/// Takes the bytes of one file, front to back.
pub trait ByteSink {
    /// Appends all of `bytes`.
    ///
    /// # Errors
    /// [`Io`](crate::SnapshotErrorKind::Io); the file is then unusable.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

impl ByteSink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<W: ByteSink + ?Sized> ByteSink for &mut W {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (**self).write(bytes)
    }
}

impl<W: ByteSink + ?Sized> ByteSink for Box<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (**self).write(bytes)
    }
}

/// One immutable file that can be read at any place.
pub trait ByteSource {
    /// Length in bytes. Never changes.
    fn len(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset`.
    ///
    /// # Errors
    /// [`Io`](crate::SnapshotErrorKind::Io) if they cannot be read; also if the range passes the
    /// end, which readers of this crate never ask for.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// What errors call the file.
    fn name(&self) -> &str;

    /// Whether the length is 0.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

macro_rules! forward_source {
    ($($pointer:ty),*) => {$(
        impl<R: ByteSource + ?Sized> ByteSource for $pointer {
            fn len(&self) -> u64 {
                (**self).len()
            }
            fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
                (**self).read_exact_at(offset, buffer)
            }
            fn name(&self) -> &str {
                (**self).name()
            }
        }
    )*};
}

forward_source!(&R, Box<R>, Arc<R>);

/// A file that is wholly in memory.
#[derive(Clone, Debug)]
pub struct SliceSource<B> {
    name: String,
    bytes: B,
}

impl<B: AsRef<[u8]>> SliceSource<B> {
    /// The file `bytes`, called `name` in errors.
    #[must_use]
    pub fn new(name: impl Into<String>, bytes: B) -> Self {
        Self { name: name.into(), bytes }
    }
}

impl<B: AsRef<[u8]>> ByteSource for SliceSource<B> {
    fn len(&self) -> u64 {
        self.bytes.as_ref().len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(buffer.len())?));
        match range.and_then(|range| self.bytes.as_ref().get(range)) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(SnapshotError::io("read past the end", "end of file")
                .in_file(&self.name)
                .at(offset)),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// A sink that counts and checksums what passes through.
pub(crate) struct CountingSink<W> {
    sink: W,
    offset: u64,
    hasher: Hasher,
}

impl<W: ByteSink> CountingSink<W> {
    pub(crate) fn new(sink: W) -> Self {
        Self { sink, offset: 0, hasher: Hasher::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write(bytes)?;
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn crc32(&self) -> u32 {
        self.hasher.clone().finalize()
    }
}

/// A source that checksums the whole file along with reads that happen to go front to back, so that
/// verification reads most bytes once.
pub(crate) struct HashingSource<R> {
    source: R,
    progress: RefCell<(u64, Hasher)>,
}

const HASH_CHUNK_BYTES: u64 = 256 * 1024;

impl<R: ByteSource> HashingSource<R> {
    pub(crate) fn new(source: R) -> Self {
        Self { source, progress: RefCell::new((0, Hasher::new())) }
    }

    /// The CRC-32 of the whole file; reads what has not passed through yet.
    pub(crate) fn finish_crc32(&self) -> Result<u32> {
        let mut chunk = Vec::new();
        loop {
            let from = self.progress.borrow().0;
            let len = (self.source.len() - from).min(HASH_CHUNK_BYTES);
            if len == 0 {
                return Ok(self.progress.borrow().1.clone().finalize());
            }
            chunk.resize(len as usize, 0);
            self.read_exact_at(from, &mut chunk)?;
        }
    }
}

impl<R: ByteSource> ByteSource for HashingSource<R> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.source.read_exact_at(offset, buffer)?;
        let mut progress = self.progress.borrow_mut();
        let (hashed_to, hasher) = &mut *progress;
        if let Some(known) = hashed_to.checked_sub(offset)
            && let Some(new) = buffer.get(usize::try_from(known).unwrap_or(usize::MAX)..)
        {
            hasher.update(new);
            *hashed_to += new.len() as u64;
        }
        Ok(())
    }

    fn name(&self) -> &str {
        self.source.name()
    }
}

/// Bytes per read of a [`Window`].
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// A moving part of a file, filled by large reads.
#[derive(Default)]
pub(crate) struct Window {
    bytes: Vec<u8>,
    /// Where in the file the window begins.
    start: u64,
}

impl Window {
    /// The `len` bytes from `offset`, reading ahead up to `limit`.
    pub(crate) fn slice<R: ByteSource>(
        &mut self,
        source: &R,
        offset: u64,
        len: usize,
        limit: u64,
    ) -> Result<&[u8]> {
        let limit = limit.min(source.len());
        let room = limit.saturating_sub(offset);
        if (len as u64) > room {
            return Err(SnapshotError::corrupt(format!(
                "cut short: {len} bytes wanted, {room} before the end of the part"
            ))
            .at(offset));
        }
        if !self.holds(offset, len) {
            let ahead = len.max(READ_AHEAD_BYTES).min(usize::try_from(room).unwrap_or(usize::MAX));
            self.refill(source, offset, ahead)?;
        }
        let from = (offset - self.start) as usize;
        self.bytes.get(from..from + len).ok_or_else(|| SnapshotError::corrupt("short read"))
    }

    fn holds(&self, offset: u64, len: usize) -> bool {
        let end = self.start + self.bytes.len() as u64;
        self.start <= offset && offset + len as u64 <= end
    }

    /// Moves the window to `offset`, keeping the bytes that it already has from there on.
    fn refill<R: ByteSource>(&mut self, source: &R, offset: u64, len: usize) -> Result<()> {
        let old_end = self.start + self.bytes.len() as u64;
        let kept = if self.start <= offset && offset < old_end {
            let from = (offset - self.start) as usize;
            self.bytes.copy_within(from.., 0);
            self.bytes.len() - from
        } else {
            0
        };
        // Nothing is kept while a read may fail: a failed one leaves an empty window.
        let mut bytes = core::mem::take(&mut self.bytes);
        bytes.truncate(kept);
        if bytes.capacity() > 4 * READ_AHEAD_BYTES.max(len) {
            bytes.shrink_to(READ_AHEAD_BYTES.max(len));
        }
        bytes.resize(len.max(kept), 0);
        if let Some(missing) = bytes.get_mut(kept..)
            && !missing.is_empty()
        {
            source.read_exact_at(offset + kept as u64, missing)?;
        }
        self.bytes = bytes;
        self.start = offset;
        Ok(())
    }
}
