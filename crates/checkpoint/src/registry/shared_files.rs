//! The registry as a state machine: events of checkpoints in, deletions and offers out.

use std::collections::{BTreeMap, BTreeSet};

use millpond_state::CheckpointId;

use super::file::{
    Deletion, Place, Reported, ReportedFile, RestoreMode, SharedFile, StoredCheckpoint,
};
use super::homes::Homes;
use super::objects::{Logical, Object, Objects, Tick, invalid};
use super::space::{SpaceStats, plan_withheld};
use crate::coordinator::{CheckpointKind, StoreEffect};
use crate::error::Result;
use crate::name;

/// Bounds of a [`SharedFileRegistry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Uploads of so many of the newest aborted checkpoints are kept for re-use. A file that a
    /// later one re-used counts with that one, so a small number is enough.
    pub spared_checkpoints_max: u32,
    /// Files are not offered again, emptiest objects first, once objects take more bytes than this
    /// for each 100 bytes in use; at least 100. `None`: no bound.
    pub space_amplification_max_percent: Option<u32>,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self { spared_checkpoints_max: 8, space_amplification_max_percent: Some(200) }
    }
}

/// What a restarted process finds in its checkpoint storage.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundCheckpoints<'a> {
    /// Retained checkpoints and claimed savepoints of the job: ours to delete.
    pub owned: &'a [StoredCheckpoint<'a>],
    /// Others in the same storage, such as savepoints: nothing they refer to is ever deleted.
    pub kept: &'a [StoredCheckpoint<'a>],
    /// Whether there are checkpoints whose metadata cannot be read. What they refer to is unknown,
    /// so no object that is older than the registry is ever deleted by it.
    pub unreadable: bool,
    /// The checkpoints whose files may be re-used, besides claimed savepoints; `None`: all owned
    /// ones.
    pub offered: Option<&'a BTreeSet<CheckpointId>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Collecting,
    Storing,
    Abandoned,
    Retained { folder: String, late: bool },
}

#[derive(Clone, Debug)]
struct Entry {
    state: State,
    began: Tick,
    /// Whether files are offered to it.
    reuses: bool,
    withheld: BTreeSet<String>,
    files: BTreeSet<Place>,
}

/// Counts who refers to which shared file and says what may be deleted. See the
/// [module](super) for how to drive it. A plain value: callers that share it put a lock round it.
#[derive(Clone, Debug, Default)]
pub struct SharedFileRegistry {
    settings: RegistrySettings,
    now: Tick,
    objects: Objects,
    checkpoints: BTreeMap<CheckpointId, Entry>,
    homes: Homes,
    /// Names of objects that belong to others: never deleted, never offered.
    foreign: BTreeSet<String>,
    unreadable: bool,
    /// Names of objects of ours that are never offered.
    unoffered: BTreeSet<String>,
    /// The first and the newest checkpoint that began here.
    begun: Option<(CheckpointId, CheckpointId)>,
    /// Uploads for checkpoints up to this one are not kept for re-use any more.
    settled_to: Option<CheckpointId>,
    deletions: Vec<Deletion>,
}

impl SharedFileRegistry {
    /// A registry of a checkpoint storage without checkpoints.
    #[must_use]
    pub fn new(settings: RegistrySettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// The registry of a process that starts again. Uploads of attempts that died are unknown to
    /// it: garbage collection finds those.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if two checkpoints have the same
    /// number or contradict each other on a file.
    pub fn rebuild(settings: RegistrySettings, found: &FoundCheckpoints<'_>) -> Result<Self> {
        let mut registry = Self::new(settings);
        registry.unreadable = found.unreadable;
        for stored in found.kept {
            registry.keep(stored)?;
        }
        for stored in found.owned {
            let kept = found.kept.iter().any(|kept| kept.folder == stored.folder);
            if kept || registry.checkpoints.contains_key(&stored.id()) {
                return Err(twice(stored.id()));
            }
            registry.adopt(stored)?;
        }
        if let Some(offered) = found.offered {
            registry.withhold_others(offered);
        }
        Ok(registry)
    }

    /// The job starts from this checkpoint, which lies in the registry's checkpoint storage. A
    /// checkpoint of another storage has no names here: it is always without claim, and the
    /// registry need not be told.
    ///
    /// Claimed, it is retained and its files are offered; native files of a savepoint are offered
    /// too, and the savepoint then stays whole until none of them is in use. A retained checkpoint
    /// restored without claim is not ours any longer.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if a checkpoint of its number is
    /// under way, or if it contradicts what is known.
    pub fn restore(&mut self, stored: &StoredCheckpoint<'_>, mode: RestoreMode) -> Result<()> {
        let id = stored.id();
        let known = self.checkpoints.get(&id).map(|entry| entry.state.clone());
        match (known, mode) {
            (Some(State::Retained { folder, .. }), _) if folder != stored.folder => Err(twice(id)),
            (Some(State::Retained { .. }), RestoreMode::Claim) => Ok(()),
            (Some(State::Retained { .. }) | None, RestoreMode::NoClaim) => self.keep(stored),
            (None, RestoreMode::Claim) => {
                // All of it or nothing.
                let mut next = self.clone();
                next.adopt(stored)?;
                *self = next;
                Ok(())
            }
            (Some(_), _) => Err(invalid(format!("checkpoint {id} is still under way"))),
        }
    }

    /// A checkpoint begins: everything known now and until it is decided may be re-used by it, so
    /// all of that stays. Call before its barriers are sent. Nothing is offered to savepoints.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if its number is not above all
    /// others.
    pub fn begin(&mut self, checkpoint: CheckpointId, kind: CheckpointKind) -> Result<()> {
        let newest = self.checkpoints.last_key_value().map(|(id, _)| *id);
        let newest = newest.max(self.begun.map(|(_, newest)| newest));
        if newest.is_some_and(|newest| newest >= checkpoint) {
            return Err(invalid(format!("checkpoint {checkpoint} begins after a later one")));
        }
        self.now += 1;
        let first = self.begun.map_or(checkpoint, |(first, _)| first);
        self.begun = Some((first, checkpoint));
        let entry = Entry {
            state: State::Collecting,
            began: self.now,
            reuses: !kind.is_savepoint(),
            withheld: self.withheld(),
            files: BTreeSet::new(),
        };
        self.checkpoints.insert(checkpoint, entry);
        Ok(())
    }

    /// The files that subtasks of `checkpoint` may re-use instead of uploading them again, as of
    /// now. Empty unless it is under way and not a savepoint.
    pub fn offers(&self, checkpoint: CheckpointId) -> impl Iterator<Item = &SharedFile> {
        let entry = self.checkpoints.get(&checkpoint);
        self.objects
            .logical_files()
            .filter(move |logical| {
                entry.is_some_and(|entry| {
                    !entry.withheld.contains(logical.file.object.name())
                        && self.may_reuse(checkpoint, entry, logical)
                })
            })
            .map(|logical| &logical.file)
    }

    /// Whether `file` is among the [offers](Self::offers): all of it, not its name or place alone.
    #[must_use]
    pub fn is_offered(&self, checkpoint: CheckpointId, file: &SharedFile) -> bool {
        let Some(entry) = self.checkpoints.get(&checkpoint) else { return false };
        !entry.withheld.contains(file.object.name())
            && self.objects.get(&file.place()).is_some_and(|logical| {
                logical.file == *file && self.may_reuse(checkpoint, entry, logical)
            })
    }

    /// A subtask has uploaded or re-uses these files for `checkpoint`: all that its part names, in
    /// one report or several. May be said at any time, also of uploads of a checkpoint that came
    /// to nothing: later ones re-use them. Saying it again changes nothing.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if a file contradicts what is known,
    /// was not written for this checkpoint although reported as new, or is reported as re-used but
    /// was not on offer. The subtask's part must then be declined. What the report listed before
    /// counts as reported.
    pub fn report(
        &mut self,
        checkpoint: CheckpointId,
        files: impl IntoIterator<Item = ReportedFile>,
    ) -> Result<Reported> {
        self.now += 1;
        if self.begun.is_none_or(|(first, newest)| checkpoint < first || checkpoint > newest) {
            return Ok(Reported::Left);
        }
        let collecting =
            self.checkpoints.get(&checkpoint).is_some_and(|entry| entry.state == State::Collecting);
        for reported in files {
            reported.file().check()?;
            match reported {
                ReportedFile::New(file) if collecting => self.count_new(checkpoint, file)?,
                ReportedFile::Reused(file) if collecting => self.count_reused(checkpoint, &file)?,
                ReportedFile::New(file) => self.take_late(checkpoint, file)?,
                // Whatever it re-uses, nothing refers to it through this checkpoint.
                ReportedFile::Reused(_) => {}
            }
        }
        Ok(if collecting { Reported::Counted } else { Reported::Late })
    }

    /// Every subtask acknowledged and the metadata is about to be published. From here on nothing
    /// is offered to the checkpoint. What was reported for it and is not named by the metadata is
    /// kept for later ones.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if the checkpoint is not under way
    /// or the metadata names a shared file that was not reported for it. The metadata must then
    /// not be published; nothing has changed.
    pub fn store(&mut self, metadata: &millpond_snapshot::CheckpointMetadata) -> Result<()> {
        let id = metadata.checkpoint;
        let folder = name::folder(id);
        let named = StoredCheckpoint { folder: &folder, metadata }.shared_files(false)?;
        let Some(entry) =
            self.checkpoints.get(&id).filter(|entry| entry.state == State::Collecting)
        else {
            return Err(invalid(format!("checkpoint {id} is not under way")));
        };
        let mut places = BTreeSet::new();
        for file in &named {
            let place = file.place();
            let known = self.objects.get(&place).filter(|_| entry.files.contains(&place));
            if known.is_none_or(|known| known.file != *file) {
                return Err(file.wrong("was not reported for the checkpoint that names it"));
            }
            places.insert(place);
        }
        self.now += 1;
        if let Some(entry) = self.checkpoints.get_mut(&id) {
            let reported = std::mem::replace(&mut entry.files, places);
            entry.state = State::Storing;
            let unnamed: Vec<Place> = reported.difference(&entry.files).cloned().collect();
            for place in unnamed {
                self.objects.remove_user(&place, id, Some(id), self.now);
            }
        }
        self.bound_spares();
        self.sweep();
        Ok(())
    }

    /// The metadata is published: the checkpoint exists. One that was aborted meanwhile exists too.
    /// Uploads of earlier ones that came to nothing are given up unless this one re-used them.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) if its metadata was not about to be
    /// published: nothing has changed, and files it needs may be gone.
    pub fn complete(&mut self, checkpoint: CheckpointId) -> Result<()> {
        let Some(entry) = self.checkpoints.get_mut(&checkpoint) else {
            return Err(invalid(format!("checkpoint {checkpoint} was not being stored")));
        };
        let late = match entry.state {
            State::Retained { .. } => return Ok(()),
            State::Storing => false,
            State::Abandoned => true,
            State::Collecting => {
                return Err(invalid(format!("checkpoint {checkpoint} was not being stored")));
            }
        };
        self.now += 1;
        entry.state = State::Retained { folder: name::folder(checkpoint), late };
        if entry.reuses && !late {
            let began = entry.began;
            self.objects.drop_spares(checkpoint, began, self.now);
            self.settled_to = self.settled_to.max(Some(checkpoint));
        }
        self.sweep();
        Ok(())
    }

    /// The checkpoint came to nothing. While its metadata is being published it may still exist:
    /// its files then stay until [`complete`](Self::complete) or
    /// [`store_failed`](Self::store_failed). Otherwise its uploads are offered to later ones.
    /// Unknown and completed checkpoints are left alone.
    pub fn abort(&mut self, checkpoint: CheckpointId) {
        match self.checkpoints.get_mut(&checkpoint) {
            Some(entry) if entry.state == State::Storing => entry.state = State::Abandoned,
            Some(entry) if entry.state == State::Collecting => self.give_up(checkpoint),
            _ => {}
        }
    }

    /// The checkpoint could not be published and came to nothing. If it may exist all the same it
    /// is retained until [`discard`](Self::discard): a restore may begin from it. Unknown and
    /// completed checkpoints are left alone.
    pub fn store_failed(&mut self, checkpoint: CheckpointId, effect: StoreEffect) {
        let Some(entry) = self.checkpoints.get(&checkpoint) else { return };
        if !matches!(entry.state, State::Storing | State::Abandoned) {
            return;
        }
        match effect {
            StoreEffect::DidNotHappen => self.give_up(checkpoint),
            StoreEffect::MayHaveHappened => {
                self.now += 1;
                if let Some(entry) = self.checkpoints.get_mut(&checkpoint) {
                    entry.state = State::Retained { folder: name::folder(checkpoint), late: true };
                }
                self.sweep();
            }
        }
    }

    /// A completed checkpoint is not retained any longer, because it is subsumed or nobody wants
    /// it: its folder is to be deleted, and then the files that nothing else refers to. Unknown
    /// checkpoints and those under way are left alone.
    pub fn discard(&mut self, checkpoint: CheckpointId) {
        let Some(State::Retained { folder, late }) =
            self.checkpoints.get(&checkpoint).map(|entry| entry.state.clone())
        else {
            return;
        };
        // A claimed savepoint whose files are in use keeps its folder until they are not.
        if !self.homes.give_up(checkpoint, &folder) {
            self.deletions.push(Deletion::Folder { checkpoint, folder });
        }
        if late {
            self.give_up(checkpoint);
        } else {
            self.forget(checkpoint, None);
        }
    }

    /// What may be deleted, in the order in which it must be: stop at the first that fails and go
    /// on from there later. Each is handed out once; what is lost on the way is found by garbage
    /// collection.
    #[must_use]
    pub fn take_deletions(&mut self) -> Vec<Deletion> {
        std::mem::take(&mut self.deletions)
    }

    /// The retained checkpoints, oldest first.
    pub fn retained(&self) -> impl Iterator<Item = CheckpointId> {
        self.checkpoints
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Retained { .. }))
            .map(|(id, _)| *id)
    }

    /// The shared files that a checkpoint, retained or under way, refers to.
    pub fn files_of(&self, checkpoint: CheckpointId) -> impl Iterator<Item = &SharedFile> {
        let places = self.checkpoints.get(&checkpoint).into_iter().flat_map(|entry| &entry.files);
        places.filter_map(|place| Some(&self.objects.get(place)?.file))
    }

    /// Whether the object of this name, relative to the root of the checkpoint storage, is in use
    /// or kept for re-use or for others: it must not be deleted.
    #[must_use]
    pub fn is_in_use(&self, object: &str) -> bool {
        self.objects.object(object).is_some() || self.foreign.contains(object)
    }

    /// What shared objects take and how much of it is of use.
    #[must_use]
    pub fn space(&self) -> SpaceStats {
        self.objects.space()
    }

    fn withheld(&self) -> BTreeSet<String> {
        match self.settings.space_amplification_max_percent {
            Some(percent) => plan_withheld(self.objects.usages(), percent.max(100)),
            None => BTreeSet::new(),
        }
    }

    /// Whether the checkpoint, as it is under way, may refer to the file from now on.
    fn may_reuse(&self, checkpoint: CheckpointId, entry: &Entry, logical: &Logical) -> bool {
        let name = logical.file.object.name();
        pins(checkpoint, entry, logical)
            && !self.foreign.contains(name)
            && !self.unoffered.contains(name)
    }

    fn count_new(&mut self, checkpoint: CheckpointId, file: SharedFile) -> Result<()> {
        self.check_written_for(checkpoint, &file)?;
        let place = self.known_or_inserted(file)?;
        self.count(checkpoint, place);
        Ok(())
    }

    fn count_reused(&mut self, checkpoint: CheckpointId, file: &SharedFile) -> Result<()> {
        let place = file.place();
        let entry = self.checkpoints.get(&checkpoint);
        let known = self.objects.get(&place).filter(|known| known.file == *file);
        if let (Some(entry), Some(known)) = (entry, known)
            && (entry.files.contains(&place) || self.may_reuse(checkpoint, entry, known))
        {
            self.count(checkpoint, place);
            return Ok(());
        }
        Err(file.wrong("is re-used although it was not on offer"))
    }

    fn count(&mut self, checkpoint: CheckpointId, place: Place) {
        self.objects.add_user(&place, checkpoint);
        if let Some(entry) = self.checkpoints.get_mut(&checkpoint) {
            entry.files.insert(place);
        }
    }

    /// An upload whose checkpoint is decided. It may be the repetition of a report whose files are
    /// gone by now; those were of checkpoints that are settled, so it is kept only if its
    /// checkpoint is not.
    fn take_late(&mut self, checkpoint: CheckpointId, file: SharedFile) -> Result<()> {
        self.check_written_for(checkpoint, &file)?;
        if self.foreign.contains(file.object.name()) {
            return Ok(());
        }
        let settled = self.settled_to.is_some_and(|settled| checkpoint <= settled);
        if !settled {
            if !self.objects.knows(&file)? {
                let place = self.known_or_inserted(file)?;
                self.objects.set_spare(&place, Some(checkpoint));
                self.bound_spares();
                self.sweep();
            }
        } else if self.objects.object(file.object.name()).is_none() {
            self.deletions.push(Deletion::Object(file.object.as_ref().clone()));
        }
        Ok(())
    }

    /// An object is written for one checkpoint and never again: only so can a late report never
    /// bring back what is being deleted.
    fn check_written_for(&self, checkpoint: CheckpointId, file: &SharedFile) -> Result<()> {
        if file.checkpoint != checkpoint {
            return Err(file.wrong("was not written for the checkpoint that reports it as new"));
        }
        if self.checkpoints.get(&checkpoint).is_some_and(|entry| !entry.reuses) {
            return Err(file.wrong("is for a savepoint, which must be self-contained"));
        }
        Ok(())
    }

    fn known_or_inserted(&mut self, file: SharedFile) -> Result<Place> {
        if self.objects.knows(&file)? {
            return Ok(file.place());
        }
        Ok(self.objects.insert(file, self.now, false))
    }

    /// Makes a checkpoint that exists ours.
    fn adopt(&mut self, stored: &StoredCheckpoint<'_>) -> Result<()> {
        let id = stored.id();
        let files = stored.shared_files(stored.is_home())?;
        self.now += 1;
        let home = stored.is_home().then_some(id);
        let mut places = BTreeSet::new();
        for file in files {
            file.check()?;
            let place = if self.objects.knows(&file)? {
                file.place()
            } else {
                self.objects.insert(file, self.now, true)
            };
            if home.is_some() {
                self.homes.add(id, &place.0);
                self.objects.set_home(&place.0, id);
            }
            self.objects.add_user(&place, id);
            places.insert(place);
        }
        let entry = Entry {
            state: State::Retained { folder: stored.folder.to_owned(), late: false },
            began: self.now,
            reuses: true,
            withheld: BTreeSet::new(),
            files: places,
        };
        self.checkpoints.insert(id, entry);
        Ok(())
    }

    /// Offers nothing but the files of these checkpoints: another process may yet delete others.
    fn withhold_others(&mut self, offered: &BTreeSet<CheckpointId>) {
        let names = |entry: &Entry| entry.files.iter().map(|place| place.0.to_string()).collect();
        let (ours, others): (Vec<_>, Vec<_>) =
            self.checkpoints.iter().partition(|(id, _)| offered.contains(id));
        let ours: BTreeSet<String> =
            ours.into_iter().flat_map(|(_, it)| -> Vec<_> { names(it) }).collect();
        let others: BTreeSet<String> =
            others.into_iter().flat_map(|(_, it)| -> Vec<_> { names(it) }).collect();
        self.unoffered = &others - &ours;
    }

    /// Leaves a checkpoint that exists, and all it refers to, to its owner.
    fn keep(&mut self, stored: &StoredCheckpoint<'_>) -> Result<()> {
        for file in stored.shared_files(true)? {
            self.foreign.insert(file.object.name().to_owned());
        }
        self.now += 1;
        self.homes.leave(stored.id());
        self.forget(stored.id(), None);
        Ok(())
    }

    /// The checkpoint is no more, its uploads are kept for later ones.
    fn give_up(&mut self, checkpoint: CheckpointId) {
        self.now += 1;
        let settled = self.settled_to.is_some_and(|settled| checkpoint <= settled);
        self.forget(checkpoint, (!settled).then_some(checkpoint));
    }

    fn forget(&mut self, checkpoint: CheckpointId, spare_of: Option<CheckpointId>) {
        self.now += 1;
        if let Some(entry) = self.checkpoints.remove(&checkpoint) {
            for place in &entry.files {
                self.objects.remove_user(place, checkpoint, spare_of, self.now);
            }
        }
        self.bound_spares();
        self.sweep();
    }

    /// Gives up uploads of the oldest aborted checkpoints when there are too many.
    fn bound_spares(&mut self) {
        let max = self.settings.spared_checkpoints_max as usize;
        let spared: Vec<CheckpointId> = self.objects.spared_checkpoints().collect();
        let surplus = spared.len().saturating_sub(max);
        if let Some(newest) = spared.get(..surplus).and_then(<[_]>::last) {
            self.objects.drop_spares(*newest, Tick::MAX, self.now);
            self.settled_to = self.settled_to.max(Some(*newest));
        }
    }

    /// Hands out what nothing holds any longer.
    fn sweep(&mut self) {
        let collecting: Vec<(CheckpointId, &Entry)> = self
            .checkpoints
            .iter()
            .filter(|(_, entry)| entry.state == State::Collecting)
            .map(|(id, entry)| (*id, entry))
            .collect();
        let empty = self
            .objects
            .sweep(|logical| collecting.iter().any(|(id, entry)| pins(*id, entry, logical)));
        for object in empty {
            self.dispose(&object);
        }
    }

    fn dispose(&mut self, object: &Object) {
        let name = object.handle.name();
        if self.foreign.contains(name) || (self.unreadable && object.inherited) {
            return;
        }
        self.deletions.extend(match object.home {
            Some(home) => self.homes.leave_object(home, name),
            None => Some(Deletion::Object(object.handle.as_ref().clone())),
        });
    }
}

/// Whether a checkpoint under way may yet refer to a file that is known: it was of use at some
/// time since the checkpoint began.
fn pins(checkpoint: CheckpointId, entry: &Entry, logical: &Logical) -> bool {
    entry.state == State::Collecting
        && entry.reuses
        && logical.file.checkpoint <= checkpoint
        && logical.loose.is_none_or(|loose| loose > entry.began)
}

#[cold]
fn twice(id: CheckpointId) -> crate::error::CheckpointError {
    invalid(format!("there are two checkpoints of the number {id}"))
}
