//! The bookkeeping below the registry: objects, the logical files in them, and who uses those.
//!
//! Invariants: a logical file is here while it has a user, is spare, or is pinned; an object is
//! here while it has a logical file; what leaves is never offered again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millpond_snapshot::metadata::FileHandle;
use millpond_state::CheckpointId;

use super::file::{Place, SharedFile};
use super::space::{SpaceStats, Usage};
use crate::error::{CheckpointError, ErrorKind, Result};

/// A moment in the registry's own count of events.
pub(super) type Tick = u64;

#[derive(Clone, Debug)]
pub(super) struct Logical {
    pub(super) file: SharedFile,
    /// Checkpoints, retained or under way, that refer to it.
    pub(super) users: BTreeSet<CheckpointId>,
    /// The aborted checkpoint for whose successors it is kept although nothing refers to it.
    pub(super) spare_of: Option<CheckpointId>,
    /// When it became known.
    pub(super) since: Tick,
    /// Since when it is of no use to checkpoints that begin from then on.
    pub(super) loose: Option<Tick>,
}

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) handle: Arc<FileHandle>,
    /// By offset.
    pub(super) files: BTreeMap<u64, Logical>,
    /// Whether it was there before this registry.
    pub(super) inherited: bool,
    /// The claimed savepoint in whose folder it lies.
    pub(super) home: Option<CheckpointId>,
}

impl Object {
    fn live_bytes(&self) -> u64 {
        let live = self.files.values().filter(|it| it.loose.is_none());
        live.map(|it| it.file.bytes).fold(0, u64::saturating_add)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    objects: BTreeMap<Arc<str>, Object>,
    /// Places of the loose files.
    loose: BTreeSet<Place>,
    /// Places of the spare files, by the checkpoint they are spare of.
    spare: BTreeMap<CheckpointId, BTreeSet<Place>>,
}

impl Objects {
    pub(super) fn object(&self, name: &str) -> Option<&Object> {
        self.objects.get(name)
    }

    pub(super) fn get(&self, place: &Place) -> Option<&Logical> {
        self.objects.get(&place.0)?.files.get(&place.1)
    }

    fn get_mut(&mut self, place: &Place) -> Option<&mut Logical> {
        self.objects.get_mut(&place.0)?.files.get_mut(&place.1)
    }

    pub(super) fn logical_files(&self) -> impl Iterator<Item = &Logical> {
        self.objects.values().flat_map(|object| object.files.values())
    }

    /// Whether `file` is known; an error if what is known contradicts it.
    pub(super) fn knows(&self, file: &SharedFile) -> Result<bool> {
        let Some(object) = self.objects.get(file.object.name()) else { return Ok(false) };
        if object.handle != file.object {
            return Err(file.wrong("contradicts what is known of its object"));
        }
        if let Some(known) = object.files.get(&file.offset) {
            if known.file == *file {
                return Ok(true);
            }
            return Err(file.wrong("is not the file that is known to be there"));
        }
        let before = object.files.range(..file.offset).next_back();
        let after = object.files.range(file.offset..).next();
        if before.is_some_and(|(_, it)| it.file.end() > file.offset)
            || after.is_some_and(|(start, _)| *start < file.end())
        {
            return Err(file.wrong("overlaps another one"));
        }
        Ok(false)
    }

    /// Makes `file` known, without a user yet. Call after [`Self::knows`] found that it is not.
    pub(super) fn insert(&mut self, file: SharedFile, now: Tick, inherited: bool) -> Place {
        let place = file.place();
        let object = self.objects.entry(Arc::clone(&place.0)).or_insert_with(|| Object {
            handle: Arc::clone(&file.object),
            files: BTreeMap::new(),
            inherited,
            home: None,
        });
        let file = SharedFile { object: Arc::clone(&object.handle), ..file };
        let (users, since) = (BTreeSet::new(), now);
        object.files.insert(place.1, Logical { file, users, spare_of: None, since, loose: None });
        place
    }

    /// The object lies in the folder of this claimed savepoint.
    pub(super) fn set_home(&mut self, object: &str, home: CheckpointId) {
        if let Some(object) = self.objects.get_mut(object) {
            object.home = Some(home);
        }
    }

    pub(super) fn add_user(&mut self, place: &Place, user: CheckpointId) {
        let Some(logical) = self.get_mut(place) else { return };
        logical.users.insert(user);
        logical.loose = None;
        self.loose.remove(place);
        self.set_spare(place, None);
    }

    /// The checkpoint no longer refers to the file. Without another user the file is spare of
    /// `spare_of`, or loose.
    pub(super) fn remove_user(
        &mut self,
        place: &Place,
        user: CheckpointId,
        spare_of: Option<CheckpointId>,
        now: Tick,
    ) {
        let Some(logical) = self.get_mut(place) else { return };
        logical.users.remove(&user);
        if !logical.users.is_empty() {
            return;
        }
        match spare_of {
            Some(_) => self.set_spare(place, spare_of),
            None => self.loosen(place, now),
        }
    }

    /// Marks the file as spare or not. One without users that is no longer spare must be loosened.
    pub(super) fn set_spare(&mut self, place: &Place, spare_of: Option<CheckpointId>) {
        let Some(logical) = self.get_mut(place) else { return };
        let before = std::mem::replace(&mut logical.spare_of, spare_of);
        if let Some(before) = before
            && let Some(places) = self.spare.get_mut(&before)
        {
            places.remove(place);
            if places.is_empty() {
                self.spare.remove(&before);
            }
        }
        if let Some(spare_of) = spare_of {
            self.spare.entry(spare_of).or_default().insert(place.clone());
        }
    }

    fn loosen(&mut self, place: &Place, now: Tick) {
        if let Some(logical) = self.get_mut(place) {
            logical.loose.get_or_insert(now);
            self.loose.insert(place.clone());
        }
    }

    /// Checkpoints that have spare files.
    pub(super) fn spared_checkpoints(&self) -> impl Iterator<Item = CheckpointId> {
        self.spare.keys().copied()
    }

    /// Spare files known before `before` of checkpoints up to `newest` are spare no longer.
    pub(super) fn drop_spares(&mut self, newest: CheckpointId, before: Tick, now: Tick) {
        let places: Vec<Place> =
            self.spare.range(..=newest).flat_map(|(_, it)| it).cloned().collect();
        for place in places {
            if self.get(&place).is_some_and(|it| it.since < before) {
                self.set_spare(&place, None);
                self.loosen(&place, now);
            }
        }
    }

    /// Forgets the loose files that `is_pinned` does not hold, and hands out the objects that held
    /// nothing else.
    pub(super) fn sweep(&mut self, is_pinned: impl Fn(&Logical) -> bool) -> Vec<Object> {
        let free: Vec<Place> = self
            .loose
            .iter()
            .filter(|place| self.get(place).is_none_or(|logical| !is_pinned(logical)))
            .cloned()
            .collect();
        let mut empty = Vec::new();
        for place in free {
            self.loose.remove(&place);
            let Some(object) = self.objects.get_mut(&place.0) else { continue };
            object.files.remove(&place.1);
            if object.files.is_empty() {
                empty.extend(self.objects.remove(&place.0));
            }
        }
        empty
    }

    pub(super) fn usages(&self) -> Vec<Usage<'_>> {
        self.objects
            .iter()
            .map(|(name, object)| Usage {
                name,
                bytes: object.handle.bytes(),
                live_bytes: object.live_bytes(),
            })
            .collect()
    }

    pub(super) fn space(&self) -> SpaceStats {
        let mut space = SpaceStats::default();
        for object in self.objects.values() {
            space.objects += 1;
            space.object_bytes = space.object_bytes.saturating_add(object.handle.bytes());
            space.live_bytes = space.live_bytes.saturating_add(object.live_bytes());
            let live = object.files.values().filter(|it| it.loose.is_none()).count();
            space.logical_files += live as u64;
        }
        space
    }
}

#[cold]
pub(super) fn invalid(message: String) -> CheckpointError {
    CheckpointError::new(ErrorKind::InvalidArgument, message)
}
