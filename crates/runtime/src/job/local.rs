//! Local recovery of a job: opens the local copies of its checkpoint files, and passes on what is
//! wrong with them.

use std::sync::Arc;

use millpond_checkpoint::driver::{LocalCopies, LocalCopiesListener, LocalProblem};

use super::JobEnvironment;
use super::notice::{JobListener, JobNotice};
use crate::settings::JobSettings;

struct PassOn(Arc<dyn JobListener>);

impl LocalCopiesListener for PassOn {
    fn on_problem(&self, problem: &LocalProblem<'_>) {
        self.0.on_notice(&match *problem {
            LocalProblem::Damaged { file, reason } => JobNotice::LocalCopyDamaged { file, reason },
            LocalProblem::CannotWrite { reason } => JobNotice::NoLocalCopies { reason },
            _ => return,
        });
    }
}

/// The local copies of a job that is to have them. If they cannot be used the job goes on without.
pub(super) fn open_copies(
    settings: &JobSettings,
    environment: &JobEnvironment,
) -> Option<Arc<LocalCopies>> {
    let root = settings.local_recovery.as_ref()?;
    let folder = LocalCopies::job_folder(root, &settings.name, environment.storage.url());
    let listener = Arc::clone(&environment.listener);
    LocalCopies::open(&folder, Box::new(PassOn(listener)))
        .map_err(|error| {
            let reason = &error.to_string();
            environment.listener.on_notice(&JobNotice::NoLocalCopies { reason });
        })
        .ok()
}
