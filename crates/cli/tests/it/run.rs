//! The flights job when nothing goes wrong.

use crate::support::{Place, json};

#[test]
fn the_output_is_that_of_a_plain_pass_at_any_parallelism() {
    for parallelism in ["1", "3"] {
        let place = Place::new();
        place.flights(5_000);
        let ended = place.run_flights(&["--parallelism", parallelism]).ok();
        assert!(ended.stdout.contains("5,000 records"), "{ended:#?}");
        place.assert_exact();
    }
}

#[test]
fn compressed_input_and_at_least_once_mode_work_alike() {
    let place = Place::new();
    let plain = std::fs::read(place.flights(2_000)).unwrap();
    let packed = place.text("flights.csv.zst");
    std::fs::write(&packed, zstd::encode_all(&plain[..], 3).unwrap()).unwrap();
    let output = place.text("out");
    crate::support::run(&[
        "run",
        "flights",
        "--input",
        &packed,
        "--output",
        &output,
        "--mode",
        "at-least-once",
    ])
    .ok();
    place.assert_exact();
}

#[test]
fn fields_that_need_quotes_are_quoted_in_the_output() {
    let place = Place::new();
    let row = "2013-01-01T05:15,UA,1,\"N\"\"1,x\",EWR,IAH,-2,11,227,1400";
    place.write("flights.csv", &format!("{}\r\n{row}\r\n", crate::support::HEADER));
    place.run_flights(&[]).ok();
    assert_eq!(place.rows("aircraft"), ["\"N\"\"1,x\",1,0,-2,1400"]);
    assert_eq!(place.rows("carrier_hours"), ["2013-01-01T05:00,UA,1,0,-2"]);
}

#[test]
fn machines_are_told_every_step_as_json() {
    let place = Place::new();
    place.flights(3_000);
    let ended = place.run_flights(&["--json", "--max-parallelism", "32"]).ok();
    let started = &ended.events("started")[0];
    assert_eq!((&started["job"], &started["max_parallelism"]), (&"flights".into(), &32.into()));
    let finished = &ended.events("finished")[0];
    assert_eq!(finished["records"], 3_000);
    assert_eq!(finished["outcome"], "finished");
    let completed = ended.events("checkpoint_completed");
    assert_eq!(completed.last().unwrap()["kind"], "final");
    assert_eq!(finished["last_checkpoint"], completed.last().unwrap()["checkpoint"]);
}

#[test]
fn a_finished_job_restored_has_nothing_left_to_do() {
    let place = Place::new();
    place.flights(1_000);
    place.run_flights(&[]).ok();
    let ended = place.run_flights(&["--restore", "latest", "--json"]).ok();
    assert_eq!(ended.events("finished")[0]["outcome"], "already_finished");
    place.assert_exact();
}

#[test]
fn restore_latest_without_a_checkpoint_starts_at_the_beginning_and_says_so() {
    let place = Place::new();
    place.flights(1_000);
    let ended = place.run_flights(&["--restore", "latest"]).ok();
    assert!(ended.stderr.contains("there is no checkpoint yet"), "{ended:#?}");
    place.assert_exact();
}

#[test]
fn checkpoints_in_memory_are_enough_for_a_run() {
    let place = Place::new();
    place.flights(1_000);
    place.run_flights(&["--checkpoint-storage", "memory://"]).ok();
    place.assert_exact();
    assert!(!place.path("out/checkpoints").exists());
}

#[test]
fn checkpoints_go_to_the_storage_that_was_asked_for() {
    let place = Place::new();
    place.flights(1_000);
    let url = format!("file://{}", place.text("my checkpoints").replace(' ', "%20"));
    place.run_flights(&["--checkpoint-storage", &url]).ok();
    let list =
        crate::support::run(&["checkpoint", "list", &place.text("my checkpoints"), "--json"]);
    assert!(json(list.ok().stdout.lines().next().unwrap())["id"].is_u64());
}

#[test]
fn no_more_checkpoints_are_kept_than_asked_for() {
    let place = Place::new();
    place.flights(3_000);
    place.run_flights(&["--rate", "6000", "--interval", "20ms", "--retain", "2"]).ok();
    let list =
        crate::support::run(&["checkpoint", "list", &place.text("out/checkpoints"), "--json"]);
    assert_eq!(list.ok().stdout.lines().count(), 2);
}

#[test]
fn help_tells_of_the_events_and_is_no_failure() {
    let help = crate::support::run(&["run", "flights", "--help"]).ok();
    assert!(help.stdout.contains("checkpoint_completed") && help.stdout.contains("dead-letter"));
}
