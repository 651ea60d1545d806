//! Where checkpoint bytes live.
//!
//! One narrow trait, [`Store`]: immutable objects under validated names ([`StorePath`]), written
//! front to back, published atomically and only if the name is free, read at offsets, listed by
//! folder, deleted. There is no rename, no append and no seek in it, so that an object store can
//! implement it as well as a file system. [`StoreExt`] adds what can be said in terms of it.
//!
//! Stores here: [`MemoryStore`] and [`LocalStore`] (a folder, every publication durable before it
//! is acknowledged). [`open_url`] picks one by URL. [`FolderLock`] keeps a second process out of a
//! folder.
//!
//! Invariants every store keeps:
//! - A name is given to at most one object in its life with the store: publishing over an existing
//!   name fails, for any number of concurrent publishers exactly one wins.
//! - An object is either not there or whole: unfinished writes are never seen by `open` or `list`.
//! - What [`StoreWriter::finish`] and [`Store::delete`] acknowledged survives a crash of the
//!   process (for durable stores: of the machine).
//!
//! Failures are [`StorageError`]s: a kind that says what to do, and an [`Effect`] that says whether
//! the operation may have happened all the same.
//!
//! ```
//! use millpond_storage::{MemoryStore, Store, StoreExt, StorePath};
//!
//! let store = MemoryStore::new();
//! let path = StorePath::new("chk-1/metadata")?;
//! let mut writer = store.create(&path)?;
//! writer.write(b"still ")?;
//! writer.write(b"water")?;
//! writer.finish()?;
//! assert_eq!(store.read_all(&path)?, b"still water");
//! assert!(store.put_if_absent(&path, b"other").is_err());
//! # Ok::<(), millpond_storage::StorageError>(())
//! ```

mod error;
mod folder_lock;
mod local;
mod memory;
mod path;
mod redact;
mod store;
mod store_ext;
mod url;
mod write_adapter;

pub use error::{Effect, ErrorKind, Result, StorageError};
pub use folder_lock::{FolderLock, LOCK_FILE_NAME};
pub use local::LocalStore;
pub use local::disk::{Disk, DiskEntry, DiskFile, OsDisk};
pub use memory::MemoryStore;
pub use path::{PATH_BYTES_MAX, SEGMENT_BYTES_MAX, StorePath};
pub use redact::{redact_text, redact_url};
pub use store::{ObjectInfo, Store, StoreReader, StoreWriter};
pub use store_ext::StoreExt;
pub use url::open_url;
pub use write_adapter::WriteAdapter;
