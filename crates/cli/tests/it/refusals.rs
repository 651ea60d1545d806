//! Runs that must not start, and what they say.

use crate::support::{Place, run};

#[test]
fn folders_of_an_earlier_run_are_refused_with_the_way_out() {
    let place = Place::new();
    place.flights(500);
    place.run_flights(&[]).ok();
    let words = ["already holds", "--restore latest"];
    place.run_flights(&[]).fails(1, &words);
    std::fs::remove_dir_all(place.path("out/checkpoints")).unwrap();
    place.run_flights(&[]).fails(1, &words);
    place.assert_exact();
}

#[test]
fn folders_of_another_job_or_input_are_refused() {
    let place = Place::new();
    place.flights(500);
    place.run_flights(&[]).ok();
    let (input, output) = (place.text("flights.csv"), place.text("out"));
    run(&["run", "wordcount", "--input", &input, "--output", &output, "--restore", "latest"])
        .fails(1, &["belongs to job flights, not wordcount", "choose another"]);
    place.flights(400);
    place
        .run_flights(&["--restore", "latest"])
        .fails(1, &["belongs to a run over another input", "choose another"]);
}

#[test]
fn a_checkpoint_of_another_job_is_refused() {
    let place = Place::new();
    place.flights(500);
    let text = place.write("text", "a b a\n");
    run(&["run", "wordcount", "--input", &text, "--output", &place.text("words")]).ok();
    let folder = place.text("words/checkpoints/chk-1");
    place.run_flights(&["--restore", &folder]).fails(1, &["belongs to job wordcount, not flights"]);
    place.run_flights(&["--restore", &place.text("words/checkpoints")]).fails(1, &["chk-1"]);
    place.run_flights(&["--restore", &place.text("nowhere")]).fails(1, &["nowhere"]);
}

#[test]
fn another_max_parallelism_is_refused_and_the_checkpoints_own_is_taken() {
    let place = Place::new();
    place.flights(500);
    place.run_flights(&["--max-parallelism", "16"]).ok();
    place
        .run_flights(&["--restore", "latest", "--max-parallelism", "32"])
        .fails(1, &["--max-parallelism 32", "which has 16", "leave the option out"]);
    let ended = place.run_flights(&["--restore", "latest", "--json"]).ok();
    assert_eq!(ended.events("started")[0]["max_parallelism"], 16);
    place.run_flights(&["--restore", "latest", "--parallelism", "17"]).fails(2, &["16"]);
}

#[test]
fn a_second_process_on_the_same_folders_is_refused() {
    let place = Place::new();
    place.flights(4_000);
    let storage = place.text("storage");
    let shared = ["--checkpoint-storage", storage.as_str()];
    let mut job = place.start_flights(&[&shared[..], &["--rate", "2000"]].concat());
    job.wait_for("running", |_| true);
    place.run_flights(&["--restore", "latest"]).fails(1, &["--output", "is held by process"]);
    let (input, other) = (place.text("flights.csv"), place.text("other"));
    let mut args = vec!["run", "flights", "--input", &input, "--output", &other];
    args.extend(shared);
    run(&args).fails(1, &["--checkpoint-storage", "is held by process"]);
    job.kill();
}

#[test]
fn wrong_usage_has_exit_status_2() {
    let place = Place::new();
    place.flights(10);
    for wrong in [
        &["--speed", "5"][..],
        &["--parallelism", "0"],
        &["--interval", "soon"],
        &["--mode", "twice"],
        &["--state-backend", "tape"],
        &["--on-bad-record", "ignore"],
        &["--on-bad-record", "dead-letter"],
        &["--rate", "0"],
    ] {
        let ended = place.run_flights(wrong);
        assert_eq!(ended.status, Some(2), "{wrong:?}: {ended:#?}");
        assert!(!ended.stderr.is_empty() && !ended.stderr.contains("panicked"));
    }
    assert!(!place.path("out/aircraft").exists());
    let same = place.text("out");
    place.run_flights(&["--checkpoint-storage", &same]).fails(2, &["same folder"]);
}

#[test]
fn storage_that_cannot_be_used_is_named() {
    let place = Place::new();
    place.flights(10);
    let file = place.write("a-file", "");
    let beneath = format!("{file}/x");
    place
        .run_flights(&["--checkpoint-storage", &beneath])
        .fails(1, &["--checkpoint-storage", "a-file"]);
    place.run_flights(&["--checkpoint-storage", "s3://bucket/x"]).fails(1, &["s3://", "file://"]);
    let (input, output) = (place.text("flights.csv"), format!("{file}/out"));
    run(&["run", "flights", "--input", &input, "--output", &output]).fails(1, &["output folder"]);
}
