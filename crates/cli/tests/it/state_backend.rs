//! Jobs on other state backends than the usual one.

use std::path::Path;

use crate::support::Place;

#[test]
fn a_state_folder_without_a_backend_that_uses_it_is_refused() {
    let place = Place::new();
    place.flights(100);
    let ended = place.run_flights(&["--state-dir", &place.text("state")]);
    ended.fails(2, &["--state-backend fs or rocksdb"]);
}

/// The folders of instances in a state folder.
fn instances(state: &Path) -> usize {
    let entries = std::fs::read_dir(state).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

mod fs {
    use std::path::Path;

    use super::instances;
    use crate::support::{Place, run};

    const FS: [&str; 2] = ["--state-backend", "fs"];
    const MEMORY: [&str; 2] = ["--state-backend", "memory"];
    const RESTORE: [&str; 2] = ["--restore", "latest"];
    const INCREMENTAL: [&str; 2] = ["--incremental", "true"];

    /// Runs the flights job until a checkpoint was completed after `position` records, then kills
    /// it.
    fn kill_after(place: &Place, position: u64, args: &[&[&str]]) {
        let slow = ["--rate", "5000", "--interval", "30ms"];
        let mut job = place.start_flights(&[&slow[..], &args.concat()].concat());
        job.wait_for("progress", |event| event["position"].as_u64() >= Some(position));
        job.wait_for("checkpoint_completed", |_| true);
        job.kill();
    }

    #[test]
    fn the_output_is_that_of_a_plain_pass_and_nothing_stays_of_the_state() {
        let place = Place::new();
        place.flights(5_000);
        place.run_flights(&[&FS[..], &["--parallelism", "3"]].concat()).ok();
        place.assert_exact();
        assert_eq!(instances(&place.path("out/state")), 0);
    }

    #[test]
    fn a_killed_job_goes_on_with_the_other_backend_and_back() {
        let place = Place::new();
        place.flights(8_000);
        let state = place.text("my state");
        let on_fs = [&FS[..], &["--state-dir", &state]].concat();
        let full = ["--incremental", "false"];
        kill_after(&place, 2_000, &[&on_fs, &full]);
        kill_after(&place, 4_000, &[&MEMORY, &full, &RESTORE]);
        kill_after(&place, 6_000, &[&on_fs, &full, &RESTORE]);
        assert!(instances(Path::new(&state)) > 0, "a killed job leaves its state behind");
        let last = [&on_fs[..], &RESTORE, &["--json"]].concat();
        let ended = place.run_flights(&last).ok();
        assert_eq!(ended.events("restored")[0]["written_by"], "fs");
        place.assert_exact();
        assert_eq!(instances(Path::new(&state)), 0, "the next job cleans up");
    }

    #[test]
    fn segments_are_shared_between_checkpoints_over_kills_rescaling_and_local_recovery() {
        let place = Place::new();
        place.flights(8_000);
        let local = place.text("local");
        let usual = [&FS[..], &INCREMENTAL, &["--local-recovery", &local]].concat();
        kill_after(&place, 1_500, &[&usual, &["--parallelism", "2"]]);
        assert!(std::fs::read_dir(place.path("out/checkpoints/shared")).unwrap().next().is_some());
        kill_after(&place, 3_000, &[&usual, &RESTORE, &["--parallelism", "2"]]);
        kill_after(&place, 4_500, &[&usual, &RESTORE, &["--parallelism", "3"]]);
        let last = [&usual[..], &RESTORE, &["--json", "--parallelism", "1"]].concat();
        let ended = place.run_flights(&last).ok();
        let read = ended.events("finished")[0]["records"].as_u64().unwrap();
        assert!(read < 8_000, "it read all {read} records again");
        assert!(ended.events("restored")[0]["local_bytes"].as_u64() > Some(0));
        place.assert_exact();
        let checkpoints = place.text("out/checkpoints");
        run(&["checkpoint", "verify", &checkpoints]).ok();
        run(&["checkpoint", "gc", &checkpoints, "--delete"]).ok();
        run(&["checkpoint", "verify", &checkpoints]).ok();
    }

    #[test]
    fn an_older_checkpoint_of_segments_is_restored_with_and_without_claim() {
        for mode in ["claim", "no-claim"] {
            let place = Place::new();
            place.flights(8_000);
            kill_after(&place, 4_000, &[&FS, &INCREMENTAL, &["--retain", "3"]]);
            let list = run(&["checkpoint", "list", &place.text("out/checkpoints"), "--json"]).ok();
            let oldest = crate::support::json(list.stdout.lines().next().unwrap());
            let folder = place.text(&format!("out/checkpoints/chk-{}", oldest["id"]));
            let args = ["--restore", &folder, "--restore-mode", mode, "--retain", "1"];
            place.run_flights(&[&args[..], &FS, &INCREMENTAL].concat()).ok();
            place.assert_exact();
            assert_eq!(Path::new(&folder).exists(), mode == "no-claim", "{mode}");
            run(&["checkpoint", "verify", &place.text("out/checkpoints")]).ok();
        }
    }

    #[test]
    fn the_demo_kills_a_job_with_a_timer_for_each_record_and_loses_nothing() {
        let place = Place::new();
        for how in [&[][..], &INCREMENTAL, &["--incremental", "true", "--local-recovery"]] {
            let job = ["demo", "--job", "timeouts", "--input", "generate:60000:50000"];
            let args = ["--output", &place.text("demo"), "--kills", "6", "--seed", "4"];
            let ended = run(&[&job[..], &args, &FS, how].concat()).ok();
            assert!(ended.stdout.contains("kills        6"), "{}", ended.stdout);
            assert!(ended.stdout.contains("lost 0, duplicated 0, wrong 0"), "{}", ended.stdout);
        }
    }
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

    use super::instances;
    use crate::support::Place;

    const ROCKSDB: [&str; 2] = ["--state-backend", "rocksdb"];
    const MEMORY: [&str; 2] = ["--state-backend", "memory"];

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
