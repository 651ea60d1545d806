//! Benchmarks of Millpond as a library: the workloads that `millpond bench` and `cargo bench`
//! share, each with its floor, and the results and plots that come of them.
//!
//! - [`state`]: access to keyed state, in the shape of Flink's own state benchmarks, beside a raw
//!   hash map or a raw RocksDB that does the same work in the same run.
//! - [`snapshot`]: full and incremental snapshots, and the latency of operations during one.
//! - [`restore`]: restores at the same or another parallelism.
//! - [`job`]: records through the runtime, with and without checkpoints, beside a pipeline written
//!   by hand.
//! - [`plot`]: results as SVG.
//!
//! Invariants: the work follows from the settings and a seed, never from time or chance; a subject
//! and its floor do the same work in turn, round by round, and agree about its result, or the
//! measurement fails; no other process is measured than the present one.
//!
//! Nothing here prints, and files are written only where the caller says.

mod backends;
mod checkpoints;
mod distribution;
mod error;
mod fill;
mod floor;
pub mod job;
pub mod measure;
pub mod plot;
mod record;
pub mod restore;
mod rng;
pub mod snapshot;
pub mod state;

pub use backends::{BACKENDS, Backend, max_parallelism};
pub use distribution::{Distribution, Sampler};
pub use error::{BenchError, ErrorKind, Result};
pub use record::{JobFigures, LatencyFigures, Record, RestoreFigures, SnapshotFigures};
pub use rng::{Rng, key};
