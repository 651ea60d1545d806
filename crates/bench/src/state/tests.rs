//! Every case runs on every backend and agrees with its floor; the work follows from the seed.

use millpond_state::seam::SystemClock;

use super::*;
use crate::backends::BACKENDS;

fn tiny() -> StateOptions {
    StateOptions { keys: 200, ops: 300, rounds: 2, raw: true, ..StateOptions::new() }
}

fn run(backend: Backend, case: StateCase, options: &StateOptions) -> Record {
    let folder = tempfile::tempdir().unwrap();
    run_case(backend, case, options, (folder.path(), &SystemClock::new())).unwrap()
}

#[test]
fn every_case_on_every_backend_agrees_with_its_floor() {
    for backend in BACKENDS {
        for case in StateCase::parse_list("all", true).unwrap() {
            // Of values of another length only those that have them differ.
            let lengths: &[usize] = if case.ttl { &[8, 5] } else { &[8, 100] };
            for value_bytes in lengths {
                let options = StateOptions { value_bytes: *value_bytes, ..tiny() };
                let record = run(*backend, case, &options);
                assert!(record.ratio_to_raw.unwrap() > 0.0, "{record:?}");
                assert_eq!(record.bench, case.to_string());
            }
        }
    }
}

#[test]
fn operations_are_calls_and_walks_count_user_keys() {
    for (name, ops) in [("value_add", 300), ("list_add_all", 300), ("map_entries", 3_000)] {
        let case = StateCase::parse_list(name, false).unwrap()[0];
        let record = run(BACKENDS[0], case, &tiny());
        assert_eq!((record.ops, record.keys, record.rounds), (ops, 200, 2), "{name}");
        assert!((record.ops_per_s_min..=record.ops_per_s_max).contains(&record.ops_per_s));
    }
}

#[test]
fn accesses_follow_from_seed_and_round() {
    let case = StateCase::parse_list("value_get", false).unwrap()[0];
    let options = tiny();
    let keys = |seed, round| {
        let options = StateOptions { seed, ..options };
        Accesses::of_round(case, &options, round).keys
    };
    assert_eq!(keys(1, 1), keys(1, 1));
    assert_ne!(keys(1, 1), keys(1, 2));
    assert_ne!(keys(1, 1), keys(2, 1));
}

#[test]
fn new_keys_come_once_each_and_are_none_of_the_preset_ones() {
    let case = StateCase::parse_list("map_add", false).unwrap()[0];
    let mut keys = Accesses::of_round(case, &tiny(), 0).keys;
    keys.extend((0..200).map(crate::rng::key));
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 500);
}

#[test]
fn sizes_of_zero_are_refused() {
    let case = StateCase::parse_list("value_get", false).unwrap()[0];
    for options in [
        StateOptions { keys: 0, ..tiny() },
        StateOptions { ops: 0, ..tiny() },
        StateOptions { rounds: 0, ..tiny() },
        StateOptions { value_bytes: 0, ..tiny() },
    ] {
        let at = (Path::new("unused"), &SystemClock::new() as &dyn Clock);
        let error = run_case(BACKENDS[0], case, &options, at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn a_backend_that_is_not_there_is_answered_with_those_that_are() {
    let error = Backend::find("tape").unwrap_err().to_string();
    assert!(error.contains("memory"), "{error}");
    assert_eq!(Backend::find("memory").unwrap().name, "memory");
}
