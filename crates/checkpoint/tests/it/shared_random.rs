//! Random schedules of the shared-file registry against a model of the storage: after each step
//! everything that any published metadata or any checkpoint under way refers to is there, and in
//! the end nothing else is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millpond_checkpoint::registry::{
    Deletion, FoundCheckpoints, GcCheckpoint, GcFacts, ListedObject, ObjectClass, RegistrySettings,
    Reported, ReportedFile, RestoreMode, SharedFile, SharedFileRegistry, StoredCheckpoint, plan_gc,
};
use millpond_checkpoint::{CheckpointKind, StoreEffect};
use millpond_snapshot::CheckpointMetadata;
use millpond_snapshot::metadata::FileHandle;

use crate::shared_world::{id, in_folder, merged, metadata, native_savepoint, new, reused, stored};

/// splitmix64: the same seed gives the same schedule.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: impl IntoIterator<Item = T>) -> Option<T> {
        let all: Vec<T> = from.into_iter().collect();
        let at = self.below(all.len());
        all.get(at).cloned()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Collecting,
    Storing,
    Abandoned,
    Retained,
    /// It may exist, and goes once a later one is complete.
    Held,
}

/// What a checkpoint folder holds in storage.
#[derive(Clone)]
struct Published {
    folder: String,
    metadata: CheckpointMetadata,
    /// Names of what it needs, from the root.
    objects: Vec<String>,
    foreign: bool,
    unreadable: bool,
}

impl Published {
    fn new(folder: String, metadata: CheckpointMetadata, foreign: bool) -> Self {
        let rooted = |file: &FileHandle| match file.is_shared() {
            true => file.name().to_owned(),
            false => format!("{folder}/{}", file.name()),
        };
        let objects = metadata.files().map(rooted).collect();
        Self { folder, metadata, objects, foreign, unreadable: false }
    }
}

/// What the schedules of one run came to.
#[derive(Default, Debug)]
struct Seen {
    reuses: u64,
    spares_reused: u64,
    late: u64,
    objects_deleted: u64,
    crashes: u64,
    claims: u64,
    no_claims: u64,
    homes_deleted: u64,
    too_late: u64,
    orphans: u64,
    withheld: u64,
}

struct World<'a> {
    random: Random,
    seen: &'a mut Seen,
    registry: SharedFileRegistry,
    settings: RegistrySettings,
    /// Objects in storage.
    storage: BTreeSet<String>,
    /// Metadata in storage.
    published: BTreeMap<u64, Published>,
    phases: BTreeMap<u64, Phase>,
    /// What was reported for checkpoints under way.
    reported: BTreeMap<u64, Vec<SharedFile>>,
    /// What was on offer when a checkpoint began: its subtasks may use it at any time.
    promised: BTreeMap<u64, Vec<SharedFile>>,
    /// Metadata about to be published.
    storing: BTreeMap<u64, CheckpointMetadata>,
    /// Reports on their way, and some that come again.
    messages: Vec<(u64, Vec<ReportedFile>)>,
    deletions: VecDeque<Deletion>,
    /// Objects that no registry was told of, or whose registry died.
    orphans: BTreeSet<String>,
    /// Uploads of checkpoints that came to nothing.
    wasted: BTreeSet<String>,
    next: u64,
    uploads: u32,
}

impl<'a> World<'a> {
    fn new(seed: u64, seen: &'a mut Seen) -> Self {
        let mut random = Random(seed);
        let settings = RegistrySettings {
            spared_checkpoints_max: 1 + random.below(4) as u32,
            space_amplification_max_percent: [None, Some(120), Some(300)][random.below(3)],
        };
        Self {
            random,
            seen,
            registry: SharedFileRegistry::new(settings),
            settings,
            storage: BTreeSet::new(),
            published: BTreeMap::new(),
            phases: BTreeMap::new(),
            reported: BTreeMap::new(),
            promised: BTreeMap::new(),
            storing: BTreeMap::new(),
            messages: Vec::new(),
            deletions: VecDeque::new(),
            orphans: BTreeSet::new(),
            wasted: BTreeSet::new(),
            next: 1,
            uploads: 0,
        }
    }

    fn in_phase(&self, phases: &[Phase]) -> Vec<u64> {
        let some = self.phases.iter().filter(|(_, phase)| phases.contains(phase));
        some.map(|(number, _)| *number).collect()
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..12 => self.begin(),
            12..36 => self.upload(),
            36..52 => self.reuse(),
            52..60 => self.deliver(),
            60..70 => self.store(),
            70..82 => self.answer(),
            82..87 => self.abort(),
            87..90 => self.discard(),
            90..96 => {
                let count = self.random.below(6);
                self.delete(count);
            }
            96..98 => self.restore_savepoint(),
            98 => self.disown(),
            _ => self.crash(),
        }
        self.deletions.extend(self.registry.take_deletions());
        self.check();
    }

    fn begin(&mut self) {
        if self.in_phase(&[Phase::Collecting]).len() >= 3 {
            return;
        }
        let number = self.next;
        self.next += 1;
        self.registry.begin(id(number), CheckpointKind::Periodic).unwrap();
        self.phases.insert(number, Phase::Collecting);
        self.reported.insert(number, Vec::new());
        let known = self.registry.space().logical_files;
        let promised: Vec<SharedFile> = self.registry.offers(id(number)).cloned().collect();
        self.seen.withheld += u64::from(known > promised.len() as u64);
        self.promised.insert(number, promised);
    }

    /// Writes an object for a checkpoint, most often one under way; the report may come later.
    fn upload(&mut self) {
        let under_way = self.in_phase(&[Phase::Collecting]);
        let number = match self.random.pick(under_way) {
            Some(number) if self.random.chance(85) => number,
            _ if self.next > 1 => self.next.saturating_sub(1 + self.random.below(6) as u64).max(1),
            _ => return,
        };
        self.uploads += 1;
        let count = 1 + self.random.below(3) as u64;
        let files = merged(number, self.uploads, count);
        let object = files[0].object.name().to_owned();
        self.storage.insert(object.clone());
        self.orphans.insert(object);
        self.messages.push((number, new(&files)));
        if self.random.chance(70) {
            self.deliver_at(self.messages.len() - 1);
        }
    }

    fn reuse(&mut self) {
        let Some(number) = self.random.pick(self.in_phase(&[Phase::Collecting])) else { return };
        let offers: Vec<SharedFile> = match self.random.chance(50) {
            true => self.registry.offers(id(number)).cloned().collect(),
            false => self.promised[&number].clone(),
        };
        let chosen: Vec<SharedFile> =
            offers.into_iter().filter(|_| self.random.chance(60)).collect();
        self.seen.reuses += chosen.len() as u64;
        let spares = chosen.iter().filter(|file| self.wasted.contains(file.object.name()));
        self.seen.spares_reused += spares.count() as u64;
        self.messages.push((number, reused(&chosen)));
        self.deliver_at(self.messages.len() - 1);
    }

    fn deliver(&mut self) {
        if !self.messages.is_empty() {
            let at = self.random.below(self.messages.len());
            self.deliver_at(at);
        }
    }

    /// Hands a report to the registry; some are handed over again later.
    fn deliver_at(&mut self, at: usize) {
        let (number, files) = self.messages.remove(at);
        let reported = self.registry.report(id(number), files.clone()).unwrap();
        let collecting = self.phases.get(&number) == Some(&Phase::Collecting);
        assert_eq!(reported == Reported::Counted, collecting);
        if reported != Reported::Left {
            for file in files.iter().filter(|file| matches!(file, ReportedFile::New(_))) {
                self.orphans.remove(file.file().object.name());
            }
        }
        match reported {
            Reported::Counted => {
                let known = self.reported.get_mut(&number).unwrap();
                known.extend(files.iter().map(|file| file.file().clone()));
            }
            Reported::Late => {
                self.seen.late += 1;
                self.waste(files.iter().map(ReportedFile::file));
            }
            Reported::Left => {}
        }
        if self.random.chance(20) {
            self.messages.push((number, files));
        }
    }

    fn waste<'f>(&mut self, files: impl IntoIterator<Item = &'f SharedFile>) {
        self.wasted.extend(files.into_iter().map(|file| file.object.name().to_owned()));
    }

    fn store(&mut self) {
        let Some(number) = self.random.pick(self.in_phase(&[Phase::Collecting])) else { return };
        let all = self.random.chance(80);
        let mut named: Vec<SharedFile> = Vec::new();
        for file in self.reported.remove(&number).unwrap() {
            if !named.contains(&file) && (all || self.random.chance(50)) {
                named.push(file);
            }
        }
        let metadata = metadata(number, &named);
        metadata.encode().unwrap();
        self.registry.store(&metadata).unwrap();
        self.storing.insert(number, metadata);
        self.phases.insert(number, Phase::Storing);
    }

    /// Storage answers for a checkpoint that is being stored.
    fn answer(&mut self) {
        let waiting = self.in_phase(&[Phase::Storing, Phase::Abandoned]);
        let Some(number) = self.random.pick(waiting) else { return };
        let metadata = self.storing.remove(&number).unwrap();
        match self.random.below(10) {
            0 => self.fail_to_store(number, &metadata, StoreEffect::DidNotHappen),
            1 | 2 => {
                if self.random.chance(50) {
                    self.publish(number, metadata.clone());
                }
                self.fail_to_store(number, &metadata, StoreEffect::MayHaveHappened);
            }
            _ => {
                self.publish(number, metadata);
                self.registry.complete(id(number)).unwrap();
                let in_time = self.phases.insert(number, Phase::Retained) == Some(Phase::Storing);
                if in_time {
                    self.subsume(number);
                } else {
                    self.seen.too_late += 1;
                    self.phases.insert(number, Phase::Held);
                }
            }
        }
    }

    fn publish(&mut self, number: u64, metadata: CheckpointMetadata) {
        let folder = format!("chk-{number}");
        self.published.insert(number, Published::new(folder, metadata, false));
    }

    fn fail_to_store(&mut self, number: u64, metadata: &CheckpointMetadata, presence: StoreEffect) {
        self.registry.store_failed(id(number), presence);
        match presence {
            StoreEffect::DidNotHappen => self.phases.remove(&number),
            StoreEffect::MayHaveHappened => self.phases.insert(number, Phase::Held),
        };
        self.wasted.extend(metadata.files().map(|file| file.name().to_owned()));
    }

    /// What a coordinator does when a checkpoint completes.
    fn subsume(&mut self, number: u64) {
        for older in self.in_phase(&[Phase::Collecting, Phase::Storing]) {
            if older < number && self.random.chance(80) {
                self.abort_one(older);
            }
        }
        for held in self.in_phase(&[Phase::Held]) {
            if held < number {
                self.give_up(held);
            }
        }
        let retained = self.in_phase(&[Phase::Retained]);
        let keep = 1 + self.random.below(3);
        for surplus in &retained[..retained.len().saturating_sub(keep)] {
            self.give_up(*surplus);
        }
    }

    fn abort(&mut self) {
        let under_way = self.in_phase(&[Phase::Collecting, Phase::Storing]);
        if let Some(number) = self.random.pick(under_way) {
            self.abort_one(number);
        }
    }

    fn abort_one(&mut self, number: u64) {
        self.registry.abort(id(number));
        if self.phases[&number] == Phase::Storing {
            self.phases.insert(number, Phase::Abandoned);
            return;
        }
        self.phases.remove(&number);
        let files = self.reported.remove(&number).unwrap();
        self.waste(&files);
    }

    fn discard(&mut self) {
        if let Some(number) = self.random.pick(self.in_phase(&[Phase::Retained])) {
            self.give_up(number);
        }
    }

    fn give_up(&mut self, number: u64) {
        self.registry.discard(id(number));
        self.phases.remove(&number);
    }

    /// Carries out so many of the deletions, in order.
    fn delete(&mut self, count: usize) {
        for _ in 0..count {
            match self.deletions.pop_front() {
                None => return,
                Some(Deletion::Folder { checkpoint, folder }) => {
                    let inside = format!("{folder}/");
                    self.published.remove(&checkpoint.get());
                    self.storage.retain(|name| !name.starts_with(&inside));
                    self.seen.homes_deleted += u64::from(folder.starts_with("sp-"));
                }
                Some(Deletion::Object(object)) => {
                    self.storage.remove(object.name());
                    self.seen.objects_deleted += 1;
                }
            }
        }
    }

    /// A native savepoint is there, and the job starts from it.
    fn restore_savepoint(&mut self) {
        let number = self.next;
        self.next += 1;
        let folder = format!("sp-{number}");
        let names = ["a.sst", "b.sst"];
        let metadata = native_savepoint(number, &names[..self.random.below(3)]);
        for file in metadata.files() {
            let rooted = in_folder(number, &folder, file.name());
            self.storage.insert(rooted.object.name().to_owned());
        }
        let claim = self.random.chance(60);
        let mode = if claim { RestoreMode::Claim } else { RestoreMode::NoClaim };
        self.registry.restore(&stored(&folder, &metadata), mode).unwrap();
        if claim {
            self.seen.claims += 1;
            self.phases.insert(number, Phase::Retained);
        } else {
            self.seen.no_claims += 1;
        }
        self.published.insert(number, Published::new(folder, metadata, !claim));
    }

    /// The job starts from one of its own checkpoints without claim.
    fn disown(&mut self) {
        let Some(number) = self.random.pick(self.in_phase(&[Phase::Retained])) else { return };
        // A restart: nothing is under way.
        for under_way in self.in_phase(&[Phase::Collecting, Phase::Storing]) {
            self.abort_one(under_way);
        }
        let Some(published) = self.published.get_mut(&number) else { return };
        published.foreign = true;
        let stored = stored(&published.folder, &published.metadata);
        self.registry.restore(&stored, RestoreMode::NoClaim).unwrap();
        self.phases.remove(&number);
        self.seen.no_claims += 1;
    }

    /// The process dies. What storage had not answered for is there or not.
    fn crash(&mut self) {
        self.seen.crashes += 1;
        for (number, metadata) in std::mem::take(&mut self.storing) {
            if self.random.chance(50) {
                self.publish(number, metadata);
            }
        }
        self.reported.clear();
        self.deletions.clear();
        self.phases.clear();
        if self.random.chance(10)
            && let Some(number) = self.random.pick(self.published.keys().copied())
        {
            self.published.get_mut(&number).unwrap().unreadable = true;
        }
        let needed = self.needed();
        self.orphans =
            self.storage.iter().filter(|name| !needed.contains(name.as_str())).cloned().collect();
        let all = self.published.values();
        let readable = all.clone().filter(|it| !it.unreadable);
        let owned: Vec<StoredCheckpoint<'_>> =
            readable.clone().filter(|it| !it.foreign).map(as_stored).collect();
        let kept: Vec<StoredCheckpoint<'_>> =
            readable.filter(|it| it.foreign).map(as_stored).collect();
        let unreadable = all.clone().any(|it| it.unreadable);
        let found = FoundCheckpoints { owned: &owned, kept: &kept, unreadable, offered: None };
        self.registry = SharedFileRegistry::rebuild(self.settings, &found).unwrap();
        for it in owned {
            self.phases.insert(it.metadata.checkpoint.get(), Phase::Retained);
        }
        if unreadable {
            // Until it can be read, whatever is there may stay for ever.
            self.orphans = self.storage.clone();
        }
    }

    /// Every object that published metadata names.
    fn needed(&self) -> BTreeSet<&str> {
        self.published.values().flat_map(|it| &it.objects).map(String::as_str).collect()
    }

    fn check(&self) {
        for name in self.needed() {
            assert!(self.storage.contains(name), "{name} is gone and metadata names it");
        }
        let handed_out: BTreeSet<&str> = self
            .deletions
            .iter()
            .filter_map(|deletion| match deletion {
                Deletion::Object(object) => Some(object.name()),
                Deletion::Folder { .. } => None,
            })
            .collect();
        let foreign = self.foreign();
        let is_there = |name: &str| self.storage.contains(name) && !handed_out.contains(name);
        for number in self.in_phase(&[Phase::Collecting]) {
            for file in self
                .registry
                .offers(id(number))
                .chain(&self.reported[&number])
                .chain(&self.promised[&number])
            {
                assert!(is_there(file.object.name()), "{file:?} for {number} is gone");
                assert!(self.registry.is_in_use(file.object.name()));
            }
            let mut offers = self.registry.offers(id(number));
            assert!(offers.all(|file| !foreign.contains(file.object.name())));
        }
        for metadata in self.storing.values() {
            assert!(metadata.files().all(|file| is_there(file.name())));
        }
        for number in self.in_phase(&[Phase::Retained]) {
            let published = &self.published[&number];
            assert!(published.objects.iter().all(|name| is_there(name)), "{number}");
        }
        assert!(foreign.iter().all(|name| is_there(name)));
        let retained: Vec<u64> = self.registry.retained().map(|it| it.get()).collect();
        assert_eq!(retained, self.in_phase(&[Phase::Retained, Phase::Held]));
    }

    /// Objects that the registry knows to be of others.
    fn foreign(&self) -> BTreeSet<&str> {
        let foreign = self.published.values().filter(|it| it.foreign && !it.unreadable);
        foreign.flat_map(|it| &it.objects).map(String::as_str).collect()
    }

    /// Decides everything, then looks for what nothing refers to.
    fn settle(&mut self) {
        while let Some(number) = self.random.pick(self.in_phase(&[Phase::Collecting])) {
            self.abort_one(number);
        }
        while !self.in_phase(&[Phase::Storing, Phase::Abandoned]).is_empty() {
            self.answer();
        }
        self.messages.clear();
        self.begin();
        self.reuse();
        self.store();
        while self.in_phase(&[Phase::Retained]).last() != Some(&(self.next - 1)) {
            if self.in_phase(&[Phase::Storing]).is_empty() {
                self.begin();
                self.store();
            }
            self.answer();
        }
        self.deletions.extend(self.registry.take_deletions());
        self.check();
        self.delete(usize::MAX);
        self.check();
        let needed = self.needed();
        let kept_for_nothing: Vec<&String> = self
            .storage
            .iter()
            .filter(|name| !needed.contains(name.as_str()) && !self.orphans.contains(*name))
            .collect();
        assert!(kept_for_nothing.is_empty(), "{kept_for_nothing:?}");
        let orphans = self.collect_garbage(&needed);
        self.seen.orphans += orphans;
    }

    /// Garbage collection finds exactly the orphans, or nothing if a checkpoint cannot be read.
    fn collect_garbage(&self, needed: &BTreeSet<&str>) -> u64 {
        let listed = |name| ListedObject { name, bytes: 100, age_ms: Some(1_000) };
        let objects: Vec<ListedObject<'_>> = self.storage.iter().map(|it| listed(it)).collect();
        let checkpoints: Vec<GcCheckpoint<'_>> = self
            .published
            .values()
            .map(|it| GcCheckpoint {
                folder: &it.folder,
                is_void: false,
                metadata: if it.unreadable { Err("damaged") } else { Ok(&it.metadata) },
            })
            .collect();
        let facts = GcFacts {
            objects: &objects,
            checkpoints: &checkpoints,
            safe_age_ms: 1_000,
            in_flight_from: None,
            is_in_use: &|_| false,
        };
        let plan = plan_gc(&facts);
        let orphans: BTreeSet<&str> = plan.deletable().map(|it| it.name).collect();
        let unreadable = self.published.values().any(|it| it.unreadable);
        let expected: BTreeSet<&str> = self
            .storage
            .iter()
            .map(String::as_str)
            .filter(|name| !unreadable && !needed.contains(name))
            .collect();
        assert_eq!(orphans, expected);
        assert!(unreadable || plan.of_class(ObjectClass::Undecided).count() == 0);
        orphans.len() as u64
    }
}

fn as_stored(published: &Published) -> StoredCheckpoint<'_> {
    stored(&published.folder, &published.metadata)
}

const SCHEDULES: u64 = 2_000;

#[test]
fn any_schedule_keeps_what_is_referred_to_and_nothing_else() {
    let mut seen = Seen::default();
    for seed in 0..SCHEDULES {
        let run = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed, &mut seen);
            for _ in 0..30 + world.random.below(170) {
                world.step();
            }
            world.settle();
        });
        if let Err(panic) = std::panic::catch_unwind(run) {
            let what = panic.downcast_ref::<String>();
            panic!("seed {seed}: {}", what.map_or("see above", String::as_str));
        }
    }
    // Schedules in which nothing happens would keep every invariant.
    let counts = [
        seen.reuses,
        seen.spares_reused,
        seen.late,
        seen.objects_deleted,
        seen.crashes,
        seen.claims,
        seen.no_claims,
        seen.too_late,
        seen.orphans,
        seen.withheld,
    ];
    assert!(counts.iter().all(|&count| count >= SCHEDULES / 8), "{seen:?}");
    assert!(seen.homes_deleted >= SCHEDULES / 40, "{seen:?}");
}

#[test]
fn equal_seeds_give_equal_histories() {
    let run = || {
        let mut seen = Seen::default();
        let mut world = World::new(7, &mut seen);
        let mut history = Vec::new();
        for _ in 0..200 {
            world.step();
            history.push(format!("{:?} {:?}", world.registry, world.deletions));
        }
        history
    };
    assert_eq!(run(), run());
}
