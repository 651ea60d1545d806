//! Stores that fail or lie on purpose.
//!
//! # Invariants
//! Without a plan a double behaves as the store that it wraps. Plans count operations, so the same
//! calls meet the same failure each time.

mod fault_store;
mod flip_store;

pub use fault_store::{FaultPlan, FaultStore, FaultTime, Operation};
pub use flip_store::FlipStore;
