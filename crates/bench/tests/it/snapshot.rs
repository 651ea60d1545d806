//! Snapshots.

use millpond_bench::snapshot::{SnapshotOptions, run};
use millpond_bench::{BACKENDS, Backend, ErrorKind, Record};
use millpond_state::seam::SystemClock;

use crate::support::{Place, in_memory};

fn tiny() -> SnapshotOptions {
    SnapshotOptions {
        keys: 5_000,
        rounds: 2,
        latency_ms: 20,
        changed_percent: vec![0.0, 10.0],
        ..SnapshotOptions::new()
    }
}

fn named<'r>(records: &'r [Record], bench: &str, percent: Option<f64>) -> &'r Record {
    let found =
        records.iter().find(|it| it.bench == bench && it.snapshot.changed_percent == percent);
    found.unwrap_or_else(|| panic!("no {bench} at {percent:?} in {records:#?}"))
}

#[test]
fn full_snapshots_write_everything_and_have_their_floors() {
    for backend in BACKENDS {
        let place = Place::new();
        let at = (place.path(), &SystemClock::new() as _);
        let records = run(*backend, &tiny(), &place.local(), at).unwrap();
        for percent in [0.0, 10.0] {
            let full = named(&records, "snapshot_full", Some(percent));
            let figures = &full.snapshot;
            assert_eq!(figures.bytes_new, figures.bytes_total, "{full:?}");
            assert!(figures.bytes_new.unwrap() > 5_000 * 50, "{full:?}");
            assert!(figures.zstd_ms.unwrap() > 0.0 && figures.disk_ms.unwrap() > 0.0);
            assert!(figures.ratio_to_floor.unwrap() > 0.0);
            assert_eq!((full.ops, full.rounds), (5_000, 2));
        }
        // Only the newest checkpoint was kept, and no file of a floor.
        let left = std::fs::read_dir(place.path().join("checkpoints")).unwrap();
        let left = left.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().starts_with("chk-")
        });
        assert_eq!(left.count(), 1, "{}", backend.name);
        assert!(!place.path().join("millpond-bench-floor").exists());
    }
}

#[test]
fn incremental_snapshots_write_about_what_changed() {
    let place = Place::new();
    let at = (place.path(), &SystemClock::new() as _);
    let memory = Backend::find("memory").unwrap();
    let records = run(memory, &tiny(), &in_memory(), at).unwrap();
    let nothing = &named(&records, "snapshot_incremental", Some(0.0)).snapshot;
    let tenth = &named(&records, "snapshot_incremental", Some(10.0)).snapshot;
    let (total, new) = (tenth.bytes_total.unwrap(), tenth.bytes_new.unwrap());
    assert!(nothing.bytes_new.unwrap() < new && new < total / 4, "{nothing:?} {tenth:?}");
    assert_eq!((nothing.ratio_to_floor, nothing.disk_ms), (None, None));
}

#[test]
fn latency_has_slices_before_during_and_after_the_checkpoint() {
    for backend in BACKENDS {
        let place = Place::new();
        let at = (place.path(), &SystemClock::new() as _);
        let options = SnapshotOptions { changed_percent: Vec::new(), ..tiny() };
        let records = run(*backend, &options, &in_memory(), at).unwrap();
        for bench in ["latency_get", "latency_update"] {
            let figures = &named(&records, bench, None).latency;
            let (begin, end) = figures.checkpoint_ms.unwrap();
            assert!(20.0 <= begin && begin < end, "{figures:?}");
            assert!(*figures.slice_ms.last().unwrap() >= end + 19.0, "{figures:?}");
            assert!(figures.slice_ms.windows(2).all(|pair| pair[0] <= pair[1]));
            let slices = [figures.slice_p50_us.len(), figures.slice_p999_us.len()];
            assert_eq!(slices, [figures.slice_ms.len(); 2]);
            assert!(figures.p999_us.unwrap() > 0.0 && figures.p999_during_us.unwrap() > 0.0);
        }
    }
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let place = Place::new();
    for percent in [-1.0, 100.5, f64::NAN] {
        let options = SnapshotOptions { changed_percent: vec![percent], ..tiny() };
        let at = (place.path(), &SystemClock::new() as _);
        let error = run(BACKENDS[0], &options, &in_memory(), at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
