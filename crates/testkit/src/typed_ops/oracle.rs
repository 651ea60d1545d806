//! What must come out: plain ordered maps of numbers and the times they were touched. It knows
//! nothing of backends, bytes or parallelism.
//!
//! What has expired stays in the maps until it is overwritten, and is looked over: so they hold at
//! least what a backend may still store.

use std::collections::{BTreeMap, BTreeSet};

use millpond_state::TimeDomain;

use super::answer::{Answer, Fired, Written, folded, joined, migrated, reduced, result, updated};
use super::op::{Access, KINDS, Kind, Place, Program};

/// A number and when it was last touched.
#[derive(Clone, Copy, Debug)]
struct Cell {
    number: u64,
    stamp: i64,
}

type Cells = BTreeMap<Place, Cell>;

/// All state.
#[derive(Clone, Debug, Default)]
struct Contents {
    values: Cells,
    lists: BTreeMap<Place, Vec<Cell>>,
    maps: BTreeMap<Place, BTreeMap<u8, Cell>>,
    reductions: Cells,
    aggregates: Cells,
    timers: BTreeSet<(i64, Place)>,
}

impl Contents {
    fn for_each_cell(&mut self, mut change: impl FnMut(&mut Cell)) {
        let Self { values, lists, maps, reductions, aggregates, timers: _ } = self;
        values.values_mut().for_each(&mut change);
        reductions.values_mut().for_each(&mut change);
        aggregates.values_mut().for_each(&mut change);
        lists.values_mut().flatten().for_each(&mut change);
        maps.values_mut().flat_map(BTreeMap::values_mut).for_each(&mut change);
    }

    fn retain(&mut self, keep: impl Fn(&Cell) -> bool) {
        for cells in [&mut self.values, &mut self.reductions, &mut self.aggregates] {
            cells.retain(|_, cell| keep(cell));
        }
        self.lists.values_mut().for_each(|list| list.retain(&keep));
        self.lists.retain(|_, list| !list.is_empty());
        self.maps.values_mut().for_each(|map| map.retain(|_, cell| keep(cell)));
        self.maps.retain(|_, map| !map.is_empty());
    }

    fn places(&self, kind: Kind) -> BTreeSet<Place> {
        match kind {
            Kind::Value => self.values.keys().copied().collect(),
            Kind::List => self.lists.keys().copied().collect(),
            Kind::Map => self.maps.keys().copied().collect(),
            Kind::Reducing => self.reductions.keys().copied().collect(),
            Kind::Aggregating => self.aggregates.keys().copied().collect(),
            Kind::Timers => self.timers.iter().map(|(_, place)| *place).collect(),
        }
    }

    /// Entries that a snapshot has of a kind.
    fn snapshot_entries(&self, kind: Kind) -> usize {
        match kind {
            Kind::Map => self.maps.values().map(BTreeMap::len).sum(),
            Kind::Timers => self.timers.len(),
            _ => self.places(kind).len(),
        }
    }
}

pub(super) struct Oracle {
    program: Program,
    processing_ms: i64,
    event_ms: i64,
    contents: Contents,
    pending: BTreeMap<u64, (Program, Contents)>,
    finished: BTreeMap<u64, (Program, Contents)>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self {
            program: Program::FIRST,
            processing_ms: super::PROCESSING_BEGINS_MS,
            event_ms: super::EVENT_BEGINS_MS,
            contents: Contents::default(),
            pending: BTreeMap::new(),
            finished: BTreeMap::new(),
        }
    }

    pub(super) fn open(&mut self, program: Program) {
        self.program = program;
        self.contents = Contents::default();
    }

    pub(super) fn pass(&mut self, domain: TimeDomain, millis: u32) {
        match domain {
            TimeDomain::Processing => self.processing_ms += i64::from(millis),
            TimeDomain::Event => self.event_ms += i64::from(millis),
        }
    }

    fn now(&self) -> i64 {
        match self.program.ttl.map(|ttl| ttl.domain) {
            Some(TimeDomain::Event) => self.event_ms,
            _ => self.processing_ms,
        }
    }

    fn cell(&self, number: u64) -> Cell {
        Cell { number, stamp: self.now() }
    }

    /// Whether what has expired is seen until it is cleaned.
    pub(super) fn is_relaxed(&self) -> bool {
        self.program.ttl.is_some_and(|ttl| ttl.relaxed)
    }

    /// Whether a cell can be seen, as a rule that can be taken along.
    fn shows(&self) -> impl Fn(&Cell) -> bool + use<> {
        let (relaxed, lives) = (self.is_relaxed(), self.lives());
        move |cell| relaxed || lives(cell)
    }

    /// Whether a cell has not expired.
    fn lives(&self) -> impl Fn(&Cell) -> bool + use<> {
        let (ttl, now) = (self.program.ttl, self.now());
        move |cell| ttl.is_none_or(|ttl| now - cell.stamp < i64::from(ttl.duration_ms))
    }

    /// What reading does to the stamp of a live cell.
    fn touches(&self) -> impl Fn(&mut Cell) + use<> {
        let (on_read, now) = (self.program.ttl.is_some_and(|ttl| ttl.on_read), self.now());
        let lives = self.lives();
        move |cell| {
            if on_read && lives(cell) {
                cell.stamp = now;
            }
        }
    }

    fn cells(&mut self, kind: Kind) -> &mut Cells {
        match kind {
            Kind::Reducing => &mut self.contents.reductions,
            Kind::Aggregating => &mut self.contents.aggregates,
            _ => &mut self.contents.values,
        }
    }

    fn read(&mut self, kind: Kind, at: Place) -> Option<u64> {
        let (shows, touches) = (self.shows(), self.touches());
        let cell = self.cells(kind).get_mut(&at).filter(|cell| shows(cell))?;
        touches(cell);
        Some(cell.number)
    }

    fn write(&mut self, kind: Kind, at: Place, number: Option<u64>) {
        let cell = number.map(|number| self.cell(number));
        match cell {
            Some(cell) => self.cells(kind).insert(at, cell),
            None => self.cells(kind).remove(&at),
        };
    }

    /// Reads without touching, if a rule lets it.
    fn peek(&mut self, kind: Kind, at: Place, rule: impl Fn(&Cell) -> bool) -> Option<u64> {
        self.cells(kind).get(&at).filter(|cell| rule(cell)).map(|cell| cell.number)
    }

    pub(super) fn access(&mut self, at: Place, access: &Access) -> Answer {
        match access {
            Access::Put(number) => self.write(Kind::Value, at, Some(*number)),
            Access::Get => return Answer::Number(self.read(Kind::Value, at)),
            Access::Update(by) => {
                let old = self.peek(Kind::Value, at, self.shows());
                self.write(Kind::Value, at, updated(old, *by));
            }
            Access::Reduce(number) => {
                let old = self.peek(Kind::Reducing, at, self.shows());
                let new = old.map_or(*number, |old| reduced(old, *number));
                self.write(Kind::Reducing, at, Some(new));
            }
            Access::Reduced => return Answer::Number(self.read(Kind::Reducing, at)),
            Access::Aggregate(number) => {
                let old = self.peek(Kind::Aggregating, at, self.shows()).unwrap_or_default();
                self.write(Kind::Aggregating, at, Some(folded(old, *number)));
            }
            Access::Aggregated => {
                return Answer::Number(self.read(Kind::Aggregating, at).map(result));
            }
            Access::Clear(kind) => self.clear(*kind, at),
            Access::Merge(kind, sources) => self.merge(*kind, at, sources),
            Access::TimerAdd(time) => {
                return Answer::Flag(self.contents.timers.insert((*time, at)));
            }
            Access::TimerDelete(time) => {
                return Answer::Flag(self.contents.timers.remove(&(*time, at)));
            }
            Access::TimerTimes => {
                let own = self.contents.timers.iter().filter(|(_, place)| *place == at);
                return Answer::Times(own.map(|(time, _)| *time).collect());
            }
            _ => return self.access_many(at, access),
        }
        Answer::Nothing
    }

    fn access_many(&mut self, at: Place, access: &Access) -> Answer {
        let answer = self.access_list(at, access).or_else(|| self.access_map(at, access));
        self.contents.lists.retain(|_, list| !list.is_empty());
        self.contents.maps.retain(|_, map| !map.is_empty());
        answer.unwrap_or(Answer::Nothing)
    }

    fn access_list(&mut self, at: Place, access: &Access) -> Option<Answer> {
        let (shows, lives, touches) = (self.shows(), self.lives(), self.touches());
        let now = self.now();
        let on_read = self.program.ttl.is_some_and(|ttl| ttl.on_read);
        let fresh = |number: &u64| Cell { number: *number, stamp: now };
        let list = self.contents.lists.entry(at).or_default();
        match access {
            Access::ListAdd(elements) => list.extend(elements.iter().map(fresh)),
            Access::ListReplace(elements) => *list = elements.iter().map(fresh).collect(),
            Access::ListGet => {
                let seen = list.iter().filter(|cell| shows(cell)).map(|cell| cell.number);
                let numbers = seen.collect();
                // A read that refreshes rewrites the list, and a rewrite cleans.
                if on_read && list.iter().any(|cell| lives(cell) && cell.stamp < now) {
                    list.retain(lives);
                    list.iter_mut().for_each(touches);
                }
                return Some(Answer::Numbers(numbers));
            }
            _ => return None,
        }
        Some(Answer::Nothing)
    }

    fn access_map(&mut self, at: Place, access: &Access) -> Option<Answer> {
        let (shows, touches, now) = (self.shows(), self.touches(), self.now());
        let fresh = |number: u64| Cell { number, stamp: now };
        let map = self.contents.maps.entry(at).or_default();
        let touched = |cell: Option<&mut Cell>| {
            let cell = cell.filter(|cell| shows(cell))?;
            touches(cell);
            Some(cell.number)
        };
        Some(match access {
            Access::MapGet(user_key) => Answer::Number(touched(map.get_mut(user_key))),
            Access::MapContains(user_key) => Answer::Flag(touched(map.get_mut(user_key)).is_some()),
            Access::MapEntries => {
                let all = map.iter_mut();
                let live = all.filter_map(|(key, cell)| Some((*key, touched(Some(cell))?)));
                Answer::Entries(live.collect())
            }
            // No read, to a time to live.
            Access::MapIsEmpty => Answer::Flag(!map.values().any(&shows)),
            Access::MapPut(user_key, number) => {
                map.insert(*user_key, fresh(*number));
                Answer::Nothing
            }
            Access::MapRemove(user_key) => {
                map.remove(user_key);
                Answer::Nothing
            }
            Access::MapUpdateEach(by) => {
                map.retain(|_, cell| {
                    if !shows(cell) {
                        return true;
                    }
                    let new = updated(Some(cell.number), *by);
                    *cell = fresh(new.unwrap_or_default());
                    new.is_some()
                });
                Answer::Nothing
            }
            _ => return None,
        })
    }

    fn clear(&mut self, kind: Kind, at: Place) {
        match kind {
            Kind::List => drop(self.contents.lists.remove(&at)),
            Kind::Map => drop(self.contents.maps.remove(&at)),
            Kind::Timers => self.contents.timers.retain(|(_, place)| *place != at),
            _ => self.write(kind, at, None),
        }
    }

    fn merge(&mut self, kind: Kind, target: Place, sources: &[u8]) {
        let mut from: Vec<Place> = Vec::new();
        for window in sources {
            let source = Place { key: target.key, window: *window };
            if source != target && !from.contains(&source) {
                from.push(source);
            }
        }
        match kind {
            Kind::List => {
                let lives = self.lives();
                let mut moved = Vec::new();
                for source in &from {
                    let list = self.contents.lists.remove(source).unwrap_or_default();
                    moved.extend(list.into_iter().filter(|cell| lives(cell)));
                }
                if !moved.is_empty() {
                    self.contents.lists.entry(target).or_default().extend(moved);
                }
            }
            Kind::Reducing | Kind::Aggregating => {
                let join = if kind == Kind::Reducing { reduced } else { joined };
                let all = core::iter::once(target).chain(from.iter().copied());
                let parts: Vec<u64> =
                    all.filter_map(|place| self.peek(kind, place, self.lives())).collect();
                from.iter().for_each(|source| self.write(kind, *source, None));
                if let Some(combined) = parts.into_iter().reduce(join) {
                    self.write(kind, target, Some(combined));
                }
            }
            _ => {}
        }
    }

    pub(super) fn fire(&mut self, now: i64) -> Fired {
        let later = self.contents.timers.iter().filter(|(time, _)| *time > now).copied().collect();
        let all = core::mem::replace(&mut self.contents.timers, later);
        all.into_iter().filter(|(time, _)| *time <= now).collect()
    }

    /// Where a state has something that can be seen.
    pub(super) fn walk(&self, kind: Kind) -> Vec<Place> {
        let mut shown = self.contents.clone();
        shown.retain(self.shows());
        shown.places(kind).into_iter().collect()
    }

    /// How few and how many entries a state may have.
    pub(super) fn count(&self, kind: Kind) -> (usize, usize) {
        let stored = self.contents.places(kind).len();
        (self.walk(kind).len(), stored)
    }

    /// After a sweep: forgets what has expired.
    pub(super) fn swept(&mut self) {
        let lives = self.lives();
        self.contents.retain(lives);
    }

    pub(super) fn snapshot(&mut self, id: u64) {
        let mut live = self.contents.clone();
        live.retain(self.lives());
        self.pending.insert(id, (self.program, live));
    }

    pub(super) fn finish(&mut self, id: u64) -> Option<Written> {
        let (program, contents) = self.pending.remove(&id)?;
        let entries = KINDS.map(|kind| (kind, contents.snapshot_entries(kind))).to_vec();
        self.finished.insert(id, (program, contents));
        Some((program.version, entries))
    }

    pub(super) fn drop_snapshot(&mut self, id: u64) {
        self.pending.remove(&id);
    }

    /// The program that wrote a finished snapshot.
    pub(super) fn writer(&self, id: u64) -> Option<Program> {
        self.finished.get(&id).map(|(program, _)| *program)
    }

    /// Restores a finished snapshot; false if the program cannot read it.
    pub(super) fn restore(&mut self, id: u64, program: Program) -> bool {
        let Some((written, mut contents)) = self.finished.get(&id).cloned() else { return true };
        if program.version < written.version {
            return false;
        }
        for version in written.version..program.version {
            contents.for_each_cell(|cell| cell.number = migrated(version, cell.number));
        }
        self.program = program;
        if program.stamps_anew(&written) {
            let now = self.now();
            contents.for_each_cell(|cell| cell.stamp = now);
        }
        self.contents = contents;
        true
    }
}
