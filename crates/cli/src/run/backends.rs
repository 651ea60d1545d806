//! Which state backend a job runs on.

use std::sync::Arc;

use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::BackendFactory;

use crate::args::{RunArgs, StateBackend};
use crate::error::{CliError, Result};

/// The folder for state within the output folder.
#[cfg(feature = "rocksdb")]
const STATE_DIR: &str = "state";

/// What opens the backends that `args` ask for.
///
/// # Errors
/// If this build does not have the backend, or its folder cannot be used.
pub(crate) fn factory(args: &RunArgs) -> Result<Arc<dyn BackendFactory>> {
    match args.state_backend {
        StateBackend::Memory if args.state_dir.is_some() => Err(CliError::Usage(
            "--state-dir is for state that is not in memory: add --state-backend rocksdb"
                .to_owned(),
        )),
        StateBackend::Memory => Ok(Arc::new(MemoryBackendFactory::new(MemoryOptions::new()))),
        StateBackend::Rocksdb => rocksdb(args),
    }
}

#[cfg(feature = "rocksdb")]
fn rocksdb(args: &RunArgs) -> Result<Arc<dyn BackendFactory>> {
    use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions};

    let state_dir = args.state_dir.clone().unwrap_or_else(|| args.output.join(STATE_DIR));
    Ok(Arc::new(RocksDbBackendFactory::create(RocksDbOptions::new(state_dir))?))
}

#[cfg(not(feature = "rocksdb"))]
fn rocksdb(_: &RunArgs) -> Result<Arc<dyn BackendFactory>> {
    Err(CliError::Usage(
        "this millpond was built without RocksDB: build it with --features rocksdb".to_owned(),
    ))
}
