//! The contents of the simulated storage, and what may never happen to them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use millpond_checkpoint::driver::{CheckpointFolder, CheckpointStorage};
use millpond_snapshot::CheckpointMetadata;
use millpond_state::CheckpointId;
use millpond_storage::{ObjectInfo, StorePath};

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) written_us: u64,
}

/// A change that listings may not show yet.
#[derive(Debug)]
struct Change {
    at_us: u64,
    path: StorePath,
    /// Length of an object that was deleted; `None` if it was created.
    deleted: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    objects: BTreeMap<StorePath, Object>,
    changes: Vec<Change>,
    /// The names that metadata which is there refers to, by checkpoint.
    references: BTreeMap<CheckpointId, References>,
    /// The checkpoints that exist, by the newest entry of the log, with their writers.
    existing: Vec<(CheckpointId, u64)>,
    newest_entry: u64,
    /// The attempt that wrote it.
    newest_attempt: u64,
    /// What was the newest checkpoint at some time, with its writer, and was whole then.
    completed: BTreeSet<(CheckpointId, u64)>,
}

/// What metadata refers to: names and lengths.
#[derive(Debug)]
struct References {
    attempt: u64,
    names: Vec<(String, u64)>,
}

/// Longest time for which a listing may be stale.
pub(crate) const STALE_US: u64 = 60_000;

impl Disk {
    pub(crate) fn get(&self, path: &StorePath) -> Option<&Object> {
        self.objects.get(path)
    }

    fn below(&self, prefix: Option<&StorePath>) -> impl Iterator<Item = (&StorePath, &Object)> {
        let start = prefix.map_or_else(String::new, |prefix| format!("{prefix}/"));
        self.objects
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .take_while(move |(path, _)| path.as_str().starts_with(&start))
    }

    /// The objects as they were at `as_of_us`, which is not long ago.
    pub(crate) fn list(&self, prefix: Option<&StorePath>, as_of_us: u64) -> Vec<ObjectInfo> {
        let info = |path: &StorePath, len: u64| ObjectInfo { path: path.clone(), len };
        let mut found: Vec<ObjectInfo> = self
            .below(prefix)
            .filter(|(_, object)| object.written_us <= as_of_us)
            .map(|(path, object)| info(path, object.bytes.len() as u64))
            .collect();
        for change in self.changes.iter().filter(|change| change.at_us > as_of_us) {
            if let Some(len) = change.deleted
                && prefix.is_none_or(|prefix| change.path.starts_with(prefix))
                && found.iter().all(|it| it.path != change.path)
            {
                found.push(info(&change.path, len));
            }
        }
        found.sort();
        found
    }

    /// Creates an object if its name is free. An error says what must never happen.
    pub(crate) fn create(
        &mut self,
        path: &StorePath,
        bytes: &Arc<[u8]>,
        now_us: u64,
        overwrites: bool,
    ) -> Result<bool, String> {
        if self.objects.contains_key(path) && !overwrites {
            return Ok(false);
        }
        self.note(path, None, now_us);
        let object = Object { bytes: Arc::clone(bytes), written_us: now_us };
        self.objects.insert(path.clone(), object);
        if path.name() == "_metadata" {
            let metadata = CheckpointMetadata::decode_from("metadata", bytes);
            let metadata = metadata.map_err(|error| error.to_string())?;
            let rooted = |name: &str| {
                format!("{}/{name}", path.parent().map_or_else(String::new, |it| it.to_string()))
            };
            let names = metadata.files().map(|file| {
                let name = file.name();
                let name = if file.is_shared() { name.to_owned() } else { rooted(name) };
                (name, file.bytes())
            });
            let references = References { attempt: metadata.attempt.get(), names: names.collect() };
            self.references.insert(metadata.checkpoint, references);
        } else if let Some(entry) = path.as_str().strip_prefix("log/") {
            self.enter(entry.parse().unwrap_or(0), bytes)?;
        }
        Ok(true)
    }

    fn enter(&mut self, sequence: u64, text: &[u8]) -> Result<(), String> {
        if sequence < self.newest_entry {
            return Err(format!("log entry {sequence} is written after {}", self.newest_entry));
        }
        self.newest_entry = sequence;
        let text = String::from_utf8_lossy(text);
        let line = text.lines().find_map(|line| line.strip_prefix("checkpoints"));
        let named = line.unwrap_or("").split_whitespace().filter_map(|it| it.split_once('@'));
        let number = |digits: &str| digits.parse::<u64>().ok();
        let named =
            named.filter_map(|(id, it)| Some((CheckpointId::new(number(id)?), number(it)?)));
        self.existing = named.collect();
        let attempt = text.lines().find_map(|line| line.strip_prefix("attempt "));
        self.newest_attempt = attempt.and_then(number).unwrap_or(0);
        let Some(newest) = self.existing.last().copied() else { return Ok(()) };
        self.check_whole(newest.0)?;
        self.completed.insert(newest);
        Ok(())
    }

    /// Whether a checkpoint completed, although a later attempt may have deleted it since.
    pub(crate) fn was_completed_by_predecessor(&self, id: CheckpointId, attempt: u64) -> bool {
        attempt < self.newest_attempt && self.completed.contains(&(id, attempt))
    }

    /// Checks that a checkpoint and everything it names is there.
    pub(crate) fn check_whole(&self, id: CheckpointId) -> Result<(), String> {
        let names = self.names_of(id);
        if names.is_empty() {
            return Err(format!("checkpoint {id} exists without metadata"));
        }
        for (name, bytes) in names {
            let found = self.objects.get(name.as_str());
            if found.is_none_or(|object| object.bytes.len() as u64 != *bytes) {
                return Err(format!("checkpoint {id} names {name}, which is not there"));
            }
        }
        Ok(())
    }

    /// What an existing checkpoint refers to; nothing if its metadata has gone.
    fn names_of(&self, id: CheckpointId) -> &[(String, u64)] {
        let attempt = self.existing.iter().find(|it| it.0 == id).map(|it| it.1);
        let found = self.references.get(&id).filter(|it| Some(it.attempt) == attempt);
        found.map_or(&[], |it| &it.names)
    }

    /// Deletes an object. An error says what must never happen.
    pub(crate) fn delete(&mut self, path: &StorePath, now_us: u64) -> Result<bool, String> {
        let Some(object) = self.objects.remove(path) else { return Ok(false) };
        self.note(path, Some(object.bytes.len() as u64), now_us);
        let newest = self.existing.last().copied();
        if path.name() == "_metadata" {
            let number = path.as_str().trim_start_matches("chk-").split('/').next();
            let id = CheckpointId::new(number.and_then(|it| it.parse().ok()).unwrap_or(0));
            let references = self.references.remove(&id);
            let writer = references.map(|it| it.attempt);
            if newest.is_some_and(|(newest, attempt)| newest == id && writer == Some(attempt)) {
                return Err(format!("the newest checkpoint, {id}, is deleted"));
            }
            return Ok(true);
        }
        for (id, _) in &self.existing {
            if self.names_of(*id).iter().any(|(name, _)| name == path.as_str()) {
                return Err(format!("{path} is deleted, which checkpoint {id} refers to"));
            }
        }
        Ok(true)
    }

    fn note(&mut self, path: &StorePath, deleted: Option<u64>, now_us: u64) {
        if self.changes.len() > 256 {
            self.changes.retain(|change| change.at_us.saturating_add(STALE_US) >= now_us);
        }
        self.changes.push(Change { at_us: now_us, path: path.clone(), deleted });
    }

    /// What nothing refers to, given which checkpoints exist.
    pub(crate) fn unreferenced(&self) -> Vec<String> {
        let is_needed = |path: &StorePath| {
            path.as_str().starts_with("log/")
                || self.existing.iter().any(|(id, _)| {
                    let names = self.names_of(*id);
                    (path.as_str() == format!("chk-{id}/_metadata") && !names.is_empty())
                        || names.iter().any(|(name, _)| name == path.as_str())
                })
        };
        self.objects.keys().filter(|path| !is_needed(path)).map(ToString::to_string).collect()
    }
}

/// Whether a checkpoint folder's every byte is as its metadata says.
pub(crate) fn verify(storage: &CheckpointStorage, id: CheckpointId) -> Result<(), String> {
    let folder: CheckpointFolder = storage.folder(id).map_err(|error| error.to_string())?;
    let report = folder.verify().map_err(|error| error.to_string())?;
    if report.is_whole() {
        return Ok(());
    }
    Err(format!("checkpoint {id} is damaged: {report:?}"))
}
