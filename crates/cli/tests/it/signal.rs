//! Ctrl-C.

use std::process::Command;

use crate::support::Place;

fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

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
