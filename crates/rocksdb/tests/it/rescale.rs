//! Files restored at another parallelism, contents compared in full.

use crate::cluster::Cluster;
use crate::support::TemporaryFactory;

/// Fills a cluster over several rounds, with checkpoints between, and takes the last one.
fn filled(factories: Vec<TemporaryFactory>, parallelism: u32, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(factories, parallelism, seed);
    for round in 0..4 {
        cluster.operate(4_000);
        cluster.delete_large_map(round * 3);
        if round % 2 == 0 {
            cluster.checkpoint();
        }
    }
    cluster
}

#[test]
fn files_restore_at_any_other_parallelism() {
    for (seed, (p, q)) in [(2, 3), (3, 2), (1, 7), (7, 1), (8, 3)].into_iter().enumerate() {
        for factories in [
            vec![TemporaryFactory::tiny_files()],
            vec![TemporaryFactory::tiny_memtables()],
            vec![TemporaryFactory::tiny_memtable_files(), TemporaryFactory::tiny_buffers()],
        ] {
            let mut cluster = filled(factories, p, seed as u64);
            let taken = cluster.checkpoint();
            cluster.restore(&taken, q);
            cluster.assert_equal(&format!("{p} to {q}"));
            cluster.operate(3_000);
            cluster.assert_equal(&format!("{p} to {q}, written to again"));
        }
    }
}

#[test]
fn what_was_rescaled_is_rescaled_again_with_and_without_writes_between() {
    for (seed, operations) in [(11, 0), (12, 200), (13, 4_000)] {
        let mut cluster = filled(
            vec![TemporaryFactory::tiny_memtable_files(), TemporaryFactory::tiny_files()],
            3,
            seed,
        );
        for q in [2, 5, 5, 1, 4, 3] {
            let taken = cluster.checkpoint();
            cluster.restore(&taken, q);
            cluster.assert_equal(&format!("to {q} after {operations} operations"));
            cluster.operate(operations);
        }
        cluster.assert_equal("at the end");
    }
}

#[test]
fn the_same_parallelism_goes_on_with_the_files_as_they_were() {
    let mut cluster = filled(vec![TemporaryFactory::without_compactions()], 3, 21);
    for round in 0..6 {
        let taken = cluster.checkpoint();
        cluster.restore(&taken, 3);
        cluster.assert_equal(&format!("restore {round}"));
        let again = cluster.checkpoint();
        for (new, old) in again.iter().zip(&taken) {
            assert_eq!(new.tables(), old.tables(), "restore {round}");
            assert!(new.added_bytes < 32 << 10, "restore {round}: {} bytes", new.added_bytes);
        }
        cluster.operate(2_000);
    }
}

#[test]
fn after_a_rescale_the_imported_files_are_not_uploaded_again() {
    let mut cluster = filled(vec![TemporaryFactory::without_compactions()], 2, 31);
    let taken = cluster.checkpoint();
    let stored = cluster.files.count();
    cluster.restore(&taken, 3);
    let again = cluster.checkpoint();
    // CURRENT and MANIFEST of each.
    assert_eq!(cluster.files.count(), stored + 3 * 2);
    let added: u64 = again.iter().map(|part| part.added_bytes).sum();
    assert!(added < 3 * 32_768, "{added} bytes were added");
    cluster.restore(&again, 2);
    cluster.assert_equal("restored from files that were imported before");
}

#[test]
fn files_and_canonical_entries_restore_into_one_instance_in_any_order() {
    for seed in 41..44 {
        for files_first in [false, true] {
            let mut cluster = filled(vec![TemporaryFactory::tiny_files()], 3, seed);
            let taken = cluster.checkpoint();
            cluster.restore_mixed(&taken, 2, files_first);
            cluster.assert_equal(&format!("files first: {files_first}"));
            let taken = cluster.checkpoint();
            cluster.restore(&taken, 5);
            cluster.assert_equal(&format!("and rescaled, files first: {files_first}"));
        }
    }
}
