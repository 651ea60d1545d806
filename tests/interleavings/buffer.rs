//! The buffer of the RocksDB backend: the queue of generations and the threads that land them. A
//! generation is a number here, the database a list of those that have landed, and a landing adds
//! one to it, or fails.

#[path = "../../crates/rocksdb/src/buffer/queue.rs"]
#[allow(dead_code, reason = "not all that a writer does waits")]
mod queue;
#[path = "../../crates/rocksdb/src/buffer/workers.rs"]
#[allow(dead_code, reason = "without threads nothing waits")]
mod workers;

pub(crate) mod store {
    use std::sync::Mutex;

    /// No thread waits for another one in here.
    #[derive(Default)]
    pub(crate) struct Store {
        pub(crate) landed: Mutex<Vec<usize>>,
        pub(crate) is_landing: Mutex<bool>,
        /// How many of the next landings fail.
        pub(crate) failures: Mutex<usize>,
    }

    impl Store {
        pub(crate) fn landed(&self) -> Vec<usize> {
            self.landed.lock().unwrap().clone()
        }
    }
}

mod generation {
    pub(crate) struct Generation(pub(crate) usize);
}

mod view {
    use super::generation::Generation;
    use super::store::Store;
    use crate::sync::Arc;

    /// What the database had.
    pub(crate) struct Base(pub(crate) Vec<usize>);

    impl Base {
        pub(crate) fn new(store: Arc<Store>) -> Self {
            Self(store.landed())
        }
    }

    pub(crate) struct View {
        pub(crate) unlanded: Vec<Arc<Generation>>,
        #[allow(dead_code, reason = "for reading only")]
        pub(crate) landed: Vec<Arc<Generation>>,
        pub(crate) base: Arc<Base>,
    }
}

mod landing {
    use millpond_state::{ErrorKind, Result, StateError};

    use super::generation::Generation;
    use super::queue::Landing;
    use super::store::Store;

    pub(super) const LANDED_KEPT: usize = 2;

    impl Landing {
        pub(super) fn land(&self, generation: &Generation, store: &Store) -> Result<()> {
            let before = std::mem::replace(&mut *store.is_landing.lock().unwrap(), true);
            assert!(!before, "two threads land for one instance");
            let landed = self.check_wanted().and_then(|()| add(generation, store));
            *store.is_landing.lock().unwrap() = false;
            landed
        }
    }

    fn add(generation: &Generation, store: &Store) -> Result<()> {
        // As long as it may take.
        shuttle::thread::yield_now();
        let mut failures = store.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(StateError::new(ErrorKind::Io, "the disk is full"));
        }
        store.landed.lock().unwrap().push(generation.0);
        Ok(())
    }
}

use std::time::Duration;

use self::generation::Generation;
use self::queue::{AfterLanding, Landing};
use self::store::Store;
use self::view::{Base, View};
use self::workers::{Job, Workers};
use crate::explore;
use crate::sync::Arc;
use crate::sync::thread;

/// Time does not pass.
const SOME_TIME: Duration = Duration::from_secs(1);

/// A writer's part of a buffer.
struct Writer {
    store: Arc<Store>,
    base: Arc<Base>,
    landing: Arc<Landing>,
    workers: Workers,
    frozen: usize,
}

impl Writer {
    fn open(threads: usize, failures: usize) -> Self {
        let store = Arc::new(Store::default());
        *store.failures.lock().unwrap() = failures;
        let base = Arc::new(Base::new(Arc::clone(&store)));
        let view = View { unlanded: vec![], landed: vec![], base: Arc::clone(&base) };
        let landing = Arc::new(Landing::new(Arc::clone(&store), &view));
        Self { store, base, landing, workers: Workers::start(threads).unwrap(), frozen: 0 }
    }

    fn freeze(&mut self, after: Option<AfterLanding>) {
        self.landing.push(Arc::new(Generation(self.frozen)), after);
        self.frozen += 1;
    }

    /// Checks that the present view is whole; tells if all of it has landed.
    fn has_landed(&self) -> (bool, u64) {
        let (view, version) = self.landing.view(&self.base);
        let unlanded = view.unlanded.iter().rev().map(|generation| generation.0);
        let seen: Vec<usize> = view.base.0.iter().copied().chain(unlanded).collect();
        assert_eq!(seen, (0..self.frozen).collect::<Vec<_>>(), "each generation once, in order");
        (view.unlanded.is_empty(), version)
    }
}

/// What is to be done after the generation `number` has landed: the database is at that.
fn meets(number: usize) -> AfterLanding {
    Box::new(move |store| assert_eq!(store.landed(), (0..=number).collect::<Vec<_>>()))
}

#[test]
fn generations_land_in_order_each_once_and_every_view_is_whole() {
    explore(|| {
        let mut writer = Writer::open(2, 0);
        for number in 0..3 {
            writer.freeze(Some(meets(number)));
            writer.landing.start(&writer.workers);
            writer.has_landed();
        }
        loop {
            let (is_done, version) = writer.has_landed();
            if is_done {
                break;
            }
            writer.landing.wait(SOME_TIME, version, &writer.workers);
        }
        assert_eq!(writer.store.landed(), [0, 1, 2]);
    });
}

#[test]
fn a_landing_that_failed_is_tried_again_by_the_next_write_and_nothing_lands_twice() {
    explore(|| {
        let mut writer = Writer::open(2, 2);
        let mut refused = 0;
        writer.freeze(None);
        writer.freeze(Some(meets(1)));
        writer.landing.start(&writer.workers);
        loop {
            let (is_done, version) = writer.has_landed();
            if is_done {
                break;
            }
            writer.landing.wait(SOME_TIME, version, &writer.workers);
            if writer.landing.check(&writer.workers).is_err() {
                refused += 1;
                thread::yield_now();
            }
        }
        assert!(refused >= 1, "writes are refused while landings fail");
        assert_eq!(writer.store.landed(), [0, 1]);
    });
}

#[test]
fn when_a_buffer_goes_what_is_needed_still_lands_and_the_database_is_let_go_of() {
    for needed in [false, true] {
        explore(move || {
            let mut writer = Writer::open(2, 0);
            let met = Arc::new(());
            if needed {
                let met = Arc::clone(&met);
                writer.freeze(None);
                writer.freeze(Some(Box::new(move |store| {
                    assert_eq!(store.landed(), [0, 1]);
                    drop(met);
                })));
            }
            writer.freeze(None);
            writer.landing.start(&writer.workers);
            writer.landing.abandon(&writer.workers);
            if !needed {
                assert!(!*writer.store.is_landing.lock().unwrap(), "a thread is still at it");
            }
            let Writer { store, base, landing, workers, .. } = writer;
            drop((workers, base, landing));
            assert!(Arc::try_unwrap(met).is_ok(), "dropped without having been done");
            if needed {
                assert!(store.landed().starts_with(&[0, 1]));
            }
            assert!(Arc::try_unwrap(store).is_ok(), "the database is held for ever");
        });
    }
}

#[test]
fn what_is_left_to_do_is_done_when_the_last_handle_has_gone() {
    explore(|| {
        let mut writer = Writer::open(2, 0);
        writer.freeze(None);
        let generation = Arc::new(Generation(7));
        let other = (writer.workers.clone(), Arc::clone(&generation));
        let other = thread::spawn(move || other.0.submit(Job::Drop(other.1)));
        writer.landing.start(&writer.workers);
        drop(writer.workers);
        other.join().unwrap();
        assert_eq!(writer.store.landed(), [0]);
        assert!(Arc::try_unwrap(generation).is_ok());
    });
}
