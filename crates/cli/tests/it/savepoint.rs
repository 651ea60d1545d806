//! Savepoints of running jobs, asked for from outside.

use std::path::Path;

use crate::support::{Place, json, run};

const SLOW: [&str; 4] = ["--rate", "4000", "--interval", "30ms"];

/// Asks for a savepoint; its folder.
fn savepoint(storage: &str, more: &[&str]) -> String {
    let ended = run(&[&["savepoint", storage, "--json"][..], more].concat()).ok();
    let said = json(&ended.stdout);
    let path = said["path"].as_str().unwrap().to_owned();
    assert!(said["bytes"].as_u64() > Some(0));
    assert!(path.ends_with(&format!("chk-{}", said["checkpoint"])), "{path}");
    path
}

#[test]
fn a_savepoint_of_a_running_job_outlives_it_and_is_restored_at_any_parallelism() {
    for (incremental, parallelism) in [("false", "3"), ("true", "1")] {
        let place = Place::new();
        place.flights(12_000);
        let more = ["--incremental", incremental, "--parallelism", "2", "--retain", "1"];
        let mut job = place.start_flights(&[&SLOW[..], &more].concat());
        job.wait_for("progress", |event| event["position"].as_u64() >= Some(1_500));
        let storage = place.text("out/checkpoints");
        let (first, second) = (savepoint(&storage, &[]), savepoint(&storage, &[]));
        assert_ne!(first, second);
        // Retention goes on beside it.
        for _ in 0..4 {
            job.wait_for("checkpoint_completed", |event| event["kind"] == "periodic");
        }
        job.kill();
        for savepoint in [&first, &second] {
            run(&["checkpoint", "verify", savepoint]).ok();
            let show = run(&["checkpoint", "show", savepoint, "--json"]).ok();
            let show = json(&show.stdout);
            assert_eq!((&show["kind"], &show["shared_bytes"]), (&"savepoint".into(), &0.into()));
        }
        let restore = ["--restore", &first, "--parallelism", parallelism, "--incremental", "true"];
        let ended = place.run_flights(&[&restore[..], &["--json"]].concat()).ok();
        assert!(first.ends_with(&format!("chk-{}", ended.events("restored")[0]["checkpoint"])));
        place.assert_exact();
        assert!(Path::new(&second).exists(), "going back before it must not delete it");
        run(&["checkpoint", "verify", &storage]).ok();
        run(&["checkpoint", "gc", &storage, "--delete", "--older-than", "0ms"]).ok();
        assert!(Path::new(&first).exists() && Path::new(&second).exists());
    }
}

#[test]
fn a_job_is_stopped_with_a_savepoint_that_may_be_moved() {
    let place = Place::new();
    place.flights(12_000);
    let mut job = place.start_flights(&SLOW);
    job.wait_for("progress", |event| event["position"].as_u64() >= Some(1_500));
    let storage = place.text("out/checkpoints");
    let ended = run(&["savepoint", &storage, "--stop"]).ok();
    assert!(ended.stdout.starts_with("savepoint "), "{ended:?}");
    let job = job.end().ok();
    assert_eq!(job.events("finished")[0]["outcome"], "stopped");
    let path = ended.stdout.split(": ").nth(1).unwrap().split(',').next().unwrap();
    std::fs::rename(path, place.path("moved")).unwrap();
    place.run_flights(&["--restore", &place.text("moved"), "--parallelism", "3"]).ok();
    place.assert_exact();
    run(&["savepoint", &storage]).fails(1, &["no job that runs", "--checkpoint-storage"]);
}

#[test]
fn asking_where_no_job_runs_says_why_there_is_none() {
    let place = Place::new();
    run(&["savepoint", &place.text("nowhere")]).fails(1, &["nowhere", "cannot open"]);
    run(&["savepoint", &place.write("file", "x")]).fails(1, &["is no folder"]);
    run(&["savepoint", "s3://bucket/checkpoints"]).fails(2, &["folder of this machine"]);
    place.flights(12_000);
    let mut job = place.start_flights(&SLOW);
    job.wait_for("checkpoint_completed", |_| true);
    let storage = place.text("out/checkpoints");
    run(&["savepoint", &place.text("out")]).fails(1, &["out/checkpoints"]);
    run(&["savepoint", &storage, "--timeout", "0ms"]).fails(1, &["not complete"]);
    savepoint(&format!("file://{storage}"), &[]);
    job.kill();
    assert!(place.path("out/checkpoints/.millpond.control").exists());
    run(&["savepoint", &storage]).fails(1, &["was killed", "--restore latest"]);
    // The next job takes the place of the one that was killed.
    let mut job = place.start_flights(&[&SLOW[..], &["--restore", "latest"]].concat());
    job.wait_for("running", |_| true);
    savepoint(&storage, &["--stop"]);
    job.end().ok();
    assert!(!place.path("out/checkpoints/.millpond.control").exists());
}

#[test]
fn requests_that_make_no_sense_harm_no_job_and_a_long_path_is_no_hindrance() {
    use std::io::{Read, Write};
    let place = Place::new();
    place.flights(12_000);
    let deep = place.text(&"deep/".repeat(30));
    let mut job = place.start_flights(&[&SLOW[..], &["--checkpoint-storage", &deep]].concat());
    job.wait_for("checkpoint_completed", |_| true);
    savepoint(&deep, &[]);
    let short = place.path("link");
    std::os::unix::fs::symlink(&deep, &short).unwrap();
    let socket = short.join(".millpond.control");
    for request in [
        "",
        "\n",
        "{}\n",
        "{\"version\":9,\"command\":{\"savepoint\":{\"stop\":true}},\
        \"timeout_ms\":1}\n",
        &"x".repeat(100_000),
    ] {
        let mut connection = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        // A job that has heard enough hangs up.
        let _ = connection.write_all(request.as_bytes());
        let _ = connection.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        if connection.read_to_string(&mut answer).is_ok() {
            assert!(answer.contains("failed"), "{request:.20}: {answer}");
        }
    }
    savepoint(&deep, &["--stop"]);
    job.end().ok();
}
