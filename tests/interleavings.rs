//! Where a writer, its snapshots and the threads that write files wait for each other, in many
//! orders of their threads: whatever the order, nobody waits for ever, and each piece is written
//! once.
//!
//! The modules under test are those of the product, compiled here once more with the locks and
//! threads of shuttle, which runs one thread at a time and chooses at each lock which goes on. What
//! they hand over, and writing it to a file, is replaced by what counts. Time does not pass: a
//! wait with a limit waits for its wake-up, so that one that is missing shows.
//!
//! Each test tries [`schedules`] orders by chance, and as many in which few threads change their
//! turn; `make interleavings` tries more. An order that fails is printed, and `shuttle::replay`
//! repeats it.
//!
//! What the memory backend shares with its snapshots is immutable while it is shared, which the
//! compiler checks, and has nothing to wait for: there are no orders to try.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is all test: a panic is a report"
)]

#[path = "interleavings/buffer.rs"]
mod buffer;
#[path = "interleavings/channel.rs"]
mod channel;
#[path = "../crates/fs/src/error.rs"]
#[allow(dead_code, reason = "the modules under test use a part of it")]
mod error;
#[path = "interleavings/files.rs"]
mod files;
#[path = "../crates/fs/src/ticket.rs"]
mod ticket;
#[path = "../crates/fs/src/workers.rs"]
#[allow(dead_code, reason = "spare buffers have no order to get wrong")]
mod workers;

pub(crate) use buffer::store;
pub(crate) use files::{map, seal, segment};

/// What the modules under test share, with shuttle's in the place of the standard library's.
mod sync {
    pub(crate) use crate::channel::{Sender, unbounded};
    pub(crate) use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic};
    pub(crate) use shuttle::thread;
}

use std::cell::Cell;
use std::sync::LazyLock;

use millpond_state::{BackendContext, CancelFlag, MaxParallelism, Result};
use millpond_state_folder::{InstanceFolder, StateFolder};
use sync::Arc;
use ticket::{Frozen, Ticket};
use workers::Workers;

/// Orders of each kind that each test tries.
fn schedules() -> usize {
    let wanted = std::env::var("INTERLEAVINGS").ok();
    wanted.map_or(2_000, |wanted| wanted.parse().expect("INTERLEAVINGS is a number"))
}

/// How many threads may change their turn in orders of the second kind.
const CHANGES: usize = 3;

fn explore(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), schedules());
    shuttle::check_pct(test, schedules(), CHANGES);
}

thread_local! {
    /// Pieces that were written, or could not be. All threads of an order are one of the system's.
    static SEALED: Cell<usize> = const { Cell::new(0) };
    /// How many of the next cannot be.
    static FAILURES: Cell<usize> = const { Cell::new(0) };
}

fn reset(failures: usize) {
    SEALED.set(0);
    FAILURES.set(failures);
}

static FOLDER: LazyLock<Arc<InstanceFolder>> = LazyLock::new(|| {
    let path = tempfile::tempdir().unwrap();
    let folder = StateFolder::create(path.path()).unwrap();
    let max = MaxParallelism::new(1).unwrap();
    let context = BackendContext::new("test", max.full_range(), max);
    Arc::new(folder.create_instance(&context).unwrap())
});

fn piece(buffer: &Arc<Vec<u8>>) -> Frozen {
    let (buffer, folder) = (Arc::clone(buffer), Arc::clone(&FOLDER));
    Frozen { used: buffer.len(), buffer, name: "1.seg".to_owned(), folder }
}

/// What a snapshot does: has the piece written, if nobody has, and waits for the file.
fn resolve(ticket: &Arc<Ticket>, workers: &Workers) -> Result<Arc<segment::Segment>> {
    ticket.start(workers);
    ticket.segment(&CancelFlag::new())
}

type Resolving = sync::thread::JoinHandle<Result<Arc<segment::Segment>>>;

fn snapshot(ticket: &Arc<Ticket>, workers: &Workers) -> Resolving {
    let (ticket, workers) = (Arc::clone(ticket), workers.clone());
    sync::thread::spawn(move || resolve(&ticket, &workers))
}

/// What there is when a writer has waited for its piece.
struct Waited {
    workers: Workers,
    buffer: Arc<Vec<u8>>,
    ticket: Arc<Ticket>,
    snapshots: [Resolving; 2],
}

/// Has a piece written and waits for it, while two snapshots do the same.
fn wait_beside_snapshots() -> Waited {
    let workers = Workers::start(2).unwrap();
    let buffer = Arc::new(vec![7; 3]);
    let ticket = Arc::new(Ticket::new(piece(&buffer)));
    let snapshots = [snapshot(&ticket, &workers), snapshot(&ticket, &workers)];
    ticket.start(&workers);
    ticket.wait();
    Waited { workers, buffer, ticket, snapshots }
}

#[test]
fn a_piece_is_written_once_whoever_asks_first_and_all_who_wait_get_it() {
    explore(|| {
        reset(0);
        let Waited { workers: _workers, buffer, ticket, snapshots } = wait_beside_snapshots();
        let written = ticket.outcome().expect("decided").expect("written");
        assert!(Arc::try_unwrap(buffer).is_ok(), "the writer has its buffer back");
        for snapshot in snapshots {
            let found = snapshot.join().unwrap().expect("written");
            assert!(Arc::ptr_eq(&found, &written));
        }
        assert_eq!(SEALED.get(), 1);
    });
}

#[test]
fn a_piece_that_could_not_be_written_is_tried_again_and_nobody_waits_for_ever() {
    explore(|| {
        reset(1);
        let Waited { workers, buffer, ticket, snapshots } = wait_beside_snapshots();
        assert!(ticket.outcome().expect("decided").is_err());
        ticket.renew(piece(&buffer));
        ticket.start(&workers);
        ticket.wait();
        let written = ticket.outcome().expect("decided").expect("written");
        for snapshot in snapshots {
            // It saw the failure, or slept until all was well again.
            if let Ok(found) = snapshot.join().unwrap() {
                assert!(Arc::ptr_eq(&found, &written));
            }
        }
        assert_eq!(SEALED.get(), 2);
    });
}
