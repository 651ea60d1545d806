//! Conveniences over any [`Store`], written once in terms of its contract.

use crate::error::{Effect, ErrorKind, Result, StorageError};
use crate::path::StorePath;
use crate::store::{ObjectInfo, Store};

/// What callers of a [`Store`] want beyond the implementer's trait. Implemented for every store.
pub trait StoreExt: Store {
    /// Publishes a small object in one call, if the name is free: the same atomic, durable
    /// create-if-absent as [`StoreWriter::finish`](crate::StoreWriter::finish).
    ///
    /// # Errors
    /// As for [`Store::create`] and [`StoreWriter::finish`](crate::StoreWriter::finish).
    fn put_if_absent(&self, path: &StorePath, bytes: &[u8]) -> Result<ObjectInfo> {
        let mut writer = self.create(path)?;
        writer.write(bytes)?;
        writer.finish()
    }

    /// The whole content of an object. For small ones: it is held in memory at once.
    ///
    /// # Errors
    /// As for [`Store::open`] and
    /// [`StoreReader::read_exact_at`](crate::StoreReader::read_exact_at);
    /// [`ErrorKind::Unavailable`] if it does not fit in memory.
    fn read_all(&self, path: &StorePath) -> Result<Vec<u8>> {
        let reader = self.open(path)?;
        let mut bytes = Vec::new();
        let len = usize::try_from(reader.len()).unwrap_or(usize::MAX);
        bytes.try_reserve_exact(len).map_err(|error| {
            let message = format!("{len} bytes do not fit in memory");
            StorageError::new(ErrorKind::Unavailable, Effect::DidNotHappen, message)
                .with_path(path)
                .with_store(self.url())
                .with_source(error)
        })?;
        bytes.resize(len, 0);
        reader.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether there is a finished object of that name.
    ///
    /// # Errors
    /// What kept the store from finding out.
    fn exists(&self, path: &StorePath) -> Result<bool> {
        match self.open(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes every object below the folder `prefix` and returns how many there were. All are
    /// tried, also after one failed. What must go first (the object that makes the others count)
    /// is for the caller to delete before this.
    ///
    /// # Errors
    /// The first failure, with the number of objects that could not be deleted; what
    /// [`Store::list`] fails with.
    fn delete_prefix(&self, prefix: &StorePath) -> Result<usize> {
        let objects = self.list(Some(prefix))?;
        let mut failed = objects.iter().filter_map(|object| self.delete(&object.path).err());
        match failed.next() {
            None => Ok(objects.len()),
            Some(first) => {
                let count = failed.count().saturating_add(1);
                let all = objects.len();
                Err(first.context(format!("{count} of {all} deletions below {prefix} failed")))
            }
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}
