//! wip
pub mod error;
pub mod id;
pub mod key_group;
pub mod seam;
pub use error::{ErrorKind, Result, StateError};
pub use id::{AttemptId, CheckpointId, StateId, SubtaskId, SubtaskIndex};
pub use key_group::{KeyGroup, KeyGroupRange, MaxParallelism, key_hash};
/// x
#[derive(Debug)]
pub struct EntryKey;
