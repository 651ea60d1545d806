//! Stores that fail or lie on purpose, and a disk that loses power.
//!
//! # Invariants
//! Without a plan a double behaves as the store that it wraps. Plans count operations, so the same
//! calls meet the same failure each time.

mod crash_disk;
mod fault_store;
mod flip_store;
mod replace_store;

pub use crash_disk::{CrashDisk, CrashMoment, Images};
pub use fault_store::{FaultPlan, FaultStore, FaultTime, Operation};
pub use flip_store::FlipStore;
pub use replace_store::ReplaceStore;
