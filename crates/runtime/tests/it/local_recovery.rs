//! Local recovery: what is kept on the local disk, and where a restore reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use millpond_runtime::{JobOutcome, RestartStrategy, StartFrom};

use crate::checkpoints::run_and_stop;
use crate::fixture::{Counting, FailPlan};

fn local(folder: &Path) -> Counting<'_> {
    let mut counting = Counting::new(folder);
    counting.local_recovery = Some(folder.join("local"));
    (counting.interval_ms, counting.pause_every) = (Some(2), 200);
    counting
}

/// Files below `folder`, by their path in it; the lock apart.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if !path.ends_with(".millpond.lock") {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, path);
            }
        }
    }
    found
}

/// The copies, and their names within the job's folder.
fn copies(counting: &Counting<'_>) -> BTreeMap<String, PathBuf> {
    let jobs = fs::read_dir(counting.folder.join("local")).unwrap();
    let job = jobs.map(|entry| entry.unwrap().path()).next().unwrap();
    files(&job)
}

/// Restores and runs to the end; bytes read locally and in storage.
fn finish(counting: &Counting<'_>) -> (u64, u64) {
    counting.hold.store(false, Ordering::SeqCst);
    let report = counting.job().run(StartFrom::Latest).unwrap();
    assert_eq!(report.outcome, JobOutcome::Finished);
    assert_eq!(counting.committed(), counting.expected());
    let restored = counting.notes.all("Restored").pop().unwrap();
    let number = |name: &str| {
        let from = restored.find(name).unwrap() + name.len();
        let digits: String = restored[from..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    (number("local: "), number("storage: "))
}

#[test]
fn a_restore_reads_everything_from_the_local_disk_whatever_the_parallelism() {
    for (incremental, counters) in [(false, 2), (true, 2), (false, 3), (true, 1), (true, 5)] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = local(folder.path());
        counting.incremental = incremental;
        assert_eq!(run_and_stop(&counting, StartFrom::Beginning), JobOutcome::Stopped);
        // Just the files of the newest checkpoint are there.
        let newest = counting.storage().list().unwrap().pop().unwrap().metadata.unwrap();
        let kept = copies(&counting);
        let expected = newest.vertex("count").unwrap().subtasks.iter();
        let expected: usize = expected
            .flat_map(|subtask| &subtask.keyed_state)
            .map(|handle| match handle {
                millpond_snapshot::metadata::KeyedStateHandle::Incremental(native) => {
                    native.logical_files.len()
                }
                _ => 1,
            })
            .sum();
        assert_eq!(kept.len(), expected, "{kept:?}");
        counting.counters = counters;
        let (local, storage) = finish(&counting);
        assert!(local > 0, "{incremental} {counters}");
        assert_eq!(storage, 0, "{incremental} {counters}");
        assert_eq!(counting.notes.count("LocalCopyDamaged"), 0);
    }
}

#[test]
fn damaged_and_missing_copies_are_read_from_storage() {
    for incremental in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = local(folder.path());
        counting.incremental = incremental;
        run_and_stop(&counting, StartFrom::Beginning);
        let kept = copies(&counting);
        let mut sources = kept.values();
        let (flipped, missing) = (sources.next().unwrap(), sources.next().unwrap());
        let mut bytes = fs::read(flipped).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(flipped, &bytes).unwrap();
        let lost = bytes.len() as u64 + fs::metadata(missing).unwrap().len();
        fs::remove_file(missing).unwrap();
        counting.counters = 3;
        let (_, storage) = finish(&counting);
        assert_eq!(storage, lost);
        let told = counting.notes.all("LocalCopyDamaged");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("checksum"), "{told:?}");
    }
}

#[test]
fn without_storage_access_to_its_files_a_checkpoint_is_still_refused() {
    // A copy makes up for no file that storage has lost: its checkpoint is not whole.
    let folder = tempfile::tempdir().unwrap();
    let counting = local(folder.path());
    run_and_stop(&counting, StartFrom::Beginning);
    let newest = counting.storage().list().unwrap().pop().unwrap();
    for (name, path) in files(&folder.path().join(format!("checkpoints/chk-{}", newest.id))) {
        if name.ends_with(".full") {
            fs::remove_file(path).unwrap();
        }
    }
    finish(&counting);
    assert_eq!(counting.notes.count("SkippedDamaged"), 1);
}

#[test]
fn a_job_that_fails_goes_on_from_its_local_copies() {
    for incremental in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut counting = local(folder.path());
        counting.incremental = incremental;
        counting.restart = RestartStrategy::FixedDelay { attempts_max: 1, delay_ms: 1 };
        (counting.interval_ms, counting.pause_every) = (Some(1), 100);
        counting.fail = FailPlan::at(15_000);
        let report = counting.job().run(StartFrom::Beginning).unwrap();
        assert_eq!((report.outcome, report.restarts), (JobOutcome::Finished, 1));
        assert_eq!(counting.committed(), counting.expected());
        for restored in counting.notes.all("Restored") {
            assert!(restored.contains("storage: 0"), "{restored}");
        }
    }
}

#[test]
fn a_local_disk_that_cannot_be_written_costs_the_copies_and_nothing_else() {
    // No folder can be made: said at the start.
    let folder = tempfile::tempdir().unwrap();
    let counting = local(folder.path());
    fs::write(folder.path().join("local"), "a file").unwrap();
    run_and_stop(&counting, StartFrom::Beginning);
    let (local_bytes, storage) = finish(&counting);
    assert!(local_bytes == 0 && storage > 0);
    assert_eq!(counting.notes.count("NoLocalCopies"), 2, "once a run");
    assert_eq!(counting.notes.count("CheckpointAborted"), 0);
    // It fails later on: a folder stands where copies go.
    let folder = tempfile::tempdir().unwrap();
    let mut counting = local(folder.path());
    counting.incremental = true;
    run_and_stop(&counting, StartFrom::Beginning);
    let jobs = fs::read_dir(folder.path().join("local")).unwrap();
    let job = jobs.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::remove_dir_all(job.join("shared")).unwrap();
    fs::write(job.join("shared"), "in the way").unwrap();
    let (_, storage) = finish(&counting);
    assert!(storage > 0);
    assert_eq!(counting.notes.count("CheckpointAborted"), 0);
}

#[test]
fn leftovers_of_a_process_that_died_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let counting = local(folder.path());
    run_and_stop(&counting, StartFrom::Beginning);
    let kept = copies(&counting);
    let one = kept.values().next().unwrap();
    let job = one.parent().unwrap().parent().unwrap().to_owned();
    fs::write(job.join(".copy-7"), "half").unwrap();
    fs::create_dir_all(job.join("chk-999999")).unwrap();
    fs::write(job.join("chk-999999/0000000000000abc-count-00000000-0.full@0"), "x").unwrap();
    let (_, storage) = finish(&counting);
    assert_eq!(storage, 0);
    let left = files(&job);
    assert!(
        left.keys().all(|name| !name.contains("999999") && !name.contains(".copy")),
        "{left:?}"
    );
    // A run from the beginning keeps nothing of before.
    let other = tempfile::tempdir().unwrap();
    let mut fresh = Counting::new(other.path());
    fresh.local_recovery = counting.local_recovery.clone();
    fresh.job().run(StartFrom::Beginning).unwrap();
    let jobs = fs::read_dir(folder.path().join("local")).unwrap().count();
    assert_eq!(jobs, 2, "another storage is another job");
}
