//! What threads share and hand over, as the standard library and crossbeam have it.
//!
//! The modules that wait for each other name these through here, so that
//! `tests/interleavings.rs` can compile the same source with others in their place, and run it in
//! many orders of its threads.

pub(crate) use crossbeam_channel::{Sender, unbounded};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
pub(crate) use std::thread;
