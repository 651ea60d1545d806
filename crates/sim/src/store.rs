//! The simulated storage as one process sees it: a [`Store`] whose operations fail as the plan
//! says, and between whose operations others act.

use core::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use millpond_storage::{
    Effect, ErrorKind, ObjectInfo, Result, StorageError, Store, StorePath, StoreReader, StoreWriter,
};

use crate::disk::STALE_US;
use crate::fault::Fault;
use crate::world::{Event, World, with_world};

const URL: &str = "sim://storage";

/// A process's way to the storage of the simulation that runs on this thread.
#[derive(Clone, Copy)]
pub(crate) struct SimStore {
    process: usize,
}

/// A change of the storage.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Create(StorePath, Arc<[u8]>),
    Delete(StorePath),
}

impl Change {
    fn path(&self) -> &StorePath {
        match self {
            Self::Create(path, _) | Self::Delete(path) => path,
        }
    }

    fn verb(&self) -> &'static str {
        match self {
            Self::Create(..) => "create",
            Self::Delete(_) => "delete",
        }
    }
}

impl SimStore {
    pub(crate) fn new(process: usize) -> Self {
        Self { process }
    }

    fn error(self, kind: ErrorKind, effect: Effect, what: &str, path: &StorePath) -> StorageError {
        StorageError::new(kind, effect, what).with_path(path).with_store(URL)
    }

    fn unavailable(self, effect: Effect, what: &str, path: &StorePath) -> StorageError {
        self.error(ErrorKind::Unavailable, effect, what, path)
    }

    /// Lets others act, and lets the operation fail before it has any effect.
    fn before(self, world: &Rc<World>, path: &StorePath) -> Result<()> {
        world.interleave(self.process);
        if world.is_alive(self.process) && world.strikes(Fault::ProcessCrash) {
            world.crash_process(self.process);
        }
        if !world.is_alive(self.process) {
            return Err(self.unavailable(Effect::DidNotHappen, "the process is dead", path));
        }
        for fault in [Fault::StorageFails, Fault::StorageThrottles] {
            if world.strikes(fault) {
                world.say(format_args!("  p{}: {fault} ({path})", self.process));
                return Err(self.unavailable(Effect::DidNotHappen, "refused", path));
            }
        }
        Ok(())
    }

    /// Carries a change out, or fails to. Says whether there was anything to change.
    fn change(self, change: &Change) -> Result<bool> {
        with_world(|world| {
            let path = change.path();
            self.before(world, path)?;
            let lost = |what| Err(self.unavailable(Effect::MayHaveHappened, what, path));
            if world.strikes(Fault::TimedOut) {
                world.say(format_args!(
                    "  p{}: times out, never {} {path}",
                    self.process,
                    change.verb()
                ));
                return lost("timed out");
            }
            if world.strikes(Fault::HappensLate) {
                world.say(format_args!(
                    "  p{}: times out, later {} {path}",
                    self.process,
                    change.verb()
                ));
                let delay = world.delay_us(1_000, 150_000);
                world.schedule(delay, Event::Land(change.clone()));
                return lost("timed out");
            }
            let done = world.apply(change);
            world.say(format_args!(
                "  p{}: {} {path}{}",
                self.process,
                change.verb(),
                if done { "" } else { ": nothing to do" }
            ));
            if world.strikes(Fault::ProcessCrash) {
                world.crash_process(self.process);
                return lost("the process is dead");
            }
            if world.strikes(Fault::AnswerLost) {
                world.say(format_args!("  p{}: answer lost", self.process));
                return lost("the answer was lost");
            }
            Ok(done)
        })
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStore({})", self.process)
    }
}

impl Store for SimStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        Ok(Box::new(SimWriter { store: *self, path: path.clone(), bytes: Vec::new() }))
    }

    fn create_linked(&self, _: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        with_world(|world| {
            self.before(world, path)?;
            let disk = world.disk.borrow();
            match disk.get(path) {
                Some(object) => {
                    Ok(Box::new(SimReader { path: path.clone(), bytes: Arc::clone(&object.bytes) })
                        as Box<dyn StoreReader>)
                }
                None => Err(self.error(
                    ErrorKind::NotFound,
                    Effect::DidNotHappen,
                    "no such object",
                    path,
                )),
            }
        })
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        with_world(|world| {
            let root = StorePath::new("root")?;
            self.before(world, prefix.unwrap_or(&root))?;
            let mut as_of = world.now_us();
            if world.strikes(Fault::StaleList) {
                as_of = as_of.saturating_sub(world.delay_us(1, STALE_US));
                world.say(format_args!("  p{}: stale listing", self.process));
            }
            Ok(world.disk.borrow().list(prefix, as_of))
        })
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        let depth = prefix.map_or(0, |prefix| prefix.segments().count());
        let mut folders = Vec::new();
        for object in self.list(prefix)? {
            let segments: Vec<&str> = object.path.segments().take(depth + 1).collect();
            if object.path.segments().count() > depth + 1 {
                folders.push(StorePath::new(segments.join("/"))?);
            }
        }
        folders.dedup();
        Ok(folders)
    }

    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>> {
        with_world(|world| {
            Ok(world.disk.borrow().get(path).map(|object| object.written_us / 1_000))
        })
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        self.change(&Change::Delete(path.clone())).map(drop)
    }

    fn url(&self) -> &str {
        URL
    }
}

#[derive(Debug)]
struct SimWriter {
    store: SimStore,
    path: StorePath,
    bytes: Vec<u8>,
}

impl StoreWriter for SimWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ObjectInfo> {
        let Self { store, path, bytes } = *self;
        let len = bytes.len() as u64;
        if store.change(&Change::Create(path.clone(), bytes.into()))? {
            return Ok(ObjectInfo { path, len });
        }
        Err(store.error(ErrorKind::AlreadyExists, Effect::DidNotHappen, "the name is taken", &path))
    }

    fn abort(self: Box<Self>) {}
}

#[derive(Debug)]
struct SimReader {
    path: StorePath,
    bytes: Arc<[u8]>,
}

impl StoreReader for SimReader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = start.checked_add(buffer.len()).and_then(|end| self.bytes.get(start..end));
        match found {
            Some(found) => {
                buffer.copy_from_slice(found);
                Ok(())
            }
            None => Err(StorageError::truncated(offset, buffer.len(), self.len())
                .with_path(&self.path)
                .with_store(URL)),
        }
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}
