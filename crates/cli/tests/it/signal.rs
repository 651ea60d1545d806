//! Ctrl-C, and processes that are stopped for a while.

use std::time::Duration;

use crate::support::{BACKENDS, Place, Running, send};

#[test]
fn an_interrupted_job_stops_with_a_checkpoint_and_goes_on_exactly() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        place.flights(6_000);
        // No periodic checkpoint: only the last one can hold what was read.
        let mut job = place.start_flights(&["--rate", "10000", "--interval", "1h"]);
        job.wait_for("progress", |event| event["position"].as_u64() >= Some(2_000));
        send(signal, job.id());
        let stopped = job.end().ok();
        assert_eq!(stopped.events("finished")[0]["outcome"], "stopped");
        let ended = place.run_flights(&["--restore", "latest", "--json"]).ok();
        let read = ended.events("finished")[0]["records"].as_u64().unwrap();
        assert!(read <= 4_000, "it read {read} records again");
        place.assert_exact();
    }
}

/// Stops the process for longer than a checkpoint may take, and lets it go on.
fn pause(job: &Running) {
    send("-STOP", job.id());
    std::thread::sleep(Duration::from_millis(400));
    send("-CONT", job.id());
}

#[test]
fn a_process_that_stands_still_past_the_timeout_gives_the_checkpoint_up_and_goes_on_exactly() {
    for backend in BACKENDS {
        let place = Place::new();
        // As many as the calendar of the made-up flights has room for.
        place.flights(150_000);
        // Checkpoints follow one another, so that a stop most likely hits one under way.
        let pace = ["--rate", "5000", "--interval", "1ms", "--timeout", "200ms"];
        let more = ["--tolerable-failures", "1000"];
        let mut job = place.start_flights(&[&pace[..], &more, backend].concat());
        let mut read = 0;
        while job.taken("checkpoint_aborted") < 2 {
            pause(&job);
            // It takes checkpoints again before it is stopped once more.
            let progress = job.wait_for("progress", |it| it["position"].as_u64() > Some(read));
            read = progress["position"].as_u64().unwrap() + 500;
            job.wait_for("checkpoint_completed", |_| true);
        }
        send("-INT", job.id());
        let stopped = job.end().ok();
        assert_eq!(stopped.events("finished")[0]["restarts"], 0, "{stopped:#?}");
        place.run_flights(&[&backend[..], &["--restore", "latest"]].concat()).ok();
        place.assert_exact();
    }
}

#[test]
fn a_process_that_stands_still_keeps_its_folders() {
    let place = Place::new();
    place.flights(50_000);
    let mut job = place.start_flights(&["--rate", "5000", "--interval", "20ms"]);
    job.wait_for("checkpoint_completed", |_| true);
    send("-STOP", job.id());
    let second = place.run_flights(&["--restore", "latest"]);
    send("-CONT", job.id());
    second.fails(1, &["in use"]);
    send("-INT", job.id());
    job.end().ok();
    place.run_flights(&["--restore", "latest"]).ok();
    place.assert_exact();
}
