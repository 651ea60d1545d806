//! Doubles keep the contract while nothing is planned, and fail exactly as planned.

use std::path::Path;
use std::sync::Arc;

use millpond_storage::{Disk, Effect, ErrorKind, MemoryStore, Store, StoreExt, StorePath};
use millpond_testkit::double::{CrashDisk, FaultPlan, FaultStore, FaultTime, FlipStore, Operation};

mod fault_store_conformance {
    millpond_testkit::storage_conformance!((
        (),
        millpond_testkit::double::FaultStore::new(millpond_storage::MemoryStore::new())
    ));
}

fn path(name: &str) -> StorePath {
    StorePath::new(name).unwrap()
}

/// What a small program does to a store.
fn program(store: &dyn Store) -> millpond_storage::Result<()> {
    store.put_if_absent(&path("a/1"), b"one")?;
    store.put_if_absent(&path("a/2"), b"two")?;
    store.read_all(&path("a/1"))?;
    store.list_folders(None)?;
    store.delete_prefix(&path("a"))?;
    Ok(())
}

#[test]
fn the_trace_names_every_call_in_order() {
    let store = FaultStore::new(MemoryStore::new());
    program(&store).unwrap();
    let expected = [
        "create a/1",
        "write a/1 3",
        "finish a/1",
        "create a/2",
        "write a/2 3",
        "finish a/2",
        "open a/1",
        "read a/1 3",
        "list-folders",
        "list a",
        "delete a/1",
        "delete a/2",
    ];
    assert_eq!(store.take_trace(), expected);
    assert_eq!(store.take_trace(), [""; 0]);
}

#[test]
fn each_operation_in_turn_fails_before_or_after_its_effect() {
    for time in [FaultTime::Before, FaultTime::After] {
        for skip in 0..12 {
            let store = FaultStore::new(MemoryStore::new());
            store.set_plan(FaultPlan::after(skip, time));
            assert!(program(&store).is_err(), "{time:?} {skip}");
            assert!(store.has_fired());
        }
        let store = FaultStore::new(MemoryStore::new());
        store.set_plan(FaultPlan::after(12, time));
        program(&store).unwrap();
        assert!(!store.has_fired());
    }
}

#[test]
fn a_publish_that_fails_before_its_effect_shows_nothing_and_after_it_shows_all() {
    for (time, effect, visible) in [
        (FaultTime::Before, Effect::DidNotHappen, false),
        (FaultTime::After, Effect::MayHaveHappened, true),
    ] {
        let store = FaultStore::new(MemoryStore::new());
        store.put_if_absent(&path("old"), b"x").unwrap();
        let plan = FaultPlan::after(1, time).only(Operation::Finish).kind(ErrorKind::NoSpace);
        store.set_plan(plan);
        store.put_if_absent(&path("first"), b"x").unwrap();
        let error = store.put_if_absent(&path("second"), b"x").unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NoSpace, effect));
        assert_eq!(error.path(), Some("second"));
        assert_eq!(store.exists(&path("second")).unwrap(), visible);
        store.put_if_absent(&path("third"), b"x").unwrap();
    }
}

#[test]
fn a_delete_that_fails_after_its_effect_may_have_happened() {
    let store = FaultStore::new(MemoryStore::new());
    store.put_if_absent(&path("a"), b"x").unwrap();
    store.set_plan(FaultPlan::after(0, FaultTime::After).only(Operation::Delete));
    assert_eq!(store.delete(&path("a")).unwrap_err().effect(), Effect::MayHaveHappened);
    assert!(!store.exists(&path("a")).unwrap());
}

#[test]
fn after_a_failed_write_nothing_is_ever_published() {
    for time in [FaultTime::Before, FaultTime::After] {
        let store = FaultStore::new(MemoryStore::new());
        store.set_plan(FaultPlan::after(1, time).only(Operation::Write));
        let mut writer = store.create(&path("a")).unwrap();
        writer.write(b"1").unwrap();
        assert_eq!(writer.write(b"2").unwrap_err().effect(), Effect::DidNotHappen);
        assert!(writer.write(b"3").is_err());
        assert!(writer.finish().is_err());
        assert!(!store.exists(&path("a")).unwrap());
    }
}

#[test]
fn a_lasting_failure_ends_only_with_its_plan() {
    let store = FaultStore::new(MemoryStore::new());
    store.put_if_absent(&path("a"), b"x").unwrap();
    store.set_plan(FaultPlan::after(0, FaultTime::Before).only(Operation::Delete).lasting());
    assert!(store.exists(&path("a")).unwrap());
    assert!(store.delete(&path("a")).is_err());
    assert!(store.open(&path("a")).is_err());
    assert!(store.list(None).is_err());
    assert!(store.put_if_absent(&path("b"), b"x").is_err());
    store.clear_plan();
    assert_eq!(store.list(None).unwrap().len(), 1);
}

#[test]
fn a_flipped_bit_shows_in_whatever_range_is_read_and_nowhere_else() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
    inner.put_if_absent(&path("a"), &[0; 4]).unwrap();
    inner.put_if_absent(&path("b"), &[0; 4]).unwrap();
    for bit in 0..32 {
        let store = FlipStore::new(Arc::clone(&inner), path("a"), bit);
        let expected = 1u32 << bit;
        let reader = store.open(&path("a")).unwrap();
        assert_eq!(store.read_all(&path("a")).unwrap(), expected.to_le_bytes());
        for at in 0..4 {
            let mut byte = [0];
            reader.read_exact_at(at, &mut byte).unwrap();
            assert_eq!(byte[0], expected.to_le_bytes()[at as usize]);
        }
        assert_eq!(store.read_all(&path("b")).unwrap(), [0; 4]);
    }
    let past = FlipStore::new(Arc::clone(&inner), path("a"), 32);
    assert_eq!(past.read_all(&path("a")).unwrap(), [0; 4]);
}

fn write_durably(disk: &CrashDisk, path: &Path, bytes: &[u8]) {
    let mut file = disk.create_file(path).unwrap();
    file.append(bytes).unwrap();
    file.sync().unwrap();
    disk.sync_folder(Path::new("/data")).unwrap();
}

#[test]
fn after_a_loss_of_power_a_renamed_file_has_either_of_its_names_or_both() {
    let disk = CrashDisk::new(Path::new("/data"));
    let (from, to) = (Path::new("/data/b"), Path::new("/data/a"));
    write_durably(&disk, from, b"new");
    write_durably(&disk, to, b"previous");
    disk.rename(from, to).unwrap();
    let moments = disk.moments();
    let mut left: Vec<(bool, u64)> = Vec::new();
    for image in moments.last().unwrap().images(100, 0) {
        left.push((
            image.entry(from).unwrap().is_some(),
            image.open_file(to).unwrap().len().unwrap(),
        ));
    }
    left.sort_unstable();
    assert_eq!(left, [(false, 3), (true, 3), (true, 8)]);
    disk.sync_folder(Path::new("/data")).unwrap();
    assert_eq!(disk.moments().last().unwrap().images(100, 0).count(), 1);
    let elsewhere = disk.rename(to, Path::new("/a")).unwrap_err();
    assert_eq!(elsewhere.kind(), std::io::ErrorKind::CrossesDevices);
}
