//! Jobs.

use std::sync::Arc;

use millpond_bench::job::{JobOptions, run};
use millpond_bench::{BACKENDS, Distribution, Record, Result};
use millpond_checkpoint::driver::CheckpointStorage;
use millpond_state::seam::{Clock, SystemClock};
use millpond_storage::MemoryStore;

use crate::support::Place;

fn measure(options: &JobOptions, backend: usize) -> Result<Record> {
    let place = Place::new();
    let backend = BACKENDS[backend];
    let factory = backend.factory(place.path()).unwrap();
    let mut storage = || Ok(CheckpointStorage::new(Arc::new(MemoryStore::new())));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    run(backend, options, (&factory, &mut storage), &clock)
}

fn tiny() -> JobOptions {
    JobOptions { records: 20_001, keys: 500, rounds: 2, raw: true, ..JobOptions::new() }
}

#[test]
fn every_backend_agrees_with_the_job_written_by_hand() {
    for backend in 0..BACKENDS.len() {
        for (distribution, parallelism) in
            [(Distribution::Uniform, 3), (Distribution::Zipf(1.2), 1)]
        {
            // It fails if the sums differ.
            let record =
                measure(&JobOptions { distribution, parallelism, ..tiny() }, backend).unwrap();
            assert_eq!((record.ops, record.rounds), (20_001, 2));
            assert!(record.ratio_to_raw.unwrap() > 0.0);
            assert_eq!(record.job.parallelism, Some(parallelism));
            assert_eq!(record.job.interval_ms, Some(0));
        }
    }
}

#[test]
fn checkpoints_are_counted_and_timed() {
    let options = JobOptions { interval_ms: Some(1), records: 400_000, raw: false, ..tiny() };
    let job = measure(&options, 0).unwrap().job;
    assert!(job.checkpoints.unwrap() > 0, "{job:?}");
    assert!(job.checkpoint_ms_p50.unwrap() <= job.checkpoint_ms_p99.unwrap(), "{job:?}");
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    for wrong in [
        JobOptions { records: 0, ..tiny() },
        JobOptions { keys: 0, ..tiny() },
        JobOptions { rounds: 0, ..tiny() },
        JobOptions { parallelism: 0, ..tiny() },
        JobOptions { parallelism: 129, ..tiny() },
        JobOptions { interval_ms: Some(0), ..tiny() },
    ] {
        let error = measure(&wrong, 0).unwrap_err();
        assert_eq!(error.kind(), millpond_bench::ErrorKind::InvalidArgument, "{wrong:?}");
    }
}
