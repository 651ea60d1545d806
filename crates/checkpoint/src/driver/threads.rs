//! The only place of this crate that starts threads: as many as a setting allows, which end with
//! the call that started them.

use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// Does `work` for each of `jobs`, on at most `threads` threads, the caller's included; the first
/// jobs begin first. Returns what they came to, in their order. Threads that the system does not
/// give are done without. A panic in `work` panics here.
pub(super) fn for_each<J: Send, R: Send>(
    threads: usize,
    jobs: Vec<J>,
    work: impl Fn(J) -> R + Sync,
) -> Vec<R> {
    let helpers = threads.min(jobs.len()).saturating_sub(1);
    let queue = Mutex::new(jobs.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let serve = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((position, job)) = next else { return };
            let result = work(job);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((position, result));
        }
    };
    scope(|scope| {
        for _ in 0..helpers {
            let helper = Builder::new().name("transfer".to_owned());
            if helper.spawn_scoped(scope, serve).is_err() {
                break;
            }
        }
        serve();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn jobs_run_at_the_same_time_and_their_results_are_in_order() {
        let meet = Barrier::new(3);
        let results = for_each(3, vec![1, 2, 3], |job| {
            // Nobody passes before three are here.
            meet.wait();
            job * 10
        });
        assert_eq!(results, [10, 20, 30]);
        assert_eq!(for_each(0, vec![1, 2], |job| job), [1, 2]);
        assert_eq!(for_each(9, Vec::<u8>::new(), |job| job), Vec::<u8>::new());
    }
}
