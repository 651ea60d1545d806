//! Which checkpoint refers to which shared file: what may be deleted, and what may be re-used.
//!
//! Backends checkpoint immutable files. A later checkpoint that needs a file again names the one
//! that is in storage. So a file must stay while any checkpoint refers to it, retained or under
//! way, and go when none does. [`SharedFileRegistry`] does the counting. It is pure: no I/O, no
//! clock, no randomness; equal events give equal answers.
//!
//! # Words
//! A *logical file* is a backend's; an *object* is storage's and holds one logical file or several.
//! References count logical files, deletion goes by objects, with the last file in them.
//!
//! # Identity
//! A file is the same only if attempt, checkpoint, object, offset, length and checksums are the
//! same. [`shared_object_name`] puts attempt, checkpoint and subtask into each object's name,
//! which is therefore never given twice: a late writer overwrites nothing, a late deletion hits
//! nothing that is in use.
//!
//! # Invariants
//! - No object that a retained checkpoint or one under way refers to is handed out for deletion;
//!   nor one that a checkpoint under way may yet re-use; nor one that belongs to others.
//! - Once nothing is under way, every object that the registry has known is referred to, kept for
//!   re-use, or handed out.
//! - An object is handed out once, and is unknown from then on.
//!
//! # States of a checkpoint
//! | event | Unknown | Collecting | Storing | Abandoned | Retained |
//! |---|---|---|---|---|---|
//! | begin | to Collecting | - | - | - | - |
//! | report of new files | spare, or deletable (1) | counted | spare, or deletable (1) | spare, or deletable (1) | spare, or deletable (1) |
//! | report of re-used files | ignored | counted if offered, else refused | ignored | ignored | ignored |
//! | store | refused | to Storing; what the metadata does not name is spare | refused | refused | refused |
//! | complete | refused | refused | to Retained; spares it was offered and did not use go | to Retained | nothing |
//! | abort | nothing | to Unknown; its files are spare | to Abandoned | nothing | nothing |
//! | store failed | nothing | nothing | to Unknown; its files are spare | to Unknown; its files are spare | nothing |
//! | store failed, may have happened | nothing | nothing | to Retained (3) | to Retained (3) | nothing |
//! | discard | nothing | nothing | nothing | nothing | to Unknown; folder deletable, its files released (2) |
//! | restore, claim | to Retained | refused | refused | refused | nothing |
//! | restore, no-claim | its files are foreign | refused | refused | refused | to Unknown; its files are foreign |
//!
//! *Spare* files have no user and are kept and offered, so that uploads of a checkpoint that timed
//! out are not lost, until a checkpoint completes without them that could have used them. *Foreign*
//! files are never offered and never deleted.
//!
//! 1. Spare if no later checkpoint has completed. Otherwise the report may be the repetition of one
//!    whose files are gone: nothing refers to them, so they are handed out. Numbers below the first
//!    one begun, or above the newest, are another process's: nothing is done.
//! 2. One that completed, or may have, after it had been aborted leaves its files as spares. The
//!    folder of a claimed savepoint whose own files are in use is deletable once they are not.
//! 3. It may exist, and a process that takes over may begin from it: it is for the coordinator to
//!    discard it once a later one is complete.
//!
//! # How it fails
//! What it refuses changes nothing, but for the files that a refused report listed before the one
//! it was refused for. It forgets uploads when its process ends; [`gc`] finds those.
//!
//! ```
//! use std::sync::Arc;
//! use millpond_checkpoint::CheckpointKind;
//! use millpond_checkpoint::registry::{
//!     RegistrySettings, ReportedFile, SharedFile, SharedFileRegistry, shared_object_name,
//! };
//! use millpond_snapshot::metadata::FileHandle;
//! use millpond_state::{AttemptId, CheckpointId, SubtaskId};
//!
//! let (attempt, subtask) = (AttemptId::new(1), SubtaskId::new("sum", 0));
//! let [first, second] = [1, 2].map(CheckpointId::new);
//! let object = shared_object_name(attempt, first, &subtask, 0);
//! let table = SharedFile {
//!     object: Arc::new(FileHandle::shared(object, 4_096, 0x5eed)?),
//!     attempt,
//!     checkpoint: first,
//!     offset: 0,
//!     bytes: 4_096,
//!     crc32: 0x5eed,
//! };
//!
//! let mut registry = SharedFileRegistry::new(RegistrySettings::default());
//! registry.begin(first, CheckpointKind::Periodic)?;
//! registry.report(first, [ReportedFile::New(table.clone())])?;
//! registry.abort(first); // It timed out: the upload is not lost.
//!
//! registry.begin(second, CheckpointKind::Periodic)?;
//! assert!(registry.is_offered(second, &table));
//! registry.report(second, [ReportedFile::Reused(table)])?;
//! assert!(registry.take_deletions().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
pub mod gc;
mod homes;
mod objects;
mod shared_files;
mod space;

pub use crate::name::shared_object_name;
pub use file::{Deletion, Reported, ReportedFile, RestoreMode, SharedFile, StoredCheckpoint};
pub use gc::{
    ClassifiedObject, GcCheckpoint, GcFacts, GcPlan, ListedObject, MissingFile, ObjectClass,
    plan_gc,
};
pub use shared_files::{FoundCheckpoints, RegistrySettings, SharedFileRegistry};
pub use space::SpaceStats;
