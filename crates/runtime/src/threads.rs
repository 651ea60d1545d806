//! The only place where threads are started: one for each subtask, and a bounded pool for the
//! asynchronous part of snapshots and for checkpoint storage.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Sender, unbounded};

use crate::error::{JobError, JobErrorKind, Result};

/// Work for the pool.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// Starts a named thread.
pub(crate) fn start(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Builder::new().name(name.clone()).spawn(body).map_err(|error| {
        let message = format!("cannot start thread {name}: lower the parallelism");
        JobError::new(JobErrorKind::State, message).with_source(error)
    })
}

/// Runs user code; a panic becomes an error with its message.
pub(crate) fn catch<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // The unwound state is never used again: a subtask or task that panicked is dropped.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(JobError::new(JobErrorKind::UserCode, format!("panicked: {message}")))
    })
}

/// A fixed number of threads that take work from one queue. The queue's length is bounded by who
/// fills it: each subtask has at most one entry for each checkpoint in flight.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: Option<Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn new(name: &str, threads: usize) -> Result<Self> {
        let (queue, work) = unbounded::<Work>();
        let mut pool = Self { queue: Some(queue), threads: Vec::new() };
        for index in 0..threads.max(1) {
            let work = work.clone();
            let thread = start(format!("{name}-{index}"), move || {
                for task in work {
                    task();
                }
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// A handle to queue work with.
    pub(crate) fn handle(&self) -> PoolHandle {
        PoolHandle { queue: self.queue.clone() }
    }
}

impl Drop for Pool {
    /// Waits for the work under way and queued.
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A panic in the work was caught and reported there.
            let _ = thread.join();
        }
    }
}

/// Queues work of a [`Pool`]. All handles must be gone for the pool to end.
#[derive(Clone, Debug)]
pub(crate) struct PoolHandle {
    queue: Option<Sender<Work>>,
}

impl PoolHandle {
    /// Queues `work`; gives it back if the pool has ended.
    pub(crate) fn submit(&self, work: Work) -> std::result::Result<(), Work> {
        match &self.queue {
            Some(queue) => queue.send(work).map_err(|refused| refused.0),
            None => Err(work),
        }
    }
}
