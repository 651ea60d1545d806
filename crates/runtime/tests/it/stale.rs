//! Files of the right name and length that are others: every block of them is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millpond_runtime::{JobErrorKind, JobOutcome, StartFrom};
use millpond_snapshot::{
    Compression, DeltaReader, DeltaWriter, FullOptions, FullReader, FullWriter, SliceSource,
    verify_delta, verify_full,
};
use millpond_state::{EntrySink, EntrySource, MaxParallelism, SnapshotEntry};

use crate::fixture::Counting;

/// The same file with one value changed; `None` if it has none, or is of another format.
fn another(bytes: &[u8]) -> Option<Vec<u8>> {
    let groups = MaxParallelism::new(16).unwrap().full_range();
    let options = FullOptions { compression: Compression::None, ..FullOptions::default() };
    let (mut out, mut changed) = (Vec::new(), false);
    let mut change = |entry: &SnapshotEntry<'_>| {
        let mut value = entry.value.to_vec();
        if let (false, Some(last)) = (changed, value.last_mut()) {
            *last ^= 1;
            changed = true;
        }
        value
    };
    let source = SliceSource::new("old", bytes);
    if let Ok(reader) = FullReader::open(&source) {
        let mut writer = FullWriter::create(&mut out, options).unwrap();
        writer.begin(reader.states()).unwrap();
        let mut entries = reader.entries(groups);
        while let Some(entry) = entries.next_entry().unwrap() {
            writer.entry(&SnapshotEntry { value: &change(&entry), ..entry }).unwrap();
        }
        writer.finish().unwrap();
        assert!(verify_full(&SliceSource::new("new", &out), None).unwrap().is_whole());
    } else {
        let reader = DeltaReader::open(&source).ok()?;
        let mut writer = DeltaWriter::create(&mut out, options).unwrap();
        writer.begin(reader.states()).unwrap();
        let mut changes = reader.changes(groups);
        while let Some((entry, kind)) = changes.next_change().unwrap() {
            let value = change(&entry);
            writer.change(&SnapshotEntry { value: &value, ..entry }, kind).unwrap();
        }
        writer.finish().unwrap();
        assert!(verify_delta(&SliceSource::new("new", &out), None).unwrap().is_whole());
    }
    assert_eq!(out.len(), bytes.len());
    changed.then_some(out)
}

/// Replaces the newest file of keyed state that the newest checkpoint names; returns its name.
fn replace_one(counting: &Counting<'_>) -> PathBuf {
    let root = counting.folder.join("checkpoints");
    let newest = counting.storage().list().unwrap().pop().unwrap();
    let metadata = newest.metadata.unwrap();
    let mut files: Vec<PathBuf> = metadata
        .files()
        .map(|file| match file.is_shared() {
            true => root.join(file.name()),
            false => root.join(format!("chk-{}", newest.id)).join(file.name()),
        })
        .collect();
    // Names of shared objects begin with the attempt, which is one, and the checkpoint.
    let written_for = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        name.split('-').nth(1).unwrap().parse::<u64>().unwrap_or(0)
    };
    files.sort_by_key(|path| (std::cmp::Reverse(written_for(path)), path.clone()));
    for path in files {
        if let Some(other) = another(&fs::read(&path).unwrap()) {
            fs::write(&path, other).unwrap();
            return path;
        }
    }
    panic!("there is no file of keyed state");
}

/// Whether a checkpoint does not name the file.
fn is_one_without(counting: &Counting<'_>, file: &Path) -> bool {
    let root = counting.folder.join("checkpoints");
    counting.storage().list().unwrap().iter().any(|found| {
        let folder = root.join(format!("chk-{}", found.id));
        let metadata = found.metadata.as_ref().unwrap();
        let path = |name: &str, shared| if shared { root.join(name) } else { folder.join(name) };
        !metadata.files().any(|it| path(it.name(), it.is_shared()) == file)
    })
}

/// A job stopped in the midst of its input.
fn stopped<'a>(folder: &'a Path, incremental: bool) -> Counting<'a> {
    let mut counting = Counting::new(folder);
    (counting.incremental, counting.compression_level) = (incremental, 0);
    (counting.interval_ms, counting.pause_every) = (Some(2), 100);
    counting.numbers = 60_000;
    let job = counting.job();
    let handle = job.handle();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| job.run(StartFrom::Beginning));
        while counting.notes.count("CheckpointCompleted") < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        handle.stop();
        assert_eq!(run.join().unwrap().unwrap().outcome, JobOutcome::Stopped);
    });
    counting.pause_every = 10_000;
    counting
}

#[test]
fn another_valid_file_of_the_same_length_is_refused_and_named_and_an_older_checkpoint_taken() {
    for (incremental, counters) in [(false, 2), (false, 3), (true, 2), (true, 3), (true, 1)] {
        // Where the machine was busy no state may have changed for some checkpoints.
        let (mut folder, mut counting, mut replaced);
        let mut tries = 0;
        loop {
            folder = tempfile::tempdir().unwrap();
            counting = stopped(folder.path(), incremental);
            replaced = replace_one(&counting);
            if is_one_without(&counting, &replaced) {
                break;
            }
            tries += 1;
            assert!(tries < 100, "every checkpoint names {replaced:?}");
        }
        let name = replaced.file_name().unwrap().to_str().unwrap();
        counting.counters = counters;
        let report = counting.job().run(StartFrom::Latest).unwrap();
        assert_eq!(report.outcome, JobOutcome::Finished);
        let skipped = counting.notes.all("SkippedDamaged");
        assert!(skipped[0].contains(name), "{skipped:?}");
        assert!(skipped[0].contains("checksum of the whole file"), "{skipped:?}");
        assert_eq!(counting.committed(), counting.expected(), "{incremental} {counters}");
    }
}

#[test]
fn a_checkpoint_asked_for_by_name_with_another_file_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let counting = stopped(folder.path(), false);
    let replaced = replace_one(&counting);
    let found = counting.storage().list().unwrap().pop().unwrap().folder;
    let error = counting.job().run(StartFrom::Folder(found)).unwrap_err();
    assert_eq!(error.kind(), JobErrorKind::Restore);
    assert!(error.to_string().contains(replaced.file_name().unwrap().to_str().unwrap()), "{error}");
}
