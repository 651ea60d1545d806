//! The threads that land generations, and that drop what took the writer long to drop.
//!
//! One thread at most works for an instance at a time. Without threads, whoever waits for a landing
//! does it.

use std::collections::VecDeque;

use millpond_state::{Result, StateError};

use super::generation::Generation;
use super::queue::Landing;
use crate::sync::thread::{Builder, JoinHandle};
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The name of the threads.
const NAME: &str = "millpond-landing";

/// Something to do.
pub(crate) enum Job {
    /// Land the next generation of an instance.
    Land(Arc<Landing>),
    /// Drop a generation.
    Drop(Arc<Generation>),
}

impl Job {
    fn execute(self) {
        match self {
            Self::Land(landing) => landing.land_all(),
            Self::Drop(generation) => drop(generation),
        }
    }
}

/// The threads of a factory. Clones share them; they end with the last one.
#[derive(Clone)]
pub(crate) struct Workers(Arc<Threads>);

struct Threads {
    queue: Arc<Queue>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    closed: bool,
}

impl Workers {
    /// Starts so many threads.
    pub(crate) fn start(threads: usize) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut started = Threads { queue: Arc::clone(&queue), handles: Vec::new() };
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let builder = Builder::new().name(NAME.to_owned());
            let handle = builder.spawn(move || queue.work()).map_err(|error| {
                StateError::from_io("start a thread that writes buffers out", error)
            })?;
            started.handles.push(handle);
        }
        Ok(Self(Arc::new(started)))
    }

    /// Whether there are threads.
    pub(crate) fn has_threads(&self) -> bool {
        !self.0.handles.is_empty()
    }

    /// Has a thread do it.
    pub(crate) fn submit(&self, job: Job) {
        self.0.queue.lock().waiting.push_back(job);
        self.0.queue.changed.notify_one();
    }

    /// Does the next job, for want of threads; tells if there was one.
    pub(crate) fn do_one(&self) -> bool {
        let job = self.0.queue.lock().waiting.pop_front();
        job.map(Job::execute).is_some()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job.execute();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        for handle in self.handles.drain(..) {
            // A thread that panicked has poisoned nothing that anybody still looks at.
            let _ = handle.join();
        }
    }
}
