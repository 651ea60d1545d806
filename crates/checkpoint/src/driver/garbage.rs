//! Finding and deleting what no checkpoint of a storage refers to: [`plan_gc`] over a listing.

use millpond_snapshot::CheckpointMetadata;
use millpond_storage::StorePath;

use super::{CheckpointStorage, storage};
use crate::error::Result;
use crate::name;
use crate::registry::{
    GcCheckpoint, GcFacts, GcPlan, ListedObject, MissingFile, ObjectClass, plan_gc,
};

/// An object of a storage and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundObject {
    /// Name relative to the root.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// Milliseconds since it was written, if known.
    pub age_ms: Option<u64>,
    /// What it is.
    pub class: ObjectClass,
}

/// What a storage holds, as [`GcPlan`] says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    /// Every object.
    pub objects: Vec<FoundObject>,
    /// Why nothing may be deleted; empty if orphans may.
    pub blocked: Vec<String>,
    /// Files that checkpoints need and that are not there as they must be.
    pub missing: Vec<MissingFile>,
}

impl Garbage {
    /// The objects that may be deleted.
    pub fn deletable(&self) -> impl Iterator<Item = &FoundObject> {
        self.objects.iter().filter(|object| object.class == ObjectClass::Orphan)
    }
}

/// A checkpoint's folder with metadata in it.
struct Found {
    folder: String,
    metadata: Result<CheckpointMetadata, String>,
    is_void: bool,
}

impl CheckpointStorage {
    /// Says what each object of the storage is; nothing is deleted. Only orphans older than
    /// `safe_age_ms` at the time `now_wall_ms`, in milliseconds since 1970, are deletable. Of a job
    /// that uses the storage meanwhile nothing is known: keep it out with a lock.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) if the storage cannot be listed.
    pub fn find_garbage(&self, now_wall_ms: u64, safe_age_ms: u64) -> Result<Garbage> {
        // The listing first: a checkpoint published meanwhile is then seen with its files.
        let mut listed = Vec::new();
        for object in self.store.list(None).map_err(storage)? {
            let written = self.store.written_wall_ms(&object.path).map_err(storage)?;
            let age_ms = written.map(|written| now_wall_ms.saturating_sub(written));
            listed.push((object.path.to_string(), object.len, age_ms));
        }
        let metadata = self.list_metadata()?;
        // The log last, too: an entry comes after the metadata.
        let history = self.read_log()?;
        let found: Vec<Found> = metadata
            .into_iter()
            .map(|it| Found {
                is_void: history.as_ref().is_some_and(|history| it.is_void(history)),
                folder: name::folder(it.id),
                metadata: it.metadata.map_err(|error| error.to_string()),
            })
            .collect();
        let objects: Vec<ListedObject<'_>> = listed
            .iter()
            .map(|(name, bytes, age_ms)| ListedObject { name, bytes: *bytes, age_ms: *age_ms })
            .collect();
        let checkpoints: Vec<GcCheckpoint<'_>> = found
            .iter()
            .map(|it| GcCheckpoint {
                folder: &it.folder,
                metadata: it.metadata.as_ref().map_err(String::as_str),
                is_void: it.is_void,
            })
            .collect();
        let plan = plan_gc(&GcFacts {
            objects: &objects,
            checkpoints: &checkpoints,
            safe_age_ms,
            in_flight_from: None,
            is_in_use: &|_| false,
        });
        Ok(owned(&plan))
    }

    /// Deletes what `garbage` says may be deleted; all are tried. Returns how many are gone.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`](crate::ErrorKind::Storage) for the first that cannot be deleted.
    pub fn delete_garbage(&self, garbage: &Garbage) -> Result<u64> {
        let (mut deleted, mut outcome) = (0, Ok(()));
        for object in garbage.deletable() {
            let done = StorePath::new(&object.name).and_then(|path| self.store.delete(&path));
            deleted += u64::from(done.is_ok());
            outcome = outcome.and(done.map_err(storage));
        }
        outcome.map(|()| deleted)
    }
}

fn owned(plan: &GcPlan<'_>) -> Garbage {
    let object = |it: &crate::registry::ClassifiedObject<'_>| FoundObject {
        name: it.object.name.to_owned(),
        bytes: it.object.bytes,
        age_ms: it.object.age_ms,
        class: it.class,
    };
    Garbage {
        objects: plan.objects.iter().map(object).collect(),
        blocked: plan.blocked.clone(),
        missing: plan.missing.clone(),
    }
}
