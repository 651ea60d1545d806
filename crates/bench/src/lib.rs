//! Benchmarks of Millpond as a library: the workloads that `millpond bench` and `cargo bench`
//! share, each with its floor, and the results and plots that come of them.
//!
//! - [`state`]: access to keyed state, in the shape of Flink's own state benchmarks, beside a raw
//!   hash map or a raw RocksDB that does the same work in the same run.
//!
//! Invariants: the work follows from the settings and a seed, never from time or chance; a subject
//! and its floor do the same work in turn, round by round, and agree about its result, or the
//! measurement fails; no other process is measured than the present one.
//!
//! Nothing here prints, and files are written only where the caller says.

mod backends;
mod distribution;
mod error;
pub mod measure;
mod record;
mod rng;
pub mod state;

pub use backends::{BACKENDS, Backend, max_parallelism};
pub use distribution::{Distribution, Sampler};
pub use error::{BenchError, ErrorKind, Result};
pub use record::{JobFigures, LatencyFigures, Record, RestoreFigures, SnapshotFigures};
pub use rng::{Rng, key};
