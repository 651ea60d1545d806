//! Every byte that Millpond persists: the formats, their readers, writers and verification. No
//! store is known here and no file is opened; bytes come from a [`ByteSource`] and go to a
//! [`ByteSink`].
//!
//! - [`full`]: the canonical snapshot of one subtask's keyed state, also used by savepoints.
//! - [`incremental`]: what changed since another file, and chains of such files.
//! - [`metadata`]: the one file that makes a checkpoint exist and names everything in it.
//! - [`verify`]: finds every damaged place of a file without restoring it.
//! - [`version`]: which versions of each format there are.
//!
//! Invariants: equal input gives equal bytes (for one version of the zstd library); no byte of any
//! file lies outside a checksum; a decoder checks every length before it allocates, and no input
//! makes it panic. Failures are [`SnapshotError`]s that name file, offset and key group.
//! `docs/formats.md` specifies the bytes well enough to write a reader in another language.
//!
//! ```
//! use millpond_snapshot::{ByteSource, FullOptions, FullReader, FullWriter, SliceSource};
//! use millpond_state::codec::CodecIdentity;
//! use millpond_state::{
//!     EntrySink, EntrySource, KeyGroup, MaxParallelism, SnapshotEntry, StateCodecs,
//!     StateDescriptor, StateKind,
//! };
//!
//! let codecs = StateCodecs {
//!     key: CodecIdentity::new("string", 1),
//!     namespace: CodecIdentity::void(),
//!     user_key: None,
//!     value: CodecIdentity::new("u64", 1),
//! };
//! let mut file = Vec::new();
//! let mut writer = FullWriter::create(&mut file, FullOptions::default())?;
//! writer.begin(&[StateDescriptor::new("flights", StateKind::Value, codecs)?])?;
//! let (group, state) = (KeyGroup::new(7), 0);
//! let (key, value) = (b"\x02AA".as_slice(), b"\0\0\0\0\0\0\0\x2a".as_slice());
//! writer.entry(&SnapshotEntry { group, state, key, namespace: b"", user_key: b"", value })?;
//! let summary = writer.finish()?;
//! assert_eq!(summary.entries, 1);
//!
//! let reader = FullReader::open(SliceSource::new("example", &file))?;
//! let mut entries = reader.entries(MaxParallelism::new(128)?.full_range());
//! assert_eq!(entries.next_entry()?.map(|entry| entry.value), Some(value));
//! assert!(entries.next_entry()?.is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bytes;
mod error;
mod frame;
pub mod full;
pub mod incremental;
mod io;
pub mod metadata;
mod name;
pub mod verify;
pub mod version;

pub use error::{Result, SnapshotError, SnapshotErrorKind};
pub use full::{
    ChangeKind, Compression, FullEntries, FullOptions, FullReader, FullSummary, FullWriter,
    KeyGroupSummary, StateSummary,
};
pub use incremental::{ChainEntries, ChainReader, DeltaReader, DeltaWriter};
pub use io::{ByteSink, ByteSource, SliceSource};
pub use metadata::CheckpointMetadata;
pub use name::{RELATIVE_NAME_BYTES_MAX, check_relative_name};
pub use verify::{Damage, Report, verify_delta, verify_full, verify_metadata, verify_object};
