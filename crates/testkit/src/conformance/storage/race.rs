//! Several threads at one store.

use std::sync::Barrier;

use millpond_storage::{ErrorKind, Store, StoreExt as _};

use super::{failed, names, path, put, writer};
use crate::violation::{Verdict, Violation, ensure, ensure_eq};

const PUBLISHERS: u8 = 4;

/// Runs `work` on some threads at once; gives what each returned.
fn on_threads<T: Send>(work: impl Fn(u8) -> T + Sync) -> Verdict<Vec<T>> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PUBLISHERS).map(|id| scope.spawn(move || work(id))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|result| result.map_err(|_| Violation::new("a thread panicked"))).collect()
    })
}

/// Of many racing publishers of one name exactly one wins, and its bytes are the object's.
pub fn of_racing_publishers_exactly_one_wins(store: &dyn Store) -> Verdict {
    for round in 0..20 {
        let name = format!("chk-{round}/metadata");
        let barrier = Barrier::new(PUBLISHERS.into());
        let results = on_threads(|id| {
            let writer = writer(store, &name, &[id; 1_000]);
            barrier.wait();
            writer.and_then(|writer| writer.finish())
        })?;
        let mut winners = Vec::new();
        for (id, result) in (0u8..).zip(results) {
            if result.is_ok() {
                winners.push(id);
            } else {
                failed(result, ErrorKind::AlreadyExists, "a loser")?;
            }
        }
        ensure_eq!(winners.len(), 1, "winners in round {round}");
        let expected = vec![winners.first().copied().unwrap_or_default(); 1_000];
        ensure!(store.read_all(&path(&name)?)? == expected, "the winner's bytes are not there");
    }
    ensure_eq!(names(store, None)?.len(), 20, "objects");
    Ok(())
}

/// Racing publishers of different names, also in one folder, all win.
pub fn racing_publishers_of_different_names_all_win(store: &dyn Store) -> Verdict {
    let results = on_threads(|id| {
        (0..10).try_for_each(|round| put(store, &format!("chk-{round}/part-{id}"), &[id; 10]))
    })?;
    results.into_iter().collect::<Result<(), _>>()?;
    ensure_eq!(names(store, None)?.len(), 40, "objects");
    ensure_eq!(store.read_all(&path("chk-9/part-3")?)?, [3; 10], "one of them");
    Ok(())
}

/// Creators and deleters in one folder do not disturb each other.
pub fn creators_and_deleters_in_one_folder_do_not_disturb_each_other(store: &dyn Store) -> Verdict {
    let results = on_threads(|id| {
        (0..50).try_for_each(|round| {
            let name = format!("shared/deep/{id}-{round}");
            put(store, &name, b"x")?;
            store.delete(&path(&name)?)
        })
    })?;
    results.into_iter().collect::<Result<(), _>>()?;
    ensure!(names(store, None)?.is_empty(), "objects are left");
    put(store, "shared", b"the folders are gone")?;
    Ok(())
}

/// One reader serves many threads at once.
pub fn one_reader_serves_many_threads(store: &dyn Store) -> Verdict {
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 253) as u8).collect();
    put(store, "a", &bytes)?;
    let reader = store.open(&path("a")?)?;
    let wrong = on_threads(|id| {
        let mut wrong = 0;
        for at in (usize::from(id) * 100..99_000).step_by(997) {
            let mut buffer = [0; 500];
            let read = reader.read_exact_at(at as u64, &mut buffer);
            wrong += u32::from(read.is_err() || bytes.get(at..at + 500) != Some(&buffer));
        }
        wrong
    })?;
    ensure_eq!(wrong, [0; PUBLISHERS as usize], "reads that failed or were wrong");
    Ok(())
}
