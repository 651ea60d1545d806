//! All instances of one operator with typed states, and the snapshots under way.

use core::ops::ControlFlow;
use core::time::Duration;
use std::collections::BTreeMap;

use millpond_state::kinds::for_each_entry;
use millpond_state::{
    BackendContext, BackendFactory, CancelFlag, CheckpointId, ErrorKind, KeyContext, KeyGroupRange,
    KeyedBackend, MaxParallelism, MigrationMode, Migrations, NamespaceContext, Refresh, Result,
    SnapshotRequest, SnapshotTask, StateError, StateOptions, StateTime, Sweeper, TimeDomain,
    Timers, Ttl, Visibility,
};

use super::answer::{Answer, Fired, Written, migrated};
use super::op::{Access, KINDS, Kind, Place, Program};
use super::states::{States, States1, States2, States3};
use crate::conformance::backend::kinds::Numbers;
use crate::entries::{CollectedSnapshot, CollectingSink};

/// Key groups of the job.
const MAX_PARALLELISM: u32 = 16;

/// Steps after which a round of sweeping must have ended.
const STEPS_MAX: u32 = 10_000;

/// What each instance gave to a snapshot, with the key groups it owned.
type Parts<T> = Vec<(KeyGroupRange, T)>;

pub(super) struct Instance {
    pub(super) backend: Box<dyn KeyedBackend>,
    pub(super) states: Box<dyn States>,
    pub(super) timers: Timers<String, i64>,
    sweeper: Sweeper,
}

/// Instances that tile all key groups.
pub(super) struct System<'f> {
    factory: &'f dyn BackendFactory,
    max: MaxParallelism,
    time: StateTime,
    times: (i64, i64),
    instances: Vec<Instance>,
    pending: BTreeMap<u64, Parts<Box<dyn SnapshotTask>>>,
    finished: BTreeMap<u64, Parts<CollectedSnapshot>>,
}

/// The key that a number stands for; some are long.
pub(super) fn key_of(number: u8) -> String {
    let filler = if number.is_multiple_of(5) { "a key that needs room " } else { "" };
    format!("{filler}{number}")
}

fn number_of(key: &str) -> u8 {
    let digits = key.rsplit(' ').next().unwrap_or_default();
    digits.parse().unwrap_or(u8::MAX)
}

/// The namespace that a number stands for.
pub(super) const fn window_of(number: u8) -> i64 {
    (number as i64 - 1) * 3_600_000
}

const fn window_number(window: i64) -> u8 {
    (window / 3_600_000 + 1) as u8
}

impl<'f> System<'f> {
    pub(super) fn open(factory: &'f dyn BackendFactory) -> Result<Self> {
        let mut system = Self {
            factory,
            max: MaxParallelism::new(MAX_PARALLELISM)?,
            time: StateTime::new(),
            times: (super::PROCESSING_BEGINS_MS, super::EVENT_BEGINS_MS),
            instances: Vec::new(),
            pending: BTreeMap::new(),
            finished: BTreeMap::new(),
        };
        system.tell_time();
        system.reopen(1, Program::FIRST)?;
        Ok(system)
    }

    fn tell_time(&self) {
        self.time.set_processing_ms(self.times.0);
        self.time.advance_event_ms(self.times.1);
    }

    pub(super) fn pass(&mut self, domain: TimeDomain, millis: u32) {
        match domain {
            TimeDomain::Processing => self.times.0 += i64::from(millis),
            TimeDomain::Event => self.times.1 += i64::from(millis),
        }
        self.tell_time();
    }

    pub(super) fn reopen(&mut self, parallelism: u32, program: Program) -> Result<()> {
        self.instances = self.open_instances(parallelism, program, None, &Parts::new())?;
        Ok(())
    }

    /// Opens and restores instances; the old ones stay until that has succeeded.
    fn open_instances(
        &self,
        parallelism: u32,
        program: Program,
        written: Option<Program>,
        parts: &Parts<CollectedSnapshot>,
    ) -> Result<Vec<Instance>> {
        let options = self.options(program, written)?;
        let open = |index| {
            let range = self.max.range_of(index, parallelism)?;
            let context = BackendContext::new("operations", range, self.max);
            let mut backend = self.factory.open(&context)?;
            for (groups, snapshot) in parts {
                if let Some(overlap) = groups.intersection(range) {
                    backend.restore(&mut snapshot.source(overlap))?;
                }
            }
            let states: Box<dyn States> = match program.version {
                1 => Box::new(States1::register(&mut *backend, &options)?),
                2 => Box::new(States2::register(&mut *backend, &options)?),
                _ => Box::new(States3::register(&mut *backend, &options)?),
            };
            let timers = Timers::register(&mut *backend, "timers")?;
            Ok(Instance { backend, states, timers, sweeper: Sweeper::new() })
        };
        (0..parallelism).map(open).collect()
    }

    fn options(&self, program: Program, written: Option<Program>) -> Result<StateOptions> {
        let migrations = Migrations::new()
            .step_between::<u64, Numbers<1>, u64, Numbers<2>>(|old| Ok(migrated(1, old)))
            .step_between::<u64, Numbers<2>, u64, Numbers<3>>(|old| Ok(migrated(2, old)));
        let stamps_anew = written.is_some_and(|written| program.stamps_anew(&written));
        let lazy = program.lazy && !stamps_anew;
        let mode = if lazy { MigrationMode::Lazy } else { MigrationMode::Eager };
        let options = StateOptions::new().migrations(migrations).migration_mode(mode);
        let Some(ttl) = program.ttl else { return Ok(options) };
        let duration = Duration::from_millis(ttl.duration_ms.into());
        let refresh = if ttl.on_read { Refresh::OnReadAndWrite } else { Refresh::OnWrite };
        let visibility =
            if ttl.relaxed { Visibility::UntilCleaned } else { Visibility::NeverExpired };
        let settings = Ttl::new(duration, ttl.domain, &self.time)?;
        Ok(options.ttl(settings.refresh(refresh).visibility(visibility).sweep(3)))
    }

    pub(super) fn access(&mut self, place: Place, access: &Access) -> Result<Answer> {
        let key = KeyContext::new(&key_of(place.key), self.max)?;
        let window = NamespaceContext::new(&window_of(place.window))?;
        let owns = |i: &&mut Instance| i.backend.key_groups().contains(key.group());
        match self.instances.iter_mut().find(owns) {
            Some(instance) => super::states::access(instance, &key, &window, access),
            None => Err(StateError::new(ErrorKind::InvalidArgument, "no instance owns the key")),
        }
    }

    /// All timers that are due, sorted, after a check that each instance gave them in order.
    pub(super) fn fire(&mut self, now: i64) -> Result<Fired> {
        let mut fired = Vec::new();
        for Instance { backend, timers, .. } in &mut self.instances {
            let mut last = i64::MIN;
            while let Some(timer) = timers.poll(&mut **backend, now)? {
                if timer.time() < last {
                    return Err(StateError::new(ErrorKind::Corrupt, "timers come out of order"));
                }
                last = timer.time();
                let window = window_number(timer.namespace()?);
                fired.push((last, Place { key: number_of(&timer.key()?), window }));
            }
        }
        fired.sort_unstable();
        Ok(fired)
    }

    pub(super) fn walk(&mut self, kind: Kind) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for instance in &mut self.instances {
            let id = instance.states.id(kind).unwrap_or(instance.timers.id());
            for_each_entry::<String, i64, _>(&mut *instance.backend, id, |key, window| {
                places.push(Place { key: number_of(&key), window: window_number(window) });
                ControlFlow::Continue(())
            })?;
        }
        places.sort_unstable();
        Ok(places)
    }

    pub(super) fn count(&mut self, kind: Kind) -> Result<usize> {
        let mut count = 0;
        for instance in &mut self.instances {
            let id = instance.states.id(kind).unwrap_or(instance.timers.id());
            count += instance.backend.entry_count(id)?;
        }
        Ok(count as usize)
    }

    pub(super) fn sweep(&mut self, steps: u32) -> Result<()> {
        for Instance { backend, sweeper, .. } in &mut self.instances {
            for _ in 0..steps {
                sweeper.step(&mut **backend)?;
            }
        }
        Ok(())
    }

    /// Two rounds of each sweeper: the first may have begun before.
    pub(super) fn sweep_all(&mut self) -> Result<()> {
        for Instance { backend, sweeper, .. } in &mut self.instances {
            for _ in 0..2 {
                let mut steps = 0;
                while !sweeper.step(&mut **backend)?.round_ended {
                    steps += 1;
                    if steps > STEPS_MAX {
                        let message = "a round of sweeping does not end";
                        return Err(StateError::new(ErrorKind::ResourceExhausted, message));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn snapshot(&mut self, id: u64) -> Result<()> {
        let request = SnapshotRequest::full(CheckpointId::new(id));
        let mut tasks = Vec::new();
        for instance in &mut self.instances {
            tasks.push((instance.backend.key_groups(), instance.backend.snapshot(&request)?));
        }
        self.pending.insert(id, tasks);
        Ok(())
    }

    pub(super) fn finish(&mut self, id: u64) -> Result<Option<Written>> {
        let Some(tasks) = self.pending.remove(&id) else { return Ok(None) };
        let mut parts = Vec::new();
        let mut entries = BTreeMap::from(KINDS.map(|kind| (kind, 0)));
        let mut versions = Vec::new();
        for (range, task) in tasks {
            let mut sink = CollectingSink::new();
            let summary = task.run(&mut sink, &CancelFlag::new())?;
            let snapshot = sink.into_snapshot();
            if summary.entries != snapshot.entries.len() as u64 {
                return Err(StateError::new(ErrorKind::Corrupt, "the summary miscounts entries"));
            }
            for entry in &snapshot.entries {
                let name = snapshot.states.get(usize::from(entry.state)).map(|s| s.name());
                let kind = KINDS.into_iter().find(|kind| name == Some(name_of(*kind)));
                *entries.entry(kind.unwrap_or(Kind::Value)).or_default() += 1;
            }
            let valued = snapshot.states.iter().filter(|s| s.name() != name_of(Kind::Timers));
            versions.extend(valued.map(|state| state.codecs().value.version()));
            parts.push((range, snapshot));
        }
        self.finished.insert(id, parts);
        versions.dedup();
        let version = if versions.len() == 1 { versions.pop() } else { None };
        Ok(Some((version.unwrap_or_default(), entries.into_iter().collect())))
    }

    pub(super) fn drop_snapshot(&mut self, id: u64) {
        self.pending.remove(&id);
    }

    /// Restores a finished snapshot; false if the program was refused.
    pub(super) fn restore(
        &mut self,
        id: u64,
        parallelism: u32,
        program: Program,
        written: Option<Program>,
    ) -> Result<bool> {
        let Some(parts) = self.finished.get(&id) else { return Ok(true) };
        match self.open_instances(parallelism, program, written, parts) {
            Ok(instances) => self.instances = instances,
            Err(error) if error.kind() == ErrorKind::Incompatible => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }
}

/// The name of a state.
pub(super) const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Value => "value",
        Kind::List => "list",
        Kind::Map => "map",
        Kind::Reducing => "reducing",
        Kind::Aggregating => "aggregating",
        Kind::Timers => "timers",
    }
}
