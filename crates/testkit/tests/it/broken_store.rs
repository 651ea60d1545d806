//! Stores that are broken on purpose, each in one way, and the behaviours that catch them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_storage::{
    Effect, ErrorKind, MemoryStore, ObjectInfo, Result, StorageError, Store, StoreExt, StorePath,
    StoreReader, StoreWriter,
};
use millpond_testkit::conformance::storage::BEHAVIOURS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    LongWritesAreCut,
    EmptyObjectsAreNotStored,
    VisibleBeforeFinished,
    LastPublisherWins,
    FailedFinishSwallowed,
    FailedFinishUnsure,
    EveryTenthFinishFails,
    LinkIsAnEmptyObject,
    UrlWithoutScheme,
    UrlWithPassword,
    OffsetIgnored,
    PastTheEndIsZero,
    MissingIsEmpty,
    ErrorsNameNothing,
    ListReversed,
    PrefixIsText,
    MissingFolderIsAnError,
    FoldersAtAnyDepth,
    FoldersForever,
    DeleteForgotten,
    DeleteOfMissingFails,
    DeleteIsRecursive,
}

/// Which behaviours catch which fault. Others may catch it too.
const CAUGHT_BY: &[(Fault, &[&str])] = &[
    (
        Fault::LongWritesAreCut,
        &["an_object_is_read_back_as_it_was_written", "encoders_write_through_the_adapter"],
    ),
    (Fault::EmptyObjectsAreNotStored, &["an_empty_object_is_an_object"]),
    (
        Fault::VisibleBeforeFinished,
        &[
            "an_object_appears_only_when_finished",
            "an_aborted_writer_leaves_nothing",
            "a_dropped_writer_leaves_nothing",
            "a_name_is_free_again_after_an_abort",
            "a_folder_without_finished_objects_does_not_show",
        ],
    ),
    (
        Fault::LastPublisherWins,
        &[
            "publishing_over_an_existing_name_changes_nothing",
            "of_two_open_writers_the_first_to_finish_wins",
            "of_racing_publishers_exactly_one_wins",
        ],
    ),
    (
        Fault::FailedFinishSwallowed,
        &[
            "a_name_cannot_be_both_object_and_folder",
            "publishing_over_an_existing_name_changes_nothing",
        ],
    ),
    (Fault::FailedFinishUnsure, &["publishing_over_an_existing_name_changes_nothing"]),
    (
        Fault::EveryTenthFinishFails,
        &[
            "racing_publishers_of_different_names_all_win",
            "creators_and_deleters_in_one_folder_do_not_disturb_each_other",
        ],
    ),
    (Fault::LinkIsAnEmptyObject, &["a_linked_object_is_published_like_one_that_was_written"]),
    (Fault::UrlWithoutScheme, &["the_url_has_a_scheme"]),
    (Fault::UrlWithPassword, &["the_url_has_a_scheme"]),
    (Fault::OffsetIgnored, &["a_range_is_read_at_its_offset", "one_reader_serves_many_threads"]),
    (Fault::PastTheEndIsZero, &["reading_past_the_end_is_truncated"]),
    (Fault::MissingIsEmpty, &["opening_a_missing_object_is_not_found", "a_folder_is_no_object"]),
    (
        Fault::ErrorsNameNothing,
        &["opening_a_missing_object_is_not_found", "reading_past_the_end_is_truncated"],
    ),
    (Fault::ListReversed, &["list_is_sorted_recursive_and_has_lengths"]),
    (
        Fault::PrefixIsText,
        &[
            "list_takes_whole_segments_as_prefix",
            "delete_prefix_deletes_what_is_below_and_nothing_else",
        ],
    ),
    (Fault::MissingFolderIsAnError, &["listing_a_missing_folder_is_empty"]),
    (Fault::FoldersAtAnyDepth, &["list_folders_goes_one_level_down"]),
    (Fault::FoldersForever, &["a_folder_without_finished_objects_does_not_show"]),
    (Fault::DeleteForgotten, &["deleting_removes_the_object_and_its_empty_folders"]),
    (Fault::DeleteOfMissingFails, &["deleting_what_is_missing_succeeds"]),
    (Fault::DeleteIsRecursive, &["deleting_a_folder_name_deletes_nothing"]),
];

#[test]
fn every_broken_store_is_caught_by_its_behaviours() {
    let mut missed = Vec::new();
    for (fault, names) in CAUGHT_BY {
        for name in *names {
            let behaviour = BEHAVIOURS.iter().find(|behaviour| behaviour.name == *name);
            let behaviour = behaviour.unwrap_or_else(|| panic!("no behaviour {name}"));
            if (behaviour.check)(&BrokenStore::new(*fault)).is_ok() {
                missed.push((*fault, *name));
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:#?}");
}

#[test]
fn every_storage_behaviour_catches_some_broken_store() {
    let all: BTreeSet<&str> = BEHAVIOURS.iter().map(|behaviour| behaviour.name).collect();
    let named = CAUGHT_BY.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let vacuous: Vec<_> = all.difference(&named).collect();
    assert!(vacuous.is_empty(), "no broken store for {vacuous:#?}");
}

#[derive(Debug)]
struct BrokenStore {
    fault: Fault,
    inner: Arc<MemoryStore>,
    finishes: Arc<AtomicU64>,
    folders: std::sync::Mutex<BTreeSet<StorePath>>,
}

impl BrokenStore {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            inner: Arc::new(MemoryStore::new()),
            finishes: Arc::default(),
            folders: std::sync::Mutex::default(),
        }
    }
}

fn error(kind: ErrorKind) -> StorageError {
    StorageError::new(kind, Effect::DidNotHappen, "broken")
}

impl Store for BrokenStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        if let Some(parent) = path.parent() {
            self.folders.lock().unwrap().insert(parent);
        }
        let inner = match (self.fault, self.inner.create(path)) {
            // Notices a taken name only when it finishes.
            (Fault::LastPublisherWins | Fault::FailedFinishSwallowed, Err(_)) => None,
            (Fault::FailedFinishUnsure, Err(failed)) => return Err(unsure(&failed)),
            (_, created) => Some(created?),
        };
        Ok(Box::new(BrokenWriter {
            fault: self.fault,
            inner,
            bytes: Vec::new(),
            path: path.clone(),
            store: Arc::clone(&self.inner),
            finishes: Arc::clone(&self.finishes),
        }))
    }

    fn create_linked(&self, path: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        (self.fault == Fault::LinkIsAnEmptyObject).then(|| self.create(path).ok())?
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        match (self.fault, self.inner.open(path)) {
            (Fault::MissingIsEmpty, Err(_)) => {
                let empty = StorePath::new("an-empty-object-of-its-own")?;
                let elsewhere = MemoryStore::new();
                elsewhere.put_if_absent(&empty, b"")?;
                elsewhere.open(&empty)
            }
            (Fault::ErrorsNameNothing, Err(failed)) => Err(error(failed.kind())),
            (fault, opened) => Ok(Box::new(BrokenReader { fault, inner: opened? })),
        }
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        let mut objects = self.inner.list(prefix)?;
        match (self.fault, prefix) {
            (Fault::ListReversed, _) => objects.reverse(),
            (Fault::PrefixIsText, Some(prefix)) => {
                objects = self.inner.list(None)?;
                objects.retain(|object| object.path.as_str().starts_with(prefix.as_str()));
            }
            (Fault::MissingFolderIsAnError, Some(_)) if objects.is_empty() => {
                return Err(error(ErrorKind::NotFound));
            }
            _ => {}
        }
        Ok(objects)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        let mut folders = self.inner.list_folders(prefix)?;
        match (self.fault, prefix) {
            (Fault::FoldersAtAnyDepth, _) => {
                let objects = self.inner.list(prefix)?;
                folders.extend(objects.iter().filter_map(|object| object.path.parent()));
                folders.sort();
                folders.dedup();
            }
            (Fault::FoldersForever, None) => {
                let known = self.folders.lock().unwrap();
                return Ok(known.iter().cloned().collect());
            }
            _ => {}
        }
        Ok(folders)
    }

    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>> {
        self.inner.written_wall_ms(path)
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        match self.fault {
            Fault::DeleteForgotten => Ok(()),
            Fault::DeleteOfMissingFails => {
                self.inner.open(path).and_then(|_| self.inner.delete(path))
            }
            Fault::DeleteIsRecursive => {
                self.inner.delete_prefix(path)?;
                self.inner.delete(path)
            }
            _ => self.inner.delete(path),
        }
    }

    fn url(&self) -> &str {
        match self.fault {
            Fault::UrlWithoutScheme => "memory",
            Fault::UrlWithPassword => "s3://key:secret@bucket",
            _ => self.inner.url(),
        }
    }
}

fn unsure(failed: &StorageError) -> StorageError {
    StorageError::new(failed.kind(), Effect::MayHaveHappened, failed.to_string())
}

#[derive(Debug)]
struct BrokenWriter {
    fault: Fault,
    inner: Option<Box<dyn StoreWriter>>,
    bytes: Vec<u8>,
    path: StorePath,
    store: Arc<MemoryStore>,
    finishes: Arc<AtomicU64>,
}

impl StoreWriter for BrokenWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let cut = match self.fault {
            Fault::LongWritesAreCut => bytes.len().min(3),
            _ => bytes.len(),
        };
        let bytes = &bytes[..cut];
        self.bytes.extend_from_slice(bytes);
        if self.fault == Fault::VisibleBeforeFinished {
            self.store.put_if_absent(&self.path, bytes)?;
        }
        self.inner.as_mut().map_or(Ok(()), |inner| inner.write(bytes))
    }

    fn finish(self: Box<Self>) -> Result<ObjectInfo> {
        let len = self.bytes.len() as u64;
        let info = ObjectInfo { path: self.path.clone(), len };
        let count = self.finishes.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::EmptyObjectsAreNotStored if len == 0 => return Ok(info),
            Fault::VisibleBeforeFinished => return Ok(info),
            Fault::EveryTenthFinishFails if count % 10 == 9 => {
                return Err(error(ErrorKind::Unavailable));
            }
            Fault::LastPublisherWins => {
                drop(self.inner);
                self.store.delete(&self.path)?;
                // Another thread may publish in between: then that one was the last.
                drop(self.store.put_if_absent(&self.path, &self.bytes));
                return Ok(info);
            }
            _ => {}
        }
        match (self.fault, self.inner.map(StoreWriter::finish)) {
            (Fault::FailedFinishSwallowed, Some(Err(_)) | None) => Ok(info),
            (Fault::FailedFinishUnsure, Some(Err(failed))) => Err(unsure(&failed)),
            (_, Some(finished)) => finished,
            (_, None) => Err(error(ErrorKind::Unavailable)),
        }
    }

    fn abort(self: Box<Self>) {
        if let Some(inner) = self.inner {
            inner.abort();
        }
    }
}

#[derive(Debug)]
struct BrokenReader {
    fault: Fault,
    inner: Box<dyn StoreReader>,
}

impl StoreReader for BrokenReader {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match self.fault {
            Fault::OffsetIgnored => self.inner.read_exact_at(0, buffer),
            Fault::PastTheEndIsZero => {
                if self.inner.read_exact_at(offset, buffer).is_err() {
                    buffer.fill(0);
                }
                Ok(())
            }
            Fault::ErrorsNameNothing => {
                let read = self.inner.read_exact_at(offset, buffer);
                read.map_err(|failed| error(failed.kind()))
            }
            _ => self.inner.read_exact_at(offset, buffer),
        }
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}
