//! A [`StoreWriter`] as a [`std::io::Write`], for encoders that write to one.

use std::io;

use crate::error::Result;
use crate::store::{ObjectInfo, StoreWriter};

/// Lets anything that writes to an [`io::Write`] write a new object.
///
/// A storage failure passes through as an [`io::Error`];
/// [`StorageError::from_io`](crate::StorageError::from_io) gets it back whole. Flushing does
/// nothing: only [`WriteAdapter::finish`] makes bytes durable and visible. Dropping it aborts.
#[derive(Debug)]
pub struct WriteAdapter(Box<dyn StoreWriter>);

impl WriteAdapter {
    /// Adapts `writer`.
    #[must_use]
    pub fn new(writer: Box<dyn StoreWriter>) -> Self {
        Self(writer)
    }

    /// Publishes the object, as [`StoreWriter::finish`].
    ///
    /// # Errors
    /// As for [`StoreWriter::finish`].
    pub fn finish(self) -> Result<ObjectInfo> {
        self.0.finish()
    }

    /// Gives the object up, as [`StoreWriter::abort`].
    pub fn abort(self) {
        self.0.abort();
    }
}

impl io::Write for WriteAdapter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
