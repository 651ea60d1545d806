//! The checkpoint log: which attempt owns a checkpoint storage, and which checkpoints exist.
//!
//! Entries are small immutable objects, numbered without gaps. Each holds the whole state, so only
//! the newest counts. An attempt begins, and a checkpoint completes, by creating the entry after
//! the newest one that the writer knows, if that name is free. So all changes are in one order that
//! every process agrees on, and that is all there is to fencing:
//! - Once an attempt has begun, no earlier one can complete anything: the name of the entry it
//!   would create is taken.
//! - The attempt that begins has seen every checkpoint that was ever completed, since its entry
//!   comes after theirs. No listing is believed: from any entry on, the rest is found by opening
//!   one name after the other.
//!
//! # What a superseded attempt may still do
//! It deletes only what is older than the newest checkpoint that it completed and that nothing it
//! keeps refers to, and uploads of its own that no entry ever names. A successor starts from that
//! checkpoint or a later one, and re-uses files of that one only. Numbers of checkpoints and of
//! attempts are never given twice, so that no late deletion or upload hits anything of a successor.
//!
//! # How it fails
//! Where it is unknown whether an entry was created, the checkpoint is in doubt. The next entry of
//! the attempt settles it: the name is either still free, and then taken by that entry, or holds
//! the one in doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millpond_snapshot::CheckpointMetadata;
use millpond_state::{AttemptId, CheckpointId};
use millpond_storage::{Effect, ErrorKind as Stored, StoreExt, StorePath};

use super::adapter::read_small;
use super::shared_files::SharedFiles;
use super::{CheckpointStorage, FoundCheckpoint, PublishError, storage};
use crate::coordinator::StoreEffect;
use crate::error::{CheckpointError, ErrorKind, Result};
use crate::name;
use crate::registry::RegistrySettings;

/// Entries that stay behind the newest one, for processes that are about to read them.
const ENTRIES_KEPT: u64 = 100;

/// Most old entries that one change deletes.
const PRUNED_AT_ONCE: u32 = 2;

/// How often one change is tried in the face of an unknown outcome.
const TRIES_MAX: u32 = 3;

/// Most bytes of an entry that is read: room for a million checkpoints.
const ENTRY_BYTES_MAX: usize = 64 << 20;

const HEADER: &str = "millpond checkpoint log 1";

/// Names of the lists of an entry.
const CHECKPOINTS: &str = "checkpoints";
const ABANDONED: &str = "abandoned";

/// The state of a checkpoint storage as of one entry of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LogEntry {
    attempt: u64,
    /// Numbers of checkpoints below this one have been given out.
    first_checkpoint: u64,
    /// What exists, savepoints included, and which attempt wrote it: a late writer may have put
    /// metadata of its own into the folder of one that has been deleted.
    checkpoints: Existing,
    /// Those that exist and are not the job's to delete, but that the job has gone back to before:
    /// none of them is its latest.
    abandoned: Existing,
}

/// Checkpoints and the attempts that wrote them.
type Existing = BTreeMap<CheckpointId, AttemptId>;

impl LogEntry {
    /// A number above that of every checkpoint that is named, and of those given out before.
    fn unused(&self) -> CheckpointId {
        let named = self.checkpoints.keys().chain(self.abandoned.keys()).max();
        let after = named.map_or(CheckpointId::new(0), |id| id.next());
        after.max(CheckpointId::new(self.first_checkpoint))
    }

    fn encode(&self) -> String {
        let (attempt, first_checkpoint) = (self.attempt, self.first_checkpoint);
        let mut text =
            format!("{HEADER}\nattempt {attempt}\nfirst_checkpoint {first_checkpoint}\n");
        for (name, listed) in [(CHECKPOINTS, &self.checkpoints), (ABANDONED, &self.abandoned)] {
            text.push_str(name);
            for (id, attempt) in listed {
                // Writing to a string does not fail.
                let _ = write!(text, " {id}@{}", attempt.get());
            }
            text.push('\n');
        }
        let crc32 = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "crc32 {crc32:08x}");
        text
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let body = text.strip_suffix('\n')?;
        let (body, crc32) = body.rsplit_once('\n')?;
        let body_bytes = text.get(..body.len().checked_add(1)?)?.as_bytes();
        if crc32 != format!("crc32 {:08x}", crc32fast::hash(body_bytes)) {
            return None;
        }
        let mut lines = body.split('\n');
        if lines.next() != Some(HEADER) {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name);
        let attempt = field("attempt ")?.parse().ok()?;
        let first_checkpoint = field("first_checkpoint ")?.parse().ok()?;
        let checkpoints = decode_list(field(CHECKPOINTS)?)?;
        let abandoned = decode_list(field(ABANDONED)?)?;
        let entry = Self { attempt, first_checkpoint, checkpoints, abandoned };
        lines.next().is_none().then_some(entry)
    }
}

fn decode_list(text: &str) -> Option<Existing> {
    let number = |digits: &str| digits.parse().ok();
    let named = text.split_ascii_whitespace().map(|it| {
        let (id, attempt) = it.split_once('@')?;
        Some((CheckpointId::new(number(id)?), AttemptId::new(number(attempt)?)))
    });
    named.collect()
}

/// What an execution attempt starts from.
#[derive(Clone, Copy, Debug)]
pub enum AttemptStart<'a> {
    /// Nothing: checkpoints that are in the storage stay.
    Beginning,
    /// A checkpoint of the storage that the attempt takes over.
    Here(&'a CheckpointMetadata),
    /// A checkpoint of another storage.
    Elsewhere(&'a CheckpointMetadata),
}

impl<'a> AttemptStart<'a> {
    fn metadata(self) -> Option<&'a CheckpointMetadata> {
        match self {
            Self::Beginning => None,
            Self::Here(metadata) | Self::Elsewhere(metadata) => Some(metadata),
        }
    }
}

/// The newest state of a checkpoint storage at the time of reading.
#[derive(Clone, Debug)]
pub struct CheckpointHistory {
    /// Number of the newest entry; 0 if there is no log.
    sequence: u64,
    entry: LogEntry,
    /// Number of the oldest entry, or one before it.
    oldest: u64,
}

impl CheckpointHistory {
    /// Numbers of the checkpoints that exist, oldest first, savepoints included, without those that
    /// the job has gone back to before.
    pub fn checkpoints(&self) -> impl DoubleEndedIterator<Item = CheckpointId> + '_ {
        self.entry.checkpoints.keys().copied()
    }

    /// Whether nothing has changed from this to `later`, a history of the same storage read later.
    #[must_use]
    pub fn is_still(&self, later: &Self) -> bool {
        self.sequence == later.sequence
    }

    /// The number that an attempt gets which begins now.
    #[must_use]
    pub fn next_attempt(&self) -> AttemptId {
        AttemptId::new(self.entry.attempt.saturating_add(1))
    }

    /// Whether the job has gone back to before checkpoint `id`, which is not its to delete: it
    /// exists, but it is not the latest. By name a job can be restored from it all the same.
    #[must_use]
    pub fn is_abandoned(&self, id: CheckpointId) -> bool {
        self.entry.abandoned.contains_key(&id)
    }

    /// Whether checkpoint `id`, whose metadata says that `attempt` wrote it, never came to exist
    /// although its metadata is there.
    #[must_use]
    pub fn is_void(&self, id: CheckpointId, attempt: AttemptId) -> bool {
        let is_named = |listed: &Existing| listed.get(&id) == Some(&attempt);
        self.sequence > 0
            && attempt.get() <= self.entry.attempt
            && !is_named(&self.entry.checkpoints)
            && !is_named(&self.entry.abandoned)
    }
}

/// The end of the log as the attempt that owns it knows it.
#[derive(Debug)]
struct Tail {
    /// The newest entry.
    sequence: u64,
    entry: LogEntry,
    /// What was given up since; an entry in doubt may name it still.
    forgotten: BTreeSet<CheckpointId>,
    /// The oldest entry that may be there.
    oldest: u64,
    superseded: bool,
}

/// An execution attempt that owns a checkpoint storage until a later one begins. Shared by threads.
#[derive(Debug)]
pub struct AttemptLog {
    storage: CheckpointStorage,
    id: AttemptId,
    first_checkpoint: CheckpointId,
    restored: Option<CheckpointId>,
    /// The latest checkpoint when it began.
    newest: Option<CheckpointId>,
    /// What existed then, but for what had been gone back to before, and what it started from.
    found: Existing,
    /// Of these, what it has gone back to before and is the job's to delete.
    given_up: BTreeSet<CheckpointId>,
    /// What exists and was gone back to before, now or earlier.
    abandoned: Existing,
    tail: Mutex<Tail>,
    /// Held by who appends, storage's time included. Never taken while `tail` is held.
    appending: Mutex<()>,
}

enum Appended {
    Done,
    Taken(LogEntry),
}

impl CheckpointStorage {
    /// Reads which checkpoints exist. In a storage without a log all whose metadata is there do.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store fails, or the log cannot be followed: try again.
    /// [`ErrorKind::Corrupt`] if an entry is damaged.
    pub fn history(&self) -> Result<CheckpointHistory> {
        if let Some(history) = self.read_log()? {
            return Ok(history);
        }
        Ok(CheckpointHistory { sequence: 0, entry: self.entry_without_log()?, oldest: 1 })
    }

    /// As [`history`](Self::history); `None` if there is no log.
    pub(super) fn read_log(&self) -> Result<Option<CheckpointHistory>> {
        let mut sequences = self.log_sequences()?;
        let oldest = sequences.first().copied().unwrap_or(1);
        let is_listed = !sequences.is_empty();
        let mut newest = None;
        while let Some(sequence) = sequences.pop() {
            if let Some(entry) = self.log_entry(sequence)? {
                newest = Some((sequence, entry));
                break;
            }
        }
        let (mut sequence, mut entry) = match newest {
            Some(newest) => newest,
            None if is_listed => return Err(unfollowable(self.url())),
            None => match self.log_entry(1)? {
                Some(entry) => (1, entry),
                None => return Ok(None),
            },
        };
        while let Some(next) = self.log_entry(sequence.saturating_add(1))? {
            (sequence, entry) = (sequence.saturating_add(1), next);
        }
        Ok(Some(CheckpointHistory { sequence, entry, oldest }))
    }

    /// The checkpoints that exist according to `history`, oldest first. One whose metadata is
    /// damaged is listed as such; so is the newest if its metadata has gone. Of older ones only
    /// those that have not been deleted since are listed.
    ///
    /// # Errors
    /// None in practice: what cannot be read is listed with the reason.
    pub fn list_existing(&self, history: &CheckpointHistory) -> Result<Vec<FoundCheckpoint>> {
        let existing = &history.entry.checkpoints;
        self.list_numbered(existing, existing.keys().next_back().copied())
    }

    fn list_numbered(
        &self,
        existing: &Existing,
        newest: Option<CheckpointId>,
    ) -> Result<Vec<FoundCheckpoint>> {
        let mut found = Vec::new();
        for (&id, writer) in existing {
            let folder = self.folder(id)?;
            let metadata = match folder.load() {
                Ok(metadata) if metadata.attempt == *writer => Ok(metadata),
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                // It has gone, perhaps replaced by what a superseded attempt wrote in vain.
                _ if Some(id) != newest => continue,
                _ => {
                    let message = format!("the metadata of {} has gone", folder.url());
                    Err(CheckpointError::new(ErrorKind::Corrupt, message))
                }
            };
            found.push(FoundCheckpoint { id, folder, metadata });
        }
        Ok(found)
    }

    /// Begins an execution attempt with a start that was chosen by what `history` says. From then
    /// on no earlier attempt can complete a checkpoint. Checkpoints after the one it starts from do
    /// not exist any more if they are the job's to delete; [others](Self::is_kept) stay, but none
    /// of them is the latest. The answer is `None` if the history has gone on since it was read:
    /// read it and choose again.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store fails; an attempt may have begun nevertheless, which
    /// does no harm.
    pub fn begin_attempt(
        &self,
        history: &CheckpointHistory,
        start: AttemptStart<'_>,
    ) -> Result<Option<AttemptLog>> {
        let mut entry = history.entry.clone();
        entry.attempt = history.next_attempt().get();
        // What is in the storage may be of attempts that completed nothing.
        let unused = self.next_id()?.max(entry.unused()).max(CheckpointId::new(1));
        let unused = unused.max(start.metadata().map_or(unused, |it| it.checkpoint.next()));
        entry.first_checkpoint = unused.get();
        let given_up = self.go_back(&mut entry, start)?;
        let sequence = history.sequence.saturating_add(1);
        match self.append_log(sequence, &entry) {
            Ok(Appended::Done) => {}
            Ok(Appended::Taken(_)) => return Ok(None),
            Err((_, error)) => return Err(error),
        }
        let id = AttemptId::new(entry.attempt);
        let first_checkpoint = CheckpointId::new(entry.first_checkpoint);
        let (forgotten, oldest) = (BTreeSet::new(), history.oldest);
        let abandoned = entry.abandoned.clone();
        let mut found = history.entry.checkpoints.clone();
        let newest = found.keys().next_back().copied();
        let mut restored = None;
        if let AttemptStart::Here(metadata) = start {
            restored = Some(metadata.checkpoint);
            found.insert(metadata.checkpoint, metadata.attempt);
        }
        let tail = Tail { sequence, entry, forgotten, oldest, superseded: false };
        Ok(Some(AttemptLog {
            storage: self.clone(),
            id,
            first_checkpoint,
            restored,
            newest,
            found,
            given_up,
            abandoned,
            tail: Mutex::new(tail),
            appending: Mutex::new(()),
        }))
    }

    /// Makes `entry` say what exists once an attempt has started; returns what does not any more.
    fn go_back(
        &self,
        entry: &mut LogEntry,
        start: AttemptStart<'_>,
    ) -> Result<BTreeSet<CheckpointId>> {
        let Some(metadata) = start.metadata() else { return Ok(BTreeSet::new()) };
        let (restored, mut given_up) = (metadata.checkpoint, BTreeSet::new());
        for (id, writer) in entry.checkpoints.split_off(&restored.next()) {
            let folder = self.folder(id)?;
            let metadata = folder.load();
            if let Err(error) = &metadata
                && error.kind() == ErrorKind::Storage
            {
                // It may be a savepoint, which must not be lost to a failure that passes.
                return metadata.map(|_| given_up);
            }
            if self.is_kept(&FoundCheckpoint { id, folder, metadata })? {
                entry.abandoned.insert(id, writer);
            } else {
                given_up.insert(id);
            }
        }
        if let AttemptStart::Here(metadata) = start {
            entry.abandoned.remove(&restored);
            entry.checkpoints.insert(restored, metadata.attempt);
        }
        Ok(given_up)
    }

    /// Enters a checkpoint that something else than an attempt has put into the storage, so that it
    /// exists. Nothing is done in a storage without a log.
    pub(crate) fn enter(&self, metadata: &CheckpointMetadata) -> Result<()> {
        let (id, attempt) = (metadata.checkpoint, metadata.attempt);
        loop {
            let history = self.history()?;
            if history.sequence == 0 || history.entry.checkpoints.get(&id) == Some(&attempt) {
                return Ok(());
            }
            let mut entry = history.entry;
            entry.checkpoints.insert(id, attempt);
            entry.first_checkpoint = entry.first_checkpoint.max(id.next().get());
            match self.append_log(history.sequence.saturating_add(1), &entry) {
                Ok(Appended::Done) => return Ok(()),
                Ok(Appended::Taken(_)) => {}
                Err((_, error)) => return Err(error),
            }
        }
    }

    fn log_sequences(&self) -> Result<Vec<u64>> {
        let folder = StorePath::new(name::LOG_FOLDER).map_err(storage)?;
        let objects = self.store.list(Some(&folder)).map_err(storage)?;
        let mut sequences: Vec<u64> =
            objects.iter().filter_map(|it| name::parse_log_entry(it.path.name())).collect();
        sequences.sort_unstable();
        Ok(sequences)
    }

    /// A storage of before there was a log.
    fn entry_without_log(&self) -> Result<LogEntry> {
        let found = self.list_metadata()?;
        let attempts = found.iter().filter_map(|it| it.metadata.as_ref().ok());
        let attempt = attempts.map(|metadata| metadata.attempt.get()).max().unwrap_or(0);
        let writer = |it: &FoundCheckpoint| {
            it.metadata.as_ref().map_or(AttemptId::new(0), |metadata| metadata.attempt)
        };
        let checkpoints = found.iter().map(|it| (it.id, writer(it))).collect();
        Ok(LogEntry { attempt, first_checkpoint: 0, checkpoints, abandoned: Existing::new() })
    }

    fn log_path(&self, sequence: u64) -> Result<StorePath> {
        StorePath::new(name::log_entry(sequence)).map_err(storage)
    }

    fn log_entry(&self, sequence: u64) -> Result<Option<LogEntry>> {
        let path = self.log_path(sequence)?;
        match read_small(&self.store, &path, ENTRY_BYTES_MAX) {
            Ok(text) => LogEntry::decode(&text).map(Some).ok_or_else(|| {
                let message = format!("{}/{path} is no entry of a checkpoint log", self.url());
                CheckpointError::new(ErrorKind::Corrupt, message)
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates entry `sequence` if its name is free, and makes sure that it is the newest.
    fn append_log(
        &self,
        sequence: u64,
        entry: &LogEntry,
    ) -> Result<Appended, (StoreEffect, CheckpointError)> {
        let did_not = |error| (StoreEffect::DidNotHappen, error);
        let may_have = |error| (StoreEffect::MayHaveHappened, error);
        let path = self.log_path(sequence).map_err(did_not)?;
        let appended = match self.store.put_if_absent(&path, entry.encode().as_bytes()) {
            Ok(_) => Appended::Done,
            Err(error) if error.kind() == Stored::AlreadyExists => {
                // It may be our own, of a try whose outcome was unknown.
                let there = self.log_entry(sequence).map_err(may_have)?;
                Appended::Taken(there.ok_or_else(|| may_have(unfollowable(self.url())))?)
            }
            Err(error) if error.effect() == Effect::DidNotHappen => {
                return Err(did_not(storage(error)));
            }
            Err(error) => return Err(may_have(storage(error))),
        };
        // Old entries are deleted in order. If the one before has gone, so may have been one of
        // this name: the writer fell far behind.
        let before = sequence.saturating_sub(1);
        if before > 0 && self.log_entry(before).map_err(may_have)?.is_none() {
            if matches!(appended, Appended::Done) {
                // It is not the newest, so nobody needs it.
                let _ = self.store.delete(&path);
            }
            return Err(may_have(unfollowable(self.url())));
        }
        Ok(appended)
    }
}

impl AttemptLog {
    /// The attempt. Its number is above that of every earlier one.
    #[must_use]
    pub fn id(&self) -> AttemptId {
        self.id
    }

    /// The number for the attempt's first checkpoint: above every number used before.
    #[must_use]
    pub fn first_checkpoint(&self) -> CheckpointId {
        self.first_checkpoint
    }

    /// The checkpoint it started from.
    #[must_use]
    pub fn restored(&self) -> Option<CheckpointId> {
        self.restored
    }

    /// The checkpoints that exist, oldest first, as it began, without those it has gone back to
    /// before.
    pub fn found(&self) -> impl DoubleEndedIterator<Item = CheckpointId> + '_ {
        self.found.keys().copied().filter(|id| !self.is_gone_back_to_before(*id))
    }

    /// The checkpoints that existed until it began and are the job's to delete, oldest first: it
    /// has gone back to before them.
    pub fn given_up(&self) -> impl DoubleEndedIterator<Item = CheckpointId> + '_ {
        self.given_up.iter().copied()
    }

    fn is_gone_back_to_before(&self, id: CheckpointId) -> bool {
        self.given_up.contains(&id) || self.abandoned.contains_key(&id)
    }

    /// Publishes a checkpoint: its metadata, then the entry from which on it exists.
    ///
    /// # Errors
    /// [`PublishError`], which says whether it may have happened. [`ErrorKind::Fenced`] if a later
    /// attempt has begun: it did not happen, and this attempt is over.
    pub fn publish(&self, metadata: &CheckpointMetadata) -> Result<(), PublishError> {
        let did_not = |error| PublishError { effect: StoreEffect::DidNotHappen, error };
        if self.tail().superseded {
            return Err(did_not(fenced(self.storage.url())));
        }
        // Nothing exists without its entry, so whatever becomes of the metadata is no doubt.
        self.put_metadata(metadata).map_err(did_not)?;
        let (id, attempt) = (metadata.checkpoint, metadata.attempt);
        self.change(|checkpoints| {
            checkpoints.insert(id, attempt);
        })
        .map_err(|(effect, error)| PublishError { effect, error })
    }

    /// The shared files of the checkpoints that existed when the attempt began. Savepoints among
    /// them are left alone, with all that they refer to. Only files of the checkpoint it started
    /// from are offered, and those only if it was the newest: of others an attempt before may yet
    /// delete some.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] if the store fails; [`ErrorKind::InvalidArgument`] if checkpoints
    /// contradict each other on a file.
    pub fn open_shared_files(&self, settings: RegistrySettings) -> Result<SharedFiles> {
        let mut existing = self.storage.list_numbered(&self.found, self.newest)?;
        let is_there = |id: &CheckpointId| existing.iter().any(|it| it.id == *id);
        // Deleted by an attempt that ended before it could say so.
        let deleted: Vec<CheckpointId> = self.found().filter(|id| !is_there(id)).collect();
        deleted.into_iter().for_each(|id| self.forget(id));
        let named = existing.iter().map(|it| it.id).collect::<BTreeSet<_>>();
        let abandoned = self.storage.list_numbered(&self.abandoned, None)?;
        existing.extend(abandoned.into_iter().filter(|it| !named.contains(&it.id)));
        let offered = self.restored.filter(|restored| Some(*restored) == self.newest);
        let offered = offered.into_iter().collect();
        self.storage.shared_files_of(existing, settings, Some(&offered))
    }

    /// Checkpoints that are given up need not be named by later entries.
    pub fn forget(&self, id: CheckpointId) {
        let mut tail = self.tail();
        tail.entry.checkpoints.remove(&id);
        tail.forgotten.insert(id);
    }

    /// Ends the history: none of `ids` exists from now on, not even the newest, and so all may be
    /// deleted.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if a later attempt has begun, which may depend on them: they must
    /// stay. [`ErrorKind::Storage`] if the store fails.
    pub fn give_up(&self, ids: &[CheckpointId]) -> Result<()> {
        self.change(|checkpoints| checkpoints.retain(|id, _| !ids.contains(id)))
            .map_err(|(_, error)| error)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_metadata(&self, metadata: &CheckpointMetadata) -> Result<()> {
        let bytes = metadata.encode()?;
        let path = self.storage.folder(metadata.checkpoint)?.path(name::METADATA)?;
        let store = &self.storage.store;
        match store.put_if_absent(&path, &bytes) {
            Ok(_) => Ok(()),
            // Somebody else uses the same numbers: who that is, the log tells.
            Err(error) if error.kind() == Stored::AlreadyExists && self.is_superseded() => {
                Err(fenced(self.storage.url()))
            }
            Err(error) if error.effect() == Effect::DidNotHappen => Err(storage(error)),
            // The answer was lost. What is there tells.
            Err(error) => match read_small(store, &path, bytes.len()) {
                Ok(there) if there == bytes => Ok(()),
                _ => Err(storage(error)),
            },
        }
    }

    /// Whether a later attempt is known to have begun.
    fn is_superseded(&self) -> bool {
        let Some((sequence, _)) = self.tail().next() else { return true };
        let there = self.storage.log_entry(sequence);
        matches!(there, Ok(Some(there)) if there.attempt != self.id.get())
    }

    /// Appends an entry with `change` made to what exists.
    fn change(&self, change: impl Fn(&mut Existing)) -> Result<(), (StoreEffect, CheckpointError)> {
        let _appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut effect = StoreEffect::DidNotHappen;
        let mut tries = 0;
        loop {
            let Some((sequence, mut entry)) = self.tail().next() else {
                return Err((effect, fenced(self.storage.url())));
            };
            change(&mut entry.checkpoints);
            match self.storage.append_log(sequence, &entry) {
                Ok(Appended::Done) => {
                    self.advance(sequence, entry);
                    return Ok(());
                }
                Ok(Appended::Taken(there)) if there.attempt == self.id.get() => {
                    // Not compared with what was tried: something may have been forgotten since.
                    let mut changed = there.checkpoints.clone();
                    change(&mut changed);
                    let settled = changed == there.checkpoints;
                    self.advance(sequence, there);
                    if settled {
                        return Ok(());
                    }
                    // What is there is an earlier change in doubt, so this one is not.
                    effect = StoreEffect::DidNotHappen;
                }
                Ok(Appended::Taken(_)) => {
                    self.tail().superseded = true;
                    effect = StoreEffect::DidNotHappen;
                }
                Err((StoreEffect::MayHaveHappened, error)) => {
                    effect = StoreEffect::MayHaveHappened;
                    tries += 1;
                    if tries == TRIES_MAX {
                        return Err((effect, error));
                    }
                }
                Err((StoreEffect::DidNotHappen, error)) => return Err((effect, error)),
            }
        }
    }

    /// Entry `sequence` is the newest now. Deletes old ones, in order (see `append_log`), and more
    /// than one, to catch up with what an attempt before left.
    fn advance(&self, sequence: u64, entry: LogEntry) {
        let mut oldest = self.tail().advance(sequence, entry);
        for _ in 0..PRUNED_AT_ONCE {
            if oldest.saturating_add(ENTRIES_KEPT) > sequence {
                break;
            }
            let old = self.storage.log_path(oldest);
            if old.and_then(|path| self.storage.store.delete(&path).map_err(storage)).is_err() {
                break;
            }
            oldest = oldest.saturating_add(1);
        }
        self.tail().oldest = oldest;
    }
}

impl Tail {
    /// The number of the entry to append, and what it says so far; `None` if the attempt is over.
    fn next(&self) -> Option<(u64, LogEntry)> {
        (!self.superseded).then(|| (self.sequence.saturating_add(1), self.entry.clone()))
    }

    /// Takes over the newest entry, without what was given up since it was made; returns the number
    /// of the oldest one.
    fn advance(&mut self, sequence: u64, mut entry: LogEntry) -> u64 {
        entry.checkpoints.retain(|id, _| !self.forgotten.contains(id));
        self.forgotten.clear();
        (self.sequence, self.entry) = (sequence, entry);
        self.oldest
    }
}

#[cold]
fn fenced(url: &str) -> CheckpointError {
    let message = format!(
        "a later execution attempt has taken over {url}: this one can complete nothing any more"
    );
    CheckpointError::new(ErrorKind::Fenced, message)
}

#[cold]
fn unfollowable(url: &str) -> CheckpointError {
    let message = format!("the checkpoint log of {url} went on while it was read: try again");
    CheckpointError::new(ErrorKind::Storage, message)
}
