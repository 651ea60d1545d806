//! Restores.

use millpond_bench::restore::{RestoreOptions, run};
use millpond_bench::{BACKENDS, ErrorKind};
use millpond_state::seam::SystemClock;

use crate::support::{Place, in_memory};

#[test]
fn all_keys_come_back_at_any_parallelism() {
    for backend in BACKENDS {
        for (from, to) in [(1, 1), (3, 2), (2, 5)] {
            let place = Place::new();
            let options =
                RestoreOptions { keys: 2_000, from, to, rounds: 2, ..RestoreOptions::new() };
            let at = (place.path(), &SystemClock::new() as _);
            // It fails if a key is missing.
            let records = run(*backend, &options, &place.local(), at).unwrap();
            assert_eq!(records[0].bench, "restore_full");
            let incremental = records.iter().any(|it| it.bench == "restore_incremental");
            assert!(incremental || backend.name != "memory");
            for record in &records {
                let figures = &record.restore;
                assert_eq!(figures.from_parallelism.zip(figures.to_parallelism), Some((from, to)));
                assert!(figures.restore_ms.unwrap() > 0.0);
                assert!(record.snapshot.bytes_total.unwrap() > 2_000 * 50, "{record:?}");
                assert!(record.snapshot.disk_ms.is_some() && record.ops == 2_000);
            }
        }
    }
}

#[test]
fn a_parallelism_beyond_the_key_groups_is_refused() {
    let place = Place::new();
    for (from, to) in [(0, 1), (1, 0), (129, 1), (1, 129)] {
        let options = RestoreOptions { from, to, ..RestoreOptions::new() };
        let at = (place.path(), &SystemClock::new() as _);
        let error = run(BACKENDS[0], &options, &in_memory(), at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
