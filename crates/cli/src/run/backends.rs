//! Which state backend a job runs on.

use std::path::PathBuf;
use std::sync::Arc;

use millpond_fs::{FsBackendFactory, FsOptions};
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::BackendFactory;

use crate::args::{RunArgs, StateBackend};
use crate::error::{CliError, Result};

/// The folder for state within the output folder.
const STATE_DIR: &str = "state";

/// What opens the backends that `args` ask for.
///
/// # Errors
/// If this build does not have the backend, or its folder cannot be used.
pub(crate) fn factory(args: &RunArgs) -> Result<Arc<dyn BackendFactory>> {
    match args.state_backend {
        StateBackend::Memory if args.state_dir.is_some() => Err(CliError::Usage(
            "--state-dir is for state that is not in memory: add --state-backend fs or rocksdb"
                .to_owned(),
        )),
        StateBackend::Memory => Ok(Arc::new(MemoryBackendFactory::new(MemoryOptions::new()))),
        StateBackend::Fs => Ok(Arc::new(FsBackendFactory::new(FsOptions::new(state_dir(args)))?)),
        StateBackend::Rocksdb => rocksdb(args),
    }
}

fn state_dir(args: &RunArgs) -> PathBuf {
    args.state_dir.clone().unwrap_or_else(|| args.output.join(STATE_DIR))
}

#[cfg(feature = "rocksdb")]
fn rocksdb(args: &RunArgs) -> Result<Arc<dyn BackendFactory>> {
    use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions};

    Ok(Arc::new(RocksDbBackendFactory::create(RocksDbOptions::new(state_dir(args)))?))
}

#[cfg(not(feature = "rocksdb"))]
fn rocksdb(_: &RunArgs) -> Result<Arc<dyn BackendFactory>> {
    Err(CliError::Usage(
        "this millpond was built without RocksDB: build it with --features rocksdb".to_owned(),
    ))
}
