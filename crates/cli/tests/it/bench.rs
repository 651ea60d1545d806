//! Benchmarks, with tiny sizes: what they print, and what they refuse.

use serde_json::Value;

use crate::full_disk::SmallDisk;
use crate::support::{Place, json, run};

/// All backends of this build.
const BACKENDS: &[&str] =
    if cfg!(feature = "rocksdb") { &["memory", "fs", "rocksdb"] } else { &["memory", "fs"] };

/// Fields that every result has.
const COMMON: [&str; 17] = [
    "system",
    "backend",
    "bench",
    "keys",
    "value_bytes",
    "ops",
    "seconds",
    "ops_per_s",
    "ops_per_s_min",
    "ops_per_s_max",
    "rounds",
    "distribution",
    "seed",
    "peak_rss_bytes",
    "machine",
    "date",
    "version",
];

/// Runs `millpond bench` with `--json`, and files below `place`.
fn bench(place: &Place, args: &[&str]) -> Vec<Value> {
    let state = place.text("state");
    let common = ["--json", "--rounds", "2", "--state-dir", &state];
    let ended = run(&[&["bench"], args, &common].concat()).ok();
    // Progress is for terminals.
    assert!(!ended.stderr.contains('%') && !ended.stderr.contains('\u{1b}'), "{ended:?}");
    // Nothing stays.
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
    ended.stdout.lines().map(json).collect()
}

/// Asserts that the fields are the common ones and these.
#[track_caller]
fn assert_fields(result: &Value, more: &[&str]) {
    let mut found: Vec<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = COMMON.iter().chain(more).copied().collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(result["ops_per_s"].as_f64().unwrap() > 0.0, "{result}");
    assert!(result["peak_rss_bytes"].as_u64().unwrap() > 1 << 20, "{result}");
}

#[test]
fn state_has_a_result_for_each_backend_and_case() {
    let place = Place::new();
    let args = ["state", "--cases", "value_get,map_add_ttl", "--keys", "300", "--ops", "200"];
    for (raw, more) in [(&[][..], &[][..]), (&["--raw"], &["raw_ops_per_s", "ratio_to_raw"])] {
        let results = bench(&place, &[&args[..], raw].concat());
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names: Vec<_> =
            results.iter().map(|it| [text(&it["backend"]), text(&it["bench"])]).collect();
        let expected: Vec<[&str; 2]> =
            BACKENDS.iter().flat_map(|it| [[*it, "value_get"], [*it, "map_add_ttl"]]).collect();
        assert_eq!(names, expected);
        for result in &results {
            assert_fields(result, more);
            assert_eq!((&result["keys"], &result["ops"]), (&300.into(), &200.into()));
        }
    }
}

#[test]
fn snapshots_have_their_figures() {
    let place = Place::new();
    let storage = place.text("storage");
    let args = ["snapshot", "--keys", "2000", "--changed", "0,10", "--latency", "20ms"];
    let results = bench(&place, &[&args[..], &["--checkpoint-storage", &storage]].concat());
    for backend in BACKENDS {
        let of = |bench: &str| -> Vec<&Value> {
            let is = |it: &&Value| it["backend"] == *backend && it["bench"] == bench;
            results.iter().filter(is).collect()
        };
        let figures =
            ["changed_percent", "sync_ms", "async_ms", "bytes_total", "bytes_new", "zstd_ms"];
        let full = of("snapshot_full");
        assert_eq!(full.len(), 2, "{results:#?}");
        for result in full {
            assert_fields(result, &[&figures[..], &["disk_ms", "ratio_to_floor"]].concat());
        }
        let slices = ["slice_ms", "slice_p50_us", "slice_p999_us"];
        for name in ["latency_get", "latency_update"] {
            let latency = ["p999_us", "p999_during_us", "checkpoint_ms"];
            assert_fields(of(name)[0], &[&latency[..], &slices].concat());
        }
    }
    assert_eq!(std::fs::read_dir(&storage).unwrap().count(), 0);
}

#[test]
fn restores_have_their_figures() {
    let place = Place::new();
    let args = ["restore", "--keys", "500,1000", "--from", "2", "--to", "3"];
    let results = bench(&place, &args);
    for backend in BACKENDS {
        for keys in [500, 1_000] {
            let is = |it: &&Value| {
                it["backend"] == *backend && it["keys"] == keys && it["bench"] == "restore_full"
            };
            let figures = ["from_parallelism", "to_parallelism", "restore_ms", "bytes_total"];
            let floors = ["zstd_ms", "disk_ms", "ratio_to_floor"];
            let found = results.iter().find(is).unwrap();
            assert_fields(found, &[&figures[..], &floors].concat());
        }
    }
}

#[test]
fn jobs_have_their_figures() {
    let place = Place::new();
    let args = ["job", "--records", "3000", "--keys", "100", "--distribution", "zipf:1.1"];
    let results = bench(&place, &[&args[..], &["--interval", "off,1s", "--raw"]].concat());
    assert_eq!(results.len(), 2 * BACKENDS.len());
    for (result, interval_ms) in results.iter().zip([0, 1_000].into_iter().cycle()) {
        let checkpoints = ["checkpoints", "checkpoint_ms_p50", "checkpoint_ms_p99"];
        let others = ["parallelism", "interval_ms", "barriers", "raw_ops_per_s", "ratio_to_raw"];
        let figures = [&["records_per_s"], &checkpoints[..], &others].concat();
        assert_fields(result, &figures);
        assert_eq!(result["interval_ms"], interval_ms);
        assert_eq!(
            (&result["distribution"], &result["bench"]),
            (&"zipf:1.1".into(), &"job".into())
        );
    }
}

#[test]
fn people_get_a_table_and_plots_are_drawn_of_results() {
    let place = Place::new();
    let (plots, again) = (place.text("plots"), place.text("again"));
    let args = ["bench", "state", "--cases", "value_get", "--keys", "300", "--rounds", "2"];
    let plotted = [&args[..], &["--state-backend", "memory", "--raw", "--plot", &plots]].concat();
    let ended = run(&plotted).ok();
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{ended:#?}");
    assert!(lines[0].contains("OPS/S") && lines[0].contains("SPREAD"), "{ended:#?}");
    assert!(lines[1].contains("memory") && lines[1].contains("value_get"), "{ended:#?}");
    let svg = std::fs::read_to_string(place.path("plots/state.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("value_get"), "{svg}");
    let results = run(&[&args[..], &["--json"]].concat()).ok().stdout;
    let file = place.write("results.jsonl", &results);
    let ended = run(&["bench", "plot", &file, "--out", &again]).ok();
    assert!(ended.stdout.contains("state.svg"), "{ended:#?}");
    assert!(place.path("again/state.svg").exists());
}

#[test]
fn what_is_not_there_or_makes_no_sense_is_refused() {
    let place = Place::new();
    let refused = |args: &[&str], words: &[&str]| {
        run(&[&["bench"], args].concat()).fails(2, words);
    };
    refused(&["state", "--cases", "value_fly"], &["value_fly", "value_add", "aggregating_add"]);
    refused(&["state", "--state-backend", "tape"], &["tape", "memory"]);
    refused(&["snapshot", "--changed", "101", "--state-backend", "memory"], &["101"]);
    refused(&["restore", "--from", "129", "--state-backend", "memory"], &["128"]);
    refused(&["job", "--barriers", "unaligned"], &["unaligned", "--barriers aligned"]);
    let wrong_values = [
        &["state", "--keys", "0"][..],
        &["state", "--rounds", "0"],
        &["state", "--value-bytes", "-1"],
        &["state", "--distribution", "normal"],
        &["state", "--distribution", "zipf:0"],
        &["job", "--interval", "0s"],
        &["job", "--interval", "soon"],
        &["plot", "--out", "x"],
    ];
    for wrong in wrong_values {
        let ended = run(&[&["bench"], wrong].concat());
        assert_eq!(ended.status, Some(2), "{wrong:?}: {ended:#?}");
        assert!(!ended.stderr.is_empty() && !ended.stderr.contains("panicked"), "{ended:#?}");
    }
    let file = place.write("a-file", "no result\n");
    let beneath = format!("{file}/x");
    let failed = |args: &[&str], words: &[&str]| {
        run(&[&["bench"], args].concat()).fails(1, words);
    };
    let memory = ["--state-backend", "memory", "--keys", "10"];
    failed(
        &[&["state", "--cases", "value_get", "--state-dir", &beneath], &memory[..]].concat(),
        &["a-file"],
    );
    failed(
        &[&["snapshot", "--checkpoint-storage", &beneath], &memory[..]].concat(),
        &["--checkpoint-storage", "a-file"],
    );
    failed(
        &[&["snapshot", "--checkpoint-storage", "s3://bucket/x"], &memory[..]].concat(),
        &["s3://", "file://"],
    );
    failed(&["plot", &place.text("nowhere"), "--out", &place.text("plots")], &["nowhere"]);
    refused(&["plot", &file, "--out", &place.text("plots")], &["a-file", "line 1"]);
}

#[test]
fn a_full_disk_is_a_failure_with_a_message() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.text("small")) else {
        #[expect(clippy::print_stdout, reason = "a skipped test says why")]
        {
            println!("skipped: no file system can be mounted here");
        }
        return;
    };
    let storage = ["--checkpoint-storage", disk.path.as_str()];
    let args = ["bench", "snapshot", "--state-backend", "memory", "--keys", "20000"];
    run(&[&args[..], &storage].concat()).fails(1, &["space"]);
    // What was written is removed.
    assert_eq!(std::fs::read_dir(&disk.path).unwrap().count(), 0);
}
