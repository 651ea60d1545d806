//! A store whose n-th operation fails, before or after its effect.

use core::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millpond_storage::{
    Effect, ErrorKind, ObjectInfo, Result, StorageError, Store, StorePath, StoreReader, StoreWriter,
};

/// The operations that are counted and can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Store::create`].
    Create,
    /// [`StoreWriter::write`].
    Write,
    /// [`StoreWriter::finish`].
    Finish,
    /// [`Store::open`].
    Open,
    /// [`StoreReader::read_exact_at`].
    Read,
    /// [`Store::list`].
    List,
    /// [`Store::list_folders`].
    ListFolders,
    /// [`Store::delete`].
    Delete,
}

/// Whether a failing operation has its effect all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTime {
    /// It fails before it has any.
    Before,
    /// It has its effect, and then reports failure: the answer was lost.
    After,
}

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultPlan {
    /// How many matching operations succeed before.
    pub skip: u64,
    /// The kind of operation that matches; `None` for all.
    pub only: Option<Operation>,
    /// Before or after the effect.
    pub time: FaultTime,
    /// Whether all later operations of any kind fail too, before their effect, as after a crash or
    /// a lost connection.
    pub lasting: bool,
    /// The kind of error.
    pub kind: ErrorKind,
}

impl FaultPlan {
    /// The operation after `skip` others fails at `time`, once, as [`ErrorKind::Unavailable`].
    #[must_use]
    pub const fn after(skip: u64, time: FaultTime) -> Self {
        Self { skip, only: None, time, lasting: false, kind: ErrorKind::Unavailable }
    }

    /// The same for operations of one kind: others are not counted.
    #[must_use]
    pub const fn only(mut self, operation: Operation) -> Self {
        self.only = Some(operation);
        self
    }

    /// The same, and nothing works any more from then on.
    #[must_use]
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// The same with another kind of error.
    #[must_use]
    pub const fn kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }
}

/// Counts and decides; shared by a store and its writers and readers.
#[derive(Debug, Default)]
struct Control {
    plan: Option<FaultPlan>,
    fired: bool,
    trace: Vec<String>,
}

impl Control {
    fn decide(&mut self, operation: Operation) -> Option<(FaultTime, ErrorKind)> {
        let plan = self.plan.as_mut()?;
        if self.fired {
            return plan.lasting.then_some((FaultTime::Before, plan.kind));
        }
        if plan.only.is_some_and(|only| only != operation) {
            return None;
        }
        if plan.skip > 0 {
            plan.skip -= 1;
            return None;
        }
        self.fired = true;
        Some((plan.time, plan.kind))
    }
}

type Shared = Arc<Mutex<Control>>;

/// Wraps a store, counts its operations, and makes one fail as its [`FaultPlan`] says. Keeps a
/// trace of all calls. Shared by threads; with several threads the count depends on their order.
///
/// ```
/// use millpond_storage::{Effect, MemoryStore, StoreExt, StorePath};
/// use millpond_testkit::double::{FaultPlan, FaultStore, FaultTime, Operation};
///
/// let store = FaultStore::new(MemoryStore::new());
/// store.set_plan(FaultPlan::after(0, FaultTime::After).only(Operation::Finish));
/// let path = StorePath::new("chk-1/metadata")?;
/// let error = store.put_if_absent(&path, b"x").unwrap_err();
/// assert_eq!(error.effect(), Effect::MayHaveHappened);
/// assert!(store.exists(&path)?);
/// # Ok::<(), millpond_storage::StorageError>(())
/// ```
pub struct FaultStore {
    inner: Box<dyn Store>,
    control: Shared,
}

impl FaultStore {
    /// Wraps `inner`, without a plan.
    #[must_use]
    pub fn new(inner: impl Store + 'static) -> Self {
        Self { inner: Box::new(inner), control: Shared::default() }
    }

    /// Starts counting for `plan`; forgets the plan before.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut control = lock(&self.control);
        control.plan = Some(plan);
        control.fired = false;
    }

    /// Lets everything succeed again.
    pub fn clear_plan(&self) {
        lock(&self.control).plan = None;
    }

    /// Whether the planned failure has happened.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        lock(&self.control).fired
    }

    /// The calls since the store was wrapped or the trace last taken, one a line: what and on which
    /// object, writes and reads with their number of bytes.
    #[must_use]
    pub fn take_trace(&self) -> Vec<String> {
        core::mem::take(&mut lock(&self.control).trace)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

fn lock(control: &Shared) -> MutexGuard<'_, Control> {
    control.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an operation is about, for trace and errors.
struct Call<'a> {
    operation: Operation,
    path: Option<&'a StorePath>,
    bytes: Option<usize>,
}

impl<'a> Call<'a> {
    fn new(operation: Operation, path: impl Into<Option<&'a StorePath>>) -> Self {
        Self { operation, path: path.into(), bytes: None }
    }

    /// Runs the operation, or fails as planned.
    fn run<T>(&self, control: &Shared, effect: impl FnOnce() -> Result<T>) -> Result<T> {
        let fault = {
            let mut control = lock(control);
            control.trace.push(self.to_string());
            control.decide(self.operation)
        };
        match fault {
            None => effect(),
            Some((FaultTime::Before, kind)) => Err(self.error(kind, Effect::DidNotHappen)),
            Some((FaultTime::After, kind)) => {
                effect()?;
                Err(self.error(kind, self.effect_after()))
            }
        }
    }

    /// What the contract lets an operation say that had its effect and lost the answer.
    const fn effect_after(&self) -> Effect {
        match self.operation {
            Operation::Finish | Operation::Delete => Effect::MayHaveHappened,
            _ => Effect::DidNotHappen,
        }
    }

    fn error(&self, kind: ErrorKind, effect: Effect) -> StorageError {
        let error = StorageError::new(kind, effect, format!("planned failure of {self}"));
        match self.path {
            Some(path) => error.with_path(path),
            None => error,
        }
    }
}

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.operation {
            Operation::Create => "create",
            Operation::Write => "write",
            Operation::Finish => "finish",
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::List => "list",
            Operation::ListFolders => "list-folders",
            Operation::Delete => "delete",
        })?;
        self.path.iter().try_for_each(|path| write!(f, " {path}"))?;
        self.bytes.iter().try_for_each(|bytes| write!(f, " {bytes}"))
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for FaultStore {
    fn create(&self, path: &StorePath) -> Result<Box<dyn StoreWriter>> {
        let call = Call::new(Operation::Create, path);
        let inner = call.run(&self.control, || self.inner.create(path))?;
        let control = Arc::clone(&self.control);
        Ok(Box::new(FaultWriter { inner, path: path.clone(), control, poisoned: false }))
    }

    fn create_linked(&self, _: &StorePath, _: &Path) -> Option<Box<dyn StoreWriter>> {
        None
    }

    fn open(&self, path: &StorePath) -> Result<Box<dyn StoreReader>> {
        let call = Call::new(Operation::Open, path);
        let inner = call.run(&self.control, || self.inner.open(path))?;
        let control = Arc::clone(&self.control);
        Ok(Box::new(FaultReader { inner, path: path.clone(), control }))
    }

    fn list(&self, prefix: Option<&StorePath>) -> Result<Vec<ObjectInfo>> {
        Call::new(Operation::List, prefix).run(&self.control, || self.inner.list(prefix))
    }

    fn list_folders(&self, prefix: Option<&StorePath>) -> Result<Vec<StorePath>> {
        let call = Call::new(Operation::ListFolders, prefix);
        call.run(&self.control, || self.inner.list_folders(prefix))
    }

    fn written_wall_ms(&self, path: &StorePath) -> Result<Option<u64>> {
        Call::new(Operation::List, path).run(&self.control, || self.inner.written_wall_ms(path))
    }

    fn delete(&self, path: &StorePath) -> Result<()> {
        Call::new(Operation::Delete, path).run(&self.control, || self.inner.delete(path))
    }

    fn url(&self) -> &str {
        self.inner.url()
    }
}

#[derive(Debug)]
struct FaultWriter {
    inner: Box<dyn StoreWriter>,
    path: StorePath,
    control: Shared,
    /// Set by a failed write: then nothing is published, as the contract says.
    poisoned: bool,
}

impl FaultWriter {
    fn check(&self, operation: Operation) -> Result<()> {
        if !self.poisoned {
            return Ok(());
        }
        Err(Call::new(operation, &self.path).error(ErrorKind::Unavailable, Effect::DidNotHappen))
    }
}

#[deny(clippy::missing_trait_methods)]
impl StoreWriter for FaultWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.check(Operation::Write)?;
        let mut call = Call::new(Operation::Write, &self.path);
        call.bytes = Some(bytes.len());
        let written = call.run(&self.control, || self.inner.write(bytes));
        self.poisoned = written.is_err();
        written
    }

    fn finish(self: Box<Self>) -> Result<ObjectInfo> {
        self.check(Operation::Finish)?;
        let Self { inner, path, control, .. } = *self;
        Call::new(Operation::Finish, &path).run(&control, || inner.finish())
    }

    fn abort(self: Box<Self>) {
        lock(&self.control).trace.push(format!("abort {}", self.path));
        self.inner.abort();
    }
}

#[derive(Debug)]
struct FaultReader {
    inner: Box<dyn StoreReader>,
    path: StorePath,
    control: Shared,
}

#[deny(clippy::missing_trait_methods)]
impl StoreReader for FaultReader {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut call = Call::new(Operation::Read, &self.path);
        call.bytes = Some(buffer.len());
        call.run(&self.control, || self.inner.read_exact_at(offset, buffer))
    }

    fn local_file(&self) -> Option<&Path> {
        None
    }
}
