//! The implementer's trait of storage. Minimal on purpose: no method has a default that a wrapper
//! could forget to forward. Conveniences are in [`StoreExt`](crate::StoreExt).

use core::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::path::StorePath;

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectInfo {
    /// Its name.
    pub path: StorePath,
    /// Its length in bytes.
    pub len: u64,
}

/// A place for immutable objects under [`StorePath`]s. Shared by threads; every method may block
/// on I/O.
///
/// The contract, which wrappers keep too:
/// - Publishing is create-if-absent and atomic: of any number of concurrent publishers of one name,
///   in any number of processes, exactly one succeeds; the others get
///   [`AlreadyExists`](crate::ErrorKind::AlreadyExists) and leave nothing behind.
/// - After a success is returned the object is visible to every later `open` and `list`, and (for
///   durable stores) survives a loss of power.
/// - Every error says in its [`Effect`](crate::Effect) whether the operation may have happened.
/// - Folders exist only as part of names: a folder without objects is not there. A caller must not
///   use one name for an object and a folder; a store that notices refuses with
///   [`AlreadyExists`](crate::ErrorKind::AlreadyExists).
pub trait Store: fmt::Debug + Send + Sync {
    /// Starts writing a new object. Nothing is visible until the writer finishes.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if the store already notices here that
    /// the name is taken (it may also be noticed only on finishing); else what keeps the store
    /// from writing.
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>>;

    /// Starts a new object that is `file`, a file of this machine, byte for byte, by giving that a
    /// second name instead of copying it. Nobody may write to the file any more, under any name;
    /// its own name may go at any time. The writer takes no bytes.
    ///
    /// `None` if the store cannot, for whatever reason, or is a wrapper that shows, counts or
    /// refuses writes, which this would pass by: nothing has happened then, and who wants the
    /// object creates it and writes its bytes.
    fn create_linked(&self, path: &StorePath, file: &Path) -> Option<Box<dyn StoreWriter>>;

    /// Opens a finished object for reading. An object deleted while it is open may or may not stay
    /// readable.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such object.
    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>>;

    /// All objects below the folder `prefix` (`None`: of the whole store), at any depth, sorted by
    /// path. Whole segments count: `chk-1` does not list `chk-10/x`. A folder that is not there
    /// has no objects. Unfinished objects never show; objects created or deleted meanwhile may.
    ///
    /// # Errors
    /// What keeps the store from reading; also if the place itself has gone, which must not look
    /// like a store without objects.
    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>>;

    /// The folders directly in `prefix` (`None`: at the top) that have objects in them at some
    /// depth, sorted.
    ///
    /// # Errors
    /// As for [`Store::list`].
    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>>;

    /// When an object was written or published, in milliseconds since 1970 by the store's
    /// clock; `None` if the store does not know, or there is no such object.
    ///
    /// # Errors
    /// What keeps the store from finding out.
    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>>;

    /// Deletes an object, durably. One that is not there counts as deleted, so that a deletion
    /// with an unsure outcome can be repeated.
    ///
    /// # Errors
    /// What kept the store from deleting it.
    fn delete(&self, path: &StorePath) -> Result<()>;

    /// Where this is, for messages. Never contains credentials.
    fn url(&self) -> &str;
}

/// One new object being written, front to back. Dropping it unfinished aborts it.
///
/// After a failed write the writer is poisoned: every later call fails, and nothing is ever
/// published.
pub trait StoreWriter: fmt::Debug + Send {
    /// Adds all of `bytes` at the end. Small writes are gathered.
    ///
    /// # Errors
    /// What kept the store from taking them. The object will not appear:
    /// [`DidNotHappen`](crate::Effect::DidNotHappen).
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Publishes the object, atomically and durably, if its name is still free.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if it is taken. With
    /// [`DidNotHappen`](crate::Effect::DidNotHappen) nothing is visible and nothing is left behind;
    /// with [`MayHaveHappened`](crate::Effect::MayHaveHappened) the whole object may be visible.
    fn finish(self: Box<Self>) -> Result<ObjectInfo>;

    /// Gives the object up. What was written so far is removed, as far as the storage lets that
    /// happen; remains are never visible.
    fn abort(self: Box<Self>);
}

/// A finished object, open for reading at any offset by any number of threads.
#[expect(clippy::len_without_is_empty, reason = "implementers need not say one thing twice")]
pub trait StoreReader: fmt::Debug + Send + Sync {
    /// Length of the object in bytes.
    fn len(&self) -> u64;

    /// Fills `buffer` from the bytes at `offset` (in bytes from the object's start) on.
    ///
    /// # Errors
    /// [`Truncated`](crate::ErrorKind::Truncated), naming the object, the offset, how many bytes
    /// were wanted and how long it is, if it ends before; the content of `buffer` is then
    /// unspecified.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// The file of this machine that is the object, byte for byte, if there is one: readers may
    /// give it a second name instead of copying it. It must not be written to, under any name, and
    /// its own name may go at any time. A store without such files says `None`, and so does a
    /// wrapper that shows, counts or refuses reads, which would pass it by.
    fn local_file(&self) -> Option<&Path>;
}

#[deny(clippy::missing_trait_methods)]
impl<S: Store + ?Sized> Store for Arc<S> {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        (**self).create(path)
    }

    fn create_linked(&self, path: &StorePath, file: &Path) -> Option<Box<dyn StoreWriter>> {
        (**self).create_linked(path, file)
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        (**self).open(path)
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        (**self).list(prefix)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        (**self).list_folders(prefix)
    }

    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>> {
        (**self).written_wall_ms(path)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        (**self).delete(path)
    }

    fn url(&self) -> &str {
        (**self).url()
    }
}
