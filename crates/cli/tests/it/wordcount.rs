//! The wordcount job.

use std::io::Write;
use std::process::Stdio;

use crate::support::{Place, Running, millpond, rows, run};

const TEXT: &str = "The mill, the pond.\nStill water - STILL mill!\n";
const COUNTS: [&str; 5] = ["mill,2", "pond,1", "still,2", "the,2", "water,1"];

#[test]
fn words_of_a_file_are_counted() {
    let place = Place::new();
    let input = place.write("text", TEXT);
    run(&["run", "wordcount", "--input", &input, "--output", &place.text("out")]).ok();
    assert_eq!(rows(&place.path("out/words")), COUNTS);
}

#[test]
fn words_of_standard_input_are_counted() {
    let place = Place::new();
    let mut command =
        millpond(&["run", "wordcount", "--input", "-", "--output", &place.text("out")]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(TEXT.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(rows(&place.path("out/words")), COUNTS);
}

#[test]
fn checkpoints_do_not_wait_for_a_silent_pipe_and_the_same_input_again_goes_on() {
    let place = Place::new();
    let output = place.text("out");
    let args = ["run", "wordcount", "--input", "-", "--output", &output, "--json"];
    let mut command = millpond(&args);
    let (reader, mut writer) = std::io::pipe().unwrap();
    command.args(["--interval", "20ms", "--progress-interval", "5ms"]).stdin(reader);
    let mut job = Running::start(command);
    writer.write_all(TEXT.as_bytes()).unwrap();
    job.wait_for("progress", |event| event["position"] == 2);
    job.wait_for("checkpoint_completed", |_| true);
    job.wait_for("checkpoint_completed", |_| true);
    job.kill();
    drop(writer);

    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = millpond(&args);
    command.args(["--restore", "latest"]).stdin(reader);
    let job = Running::start(command);
    writer.write_all(TEXT.as_bytes()).unwrap();
    writer.write_all(b"weir\n").unwrap();
    drop(writer);
    let ended = job.end().ok();
    assert_eq!(ended.events("finished")[0]["records"], 1, "{ended:#?}");
    let mut counts = COUNTS.to_vec();
    counts.push("weir,1");
    assert_eq!(rows(&place.path("out/words")), counts);
}

#[test]
fn a_line_that_is_not_utf_8_is_a_bad_record() {
    let place = Place::new();
    let input = place.text("text");
    std::fs::write(&input, b"good\nb\xffad\n").unwrap();
    let output = place.text("out");
    let args = ["run", "wordcount", "--input", &input, "--output", &output];
    run(&args).fails(1, &["line 2", "UTF-8"]);
    let mut skip = args.to_vec();
    skip.extend(["--on-bad-record", "skip"]);
    run(&skip).ok();
    assert_eq!(rows(&place.path("out/words")), ["good,1"]);
}
