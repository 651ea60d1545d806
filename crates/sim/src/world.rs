//! The simulated machine: time, the queue of what happens next, the storage, and the processes.
//!
//! One thread runs it all. A storage operation may let the events of others happen before it takes
//! effect, so procedures of several operations interleave as those of threads and processes do.

use core::fmt;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use millpond_storage::{Effect, ErrorKind, StorageError};

use crate::Violation;
use crate::attempt::Attempt;
use crate::breakage::Breakage;
use crate::disk::Disk;
use crate::fault::{Fault, FaultTable};
use crate::message::{Control, Frozen, Report};
use crate::output::Output;
use crate::plan::Plan;
use crate::random::Random;
use crate::store::Change;
use crate::trace::Trace;
use millpond_checkpoint::CheckpointToStore;
use millpond_checkpoint::driver::SubtaskSnapshot;
use millpond_state::CheckpointId;

/// How deep events may happen within storage operations of others.
const DEPTH_MAX: u32 = 3;

/// How long after the end of faults the job must have ended.
const PATIENCE_US: u64 = 20_000_000;

/// Something that happens at its time. Numbers are of processes and subtasks.
pub(crate) enum Event {
    /// A new process takes the job over.
    Start,
    /// The coordinator's own time has come.
    Wake(usize),
    Report(usize, Box<Report>),
    Control(usize, usize, Control),
    /// A subtask reads its inputs.
    Work(usize, usize),
    /// The asynchronous part of a snapshot.
    Asynchronous(usize, usize, Box<Frozen>),
    Publish(usize, Box<CheckpointToStore<SubtaskSnapshot>>),
    /// Payloads of a checkpoint that came to nothing are deleted.
    Discard(usize, CheckpointId, Vec<SubtaskSnapshot>),
    /// Deletions that the registry handed out are carried out.
    Delete(usize),
    /// It is noticed that a process, or a part of it, is dead.
    Detect(usize),
    /// A change that had timed out happens.
    Land(Change),
}

struct Entry {
    at_us: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.order) == (other.at_us, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.order).cmp(&(other.at_us, other.order))
    }
}

/// One process: an attempt once it has taken over.
#[derive(Default)]
pub(crate) struct Process {
    alive: Cell<bool>,
    pub(crate) attempt: RefCell<Option<Rc<Attempt>>>,
}

/// Counts of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Checkpoints completed.
    pub completed: u64,
    /// Checkpoints that came to nothing.
    pub aborted: u64,
    /// Attempts that began from a checkpoint.
    pub restores: u64,
    /// Attempts that were superseded and noticed it.
    pub fenced: u64,
    /// Faults by kind.
    pub faults: FaultTable,
}

impl Counts {
    /// Adds all numbers of `other`.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.events, other.events),
            (&mut self.completed, other.completed),
            (&mut self.aborted, other.aborted),
            (&mut self.restores, other.restores),
            (&mut self.fenced, other.fenced),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
        self.faults.add(&other.faults);
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) breakage: Option<Breakage>,
    now_us: Cell<u64>,
    order: Cell<u64>,
    queue: RefCell<BinaryHeap<Reverse<Entry>>>,
    chances: RefCell<Random>,
    delays: RefCell<Random>,
    pub(crate) disk: RefCell<Disk>,
    pub(crate) output: RefCell<Output>,
    processes: RefCell<Vec<Rc<Process>>>,
    trace: RefCell<Trace>,
    pub(crate) counts: RefCell<Counts>,
    faults: Cell<u64>,
    violation: RefCell<Option<Violation>>,
    calm: Cell<bool>,
    depth: Cell<u32>,
    /// Starts that are scheduled.
    starts: Cell<u32>,
    finished: Cell<bool>,
}

thread_local! {
    /// The simulation that this thread runs: stores must be `Send` and cannot hold it.
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// Lets `use_world` work with the simulation that runs on this thread.
pub(crate) fn with_world<R>(
    use_world: impl FnOnce(&Rc<World>) -> Result<R, StorageError>,
) -> Result<R, StorageError> {
    let world = WORLD.with(|world| world.borrow().clone());
    let Some(world) = world else {
        let what = "no simulation runs on this thread";
        return Err(StorageError::new(ErrorKind::Unsupported, Effect::DidNotHappen, what));
    };
    use_world(&world)
}

impl World {
    pub(crate) fn new(plan: &Plan, breakage: Option<Breakage>, text: bool) -> Rc<Self> {
        let world = Rc::new(Self {
            breakage,
            now_us: Cell::new(0),
            order: Cell::new(0),
            queue: RefCell::default(),
            chances: RefCell::new(Random::new(plan.seed, 2)),
            delays: RefCell::new(Random::new(plan.seed, 3)),
            disk: RefCell::default(),
            output: RefCell::default(),
            processes: RefCell::default(),
            trace: RefCell::new(Trace::new(text)),
            counts: RefCell::default(),
            faults: Cell::new(0),
            violation: RefCell::default(),
            calm: Cell::new(false),
            depth: Cell::new(0),
            starts: Cell::new(0),
            finished: Cell::new(false),
            plan: plan.clone(),
        });
        WORLD.with(|current| *current.borrow_mut() = Some(Rc::clone(&world)));
        world
    }

    /// Takes the simulation off the thread.
    pub(crate) fn leave() {
        WORLD.with(|current| *current.borrow_mut() = None);
    }

    pub(crate) fn is_broken(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }

    // Time and chance.

    pub(crate) fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    pub(crate) fn delay_us(&self, least: u64, most: u64) -> u64 {
        self.delays.borrow_mut().between(least, most)
    }

    pub(crate) fn faults_are_over(&self) -> bool {
        self.calm.get() || self.now_us() >= self.plan.faults_end_ms.saturating_mul(1_000)
    }

    /// From now on there are no more faults.
    pub(crate) fn end_faults(&self) {
        self.calm.set(true);
    }

    /// Whether a fault strikes here and now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let rate = u32::try_from(self.plan.faults.get(fault)).unwrap_or(u32::MAX);
        if self.faults_are_over()
            || !self.chances.borrow_mut().chance(rate)
            || self.faults.get() >= self.plan.faults_max
            || self.violation.borrow().is_some()
        {
            return false;
        }
        self.faults.set(self.faults.get() + 1);
        let mut counts = self.counts.borrow_mut();
        let count = counts.faults.get(fault);
        counts.faults.set(fault, count + 1);
        true
    }

    pub(crate) fn schedule(&self, delay_us: u64, event: Event) {
        if matches!(event, Event::Start) {
            self.starts.set(self.starts.get() + 1);
        }
        let at_us = self.now_us().saturating_add(delay_us);
        let order = self.order.get();
        self.order.set(order + 1);
        self.queue.borrow_mut().push(Reverse(Entry { at_us, order, event }));
    }

    // The history.

    pub(crate) fn note(&self, kind: u64, numbers: [u64; 3]) {
        self.trace.borrow_mut().add(self.now_us(), kind, numbers);
    }

    pub(crate) fn say(&self, text: fmt::Arguments<'_>) {
        self.trace.borrow_mut().say(self.now_us(), text);
    }

    pub(crate) fn violate(&self, what: impl fmt::Display) {
        self.say(format_args!("VIOLATION: {what}"));
        let mut violation = self.violation.borrow_mut();
        if violation.is_none() {
            let events = self.trace.borrow().events();
            *violation = Some(Violation { event: events, what: what.to_string() });
        }
    }

    pub(crate) fn check(&self, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            self.violate(what);
        }
    }

    /// All output has come out, once.
    pub(crate) fn finish(&self) {
        self.finished.set(true);
    }

    pub(crate) fn expected_records(&self) -> u64 {
        u64::from(self.plan.partitions) * u64::from(self.plan.records)
    }

    // Storage.

    /// Makes a change; whether there was anything to change.
    pub(crate) fn apply(&self, change: &Change) -> bool {
        let now = self.now_us();
        let mut disk = self.disk.borrow_mut();
        let (kind, path, done) = match change {
            Change::Create(path, bytes) => {
                let overwrites = self.is_broken(Breakage::OverwritesMetadata)
                    && (path.name() == "_metadata" || path.as_str().starts_with("log/"));
                (20, path, disk.create(path, bytes, now, overwrites))
            }
            Change::Delete(path) => (21, path, disk.delete(path, now)),
        };
        drop(disk);
        let hash = path
            .as_str()
            .bytes()
            .fold(0, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        self.note(kind, [hash, u64::from(done.is_ok()), 0]);
        done.unwrap_or_else(|what| {
            self.violate(what);
            true
        })
    }

    // Processes.

    pub(crate) fn is_alive(&self, process: usize) -> bool {
        self.processes.borrow().get(process).is_some_and(|it| it.alive.get())
    }

    pub(crate) fn add_process(&self) -> (usize, Rc<Process>) {
        let process = Rc::new(Process::default());
        process.alive.set(true);
        let mut processes = self.processes.borrow_mut();
        processes.push(Rc::clone(&process));
        (processes.len() - 1, process)
    }

    pub(crate) fn attempt(&self, process: usize) -> Option<Rc<Attempt>> {
        let processes = self.processes.borrow();
        let process = processes.get(process).filter(|it| it.alive.get())?;
        let attempt = process.attempt.borrow();
        attempt.clone()
    }

    /// A process ends: nothing of it has any effect from now on.
    pub(crate) fn end_process(&self, process: usize) {
        if let Some(process) = self.processes.borrow().get(process) {
            process.alive.set(false);
        }
    }

    pub(crate) fn crash_process(&self, process: usize) {
        self.note(30, [process as u64, 0, 0]);
        self.say(format_args!("p{process} crashes"));
        self.end_process(process);
        self.schedule(self.delay_us(1_000, 20_000), Event::Detect(process));
    }

    /// Starts another process unless one runs or is about to.
    pub(crate) fn ensure_progress(&self) {
        let serves = |process: &Rc<Process>| {
            process.alive.get()
                && process.attempt.borrow().as_ref().is_some_and(|attempt| attempt.is_able())
        };
        let served = self.processes.borrow().iter().any(serves);
        if !served && self.starts.get() == 0 {
            self.schedule(self.delay_us(1_000, 10_000), Event::Start);
        }
    }

    // Running.

    pub(crate) fn run(self: &Rc<Self>) {
        self.schedule(0, Event::Start);
        let deadline = self.plan.faults_end_ms.saturating_mul(1_000).saturating_add(PATIENCE_US);
        while self.violation.borrow().is_none() && !self.finished.get() {
            let Some(Reverse(entry)) = self.queue.borrow_mut().pop() else {
                return self.violate("nothing happens any more and the job has not ended");
            };
            self.now_us.set(self.now_us().max(entry.at_us));
            if self.now_us() > deadline {
                return self.violate("the job is stuck: it should have ended long ago");
            }
            if let Some(event) = self.dispatch(entry.event) {
                self.schedule(500, event);
            }
            self.strike_processes();
        }
    }

    /// Events of others happen within an operation of `process`.
    pub(crate) fn interleave(self: &Rc<Self>, _process: usize) {
        if self.depth.get() >= DEPTH_MAX || !self.strikes(Fault::Interleaved) {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        let steps = self.delay_us(1, 30);
        for _ in 0..steps {
            if self.violation.borrow().is_some() || self.finished.get() {
                break;
            }
            let Some(Reverse(entry)) = self.queue.borrow_mut().pop() else { break };
            self.now_us.set(self.now_us().max(entry.at_us));
            // What is in the middle of something else goes on later.
            if let Some(event) = self.dispatch(entry.event) {
                self.schedule(500, event);
            }
        }
        self.depth.set(self.depth.get() - 1);
    }

    /// Lets an event happen; hands it back if who it is for is busy.
    fn dispatch(self: &Rc<Self>, event: Event) -> Option<Event> {
        match event {
            Event::Start => {
                // One within another would only make stacks deep.
                if self.depth.get() >= DEPTH_MAX {
                    self.starts.set(self.starts.get() - 1);
                    return Some(Event::Start);
                }
                self.starts.set(self.starts.get() - 1);
                Attempt::start(self);
                None
            }
            Event::Land(change) => {
                let (verb, path) = match &change {
                    Change::Create(path, _) => ("create", path),
                    Change::Delete(path) => ("delete", path),
                };
                self.say(format_args!("what had timed out happens: {verb} {path}"));
                self.apply(&change);
                None
            }
            Event::Detect(process) => {
                self.note(31, [process as u64, 0, 0]);
                self.say(format_args!("p{process} is noticed to have failed"));
                if let Some(attempt) = self.attempt(process)
                    && !attempt.is_able()
                {
                    self.end_process(process);
                }
                self.ensure_progress();
                None
            }
            Event::Wake(process)
            | Event::Report(process, _)
            | Event::Control(process, ..)
            | Event::Work(process, _)
            | Event::Asynchronous(process, ..)
            | Event::Publish(process, _)
            | Event::Discard(process, ..)
            | Event::Delete(process) => {
                let attempt = self.attempt(process)?;
                attempt.dispatch(self, event)
            }
        }
    }

    /// Parts of processes die, and others take over beside them.
    fn strike_processes(&self) {
        let crashes =
            [Fault::SubtaskCrash, Fault::CoordinatorCrash, Fault::ProcessCrash, Fault::Failover];
        for fault in crashes {
            if self.strikes(fault) {
                let alive: Vec<usize> = (0..self.processes.borrow().len())
                    .filter(|process| self.attempt(*process).is_some())
                    .collect();
                let pick = self.chances.borrow_mut().below(alive.len() as u64);
                let picked = usize::try_from(pick).ok().and_then(|pick| alive.get(pick));
                if let Some(process) = picked {
                    self.strike(fault, *process);
                }
            }
        }
    }

    fn strike(&self, fault: Fault, process: usize) {
        let Some(attempt) = self.attempt(process) else { return };
        match fault {
            Fault::ProcessCrash => self.crash_process(process),
            Fault::Failover => {
                self.say(format_args!("p{process} is taken for dead: another takes over"));
                self.schedule(self.delay_us(100, 5_000), Event::Start);
            }
            Fault::CoordinatorCrash => {
                self.say(format_args!("the coordinator of p{process} crashes"));
                attempt.crash_coordinator();
                // Its subtasks go on until somebody ends them.
                self.schedule(self.delay_us(100, 20_000), Event::Start);
                self.schedule(self.delay_us(20_000, 100_000), Event::Detect(process));
            }
            _ => {
                let subtask = self.chances.borrow_mut().next();
                attempt.crash_subtask(self, subtask);
                self.schedule(self.delay_us(100, 30_000), Event::Detect(process));
            }
        }
        self.note(32, [process as u64, fault as u64, 0]);
    }

    pub(crate) fn report(&self) -> (Option<Violation>, Counts, u64, Vec<String>) {
        let mut trace = self.trace.borrow_mut();
        let mut counts = *self.counts.borrow();
        counts.events = trace.events();
        (self.violation.borrow().clone(), counts, trace.hash(), trace.take_lines())
    }

    /// Ends all processes.
    pub(crate) fn end_all(&self) {
        for process in self.processes.borrow().iter() {
            process.alive.set(false);
            *process.attempt.borrow_mut() = None;
        }
    }

    pub(crate) fn has_violation(&self) -> bool {
        self.violation.borrow().is_some()
    }

    /// Lets what had timed out happen.
    pub(crate) fn land_all(&self) {
        let rest = std::mem::take(&mut *self.queue.borrow_mut());
        for Reverse(entry) in rest.into_sorted_vec().into_iter().rev() {
            if let Event::Land(change) = entry.event {
                self.apply(&change);
            }
        }
    }
}
