//! How compactions give way to those who process.
//!
//! RocksDB's own setting for that is the least priority there is, for good. A thread with a lock of
//! the database may then not run for a quarter of a second, and a reader waits for the lock.

/// Highest that the system knows, which is the least priority.
const NICE_MAX: i32 = 19;

/// The priority of threads that compact. RocksDB has one pool of them for a process, so a factory
/// with a lower one sets it for all that run its compactions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompactionPriority {
    /// What the system calls niceness; `None` if threads keep theirs.
    nice: Option<i32>,
}

impl CompactionPriority {
    /// So many steps below that of the present thread; with 0, threads keep theirs.
    pub(crate) fn below_this_thread(steps: u32) -> Self {
        let own = rustix::process::getpriority_process(None).ok();
        let steps = i32::try_from(steps).unwrap_or(NICE_MAX);
        let nice = own.filter(|_| steps > 0).map(|own| own.saturating_add(steps).min(NICE_MAX));
        Self { nice }
    }

    /// Gives the priority to the present thread, unless it has a lower one.
    pub(crate) fn apply(self) {
        let Some(nice) = self.nice else { return };
        // A system that does not let this happen runs compactions as it runs all else.
        if rustix::process::getpriority_process(None).is_ok_and(|own| own < nice) {
            let _ = rustix::process::setpriority_process(None, nice);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "tests stop on errors and start threads"
    )]

    use super::*;

    #[test]
    fn a_thread_gets_the_priority_and_keeps_one_that_is_lower() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let (lower, lowest) = ((before + 3).min(NICE_MAX), NICE_MAX);
        let priority = CompactionPriority::below_this_thread(3);
        let in_thread = |first: CompactionPriority, then: CompactionPriority| {
            let changed = move || {
                first.apply();
                then.apply();
                own()
            };
            std::thread::spawn(changed).join().unwrap()
        };
        let none = CompactionPriority::below_this_thread(0);
        let least = CompactionPriority::below_this_thread(u32::MAX);
        assert_eq!(in_thread(none, none), before);
        assert_eq!(in_thread(none, priority), lower);
        assert_eq!(in_thread(priority, priority), lower);
        assert_eq!(in_thread(least, priority), lowest);
        assert_eq!(own(), before);
    }
}
