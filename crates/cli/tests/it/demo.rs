//! The demonstration.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use crate::support::{Place, run};

/// The first flights of the data set.
fn cut(place: &Place, records: usize) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/flights-2013.csv.zst");
    let packed = std::fs::File::open(data).unwrap();
    let lines = BufReader::new(zstd::stream::read::Decoder::new(packed).unwrap()).lines();
    let path = place.text("cut.csv");
    let mut out = std::fs::File::create(&path).unwrap();
    for line in lines.take(records + 1) {
        writeln!(out, "{}", line.unwrap()).unwrap();
    }
    path
}

#[test]
fn the_demo_kills_restores_and_loses_nothing() {
    let place = Place::new();
    let input = cut(&place, 30_000);
    let output = place.text("demo");
    let args =
        ["demo", "--input", &input, "--output", &output, "--kills", "3", "--seed", "11", "--keep"];
    let ended = run(&args).ok();
    for word in ["kills        3", "restored", "parallelism 2", "lost 0, duplicated 0, wrong 0"] {
        assert!(ended.stdout.contains(word), "{word}: {}", ended.stdout);
    }
    run(&["checkpoint", "verify", &format!("{output}/run-1/checkpoints")]).ok();
    run(&args).ok();
}

#[test]
fn many_kills_take_several_runs_each_compared() {
    let place = Place::new();
    let input = cut(&place, 30_000);
    let args = ["--output", &place.text("demo"), "--kills", "12", "--seed", "5"];
    let ended = run(&[&["demo", "--input", &input], &args[..]].concat()).ok();
    assert!(ended.stdout.contains("round 2: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("kills        12"), "{}", ended.stdout);
    assert!(ended.stdout.contains("lost 0, duplicated 0, wrong 0: every record"));
}

#[test]
fn session_windows_are_exact_over_kills() {
    let place = Place::new();
    let input = cut(&place, 30_000);
    let args = ["--output", &place.text("demo"), "--kills", "6", "--seed", "3"];
    let job = ["demo", "--job", "aircraft-days", "--input", &input];
    let ended = run(&[&job, &args[..]].concat()).ok();
    assert!(ended.stdout.contains("days of aircraft"), "{}", ended.stdout);
    assert!(ended.stdout.contains("kills        6"), "{}", ended.stdout);
    assert!(ended.stdout.contains("lost 0, duplicated 0, wrong 0"), "{}", ended.stdout);
}

#[test]
fn a_timer_for_each_record_is_exact_over_kills_with_and_without_incremental_checkpoints() {
    let place = Place::new();
    for how in [&[][..], &["--incremental", "true"], &["--incremental", "true", "--local-recovery"]]
    {
        let args = ["--output", &place.text("demo"), "--kills", "6", "--seed", "4"];
        let job = ["demo", "--job", "timeouts", "--input", "generate:60000:50000"];
        let ended = run(&[&job, &args[..], how].concat()).ok();
        assert!(ended.stdout.contains("60,000 timeouts"), "{}", ended.stdout);
        assert!(ended.stdout.contains("kills        6"), "{}", ended.stdout);
        assert!(ended.stdout.contains("lost 0, duplicated 0, wrong 0"), "{}", ended.stdout);
    }
    run(&["demo", "--job", "timeouts", "--input", &cut(&place, 10)]).fails(1, &["generate:"]);
    run(&["demo", "--job", "timeouts", "--input", "generate:9"]).fails(2, &["RECORDS:KEYS"]);
}

#[test]
fn the_demo_empties_no_folder_that_it_did_not_make() {
    let place = Place::new();
    let input = cut(&place, 10);
    std::fs::create_dir(place.path("home")).unwrap();
    std::fs::write(place.path("home/precious"), "x").unwrap();
    run(&["demo", "--input", &input, "--output", &place.text("home")])
        .fails(1, &["holds something else"]);
    run(&["demo", "--input", &place.text("nowhere")]).fails(1, &["nowhere", "--input"]);
}
