//! All instances of one operator, and the snapshots under way: what operations run on. What an
//! operation gives is rendered as text, so that a backend's and the model's can be compared and
//! shown.

use core::fmt::Write as _;
use core::ops::ControlFlow;
use std::collections::BTreeMap;

use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, BackendFactory, CancelFlag, CheckpointId, EntryKey, EntrySink, ErrorKind,
    KeyGroup, KeyGroupRange, KeyedBackend, MaxParallelism, Result, SnapshotEntry, SnapshotRequest,
    SnapshotTask, StateCodecs, StateDescriptor, StateError, StateId, StateKind, key_hash,
};

use super::op::{Action, Address, Op, StateChoice, numbered};
use crate::entries::{CollectedSnapshot, CollectingSink};

/// Key groups of the job.
pub(super) const MAX_PARALLELISM: u32 = 16;

/// Bytes of a value that are shown as they are; longer ones as length and hash.
const SHOWN_BYTES_MAX: usize = 12;

struct Instance {
    backend: Box<dyn KeyedBackend>,
    states: [StateId; 3],
}

/// What each instance contributed to a snapshot, with the key groups it owned.
type Parts<T> = Vec<(KeyGroupRange, T)>;

/// Instances that tile all key groups, with snapshots under way and finished ones.
pub(super) struct Cluster<'f> {
    factory: &'f dyn BackendFactory,
    max: MaxParallelism,
    instances: Vec<Instance>,
    pending: BTreeMap<u64, Parts<Box<dyn SnapshotTask>>>,
    finished: BTreeMap<u64, Parts<CollectedSnapshot>>,
}

impl<'f> Cluster<'f> {
    pub(super) fn open(factory: &'f dyn BackendFactory) -> Result<Self> {
        let mut cluster = Self {
            factory,
            max: MaxParallelism::new(MAX_PARALLELISM)?,
            instances: Vec::new(),
            pending: BTreeMap::new(),
            finished: BTreeMap::new(),
        };
        cluster.reopen(1, &[])?;
        Ok(cluster)
    }

    /// Runs one operation and renders what it gave. Errors of kind `UserCode` are the visitors'
    /// own and part of what is rendered.
    pub(super) fn apply(&mut self, op: &Op) -> Result<String> {
        let mut out = String::new();
        match self.run(op, &mut out) {
            Err(error) if error.kind() == ErrorKind::UserCode => out.push_str("visitor failed"),
            other => other?,
        }
        Ok(out)
    }

    fn run(&mut self, op: &Op, out: &mut String) -> Result<()> {
        match op {
            Op::Get(state, at) => self.with(*state, *at, |backend, id, at| {
                show(out, backend.get(id, at)?);
                Ok(())
            }),
            Op::Put(state, at, value) => {
                self.with(*state, *at, |backend, id, at| backend.put(id, at, &value.bytes()))
            }
            Op::Append(state, at, value) => {
                self.with(*state, *at, |backend, id, at| backend.append(id, at, &value.bytes()))
            }
            Op::Delete(state, at) => {
                self.with(*state, *at, |backend, id, at| backend.delete(id, at))
            }
            Op::MapGet(at, user_key) => self.with(StateChoice::Map, *at, |backend, id, at| {
                show(out, backend.map_get(id, at, &numbered(*user_key))?);
                Ok(())
            }),
            Op::MapPut(at, user_key, value) => {
                self.with(StateChoice::Map, *at, |backend, id, at| {
                    backend.map_put(id, at, &numbered(*user_key), &value.bytes())
                })
            }
            Op::MapRemove(at, user_key) => self.with(StateChoice::Map, *at, |backend, id, at| {
                backend.map_remove(id, at, &numbered(*user_key))
            }),
            Op::MapVisit(at, actions) => self.with(StateChoice::Map, *at, |backend, id, at| {
                map_visit(backend, id, at, actions, out)
            }),
            _ => self.run_many(op, out),
        }
    }

    /// Runs the operations that reach several instances.
    fn run_many(&mut self, op: &Op, out: &mut String) -> Result<()> {
        match op {
            Op::GetMany(state, batch) => {
                let batch: Vec<_> = batch.iter().map(|at| (*at, ())).collect();
                self.batches(*state, &batch, |backend, id, entries, _| {
                    let mut values = vec![None; entries.len()];
                    backend.get_many(id, entries, &mut values)?;
                    values.into_iter().for_each(|value| show(out, value));
                    Ok(())
                })
            }
            Op::PutMany(state, batch) => {
                self.batches(*state, batch, |backend, id, entries, payloads| {
                    let values: Vec<Vec<u8>> = payloads.iter().map(|value| value.bytes()).collect();
                    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
                    backend.put_many(id, entries, &values)
                })
            }
            Op::UpdateMany(state, batch) => {
                self.batches(*state, batch, |backend, id, entries, actions| {
                    update_many(backend, id, entries, actions, out)
                })
            }
            Op::Visit(state, first, last, namespace) => {
                let groups = KeyGroupRange::new(KeyGroup::new(*first), KeyGroup::new(*last))?;
                let namespace =
                    namespace.map(|namespace| Address { key: 0, namespace }.namespace_bytes());
                self.visit(*state, groups, namespace.as_deref(), out)
            }
            Op::Count(state) => {
                for instance in &mut self.instances {
                    let count = instance.backend.entry_count(id_of(&instance.states, *state))?;
                    write(out, format_args!("{count} "));
                }
                Ok(())
            }
            _ => self.run_lifecycle(op, out),
        }
    }

    /// Runs snapshot, restore and what belongs to them.
    fn run_lifecycle(&mut self, op: &Op, out: &mut String) -> Result<()> {
        match op {
            Op::Open(parallelism) => self.reopen(*parallelism, &[]),
            Op::Snapshot(id) => self.snapshot(*id),
            Op::Finish(id) => self.finish(*id, out),
            Op::Cancel(id) => self.cancel(*id),
            Op::Drop(id) => {
                self.pending.remove(id);
                Ok(())
            }
            Op::Completed(id) => {
                let completed =
                    |i: &mut Instance| i.backend.checkpoint_completed(CheckpointId::new(*id));
                self.instances.iter_mut().for_each(completed);
                Ok(())
            }
            Op::Aborted(id) => {
                let aborted =
                    |i: &mut Instance| i.backend.checkpoint_aborted(CheckpointId::new(*id));
                self.instances.iter_mut().for_each(aborted);
                Ok(())
            }
            Op::Restore(id, parallelism) => match self.finished.get(id).cloned() {
                Some(parts) => self.reopen(*parallelism, &parts),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn reopen(
        &mut self,
        parallelism: u32,
        parts: &[(KeyGroupRange, CollectedSnapshot)],
    ) -> Result<()> {
        self.instances.clear();
        for index in 0..parallelism {
            let range = self.max.range_of(index, parallelism)?;
            let context = BackendContext::new("operations", range, self.max);
            let mut backend = self.factory.open(&context)?;
            for (groups, snapshot) in parts {
                if let Some(overlap) = groups.intersection(range) {
                    backend.restore(&mut snapshot.source(overlap))?;
                }
            }
            let states = [
                backend.register(&describe("value", StateKind::Value)?)?,
                backend.register(&describe("list", StateKind::List)?)?,
                backend.register(&describe("map", StateKind::Map)?)?,
            ];
            self.instances.push(Instance { backend, states });
        }
        Ok(())
    }

    /// Hands the instance that owns an address to `run`.
    fn with(
        &mut self,
        state: StateChoice,
        at: Address,
        run: impl FnOnce(&mut dyn KeyedBackend, StateId, EntryKey<'_>) -> Result<()>,
    ) -> Result<()> {
        let (key, namespace) = (at.key_bytes(), at.namespace_bytes());
        let at = EntryKey::new(&key, self.max).in_namespace(&namespace);
        let owner = |i: &&mut Instance| i.backend.key_groups().contains(at.group());
        match self.instances.iter_mut().find(owner) {
            Some(instance) => {
                let id = id_of(&instance.states, state);
                run(&mut *instance.backend, id, at)
            }
            None => Err(StateError::new(ErrorKind::InvalidArgument, "no instance owns the key")),
        }
    }

    /// Splits a batch by owner and hands each owner its part, in order.
    fn batches<T: Copy>(
        &mut self,
        state: StateChoice,
        batch: &[(Address, T)],
        mut run: impl FnMut(&mut dyn KeyedBackend, StateId, &[EntryKey<'_>], &[T]) -> Result<()>,
    ) -> Result<()> {
        let bytes: Vec<(Vec<u8>, Vec<u8>, T)> =
            batch.iter().map(|(at, item)| (at.key_bytes(), at.namespace_bytes(), *item)).collect();
        for instance in &mut self.instances {
            let range = instance.backend.key_groups();
            let (mut entries, mut items) = (Vec::new(), Vec::new());
            for (key, namespace, item) in &bytes {
                let at = EntryKey::new(key, self.max).in_namespace(namespace);
                if range.contains(at.group()) {
                    entries.push(at);
                    items.push(*item);
                }
            }
            let id = id_of(&instance.states, state);
            run(&mut *instance.backend, id, &entries, &items)?;
        }
        Ok(())
    }

    fn visit(
        &mut self,
        state: StateChoice,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        out: &mut String,
    ) -> Result<()> {
        let mut seen = Vec::new();
        for instance in &mut self.instances {
            let id = id_of(&instance.states, state);
            instance.backend.visit_entries(
                id,
                groups,
                namespace,
                &mut |group, key, namespace| {
                    seen.push((group.get(), key.to_vec(), namespace.to_vec()));
                    Ok(ControlFlow::Continue(()))
                },
            )?;
        }
        if !seen.is_sorted_by_key(|entry| entry.0) {
            out.push_str("key groups do not ascend\n");
        }
        seen.sort();
        for (group, key, namespace) in &seen {
            write(out, format_args!("{group} {} {}\n", Brief(key), Brief(namespace)));
        }
        Ok(())
    }

    fn snapshot(&mut self, id: u64) -> Result<()> {
        let request = SnapshotRequest::full(CheckpointId::new(id));
        let mut tasks = Vec::new();
        for instance in &mut self.instances {
            tasks.push((instance.backend.key_groups(), instance.backend.snapshot(&request)?));
        }
        self.pending.insert(id, tasks);
        Ok(())
    }

    fn finish(&mut self, id: u64, out: &mut String) -> Result<()> {
        let Some(tasks) = self.pending.remove(&id) else {
            return Ok(());
        };
        let mut parts = Vec::new();
        for (range, task) in tasks {
            let mut sink = CollectingSink::new();
            let summary = task.run(&mut sink, &CancelFlag::new())?;
            let snapshot = sink.into_snapshot();
            write(out, format_args!("{range}: {} entries\n", summary.entries));
            for (at, value) in snapshot.logical() {
                let place = format!("{} {}", at.state, at.group);
                let (key, namespace) = (Brief(&at.key), Brief(&at.namespace));
                let (user_key, value) = (Brief(&at.user_key), Brief(&value));
                write(out, format_args!("{place} {key} {namespace} {user_key}: {value}\n"));
            }
            parts.push((range, snapshot));
        }
        self.finished.insert(id, parts);
        Ok(())
    }

    /// How soon a task notices is its own affair: nothing is rendered.
    fn cancel(&mut self, id: u64) -> Result<()> {
        for (_, task) in self.pending.remove(&id).unwrap_or_default() {
            let cancel = CancelFlag::new();
            let mut sink = CancelAfter { cancel: cancel.clone(), entries_left: 3 };
            match task.run(&mut sink, &cancel) {
                Err(error) if error.kind() == ErrorKind::Cancelled => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}

/// Sets the cancel flag after some entries.
struct CancelAfter {
    cancel: CancelFlag,
    entries_left: u32,
}

impl EntrySink for CancelAfter {
    fn begin(&mut self, _states: &[StateDescriptor]) -> Result<()> {
        Ok(())
    }

    fn entry(&mut self, _entry: &SnapshotEntry<'_>) -> Result<()> {
        self.entries_left = self.entries_left.saturating_sub(1);
        if self.entries_left == 0 {
            self.cancel.cancel();
        }
        Ok(())
    }
}

fn map_visit(
    backend: &mut dyn KeyedBackend,
    id: StateId,
    at: EntryKey<'_>,
    actions: &[Action],
    out: &mut String,
) -> Result<()> {
    let mut index = 0;
    backend.map_visit(id, at, &mut |user_key, edit| {
        write(out, format_args!("{}=", Brief(user_key)));
        show(out, edit.current());
        let action = actions.get(index).copied().unwrap_or(Action::Keep);
        index += 1;
        decide(edit, action)?;
        Ok(match action {
            Action::Break => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    })
}

fn update_many(
    backend: &mut dyn KeyedBackend,
    id: StateId,
    entries: &[EntryKey<'_>],
    actions: &[Action],
    out: &mut String,
) -> Result<()> {
    backend.update_many(id, entries, &mut |index, edit| {
        write(out, format_args!("{index}="));
        show(out, edit.current());
        decide(edit, actions.get(index).copied().unwrap_or(Action::Keep))
    })
}

fn decide(edit: &mut millpond_state::Edit<'_>, action: Action) -> Result<()> {
    match action {
        Action::Keep => {}
        Action::Replace(payload) => edit.replace(&payload.bytes()),
        Action::Remove | Action::Break => edit.remove(),
        Action::Fail => {
            edit.replace(b"must not be stored");
            return Err(StateError::new(ErrorKind::UserCode, "the visitor was told to fail"));
        }
    }
    Ok(())
}

fn id_of(states: &[StateId; 3], state: StateChoice) -> StateId {
    let [value, list, map] = *states;
    match state {
        StateChoice::Value => value,
        StateChoice::List => list,
        StateChoice::Map => map,
    }
}

fn describe(name: &str, kind: StateKind) -> Result<StateDescriptor> {
    let codec = |part: &str| CodecIdentity::new(format!("testkit:{part}"), 1);
    let codecs = StateCodecs {
        key: codec("key"),
        namespace: codec("namespace"),
        user_key: (kind == StateKind::Map).then(|| codec("user-key")),
        value: codec("value"),
    };
    StateDescriptor::new(name, kind, codecs)
}

fn show(out: &mut String, value: Option<&[u8]>) {
    match value {
        Some(value) => write(out, format_args!("{} ", Brief(value))),
        None => out.push_str("none "),
    }
}

/// Writing to a string cannot fail.
fn write(out: &mut String, text: core::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Bytes in hexadecimal, or their length and hash if they are many.
struct Brief<'a>(&'a [u8]);

impl core::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.0.len() > SHOWN_BYTES_MAX {
            return write!(f, "[{} bytes, hash {:016x}]", self.0.len(), key_hash(self.0));
        }
        f.write_str("[")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("]")
    }
}
