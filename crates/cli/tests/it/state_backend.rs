//! Jobs on other state backends than the usual one.

use crate::support::Place;

#[test]
fn a_state_folder_without_a_backend_that_uses_it_is_refused() {
    let place = Place::new();
    place.flights(100);
    let ended = place.run_flights(&["--state-dir", &place.text("state")]);
    ended.fails(2, &["--state-backend rocksdb"]);
}

#[cfg(not(feature = "rocksdb"))]
#[test]
fn a_backend_that_was_left_out_is_refused_with_the_way_to_have_it() {
    let place = Place::new();
    place.flights(100);
    place.run_flights(&["--state-backend", "rocksdb"]).fails(2, &["--features rocksdb"]);
}

#[cfg(feature = "rocksdb")]
mod rocksdb {
    use std::path::Path;

    use crate::support::Place;

    const ROCKSDB: [&str; 2] = ["--state-backend", "rocksdb"];
    const MEMORY: [&str; 2] = ["--state-backend", "memory"];

    /// The folders of instances in a state folder.
    fn instances(state: &Path) -> usize {
        let entries = std::fs::read_dir(state).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    }

    #[test]
    fn the_output_is_that_of_a_plain_pass_and_nothing_stays_of_the_state() {
        let place = Place::new();
        place.flights(5_000);
        place.run_flights(&[&ROCKSDB[..], &["--parallelism", "3"]].concat()).ok();
        place.assert_exact();
        assert_eq!(instances(&place.path("out/state")), 0);
    }

    #[test]
    fn a_killed_job_goes_on_with_the_other_backend_and_back() {
        let place = Place::new();
        place.flights(8_000);
        let state = place.text("my state");
        let on_rocksdb = [&ROCKSDB[..], &["--state-dir", &state]].concat();
        let slow = ["--rate", "5000", "--interval", "30ms"];
        let restore = ["--restore", "latest"];
        for (backend, more, position) in [
            (&on_rocksdb[..], &[][..], 2_000),
            (&MEMORY, &restore, 4_000),
            (&on_rocksdb, &restore, 6_000),
        ] {
            let mut job = place.start_flights(&[&slow[..], backend, more].concat());
            job.wait_for("progress", |event| event["position"].as_u64() >= Some(position));
            job.wait_for("checkpoint_completed", |_| true);
            job.kill();
        }
        assert!(instances(Path::new(&state)) > 0, "a killed job leaves its state behind");
        let ended = place.run_flights(&[&on_rocksdb[..], &restore, &["--json"]].concat()).ok();
        assert_eq!(ended.events("restored")[0]["written_by"], "rocksdb");
        place.assert_exact();
        assert_eq!(instances(Path::new(&state)), 0, "the next job cleans up");
    }
}
