//! The checkpoint log: who owns a storage, which checkpoints exist, and what a superseded attempt
//! can no longer do.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use millpond_checkpoint::driver::{AttemptLog, AttemptStart, CheckpointStorage, PublishError};
use millpond_checkpoint::registry::{ObjectClass, RegistrySettings, RestoreMode};
use millpond_checkpoint::{ErrorKind, StoreEffect};
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::CheckpointKind as StoredKind;
use millpond_state::AttemptId;
use millpond_storage::{
    Effect, ErrorKind as Stored, MemoryStore, ObjectInfo, StorageError, Store, StoreExt, StorePath,
    StoreReader, StoreWriter,
};
use millpond_testkit::double::{FaultPlan, FaultStore, FaultTime, Operation};

use crate::shared_world::{id, metadata, metadata_of_kind, table};

type Faulty = Arc<FaultStore>;

fn open() -> (Faulty, CheckpointStorage) {
    let store = Arc::new(FaultStore::new(MemoryStore::new()));
    let storage = CheckpointStorage::new(Arc::clone(&store) as Arc<dyn Store>);
    (store, storage)
}

fn begin(storage: &CheckpointStorage, start: AttemptStart<'_>) -> AttemptLog {
    let history = storage.history().unwrap();
    storage.begin_attempt(&history, start).unwrap().expect("nobody else begins")
}

fn of(log: &AttemptLog, number: u64) -> CheckpointMetadata {
    CheckpointMetadata { attempt: log.id(), ..metadata(number, &[]) }
}

fn publish(log: &AttemptLog, number: u64) -> Result<(), PublishError> {
    log.publish(&of(log, number))
}

fn savepoint(log: &AttemptLog, number: u64) -> CheckpointMetadata {
    let savepoint = metadata_of_kind(StoredKind::Savepoint, number, &[]);
    CheckpointMetadata { attempt: log.id(), ..savepoint }
}

fn existing(storage: &CheckpointStorage) -> Vec<u64> {
    storage.history().unwrap().checkpoints().map(|it| it.get()).collect()
}

fn listed(storage: &CheckpointStorage) -> Vec<u64> {
    storage.list().unwrap().iter().map(|it| it.id.get()).collect()
}

/// What garbage collection would delete, were it old enough: this store does not know ages.
fn unreferenced(storage: &CheckpointStorage) -> Vec<String> {
    let garbage = storage.find_garbage(u64::MAX / 2, 0).unwrap();
    let young = garbage.objects.into_iter().filter(|it| it.class != ObjectClass::Referenced);
    young.inspect(|it| assert_eq!(it.class, ObjectClass::TooYoung)).map(|it| it.name).collect()
}

#[test]
fn of_two_attempts_that_begin_at_once_one_takes_over() {
    let (_, storage) = open();
    let history = storage.history().unwrap();
    let first = storage.begin_attempt(&history, AttemptStart::Beginning).unwrap().unwrap();
    assert!(storage.begin_attempt(&history, AttemptStart::Beginning).unwrap().is_none());
    assert!(!history.is_still(&storage.history().unwrap()));
    assert_eq!(first.id(), AttemptId::new(1));
    assert_eq!(begin(&storage, AttemptStart::Beginning).id(), AttemptId::new(2));
}

#[test]
fn an_attempt_does_not_begin_if_a_checkpoint_was_completed_since_the_choice() {
    let (_, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    let history = storage.history().unwrap();
    publish(&log, 1).unwrap();
    assert!(storage.begin_attempt(&history, AttemptStart::Beginning).unwrap().is_none());
}

#[test]
fn a_superseded_attempt_can_complete_nothing() {
    let (_, storage) = open();
    let old = begin(&storage, AttemptStart::Beginning);
    publish(&old, 1).unwrap();
    let new = begin(&storage, AttemptStart::Here(&of(&old, 1)));
    for number in [2, 3] {
        let refused = publish(&old, number).unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::Fenced);
        assert_eq!(refused.effect, StoreEffect::DidNotHappen);
    }
    assert_eq!(old.give_up(&[id(1)]).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!((existing(&storage), listed(&storage)), (vec![1], vec![1]));
    // The metadata of the first is there, and nothing refers to it.
    assert_eq!(unreferenced(&storage), ["chk-2/_metadata"]);
    assert_eq!(new.first_checkpoint(), id(2));
}

#[test]
fn metadata_that_a_superseded_attempt_wrote_under_a_number_of_its_successor_is_no_checkpoint() {
    let (store, storage) = open();
    let old = begin(&storage, AttemptStart::Beginning);
    let new = begin(&storage, AttemptStart::Beginning);
    assert_eq!(publish(&old, 1).unwrap_err().error.kind(), ErrorKind::Fenced);
    // The successor cannot take the name, and says so rather than complete what it did not write.
    let refused = publish(&new, 1).unwrap_err();
    assert_eq!(refused.effect, StoreEffect::DidNotHappen);
    publish(&new, 2).unwrap();
    assert_eq!((existing(&storage), listed(&storage)), (vec![2], vec![2]));
    assert!(store.exists(&StorePath::new("chk-1/_metadata").unwrap()).unwrap());
}

#[test]
fn numbers_are_not_given_twice_whatever_the_storage_holds() {
    let (store, storage) = open();
    let first = begin(&storage, AttemptStart::Beginning);
    publish(&first, 7).unwrap();
    storage.discard(id(7)).unwrap();
    first.forget(id(7));
    let second = begin(&storage, AttemptStart::Beginning);
    assert_eq!(second.first_checkpoint(), id(8));
    let upload = table(20, 0);
    store.put_if_absent(&StorePath::new(upload.object.name()).unwrap(), b"x").unwrap();
    let third = begin(&storage, AttemptStart::Beginning);
    assert_eq!(third.first_checkpoint(), id(21));
    let elsewhere = metadata(40, &[]);
    let fourth = begin(&storage, AttemptStart::Elsewhere(&elsewhere));
    assert_eq!((fourth.first_checkpoint(), fourth.restored()), (id(41), None));
}

#[test]
fn a_lost_answer_is_found_out_by_trying_again() {
    for skip in [0, 1] {
        let (store, storage) = open();
        let log = begin(&storage, AttemptStart::Beginning);
        store.set_plan(FaultPlan::after(skip, FaultTime::After).only(Operation::Finish));
        publish(&log, 1).unwrap();
        assert!(store.has_fired());
        assert_eq!(existing(&storage), [1]);
        publish(&log, 2).unwrap();
        assert_eq!(existing(&storage), [1, 2]);
    }
}

/// Once armed, loses the answer to the next creation of a log entry, and lets something happen.
struct Interrupting {
    inner: MemoryStore,
    armed: AtomicBool,
    then: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Interrupting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupting")
    }
}

impl Interrupting {
    fn lose(&self) -> bool {
        let lost = self.armed.swap(false, Ordering::SeqCst);
        if lost {
            self.then.get().unwrap()();
        }
        lost
    }
}

#[derive(Debug)]
struct LosingWriter(Box<dyn StoreWriter>, Arc<Interrupting>);

impl StoreWriter for LosingWriter {
    fn write(&mut self, bytes: &[u8]) -> millpond_storage::Result<()> {
        self.0.write(bytes)
    }

    fn finish(self: Box<Self>) -> millpond_storage::Result<ObjectInfo> {
        let done = self.0.finish()?;
        if done.path.as_str().starts_with("log/") && self.1.lose() {
            let (kind, effect) = (Stored::Unavailable, Effect::MayHaveHappened);
            return Err(StorageError::new(kind, effect, "the answer is lost"));
        }
        Ok(done)
    }

    fn abort(self: Box<Self>) {
        self.0.abort();
    }
}

/// Hands out writers that hold the store.
#[derive(Debug)]
struct Shared(Arc<Interrupting>);

impl Store for Shared {
    fn create(&self, path: &StorePath) -> millpond_storage::Result<Box<dyn StoreWriter>> {
        Ok(Box::new(LosingWriter(self.0.inner.create(path)?, Arc::clone(&self.0))))
    }

    fn create_linked(&self, _: &StorePath, _: &std::path::Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> millpond_storage::Result<Box<dyn StoreReader>> {
        self.0.inner.open(path)
    }

    fn list(&self, prefix: Option<&StorePath>) -> millpond_storage::Result<Vec<ObjectInfo>> {
        self.0.inner.list(prefix)
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> millpond_storage::Result<Vec<StorePath>> {
        self.0.inner.list_folders(prefix)
    }

    fn written_wall_ms(&self, path: &StorePath) -> millpond_storage::Result<Option<u64>> {
        self.0.inner.written_wall_ms(path)
    }

    fn delete(&self, path: &StorePath) -> millpond_storage::Result<()> {
        self.0.inner.delete(path)
    }

    fn url(&self) -> &str {
        self.0.inner.url()
    }
}

// Simulator seed 232886: a checkpoint that exists was reported as one that does not.
#[test]
fn a_lost_answer_is_found_out_though_another_checkpoint_is_given_up_meanwhile() {
    let (armed, then) = (AtomicBool::new(false), OnceLock::new());
    let store = Arc::new(Interrupting { inner: MemoryStore::new(), armed, then });
    let storage = CheckpointStorage::new(Arc::new(Shared(Arc::clone(&store))));
    let log = Arc::new(begin(&storage, AttemptStart::Beginning));
    publish(&log, 1).unwrap();
    let forgetting = Arc::clone(&log);
    assert!(store.then.set(Box::new(move || forgetting.forget(id(1)))).is_ok());
    store.armed.store(true, Ordering::SeqCst);
    publish(&log, 2).unwrap();
    assert!(!store.armed.load(Ordering::SeqCst));
    // It took no second entry to say so.
    assert_eq!(store.inner.list(Some(&StorePath::new("log").unwrap())).unwrap().len(), 3);
    publish(&log, 3).unwrap();
    assert_eq!(existing(&storage), [2, 3]);
}

#[test]
fn an_entry_in_doubt_is_settled_by_the_next_one() {
    for time in [FaultTime::Before, FaultTime::After] {
        let (store, storage) = open();
        let log = begin(&storage, AttemptStart::Beginning);
        let plan = FaultPlan::after(1, time).only(Operation::Finish).lasting();
        store.set_plan(plan);
        let failed = publish(&log, 1).unwrap_err();
        let may_have = failed.effect == StoreEffect::MayHaveHappened;
        assert_eq!(may_have, time == FaultTime::After);
        store.clear_plan();
        publish(&log, 2).unwrap();
        let expected: &[u64] = if may_have { &[1, 2] } else { &[2] };
        assert_eq!(existing(&storage), expected);
        // Given up while it was in doubt: later entries do not name it.
        log.forget(id(1));
        publish(&log, 3).unwrap();
        assert_eq!(existing(&storage), [2, 3]);
    }
}

#[test]
fn going_back_gives_up_what_is_the_jobs_and_sets_aside_what_is_not() {
    let (_, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    publish(&log, 1).unwrap();
    log.publish(&savepoint(&log, 2)).unwrap();
    publish(&log, 3).unwrap();
    publish(&log, 4).unwrap();
    let shared = log.open_shared_files(RegistrySettings::default()).unwrap();
    let restored = ("chk-3", &of(&log, 3));
    storage.restore_shared_files(&shared, restored, RestoreMode::NoClaim).unwrap();

    let back = begin(&storage, AttemptStart::Here(&of(&log, 1)));
    let given_up: Vec<u64> = back.given_up().map(|it| it.get()).collect();
    assert_eq!((existing(&storage), given_up), (vec![1], vec![4]));
    assert_eq!(listed(&storage), [1, 2, 3], "what is set aside exists");
    let history = storage.history().unwrap();
    assert!(history.is_abandoned(id(2)) && history.is_abandoned(id(3)));
    assert!(!history.is_abandoned(id(1)) && !history.is_abandoned(id(4)));
    assert_eq!(back.first_checkpoint(), id(5));
    publish(&back, 5).unwrap();
    assert_eq!(existing(&storage), [1, 5]);
    assert!(storage.history().unwrap().is_abandoned(id(2)), "later entries say so, too");
    assert_eq!(unreferenced(&storage), ["chk-4/_metadata"]);

    // By name it is gone back to, and is the latest again.
    begin(&storage, AttemptStart::Here(&savepoint(&log, 2)));
    let history = storage.history().unwrap();
    assert_eq!(existing(&storage), [1, 2]);
    assert!(!history.is_abandoned(id(2)) && history.is_abandoned(id(3)));
}

#[test]
fn an_attempt_does_not_begin_while_it_cannot_tell_a_savepoint_from_a_checkpoint() {
    let (store, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    publish(&log, 1).unwrap();
    log.publish(&savepoint(&log, 2)).unwrap();
    let (history, first) = (storage.history().unwrap(), of(&log, 1));
    store.set_plan(FaultPlan::after(0, FaultTime::Before).only(Operation::Open));
    let error = storage.begin_attempt(&history, AttemptStart::Here(&first)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert_eq!(existing(&storage), [1, 2]);
}

#[test]
fn what_was_deleted_before_a_process_died_is_not_named_for_ever() {
    let (_, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    publish(&log, 1).unwrap();
    publish(&log, 2).unwrap();
    storage.discard(id(1)).unwrap();
    let next = begin(&storage, AttemptStart::Here(&of(&log, 2)));
    assert_eq!(existing(&storage), [1, 2]);
    next.open_shared_files(RegistrySettings::default()).unwrap();
    publish(&next, 3).unwrap();
    assert_eq!(existing(&storage), [2, 3]);
}

#[test]
fn the_newest_checkpoint_is_damaged_if_its_metadata_has_gone_and_older_ones_are_not_there() {
    let (_, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    for number in 1..4 {
        publish(&log, number).unwrap();
    }
    storage.discard(id(1)).unwrap();
    storage.discard(id(3)).unwrap();
    let found = storage.list_existing(&storage.history().unwrap()).unwrap();
    let found: Vec<_> = found.iter().map(|it| (it.id.get(), it.metadata.is_ok())).collect();
    assert_eq!(found, [(2, true), (3, false)]);
}

#[test]
fn files_of_a_checkpoint_that_was_not_the_newest_are_not_used_again() {
    let (_, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    let files = [table(1, 0), table(2, 0)];
    for (number, file) in [(1, &files[0]), (2, &files[1])] {
        let metadata = CheckpointMetadata { attempt: log.id(), ..metadata(number, [file]) };
        log.publish(&metadata).unwrap();
    }
    for (restored, offered) in [(2, vec![files[1].clone()]), (1, Vec::new())] {
        let metadata = storage.folder(id(restored)).unwrap().load().unwrap();
        let next = begin(&storage, AttemptStart::Here(&metadata));
        let shared = next.open_shared_files(RegistrySettings::default()).unwrap();
        let found: Vec<_> = shared.with(|registry| {
            let number = next.first_checkpoint();
            registry.begin(number, millpond_checkpoint::CheckpointKind::Periodic).unwrap();
            registry.offers(number).cloned().collect()
        });
        assert_eq!(found, offered, "restored from {restored}");
    }
}

#[test]
fn a_storage_of_before_there_was_a_log_is_taken_over_with_all_its_checkpoints() {
    let (_, storage) = open();
    for number in [3, 5] {
        storage.publish(&metadata(number, &[])).unwrap();
    }
    assert_eq!(existing(&storage), [3, 5]);
    let newest = metadata(5, &[]);
    let log = begin(&storage, AttemptStart::Here(&newest));
    assert_eq!(
        (log.id(), log.first_checkpoint()),
        (AttemptId::new(newest.attempt.get() + 1), id(6))
    );
    publish(&log, 6).unwrap();
    assert_eq!((existing(&storage), listed(&storage)), (vec![3, 5, 6], vec![3, 5, 6]));
}

#[test]
fn old_entries_go_and_the_log_can_still_be_followed() {
    let (store, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    for number in 1..=300 {
        publish(&log, number).unwrap();
        log.forget(id(number));
    }
    let folder = StorePath::new("log").unwrap();
    assert_eq!(store.list(Some(&folder)).unwrap().len(), 100);
    assert_eq!(existing(&storage), [300]);
    let next = begin(&storage, AttemptStart::Beginning);
    assert_eq!(next.first_checkpoint(), id(301));
}

#[test]
fn an_attempt_that_fell_behind_what_was_deleted_completes_nothing() {
    let (store, storage) = open();
    let old = begin(&storage, AttemptStart::Beginning);
    let new = begin(&storage, AttemptStart::Beginning);
    publish(&new, 10).unwrap();
    for entry in [1, 2] {
        store.delete(&StorePath::new(format!("log/{entry:020}")).unwrap()).unwrap();
    }
    let refused = publish(&old, 1).unwrap_err();
    assert_eq!(refused.effect, StoreEffect::MayHaveHappened);
    assert_eq!(existing(&storage), [10], "the newest entry is what counts");
    let left = store.list(Some(&StorePath::new("log").unwrap())).unwrap();
    assert_eq!(left.len(), 1, "an entry in a place that was deleted is taken back");
}

#[test]
fn a_damaged_entry_is_an_error_and_nothing_is_guessed() {
    let (store, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    publish(&log, 1).unwrap();
    let path = StorePath::new(format!("log/{:020}", 2)).unwrap();
    let whole = store.read_all(&path).unwrap();
    for (at, _) in whole.iter().enumerate() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        store.delete(&path).unwrap();
        store.put_if_absent(&path, &damaged).unwrap();
        assert_eq!(storage.history().unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
    }
    for len in 0..whole.len() {
        store.delete(&path).unwrap();
        store.put_if_absent(&path, &whole[..len]).unwrap();
        assert_eq!(storage.history().unwrap_err().kind(), ErrorKind::Corrupt, "{len} bytes");
    }
}

#[test]
fn a_history_that_is_given_up_leaves_nothing_to_begin_from() {
    let (_, storage) = open();
    let log = begin(&storage, AttemptStart::Beginning);
    publish(&log, 1).unwrap();
    publish(&log, 2).unwrap();
    log.give_up(&[id(1), id(2)]).unwrap();
    assert!(existing(&storage).is_empty());
    assert_eq!(begin(&storage, AttemptStart::Beginning).first_checkpoint(), id(3));
}
