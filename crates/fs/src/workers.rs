//! The background threads of a factory: they write full pieces of the log to files. Apart from
//! those of a restore, which end with it, they are the only threads of this crate.
//!
//! The threads end when the factory and all its instances are gone. A panic in one of them settles
//! the ticket it was at work on as failed.

use millpond_state::{Result, StateError};

use crate::map::NewFile;
use crate::seal::{gave_up, seal};
use crate::segment::Segment;
use crate::sync::{Arc, Mutex, MutexGuard, PoisonError, Sender, thread, unbounded};
use crate::ticket::{Frozen, Ticket};

/// Buffers that wait to be used again, at most.
const SPARE_BUFFERS_MAX: usize = 4;

/// What the threads do.
enum Task {
    Seal(Job),
    /// Unmapping takes longer than a write may.
    Release(Arc<Segment>),
}

impl Task {
    fn run(self) {
        match self {
            Self::Seal(job) => job.run(),
            Self::Release(segment) => drop(segment),
        }
    }
}

/// A piece to be written.
pub(crate) struct Job {
    pub(crate) piece: Frozen,
    pub(crate) ticket: Arc<Ticket>,
}

impl Job {
    fn run(self) {
        let Self { piece: Frozen { buffer, used, name, folder }, ticket } = self;
        let mut settle = SettleOnDrop { ticket, name, is_decided: false };
        let data = buffer.get(..used).unwrap_or_default();
        let path = folder.file(&settle.name);
        let file = NewFile::create(path)
            .map_err(|error| StateError::from_io(format_args!("create {}", settle.name), error));
        let outcome = file.and_then(|file| seal(data, file, settle.name.clone()));
        drop((buffer, folder));
        // Before it is settled: whoever waits may renew it at once.
        settle.is_decided = true;
        settle.ticket.settle(outcome);
    }
}

/// Settles a ticket that nobody else did.
struct SettleOnDrop {
    ticket: Arc<Ticket>,
    name: String,
    is_decided: bool,
}

impl Drop for SettleOnDrop {
    fn drop(&mut self) {
        if !self.is_decided {
            self.ticket.settle(Err(gave_up(&self.name)));
        }
    }
}

/// The threads, and buffers that instances no longer use. Clones share them.
#[derive(Clone)]
pub(crate) struct Workers {
    tasks: Sender<Task>,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Workers {
    /// Starts `threads` threads.
    pub(crate) fn start(threads: usize) -> Result<Self> {
        let (tasks, queue) = unbounded::<Task>();
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            let thread = thread::Builder::new().name(format!("millpond-fs-{number}"));
            let work = move || queue.iter().for_each(Task::run);
            thread
                .spawn(work)
                .map_err(|error| StateError::from_io("start a background thread", error))?;
        }
        Ok(Self { tasks, spare: Arc::default() })
    }

    /// Has a piece written.
    pub(crate) fn submit(&self, job: Job) {
        let (ticket, name) = (Arc::clone(&job.ticket), job.piece.name.clone());
        if self.tasks.send(Task::Seal(job)).is_err() {
            ticket.settle(Err(gave_up(&name)));
        }
    }

    /// Lets go of a segment, elsewhere.
    pub(crate) fn release(&self, segment: Arc<Segment>) {
        // If there are no threads any more, it has gone with the error.
        let _ = self.tasks.send(Task::Release(segment));
    }

    fn spare_lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `bytes` bytes, whatever they are; one that was used before if there is.
    pub(crate) fn buffer(&self, bytes: usize) -> Vec<u8> {
        let mut spare = self.spare_lock();
        let fitting = spare.iter().position(|buffer| buffer.len() == bytes);
        let found = fitting.map(|at| spare.swap_remove(at));
        drop(spare);
        found.unwrap_or_else(|| vec![0; bytes])
    }

    /// Takes a buffer back.
    pub(crate) fn recycle(&self, buffer: Vec<u8>) {
        let mut spare = self.spare_lock();
        if spare.len() < SPARE_BUFFERS_MAX {
            spare.push(buffer);
        }
    }
}
