//! Backends that are broken on purpose, each in one way, around the model.

use core::ops::ControlFlow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use millpond_state::backend::{BatchVisitor, EntryVisitor, MapVisitor};
use millpond_state::{
    BackendContext, BackendFactory, CancelFlag, CheckpointId, EditBuffer, EntryKey, EntrySink,
    EntrySource, ErrorKind, Expiry, KeyGroup, KeyGroupRange, KeyedBackend, MaxParallelism, Result,
    Scratch, SnapshotEntry, SnapshotRequest, SnapshotSummary, SnapshotTask, StateDescriptor,
    StateError, StateId, StateKind,
};
use millpond_testkit::entries::{CollectedSnapshot, CollectingSink, OwnedEntry};
use millpond_testkit::model::ModelBackend;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    AbsentReadsAsEmpty,
    EmptyReadsAsAbsent,
    EmptyMapValueReadsAsAbsent,
    EmptyKeyIsZeroKey,
    KeysAreCutShort,
    ValuesAreCutShort,
    PutKeepsTheFirstValue,
    PutKeepsTheLongerValue,
    DeleteOfAbsentFails,
    DeleteForgotten,
    DeleteTombstonesTheKey,
    StatesShareEntries,
    LongKeysAreCut,
    ListKindIsReadOnly,
    AppendReplaces,
    AppendPrepends,
    PutAppends,
    MapPutKeepsTheFirstValue,
    MapVisitDescends,
    MapVisitDecidesNothing,
    BreakIgnored,
    BreakDropsItsDecision,
    VisitorErrorSwallowed,
    FailedDecisionApplied,
    EmptyMapStays,
    MapDeleteLeavesTheLast,
    MapNamespaceIgnored,
    NamespaceIgnored,
    NamespaceJoinedToKey,
    UserKeyJoinedToNamespace,
    VisitIgnoresRange,
    VisitIgnoresNamespace,
    VisitByNamespaceMatchesPrefix,
    VisitInReverse,
    MapCountsUserKeys,
    CountNeverFalls,
    CountNeverZero,
    GroupsRecomputed,
    BatchTailSkipped,
    RepeatedReadsSkipped,
    FirstWriteOfBatchWins,
    BatchSeesOldValues,
    RemoveInBatchForgotten,
    FailingUpdateRunsOn,
    FailingPutManyRunsOn,
    UnequalBatchesZipped,
    ForeignGroupsAccepted,
    ForeignGroupsReadAsAbsent,
    UnknownStatesAccepted,
    WrongKindAccepted,
    EmptyBatchUnchecked,
    OwnsAllGroups,
    OpensPastMax,
    RegisterFailsTheSecondTime,
    RegisterIgnoresKindAndCodec,
    IncompatibleNamesNothing,
    SnapshotShowsLaterWrites,
    SnapshotLosesOlderOnes,
    SnapshotDropBreaksOthers,
    SnapshotsNeverReleased,
    SnapshotEntryTwice,
    SnapshotByNamespaceFirst,
    SnapshotNotBegunIfEmpty,
    SnapshotForgetsUndeclared,
    SnapshotDiesWithBackend,
    SinkErrorSwallowed,
    CancelIgnored,
    CancelCheckedAtTheEnd,
    RestoreLosesTheLast,
    RestoreByIndex,
    RestoreAcceptsForeignGroups,
    RestoreWithoutEntriesForgetsStates,
    RestoredListsAreFrozen,
    ChangesNeverSafe,
    AnyCompletionMakesAllSafe,
    MemoryAlwaysZero,
    MemoryNeverFalls,
    EndedSnapshotsCounted,
    ReadsMoveTheValueOut,
    ReadsShowTheLastWrite,
    BatchValuesShareOneBuffer,
    UserKeysAreCutShort,
    MapRemoveForgotten,
    RestoreLosesOneKeyGroup,
    RestoreLosesTimers,
    RestoreTrustsTheDeclaration,
    CountStartsAtZeroAfterRestore,
    SnapshotAfterCompletionIsPartial,
    DescriptorsForgetWhatExpires,
    SnapshotNotFiltered,
    SnapshotFilteredLate,
    CompactionIgnoresTheClock,
    CompactionDropsWhatItShouldRewrite,
}

impl Fault {
    /// The fault in words.
    pub(crate) fn words(self) -> String {
        in_words(&format!("{self:?}"))
    }
}

/// A name in camel case as words.
pub(crate) fn in_words(name: &str) -> String {
    let mut words = String::new();
    for char in name.chars() {
        if char.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(char.to_lowercase());
    }
    words
}

/// Opens backends with one fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokenFactory(pub(crate) Fault);

impl BackendFactory for BrokenFactory {
    fn name(&self) -> &str {
        "broken"
    }

    fn open(&self, context: &BackendContext) -> Result<Box<dyn KeyedBackend>> {
        let fault = self.0;
        let all = context.max_parallelism.full_range();
        let groups = match fault {
            Fault::ForeignGroupsAccepted | Fault::RestoreAcceptsForeignGroups => all,
            Fault::OpensPastMax => context.key_groups.intersection(all).unwrap_or(all),
            _ => context.key_groups,
        };
        Ok(Box::new(Broken {
            fault,
            inner: ModelBackend::open(groups, context.max_parallelism)?,
            asked: context.key_groups,
            declared: Vec::new(),
            ids: HashMap::new(),
            counts: HashMap::new(),
            dead: Vec::new(),
            restored: false,
            memory: Mutex::new(0),
            snapshots: 0,
            writes: 0,
            late: Vec::new(),
            alive: Arc::new(()),
            last_write: Vec::new(),
            moved_out: Vec::new(),
            deferred: Vec::new(),
            restored_counts: HashMap::new(),
            completed: false,
        }))
    }
}

type Shared = Arc<Mutex<Option<Box<dyn SnapshotTask>>>>;

struct Broken {
    fault: Fault,
    inner: ModelBackend,
    asked: KeyGroupRange,
    /// Names that were declared, not only restored.
    declared: Vec<String>,
    /// Ids by name, for faults that look up by something else.
    ids: HashMap<String, StateId>,
    counts: HashMap<StateId, u64>,
    dead: Vec<Vec<u8>>,
    restored: bool,
    memory: Mutex<u64>,
    snapshots: u32,
    writes: u32,
    /// Tasks under way that this backend can still reach.
    late: Vec<Shared>,
    alive: Arc<()>,
    last_write: Vec<u8>,
    moved_out: Vec<u8>,
    /// Restored snapshots whose states were not declared yet.
    deferred: Vec<CollectedSnapshot>,
    restored_counts: HashMap<StateId, u64>,
    completed: bool,
}

/// An address whose bytes the fault has changed.
struct Place {
    key: Vec<u8>,
    namespace: Vec<u8>,
    group: KeyGroup,
}

impl Place {
    fn at(&self) -> EntryKey<'_> {
        EntryKey::in_group(&self.key, self.group).in_namespace(&self.namespace)
    }
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn place(&self, state: StateId, at: EntryKey<'_>) -> Place {
        let (mut key, mut namespace) = (at.key().to_vec(), at.namespace().to_vec());
        let mut group = at.group();
        match self.fault {
            Fault::EmptyKeyIsZeroKey if key.is_empty() => key.push(0),
            Fault::KeysAreCutShort => key.truncate(100),
            Fault::LongKeysAreCut => {
                key.truncate(65_535);
                namespace.truncate(65_535);
            }
            Fault::NamespaceIgnored => namespace.clear(),
            Fault::MapNamespaceIgnored if self.is_map(state) => namespace.clear(),
            Fault::NamespaceJoinedToKey => key.append(&mut namespace),
            Fault::GroupsRecomputed => {
                let max = self.inner.max_parallelism();
                group = EntryKey::new(&key, max).group();
            }
            _ => {}
        }
        Place { key, namespace, group }
    }

    fn user_key(&self, place: &mut Place, user_key: &[u8]) -> Vec<u8> {
        match self.fault {
            Fault::UserKeyJoinedToNamespace => {
                place.namespace.extend_from_slice(user_key);
                Vec::new()
            }
            Fault::LongKeysAreCut => user_key[..user_key.len().min(65_535)].to_vec(),
            Fault::UserKeysAreCutShort => user_key[..user_key.len().min(4)].to_vec(),
            _ => user_key.to_vec(),
        }
    }

    fn is_map(&self, state: StateId) -> bool {
        self.inner.states().get(state.index()).is_some_and(|s| s.kind().is_map())
    }

    fn state(&self, state: StateId) -> StateId {
        if self.is(Fault::StatesShareEntries) && !self.is_map(state) {
            StateId::new(0)
        } else {
            state
        }
    }

    /// Whether the operation is to be answered with nothing instead of a refusal.
    fn lenient(&self, state: StateId, at: EntryKey<'_>, map: bool) -> bool {
        let known = state.index() < self.inner.states().len();
        match self.fault {
            Fault::UnknownStatesAccepted => !known,
            Fault::WrongKindAccepted => known && self.is_map(state) != map,
            Fault::ForeignGroupsReadAsAbsent => !self.inner.key_groups().contains(at.group()),
            _ => false,
        }
    }

    /// After a write: snapshots that this fault lets see it are taken anew.
    fn refresh(&mut self) {
        self.writes += 1;
        // Not after each: every time costs a copy of all.
        let due = self.writes < 20 || self.writes.is_multiple_of(64);
        if !self.is(Fault::SnapshotShowsLaterWrites) || !due {
            return;
        }
        for task in &self.late {
            let mut task = task.lock().unwrap();
            if task.is_some() {
                let request = SnapshotRequest::full(CheckpointId::new(1_000));
                *task = self.inner.snapshot(&request).ok();
            }
        }
    }

    fn count_up(&mut self, state: StateId) {
        let now = self.inner.entry_count(state).unwrap_or(0);
        let most = self.counts.entry(state).or_default();
        *most = now.max(*most);
    }

    fn after_write(&mut self, state: StateId) {
        if self.is(Fault::CountNeverFalls) || self.is(Fault::EmptyMapStays) {
            self.count_up(state);
        }
        self.refresh();
    }
}

impl Broken {
    /// Everything stored, with no regard to what has expired or awaits migration.
    fn raw(&mut self) -> CollectedSnapshot {
        let states = self.inner.states().to_vec();
        let mut snapshot = CollectedSnapshot { states, entries: Vec::new() };
        let all = self.inner.key_groups();
        for index in 0..snapshot.states.len() as u16 {
            let id = StateId::new(index);
            let mut places = Vec::new();
            let visited = self.inner.visit_entries(id, all, None, &mut |group, key, namespace| {
                places.push((group, key.to_vec(), namespace.to_vec()));
                Ok(ControlFlow::Continue(()))
            });
            visited.unwrap();
            for (group, key, namespace) in places {
                let at = EntryKey::in_group(&key, group).in_namespace(&namespace);
                let (key, namespace) = (key.clone(), namespace.clone());
                let entry = |user_key: &[u8], value: &[u8]| OwnedEntry {
                    group,
                    state: index,
                    key: key.clone(),
                    namespace: namespace.clone(),
                    user_key: user_key.to_vec(),
                    value: value.to_vec(),
                };
                if self.is_map(id) {
                    let visited = self.inner.map_visit(id, at, &mut |user_key, edit| {
                        snapshot.entries.push(entry(user_key, edit.current().unwrap()));
                        Ok(ControlFlow::Continue(()))
                    });
                    visited.unwrap();
                } else {
                    let value = self.inner.get(id, at).unwrap().unwrap();
                    snapshot.entries.push(entry(&[], value));
                }
            }
        }
        snapshot.entries.sort();
        snapshot
    }

    /// What a compaction that has come upon the entry makes of it.
    fn compact(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        let now = match self.fault {
            Fault::CompactionIgnoresTheClock => Some(i64::MAX),
            Fault::CompactionDropsWhatItShouldRewrite => None,
            _ => return Ok(()),
        };
        let expiry = self.inner.states().get(state.index()).and_then(|s| s.expiry()).cloned();
        let Some(expiry) = expiry else { return Ok(()) };
        let now = now.or(expiry.now_ms());
        let drops = |stored: &[u8]| {
            let verdict = expiry.judge(stored, now, &mut Scratch::new()).unwrap();
            verdict != Expiry::Live
        };
        if self.is_map(state) {
            return self.inner.map_visit(state, at, &mut |_, edit| {
                if drops(edit.current().unwrap()) {
                    edit.remove();
                }
                Ok(ControlFlow::Continue(()))
            });
        }
        if self.inner.get(state, at)?.is_some_and(drops) {
            self.inner.delete(state, at)?;
        }
        Ok(())
    }

    /// Takes in the deferred entries of a state that is now declared, as whatever it is declared.
    fn trust(&mut self, descriptor: &StateDescriptor) -> Result<()> {
        let all = self.inner.max_parallelism().full_range();
        for snapshot in &self.deferred {
            let mut part = snapshot.clone();
            let index = part.states.iter().position(|s| s.name() == descriptor.name());
            let Some(index) = index else { continue };
            part.states = vec![descriptor.to_persisted()];
            part.entries.retain(|entry| usize::from(entry.state) == index);
            part.entries.iter_mut().for_each(|entry| entry.state = 0);
            self.inner.restore(&mut part.source(all))?;
        }
        for snapshot in &mut self.deferred {
            let index = snapshot.states.iter().position(|s| s.name() == descriptor.name());
            let Some(index) = index else { continue };
            snapshot.entries.retain(|entry| usize::from(entry.state) != index);
        }
        Ok(())
    }
}

fn failed(kind: ErrorKind, message: &str) -> StateError {
    StateError::new(kind, message)
}

impl KeyedBackend for Broken {
    fn key_groups(&self) -> KeyGroupRange {
        if self.is(Fault::OwnsAllGroups) {
            return self.inner.max_parallelism().full_range();
        }
        self.asked
    }

    fn max_parallelism(&self) -> MaxParallelism {
        self.inner.max_parallelism()
    }

    fn register(&mut self, descriptor: &StateDescriptor) -> Result<StateId> {
        let name = descriptor.name().to_owned();
        let again = self.declared.contains(&name);
        match self.fault {
            Fault::RegisterFailsTheSecondTime if again => {
                return Err(failed(ErrorKind::InvalidArgument, "registered before"));
            }
            Fault::RegisterIgnoresKindAndCodec => {
                let found = self.inner.states().iter().position(|s| s.name() == name);
                if let Some(index) = found {
                    return Ok(StateId::new(index as u16));
                }
            }
            Fault::RestoreTrustsTheDeclaration => self.trust(descriptor)?,
            Fault::DescriptorsForgetWhatExpires => {
                let id = self.inner.register(&descriptor.to_persisted())?;
                self.declared.push(name);
                return Ok(id);
            }
            Fault::IncompatibleNamesNothing => {
                let id = self.inner.register(descriptor);
                return id.map_err(|error| failed(error.kind(), "that does not fit"));
            }
            _ => {}
        }
        let id = self.inner.register(descriptor)?;
        self.ids.insert(name.clone(), id);
        self.declared.push(name);
        Ok(id)
    }

    fn states(&self) -> &[StateDescriptor] {
        self.inner.states()
    }

    fn get<'a>(&'a mut self, state: StateId, at: EntryKey<'_>) -> Result<Option<&'a [u8]>> {
        if self.lenient(state, at, false) {
            return Ok(None);
        }
        let (state, place) = (self.state(state), self.place(state, at));
        let fault = self.fault;
        self.compact(state, place.at())?;
        if fault == Fault::ReadsMoveTheValueOut {
            let Some(value) = self.inner.get(state, place.at())? else { return Ok(None) };
            self.moved_out = value.to_vec();
            self.inner.delete(state, place.at())?;
            return Ok(Some(&self.moved_out));
        }
        if fault == Fault::ReadsShowTheLastWrite {
            let there = self.inner.get(state, place.at())?.is_some();
            return Ok(there.then_some(self.last_write.as_slice()));
        }
        if fault == Fault::DeleteTombstonesTheKey && self.dead.contains(&place.key) {
            return Ok(None);
        }
        if fault == Fault::AbsentReadsAsEmpty && self.inner.get(state, place.at())?.is_none() {
            self.inner.put(state, place.at(), b"")?;
        }
        let found = self.inner.get(state, place.at())?;
        Ok(match fault {
            Fault::EmptyReadsAsAbsent => found.filter(|value| !value.is_empty()),
            Fault::ValuesAreCutShort => found.map(|value| &value[..value.len().min(1 << 20)]),
            _ => found,
        })
    }

    fn put(&mut self, state: StateId, at: EntryKey<'_>, value: &[u8]) -> Result<()> {
        if self.lenient(state, at, false) {
            return Ok(());
        }
        let (id, place) = (self.state(state), self.place(state, at));
        let old = self.inner.get(id, place.at())?.map(<[u8]>::to_vec);
        let kind = self.inner.states()[id.index()].kind();
        self.last_write = value.to_vec();
        match (self.fault, old) {
            (Fault::PutKeepsTheFirstValue, Some(_)) => return Ok(()),
            (Fault::PutKeepsTheLongerValue, Some(old)) if old.len() > value.len() => {
                return Ok(());
            }
            (Fault::PutAppends, _) => return self.append(state, at, value),
            (Fault::ListKindIsReadOnly, _) if kind == StateKind::Aggregating => {}
            _ => self.inner.put(id, place.at(), value)?,
        }
        self.after_write(id);
        Ok(())
    }

    fn delete(&mut self, state: StateId, at: EntryKey<'_>) -> Result<()> {
        if self.lenient(state, at, self.is_map(state)) {
            return Ok(());
        }
        let (id, place) = (self.state(state), self.place(state, at));
        if self.is(Fault::DeleteOfAbsentFails) && self.inner.get(id, place.at())?.is_none() {
            return Err(failed(ErrorKind::InvalidArgument, "nothing to delete"));
        }
        match self.fault {
            Fault::DeleteForgotten => {
                // Refuses what it must, and does nothing else.
                return if self.is_map(id) {
                    self.inner.map_get(id, place.at(), b"").map(drop)
                } else {
                    self.inner.get(id, place.at()).map(drop)
                };
            }
            Fault::DeleteTombstonesTheKey => self.dead.push(place.key.clone()),
            _ => {}
        }
        let mut last = None;
        if self.is(Fault::MapDeleteLeavesTheLast) && self.is_map(id) {
            self.inner.map_visit(id, place.at(), &mut |user_key, edit| {
                last = edit.current().map(|value| (user_key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        self.inner.delete(id, place.at())?;
        if let Some((user_key, value)) = last {
            self.inner.map_put(id, place.at(), &user_key, &value)?;
        }
        self.after_write(id);
        Ok(())
    }

    fn append(&mut self, state: StateId, at: EntryKey<'_>, bytes: &[u8]) -> Result<()> {
        if self.lenient(state, at, false) {
            return Ok(());
        }
        let (id, place) = (self.state(state), self.place(state, at));
        match self.fault {
            Fault::AppendReplaces => self.inner.put(id, place.at(), bytes)?,
            Fault::AppendPrepends => {
                let old = self.inner.get(id, place.at())?.unwrap_or_default().to_vec();
                self.inner.put(id, place.at(), &[bytes, &old].concat())?;
            }
            Fault::RestoredListsAreFrozen if self.restored => {}
            _ => self.inner.append(id, place.at(), bytes)?,
        }
        self.after_write(id);
        Ok(())
    }

    fn get_many<'a>(
        &'a mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        out: &mut [Option<&'a [u8]>],
    ) -> Result<()> {
        if self.is(Fault::EmptyBatchUnchecked) && entries.is_empty() {
            return Ok(());
        }
        if entries.iter().any(|at| self.lenient(state, *at, false)) {
            out.fill(None);
            return Ok(());
        }
        let places: Vec<Place> = entries.iter().map(|at| self.place(state, *at)).collect();
        let mut at: Vec<EntryKey<'_>> = places.iter().map(Place::at).collect();
        let mut len = out.len();
        match self.fault {
            Fault::BatchTailSkipped => len = at.len() / 16 * 16,
            Fault::UnequalBatchesZipped => len = len.min(at.len()),
            _ => {}
        }
        if matches!(self.fault, Fault::BatchTailSkipped | Fault::UnequalBatchesZipped) {
            at.truncate(len);
        }
        self.inner.get_many(self.state(state), &at, &mut out[..len])?;
        if self.fault == Fault::BatchValuesShareOneBuffer {
            let last = out.last().copied().flatten();
            out.iter_mut().filter(|value| value.is_some()).for_each(|value| *value = last);
        }
        if self.fault == Fault::RepeatedReadsSkipped {
            for i in 0..at.len() {
                if at[..i].contains(&at[i]) {
                    out[i] = None;
                }
            }
        }
        Ok(())
    }

    fn put_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        values: &[&[u8]],
    ) -> Result<()> {
        if self.is(Fault::EmptyBatchUnchecked) && entries.is_empty() {
            return Ok(());
        }
        self.inner.put_many(
            state,
            &[],
            if self.is(Fault::UnequalBatchesZipped) || entries.len() == values.len() {
                &[]
            } else {
                values
            },
        )?;
        if entries.len() != values.len() && !self.is(Fault::UnequalBatchesZipped) {
            return Err(failed(ErrorKind::InvalidArgument, "lengths differ"));
        }
        let mut outcome = Ok(());
        for (i, (at, value)) in entries.iter().zip(values).enumerate() {
            if self.is(Fault::FirstWriteOfBatchWins) && entries[..i].contains(at) {
                continue;
            }
            if self.is(Fault::FailingPutManyRunsOn) {
                outcome = outcome.and(self.put(state, *at, value));
            } else {
                self.put(state, *at, value)?;
            }
        }
        outcome
    }

    fn update_many(
        &mut self,
        state: StateId,
        entries: &[EntryKey<'_>],
        change: &mut BatchVisitor<'_>,
    ) -> Result<()> {
        if self.is(Fault::EmptyBatchUnchecked) && entries.is_empty()
            || entries.iter().any(|at| self.lenient(state, *at, false))
        {
            return Ok(());
        }
        let (fault, id) = (self.fault, self.state(state));
        let places: Vec<Place> = entries.iter().map(|at| self.place(state, *at)).collect();
        let at: Vec<EntryKey<'_>> = places.iter().map(Place::at).collect();
        let mut before = Vec::new();
        if fault == Fault::BatchSeesOldValues {
            for at in &at {
                before.push(self.inner.get(id, *at)?.map(<[u8]>::to_vec));
            }
        }
        let mut outcome = Ok(());
        self.inner.update_many(id, &at, &mut |i, edit| {
            let mut buffer = EditBuffer::new();
            let current = before.get(i).map_or(edit.current(), Option::as_deref);
            let result = change(i, &mut buffer.begin(current));
            match buffer.decision() {
                millpond_state::Decision::Replace => edit.replace(buffer.bytes()),
                millpond_state::Decision::Remove if fault != Fault::RemoveInBatchForgotten => {
                    edit.remove();
                }
                _ => {}
            }
            if fault == Fault::FailingUpdateRunsOn && result.is_err() {
                outcome = result;
                return Ok(());
            }
            result
        })?;
        self.after_write(id);
        outcome
    }

    fn map_get<'a>(
        &'a mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
    ) -> Result<Option<&'a [u8]>> {
        if self.lenient(state, at, true) {
            return Ok(None);
        }
        let mut place = self.place(state, at);
        let user_key = self.user_key(&mut place, user_key);
        self.compact(state, place.at())?;
        let found = self.inner.map_get(state, place.at(), &user_key)?;
        let hide = self.fault == Fault::EmptyMapValueReadsAsAbsent;
        Ok(found.filter(|value| !(hide && value.is_empty())))
    }

    fn map_put(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        user_key: &[u8],
        value: &[u8],
    ) -> Result<()> {
        if self.lenient(state, at, true) {
            return Ok(());
        }
        let mut place = self.place(state, at);
        let user_key = self.user_key(&mut place, user_key);
        if self.is(Fault::MapPutKeepsTheFirstValue)
            && self.inner.map_get(state, place.at(), &user_key)?.is_some()
        {
            return Ok(());
        }
        self.inner.map_put(state, place.at(), &user_key, value)?;
        self.after_write(state);
        Ok(())
    }

    fn map_remove(&mut self, state: StateId, at: EntryKey<'_>, user_key: &[u8]) -> Result<()> {
        if self.lenient(state, at, true) {
            return Ok(());
        }
        let mut place = self.place(state, at);
        let user_key = self.user_key(&mut place, user_key);
        if self.is(Fault::MapRemoveForgotten) {
            return self.inner.map_get(state, place.at(), &user_key).map(drop);
        }
        self.inner.map_remove(state, place.at(), &user_key)?;
        self.refresh();
        Ok(())
    }

    fn map_visit(
        &mut self,
        state: StateId,
        at: EntryKey<'_>,
        visit: &mut MapVisitor<'_>,
    ) -> Result<()> {
        if self.lenient(state, at, true) {
            return Ok(());
        }
        let (fault, place) = (self.fault, self.place(state, at));
        self.compact(state, place.at())?;
        if fault == Fault::MapVisitDescends {
            let mut pairs = Vec::new();
            self.inner.map_visit(state, place.at(), &mut |user_key, edit| {
                pairs.push((user_key.to_vec(), edit.current().map(<[u8]>::to_vec)));
                Ok(ControlFlow::Continue(()))
            })?;
            for (user_key, value) in pairs.iter().rev() {
                let mut buffer = EditBuffer::new();
                if visit(user_key, &mut buffer.begin(value.as_deref()))?.is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let visited = self.inner.map_visit(state, place.at(), &mut |user_key, edit| {
            let mut buffer = EditBuffer::new();
            let flow = visit(user_key, &mut buffer.begin(edit.current()));
            let breaks = matches!(flow, Ok(ControlFlow::Break(())));
            let ignored = fault == Fault::MapVisitDecidesNothing
                || fault == Fault::BreakDropsItsDecision && breaks;
            match buffer.decision() {
                millpond_state::Decision::Replace if !ignored => edit.replace(buffer.bytes()),
                millpond_state::Decision::Remove if !ignored => edit.remove(),
                _ => {}
            }
            match (fault, &flow) {
                (Fault::BreakIgnored, Ok(_)) => Ok(ControlFlow::Continue(())),
                (Fault::FailedDecisionApplied, Err(_)) => Ok(ControlFlow::Break(())),
                _ => flow,
            }
        });
        self.after_write(state);
        if fault == Fault::VisitorErrorSwallowed {
            return Ok(());
        }
        visited
    }

    fn visit_entries(
        &mut self,
        state: StateId,
        groups: KeyGroupRange,
        namespace: Option<&[u8]>,
        visit: &mut EntryVisitor<'_>,
    ) -> Result<()> {
        let all = self.inner.max_parallelism().full_range();
        let fault = self.fault;
        if fault == Fault::UnknownStatesAccepted && state.index() >= self.inner.states().len() {
            return Ok(());
        }
        let groups = if fault == Fault::VisitIgnoresRange { all } else { groups };
        let mut met = Vec::new();
        let wanted = match fault {
            Fault::VisitIgnoresNamespace | Fault::VisitByNamespaceMatchesPrefix => None,
            _ => namespace,
        };
        self.inner.visit_entries(state, groups, wanted, &mut |group, key, found| {
            let prefix = fault != Fault::VisitByNamespaceMatchesPrefix
                || namespace.is_none_or(|wanted| found.starts_with(wanted));
            if prefix {
                met.push((group, key.to_vec(), found.to_vec()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if fault == Fault::VisitInReverse {
            met.reverse();
        }
        for (group, key, namespace) in met {
            let flow = visit(group, &key, &namespace);
            match fault {
                Fault::VisitorErrorSwallowed if flow.is_err() => return Ok(()),
                Fault::BreakIgnored => {}
                _ if flow?.is_break() => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    fn entry_count(&mut self, state: StateId) -> Result<u64> {
        match self.fault {
            Fault::UnknownStatesAccepted if state.index() >= self.inner.states().len() => Ok(0),
            Fault::CountNeverFalls => {
                self.count_up(state);
                Ok(self.counts.get(&state).copied().unwrap_or_default())
            }
            Fault::EmptyMapStays if self.is_map(state) => {
                self.count_up(state);
                Ok(self.counts.get(&state).copied().unwrap_or_default())
            }
            Fault::MapCountsUserKeys if self.is_map(state) => {
                let mut places = Vec::new();
                let all = self.inner.key_groups();
                self.inner.visit_entries(state, all, None, &mut |group, key, namespace| {
                    places.push((group, key.to_vec(), namespace.to_vec()));
                    Ok(ControlFlow::Continue(()))
                })?;
                let mut count = 0;
                for (group, key, namespace) in places {
                    let at = EntryKey::in_group(&key, group).in_namespace(&namespace);
                    self.inner.map_visit(state, at, &mut |_, _| {
                        count += 1;
                        Ok(ControlFlow::Continue(()))
                    })?;
                }
                Ok(count)
            }
            Fault::CountStartsAtZeroAfterRestore => {
                let restored = self.restored_counts.get(&state).copied().unwrap_or_default();
                Ok(self.inner.entry_count(state)?.saturating_sub(restored))
            }
            Fault::CountNeverZero => Ok(self.inner.entry_count(state)?.max(1)),
            _ => self.inner.entry_count(state),
        }
    }

    fn memory_bytes(&self) -> u64 {
        let now = self.inner.memory_bytes();
        let mut sum = self.memory.lock().unwrap();
        match self.fault {
            Fault::MemoryAlwaysZero => 0,
            Fault::EndedSnapshotsCounted => now * u64::from(self.snapshots + 1),
            Fault::MemoryNeverFalls => {
                *sum += now;
                *sum
            }
            _ => now,
        }
    }

    fn snapshot(&mut self, request: &SnapshotRequest) -> Result<Box<dyn SnapshotTask>> {
        self.snapshots += 1;
        if self.is(Fault::SnapshotsNeverReleased) && self.snapshots > 100 {
            return Err(failed(ErrorKind::ResourceExhausted, "too many snapshots"));
        }
        if self.is(Fault::SnapshotLosesOlderOnes) {
            for task in self.late.drain(..) {
                *task.lock().unwrap() = None;
            }
        }
        let raw = matches!(self.fault, Fault::SnapshotNotFiltered | Fault::SnapshotFilteredLate)
            .then(|| self.raw());
        let task: Shared = Arc::new(Mutex::new(Some(self.inner.snapshot(request)?)));
        self.late.push(Arc::clone(&task));
        self.writes = 0;
        Ok(Box::new(BrokenTask {
            fault: self.fault,
            task,
            others: self.late.clone(),
            declared: self.declared.clone(),
            alive: Arc::downgrade(&self.alive),
            run: false,
            raw,
            completed: self.completed,
        }))
    }

    fn checkpoint_completed(&mut self, checkpoint: CheckpointId) {
        self.completed = true;
        match self.fault {
            Fault::ChangesNeverSafe => {}
            Fault::AnyCompletionMakesAllSafe => {
                // A snapshot taken right now and completed covers all writes so far.
                let now = SnapshotRequest::full(CheckpointId::new(u64::MAX - 1));
                drop(self.inner.snapshot(&now));
                self.inner.checkpoint_completed(now.checkpoint);
            }
            _ => self.inner.checkpoint_completed(checkpoint),
        }
    }

    fn checkpoint_aborted(&mut self, checkpoint: CheckpointId) {
        self.inner.checkpoint_aborted(checkpoint);
    }

    fn restore(&mut self, source: &mut dyn EntrySource) -> Result<u64> {
        self.restored = true;
        let mut states = source.states().to_vec();
        let mut snapshot = CollectedSnapshot::default();
        while let Some(entry) = source.next_entry()? {
            snapshot.entries.push(OwnedEntry::from_borrowed(&entry));
        }
        match self.fault {
            Fault::RestoreLosesTheLast => drop(snapshot.entries.pop()),
            Fault::RestoreLosesOneKeyGroup => {
                let first = snapshot.entries.first().map(|entry| entry.group);
                snapshot.entries.retain(|entry| Some(entry.group) != first);
            }
            Fault::RestoreLosesTimers => snapshot
                .entries
                .retain(|entry| states[usize::from(entry.state)].kind() != StateKind::Timer),
            Fault::RestoreTrustsTheDeclaration => {
                let entries = snapshot.entries.len() as u64;
                snapshot.states = states;
                self.deferred.push(snapshot);
                return Ok(entries);
            }
            Fault::RestoreByIndex => {
                for (index, known) in self.inner.states().iter().enumerate() {
                    if let Some(state) = states.get_mut(index) {
                        *state = known.clone();
                    }
                }
            }
            Fault::RestoreWithoutEntriesForgetsStates if snapshot.entries.is_empty() => {
                return Ok(0);
            }
            Fault::RegisterIgnoresKindAndCodec => {
                for state in &mut states {
                    if let Some(known) =
                        self.inner.states().iter().find(|s| s.name() == state.name())
                    {
                        *state = known.clone();
                    }
                }
            }
            _ => {}
        }
        snapshot.states = states;
        let all = self.inner.max_parallelism().full_range();
        let restored = self.inner.restore(&mut snapshot.source(all));
        for index in 0..self.inner.states().len() as u16 {
            let id = StateId::new(index);
            self.restored_counts.insert(id, self.inner.entry_count(id)?);
        }
        match self.fault {
            Fault::IncompatibleNamesNothing => {
                restored.map_err(|error| failed(error.kind(), "that does not fit"))
            }
            _ => restored,
        }
    }
}

struct BrokenTask {
    fault: Fault,
    task: Shared,
    others: Vec<Shared>,
    declared: Vec<String>,
    alive: Weak<()>,
    run: bool,
    /// What was stored when the snapshot was taken, for faults that filter it otherwise.
    raw: Option<CollectedSnapshot>,
    /// Whether some checkpoint had completed.
    completed: bool,
}

impl Drop for BrokenTask {
    fn drop(&mut self) {
        if self.fault == Fault::SnapshotDropBreaksOthers && !self.run {
            for task in &self.others {
                *task.lock().unwrap() = None;
            }
        }
    }
}

impl BrokenTask {
    fn reshape(&self, snapshot: &mut CollectedSnapshot) {
        match self.fault {
            Fault::SnapshotEntryTwice => {
                if let Some(last) = snapshot.entries.last().cloned() {
                    snapshot.entries.push(last);
                }
            }
            Fault::SnapshotByNamespaceFirst => snapshot.entries.sort_by(|a, b| {
                let place = |e: &OwnedEntry| {
                    (e.group, e.state, e.namespace.clone(), e.key.clone(), e.user_key.clone())
                };
                place(a).cmp(&place(b))
            }),
            Fault::SnapshotAfterCompletionIsPartial if self.completed => {
                snapshot.entries.truncate(snapshot.entries.len().saturating_sub(1));
            }
            Fault::SnapshotFilteredLate => {
                let CollectedSnapshot { states, entries } = snapshot;
                entries.retain(|entry| {
                    let expiry = states[usize::from(entry.state)].expiry();
                    let verdict = expiry.map(|filter| {
                        filter.judge(&entry.value, filter.now_ms(), &mut Scratch::new())
                    });
                    !matches!(verdict, Some(Ok(Expiry::Expired)))
                });
            }
            Fault::SnapshotForgetsUndeclared => {
                let CollectedSnapshot { states, entries } = snapshot;
                entries.retain(|e| {
                    let name = states[usize::from(e.state)].name();
                    self.declared.iter().any(|declared| declared == name)
                });
            }
            _ => {}
        }
    }
}

impl SnapshotTask for BrokenTask {
    fn run(
        mut self: Box<Self>,
        sink: &mut dyn EntrySink,
        cancel: &CancelFlag,
    ) -> Result<SnapshotSummary> {
        self.run = true;
        let fault = self.fault;
        let Some(task) = self.task.lock().unwrap().take() else {
            sink.begin(&[])?;
            return Ok(SnapshotSummary::default());
        };
        if !matches!(fault, Fault::CancelIgnored | Fault::CancelCheckedAtTheEnd) {
            cancel.check()?;
        }
        let mut collected = CollectingSink::new();
        let summary = task.run(&mut collected, &CancelFlag::new())?;
        let mut snapshot = collected.into_snapshot();
        if let Some(raw) = self.raw.take() {
            snapshot = raw;
        }
        self.reshape(&mut snapshot);
        let persisted = snapshot.states.iter().map(StateDescriptor::to_persisted);
        snapshot.states = persisted.collect();
        if !(fault == Fault::SnapshotNotBegunIfEmpty && snapshot.entries.is_empty()) {
            match sink.begin(&snapshot.states) {
                Err(_) if fault == Fault::SinkErrorSwallowed => return Ok(summary),
                begun => begun?,
            }
        }
        for entry in &snapshot.entries {
            if fault == Fault::SnapshotDiesWithBackend && self.alive.strong_count() == 0 {
                return Ok(summary);
            }
            if !matches!(fault, Fault::CancelIgnored | Fault::CancelCheckedAtTheEnd) {
                cancel.check()?;
            }
            let entry: SnapshotEntry<'_> = entry.as_borrowed();
            match sink.entry(&entry) {
                Err(_) if fault == Fault::SinkErrorSwallowed => return Ok(summary),
                taken => taken?,
            }
        }
        if fault == Fault::CancelCheckedAtTheEnd {
            cancel.check()?;
        }
        Ok(summary)
    }
}
