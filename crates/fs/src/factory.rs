//! What an engine is configured with.

use millpond_state::{BackendContext, BackendFactory, KeyedBackend, Result};

use crate::backend::{FsBackend, NAME, Parts};
use crate::options::FsOptions;
use crate::workers::Workers;
use millpond_state_folder::StateFolder;

/// Opens [`FsBackend`]s that share background threads. Shared between threads; clones share the
/// background threads too. Make one for a process.
#[derive(Clone)]
pub struct FsBackendFactory {
    options: FsOptions,
    workers: Workers,
    folder: StateFolder,
}

impl core::fmt::Debug for FsBackendFactory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FsBackendFactory").field("options", &self.options).finish_non_exhaustive()
    }
}

impl FsBackendFactory {
    /// Makes the state folder if it is missing, removes what killed processes left in it, and
    /// starts the background threads, which end with the factory and its instances.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](millpond_state::ErrorKind) for settings out of bounds;
    /// [`ErrorKind::Io`](millpond_state::ErrorKind) if the state folder cannot be used.
    pub fn new(options: FsOptions) -> Result<Self> {
        options.validate()?;
        let folder = StateFolder::create(&options.state_dir)?;
        let workers = Workers::start(options.background_threads)?;
        Ok(Self { options, workers, folder })
    }

    /// Opens an empty instance, to be called without virtual dispatch.
    ///
    /// # Errors
    /// As [`BackendFactory::open`].
    pub fn open_backend(&self, context: &BackendContext) -> Result<FsBackend> {
        FsBackend::check_context(context)?;
        let folder = self.folder.create_instance(context)?;
        let (options, workers) = (&self.options, self.workers.clone());
        Ok(FsBackend::create(Parts { context, options, workers, folder }))
    }
}

impl BackendFactory for FsBackendFactory {
    fn name(&self) -> &str {
        NAME
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        Ok(Box::new(self.open_backend(context)?))
    }
}
