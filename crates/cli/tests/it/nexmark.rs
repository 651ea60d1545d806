//! The queries of NEXMark: their output against a plain computation, whatever happens on the way.

use crate::support::{Ended, Place, Running, millpond, run};

/// Fifty seconds of event time, shuffled.
const EVENTS: u64 = 10_000;
const INPUT: [&str; 6] = ["--events", "10000", "--event-time-rate", "200", "--out-of-order", "30"];
const SLOW: [&str; 4] = ["--rate", "8000", "--interval", "30ms"];
const RESTORE: [&str; 2] = ["--restore", "latest"];

/// The arguments of a query over [`INPUT`] into `out`.
fn args(place: &Place, query: &str, more: &[&str]) -> Vec<String> {
    let output = place.text("out");
    let start = ["run", "nexmark", "--query", query, "--output", &output];
    [&start[..], &INPUT, more].concat().iter().map(|arg| (*arg).to_owned()).collect()
}

fn query(place: &Place, query: &str, more: &[&str]) -> Ended {
    run(&args(place, query, more).iter().map(String::as_str).collect::<Vec<_>>())
}

/// Runs a query until a checkpoint was completed after `position` events, then kills it.
fn kill_after(place: &Place, query: &str, position: u64, more: &[&str]) {
    let progress = ["--json", "--progress-interval", "5ms"];
    let args = args(place, query, &[more, &SLOW, &progress].concat());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut job = Running::start(millpond(&args));
    job.wait_for("progress", |event| event["position"].as_u64() >= Some(position));
    job.wait_for("checkpoint_completed", |_| true);
    job.kill();
}

/// Runs a query undisturbed at several parallelisms, then killed twice and restored at others;
/// each time it must give what a plain computation gives, which is not fewer than `rows` rows.
#[track_caller]
fn assert_exact(name: &str, rows: usize) {
    let mut outputs = Vec::new();
    for parallelism in ["1", "2", "3"] {
        let place = Place::new();
        let ended = query(&place, name, &["--check", "--json", "--parallelism", parallelism]).ok();
        assert_checked(&ended);
        assert_eq!(ended.events("finished")[0]["late_records"], 0);
        assert_eq!(ended.events("finished")[0]["records"], EVENTS);
        outputs.push(place.rows(name));
    }
    assert!(outputs[0].len() >= rows, "{} rows", outputs[0].len());
    let place = Place::new();
    kill_after(&place, name, 3_000, &["--parallelism", "1"]);
    kill_after(&place, name, 6_000, &[&RESTORE[..], &["--parallelism", "3"]].concat());
    let last = ["--parallelism", "2", "--check", "--json"];
    let ended = query(&place, name, &[&RESTORE[..], &last].concat()).ok();
    assert_checked(&ended);
    let read = ended.events("finished")[0]["records"].as_u64().unwrap();
    assert!(read < EVENTS, "it made all {read} events again");
    if name != "q12" {
        outputs.push(place.rows(name));
        assert!(outputs.windows(2).all(|two| two[0] == two[1]));
    }
}

#[track_caller]
fn assert_checked(ended: &Ended) {
    let checked = &ended.events("checked")[0];
    for what in ["lost", "duplicated", "wrong"] {
        assert_eq!(checked[what], 0, "{checked}");
    }
}

#[test]
fn sellers_are_joined_with_their_auctions_exactly() {
    assert_exact("q3", 30);
}

#[test]
fn closing_prices_are_averaged_exactly() {
    assert_exact("q4", 100);
}

#[test]
fn hot_items_of_sliding_windows_are_exact() {
    assert_exact("q5", 25);
}

#[test]
fn highest_bids_of_windows_are_exact() {
    assert_exact("q7", 5);
}

#[test]
fn new_users_who_sell_in_the_same_window_are_exact() {
    assert_exact("q8", 30);
}

#[test]
fn sessions_of_users_are_exact() {
    assert_exact("q11", 100);
}

#[test]
fn bids_by_processing_time_are_counted_once_each() {
    assert_exact("q12", 100);
}

#[test]
fn a_growing_join_is_exact_over_incremental_checkpoints_and_kills() {
    let place = Place::new();
    let incremental = ["--incremental", "true"];
    let more = |more: &[&'static str]| [&incremental[..], more].concat();
    kill_after(&place, "q3", 2_000, &more(&["--parallelism", "2"]));
    kill_after(&place, "q3", 5_000, &more(&["--restore", "latest", "--parallelism", "3"]));
    let ended = query(&place, "q3", &more(&["--restore", "latest", "--check", "--json"])).ok();
    assert_checked(&ended);
}

#[test]
fn the_check_finds_rows_that_were_changed() {
    let place = Place::new();
    let said = query(&place, "q11", &["--check"]).ok();
    let verdict = "checked against a plain computation: lost 0, duplicated 0, wrong 0";
    assert!(said.stdout.contains(verdict), "{}", said.stdout);
    let part = std::fs::read_dir(place.path("out/q11"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"))
        .unwrap();
    // The length stays: the sink itself would refuse to go on with a file of another length.
    let rows = std::fs::read_to_string(&part).unwrap();
    let (before, last) = rows.trim_end().rsplit_once('\n').unwrap();
    let digit = if last.ends_with('1') { '2' } else { '1' };
    let changed = format!("{before}\n{}{digit}\n", &last[..last.len() - 1]);
    std::fs::write(&part, changed).unwrap();
    let words = ["differs from a plain computation", "lost 1, duplicated 0, wrong 1"];
    query(&place, "q11", &["--restore", "latest", "--check"]).fails(1, &words);
}

#[test]
fn a_run_over_other_events_or_of_another_query_is_refused() {
    let place = Place::new();
    query(&place, "q8", &[]).ok();
    let output = place.text("out");
    let restore = ["run", "nexmark", "--restore", "latest", "--output", &output];
    run(&[&restore[..], &["--query", "q8", "--events", "10001"]].concat())
        .fails(1, &["belongs to a run over another input (nexmark:10000:200:30)"]);
    query(&place, "q3", &RESTORE).fails(1, &["belongs to job nexmark-q8, not nexmark-q3"]);
    query(&place, "q8", &[]).fails(1, &["already holds", "--restore latest"]);
}

#[test]
fn wrong_options_have_exit_status_2_and_are_named() {
    let place = Place::new();
    let output = place.text("out");
    for (wrong, words) in [
        (&["--query", "q6"][..], &["q6", "q3, q4, q5"][..]),
        (&[], &["--query"]),
        (&["--query", "q5", "--events", "0"], &["--events", "from 1 to"]),
        (&["--query", "q5", "--events", "many"], &["--events"]),
        (&["--query", "q5", "--event-time-rate", "0"], &["--event-time-rate"]),
        (&["--query", "q5", "--out-of-order", "953"], &["--out-of-order", "953"]),
        (&["--query", "q5", "--input", "x.csv"], &["--input"]),
        (&["--query", "q5", "--on-bad-record", "skip"], &["--on-bad-record"]),
    ] {
        let ended = run(&[&["run", "nexmark", "--output", &output][..], wrong].concat());
        assert_eq!(ended.status, Some(2), "{wrong:?}: {ended:#?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{word} is not in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("panicked"));
    }
    assert!(!place.path("out").exists());
}

#[test]
fn the_demo_kills_queries_and_loses_nothing() {
    for (query, what) in [("nexmark-q3", "auctions"), ("nexmark-q5", "hot items")] {
        assert_demo(query, what);
    }
}

#[test]
fn the_demo_kills_sessions_and_processing_time_and_loses_nothing() {
    for (query, what) in [("nexmark-q11", "sessions"), ("nexmark-q12", "bidders")] {
        assert_demo(query, what);
    }
    let demo = ["demo", "--job", "nexmark-q3", "--input"];
    run(&[&demo[..], &["flights.csv"]].concat()).fails(1, &["nexmark:EVENTS"]);
    run(&[&demo[..], &["nexmark:9"]].concat()).fails(2, &["nexmark:EVENTS"]);
}

#[track_caller]
fn assert_demo(query: &str, what: &str) {
    let place = Place::new();
    let output = place.text("demo");
    let job = ["demo", "--job", query, "--input", "nexmark:20000:200:30", "--output", &output];
    let ended = run(&[&job[..], &["--kills", "6", "--seed", "5"]].concat()).ok();
    for word in [what, "kills        6", "lost 0, duplicated 0, wrong 0: every record"] {
        assert!(ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
}

#[cfg(feature = "rocksdb")]
#[test]
fn queries_are_exact_on_rocksdb_over_kills_and_other_backends() {
    for name in ["q3", "q4", "q5", "q11"] {
        let place = Place::new();
        let rocksdb = ["--state-backend", "rocksdb"];
        kill_after(&place, name, 2_000, &[&rocksdb[..], &["--parallelism", "2"]].concat());
        kill_after(&place, name, 4_000, &[&RESTORE[..], &["--parallelism", "3"]].concat());
        let last = ["--parallelism", "1", "--check", "--json"];
        let ended = query(&place, name, &[&RESTORE[..], &rocksdb, &last].concat()).ok();
        assert_checked(&ended);
    }
}
