//! State that one version of a program wrote and the next one reads.

use millpond_state::codec::{Codec, DefaultCodec};
use millpond_state::kinds::{ListState, MapState, ReducingState, ValueState};
use millpond_state::{
    ErrorKind, KeyedBackend, MigrationMode, Migrations, OperatorList, OperatorState, Result,
    StateError, StateOptions, record,
};

use super::kinds::{Kinds, NAMES, Numbers, Seen, Spot};
use super::subject::{
    BackendUnderTest, begin_snapshot, finish_snapshot, key, owner, restore_parts, restored,
    take_parts, take_snapshot,
};
use crate::entries::CollectedSnapshot;
use crate::violation::{Verdict, Violation, ensure, ensure_eq, refused};

const KEYS: u64 = 60;
const MODES: [MigrationMode; 2] = [MigrationMode::Eager, MigrationMode::Lazy];

fn one_to_two(steps: Migrations) -> Migrations {
    steps.step_between::<u64, Numbers<1>, u64, Numbers<2>>(|old| Ok(old * 10))
}

fn two_to_three(steps: Migrations) -> Migrations {
    steps.step_between::<u64, Numbers<2>, u64, Numbers<3>>(|old| Ok(old + 7))
}

fn options(mode: MigrationMode, steps: Migrations) -> StateOptions {
    StateOptions::new().migrations(steps).migration_mode(mode)
}

fn fill<C: Codec<u64>>(
    subject: &BackendUnderTest,
    backend: &mut dyn KeyedBackend,
    options: &StateOptions,
) -> Result<()> {
    let states = Kinds::<C>::register(backend, options)?;
    for number in 0..KEYS {
        let spot = Spot::new(subject, number, number as i64 % 3)?;
        if backend.key_groups().contains(spot.key.group()) {
            states.write(backend, spot.at(), number * 100)?;
        }
    }
    Ok(())
}

/// A snapshot of all kinds of state in version 1.
fn version_one(subject: &BackendUnderTest) -> Result<CollectedSnapshot> {
    let mut backend = subject.open()?;
    fill::<Numbers<1>>(subject, &mut *backend, &StateOptions::new())?;
    take_snapshot(&mut *backend)
}

/// Registers, and checks every number after a conversion.
fn check<C: Codec<u64>>(
    subject: &BackendUnderTest,
    backend: &mut dyn KeyedBackend,
    options: &StateOptions,
    convert: impl Fn(u64) -> u64 + Copy,
) -> Verdict {
    let states = Kinds::<C>::register(backend, options)?;
    for number in 0..KEYS {
        let spot = Spot::new(subject, number, number as i64 % 3)?;
        let found = states.read(backend, spot.at())?;
        ensure_eq!(found, Seen::through(number * 100, convert), "state of key {number}");
    }
    ensure_eq!(states.count(backend)?, KEYS * 5, "entries");
    Ok(())
}

/// Checks that every value codec in a snapshot has a version.
fn all_of_version(snapshot: &CollectedSnapshot, version: u32) -> Verdict {
    for state in &snapshot.states {
        let found = state.codecs().value.version();
        ensure_eq!(found, version, "codec version of state {}", state.name());
    }
    Ok(())
}

fn migrates_every_kind(subject: &BackendUnderTest, mode: MigrationMode) -> Verdict {
    let snapshot = version_one(subject)?;
    let mut backend = restored(subject, &snapshot)?;
    let steps = options(mode, one_to_two(Migrations::new()));
    check::<Numbers<2>>(subject, &mut *backend, &steps, |old| old * 10)?;
    let states = Kinds::<Numbers<2>>::register(&mut *backend, &steps)?;
    let spot = Spot::new(subject, 5, 2)?;
    states.list.add(&mut *backend, spot.at(), &1)?;
    states.reducing.add(&mut *backend, spot.at(), 1)?;
    states.aggregating.add(&mut *backend, spot.at(), &1)?;
    let after = states.read(&mut *backend, spot.at())?;
    ensure_eq!(after.list, [5_000, 5_010, 1], "list, added to");
    ensure_eq!((after.reducing, after.aggregating), (Some(5_001), Some(5_001)), "added to");
    Ok(())
}

/// Values, list elements, map values, reductions and accumulators are converted at registration.
pub fn an_eager_migration_converts_every_kind(subject: &BackendUnderTest) -> Verdict {
    migrates_every_kind(subject, MigrationMode::Eager)?;
    // Nothing of the old version is left, whoever reads: also past the typed handles.
    let mut backend = restored(subject, &version_one(subject)?)?;
    let steps = options(MigrationMode::Eager, one_to_two(Migrations::new()));
    let states = Kinds::<Numbers<2>>::register(&mut *backend, &steps)?;
    for number in 0..KEYS {
        let spot = Spot::new(subject, number, number as i64 % 3)?;
        let bytes = backend.get(states.value.id(), spot.at().entry())?.unwrap_or_default();
        let decoded = Numbers::<2>.decode_all(bytes).ok();
        ensure_eq!(decoded, Some(number * 1_000), "stored bytes of key {number}");
    }
    Ok(())
}

/// The same, each key group when it is first touched.
pub fn a_lazy_migration_converts_every_kind(subject: &BackendUnderTest) -> Verdict {
    migrates_every_kind(subject, MigrationMode::Lazy)
}

/// Batches over key groups that await migration, merges and walks see the new version too.
pub fn a_lazy_migration_meets_batches_merges_and_walks(subject: &BackendUnderTest) -> Verdict {
    use millpond_state::kinds::apply_to_all;
    let snapshot = version_one(subject)?;
    let steps = options(MigrationMode::Lazy, one_to_two(Migrations::new()));
    let spots = [Spot::new(subject, 5, 2)?, Spot::new(subject, 6, 0)?, Spot::new(subject, 7, 1)?];
    let places = [&spots[0], &spots[1], &spots[2]].map(|spot| spot.at().entry());
    let mut backend = restored(subject, &snapshot)?;
    let states = Kinds::<Numbers<2>>::register(&mut *backend, &steps)?;
    let mut seen = Vec::new();
    states.value.update_many(&mut *backend, &places, |_, value| {
        seen.push(value);
        value
    })?;
    ensure_eq!(seen, [Some(5_000), Some(6_000), Some(7_000)], "values that a batch sees");
    states.reducing.add_many(&mut *backend, &places, |index| index as u64)?;
    states.aggregating.add_many(&mut *backend, &places, &[&1, &2, &3])?;
    let [first, second, _] = &spots;
    ensure_eq!(states.reducing.get(&mut *backend, second.at())?, Some(6_001), "reduction");
    ensure_eq!(states.aggregating.get(&mut *backend, second.at())?, Some(6_002), "aggregate");
    let target = super::subject::namespace(9)?;
    let sources = [first.window.clone()];
    states.list.merge_namespaces(&mut *backend, &first.key, &sources, &target)?;
    let merged = states.list.get(&mut *backend, first.key.within(&target))?;
    ensure_eq!(merged, [5_000, 5_010], "merged list");
    let mut backend = restored(subject, &snapshot)?;
    let states = Kinds::<Numbers<2>>::register(&mut *backend, &steps)?;
    let mut met = 0;
    apply_to_all::<u64, i64, dyn KeyedBackend>(&mut *backend, states.map.id(), |backend, at| {
        met += 1;
        states.map.update_each(backend, at, |_, value| Some(value + 1))
    })?;
    ensure_eq!(met, KEYS, "maps met");
    let found = states.map.entries(&mut *backend, first.at())?;
    ensure_eq!(found, [(1, 5_001), (2, 5_011)], "map after a walk");
    Ok(())
}

/// Steps are chained: from version 1 to 3 through 2, at once, lazily, or one restart after the
/// other.
pub fn migrations_chain_over_several_versions(subject: &BackendUnderTest) -> Verdict {
    let first = version_one(subject)?;
    let both = |old: u64| old * 10 + 7;
    for mode in MODES {
        // In either order: the search finds the way.
        for steps in [
            two_to_three(one_to_two(Migrations::new())),
            one_to_two(two_to_three(Migrations::new())),
        ] {
            let mut backend = restored(subject, &first)?;
            check::<Numbers<3>>(subject, &mut *backend, &options(mode, steps), both)?;
        }
        let mut backend = restored(subject, &first)?;
        let steps = options(mode, one_to_two(Migrations::new()));
        Kinds::<Numbers<2>>::register(&mut *backend, &steps)?;
        let second = take_snapshot(&mut *backend)?;
        all_of_version(&second, 2)?;
        let mut backend = restored(subject, &second)?;
        let steps = options(mode, two_to_three(Migrations::new()));
        check::<Numbers<3>>(subject, &mut *backend, &steps, both)?;
    }
    Ok(())
}

/// The next snapshot has only values of the new codec, also of key groups that were not touched,
/// and so does one that was begun before they were.
pub fn the_snapshot_after_a_migration_is_all_new(subject: &BackendUnderTest) -> Verdict {
    let first = version_one(subject)?;
    for mode in MODES {
        let mut backend = restored(subject, &first)?;
        let steps = options(mode, one_to_two(Migrations::new()));
        let states = Kinds::<Numbers<2>>::register(&mut *backend, &steps)?;
        let spot = Spot::new(subject, 7, 1)?;
        let touched = states.read(&mut *backend, spot.at())?;
        ensure_eq!(touched, Seen::of(700).scaled(10), "what was touched");
        let task = begin_snapshot(&mut *backend, 1)?;
        check::<Numbers<2>>(subject, &mut *backend, &steps, |old| old * 10)?;
        for task in [task, begin_snapshot(&mut *backend, 2)?] {
            let (snapshot, summary) = finish_snapshot(task)?;
            all_of_version(&snapshot, 2)?;
            ensure_eq!(summary.entries, KEYS * 6, "entries that the summary counts");
            let mut backend = restored(subject, &snapshot)?;
            // No steps: nothing may be left to migrate.
            let plain = StateOptions::new();
            check::<Numbers<2>>(subject, &mut *backend, &plain, |old| old * 10)?;
        }
    }
    Ok(())
}

impl Seen {
    fn scaled(&self, factor: u64) -> Self {
        Self {
            value: self.value.map(|number| number * factor),
            list: self.list.iter().map(|number| number * factor).collect(),
            map: self.map.iter().map(|(key, number)| (*key, number * factor)).collect(),
            reducing: self.reducing.map(|number| number * factor),
            aggregating: self.aggregating.map(|number| number * factor),
        }
    }
}

/// A migration runs in each instance of a job that was restored at another parallelism.
pub fn a_migration_meets_a_rescale(subject: &BackendUnderTest) -> Verdict {
    for mode in MODES {
        for (from, to) in [(1, 3), (3, 2)] {
            let mut old = subject.open_all(from)?;
            for backend in &mut old {
                fill::<Numbers<1>>(subject, &mut **backend, &StateOptions::new())?;
            }
            let parts = take_parts(&mut old)?;
            let mut new = subject.open_all(to)?;
            restore_parts(&parts, &mut new)?;
            let steps = options(mode, one_to_two(Migrations::new()));
            for backend in &mut new {
                Kinds::<Numbers<2>>::register(&mut **backend, &steps)?;
            }
            let parts = take_parts(&mut new)?;
            let mut last = subject.open_all(1)?;
            restore_parts(&parts, &mut last)?;
            let backend = owner(&mut last, millpond_state::KeyGroup::new(0))?;
            let plain = StateOptions::new();
            check::<Numbers<2>>(subject, backend, &plain, |old| old * 10)?;
        }
    }
    Ok(())
}

/// A step that fails leaves everything as it was: the old version can still be read.
pub fn a_failing_migration_changes_nothing(subject: &BackendUnderTest) -> Verdict {
    let first = version_one(subject)?;
    let picky = || {
        Migrations::new().step_between::<u64, Numbers<1>, u64, Numbers<2>>(|old| {
            if old == 4_200 {
                return Err(StateError::new(ErrorKind::UserCode, "4200 is refused"));
            }
            Ok(old * 10)
        })
    };
    let mut backend = restored(subject, &first)?;
    let eager = options(MigrationMode::Eager, picky());
    let registered = Kinds::<Numbers<2>>::register(&mut *backend, &eager);
    refused(registered, ErrorKind::UserCode, "eager migration with a failing step")?;
    let again = take_snapshot(&mut *backend)?;
    ensure!(again.logical() == first.logical(), "a failed migration changed what is stored");
    check::<Numbers<1>>(subject, &mut *backend, &StateOptions::new(), |old| old)?;

    let mut backend = restored(subject, &first)?;
    let lazy = options(MigrationMode::Lazy, picky());
    let states = Kinds::<Numbers<2>>::register(&mut *backend, &lazy)?;
    let bad = Spot::new(subject, 42, 0)?;
    let failed = states.value.get(&mut *backend, bad.at());
    refused(failed, ErrorKind::UserCode, "read of a key group that does not migrate")?;
    let failed = states.value.put(&mut *backend, bad.at(), &1);
    refused(failed, ErrorKind::UserCode, "write to a key group that does not migrate")?;
    let stored = backend.get(states.value.id(), bad.at().entry())?;
    ensure_eq!(stored, Some(4_200u64.to_be_bytes().as_slice()), "stored bytes");
    for number in 0..KEYS {
        let spot = Spot::new(subject, number, number as i64 % 3)?;
        if spot.key.group() != bad.key.group() {
            let found = states.value.get(&mut *backend, spot.at())?;
            ensure_eq!(found, Some(number * 1_000), "value of key {number} elsewhere");
        }
    }
    Ok(())
}

fn message_of<T>(result: Result<T>) -> String {
    result.err().map(|error| error.to_string()).unwrap_or_default()
}

#[track_caller]
fn names_all<T>(result: Result<T>, parts: &[&str]) -> Verdict {
    let kind = result.as_ref().err().map(StateError::kind);
    let message = message_of(result);
    if kind != Some(ErrorKind::Incompatible) {
        return Err(Violation::new(format!("{kind:?} {message:?}, expected a refusal")));
    }
    match parts.iter().find(|part| !message.contains(**part)) {
        Some(part) => Err(Violation::new(format!("{message:?} does not name {part}"))),
        None => Ok(()),
    }
}

/// Where no step leads from the codec that wrote to the one declared, the refusal names state, part
/// and both codecs with their versions; what is stored stays readable.
pub fn a_refused_codec_is_named_in_full(subject: &BackendUnderTest) -> Verdict {
    let snapshot = version_one(subject)?;
    let mut backend = restored(subject, &snapshot)?;
    let backend: &mut dyn KeyedBackend = &mut *backend;
    let (old, new) = ("testkit:numbers v1", "testkit:numbers v2");
    let plain = StateOptions::new;
    let value = ValueState::<u64, u64, i64, Numbers<2>>::register(backend, "value");
    names_all(value, &["\"value\"", "value", old, new])?;
    let list = ListState::<u64, u64, i64, Numbers<2>>::register(backend, "list");
    names_all(list, &["\"list\"", old, new])?;
    let map =
        MapState::<u64, u32, u64, i64, DefaultCodec<u32>, Numbers<2>>::register(backend, "map");
    names_all(map, &["\"map\"", old, new])?;
    let sum = |a: u64, b: u64| a + b;
    let reducing = ReducingState::<u64, u64, i64, Numbers<2>>::register(backend, "reducing", sum);
    names_all(reducing, &["\"reducing\"", old, new])?;
    let user_key =
        MapState::<u64, u64, u64, i64, DefaultCodec<u64>, Numbers<1>>::register(backend, "map");
    names_all(user_key, &["\"map\"", "user key", "u32 v1", "u64 v1"])?;
    let back = one_to_two(two_to_three(Migrations::new()));
    let mut newer = subject.open()?;
    fill::<Numbers<3>>(subject, &mut *newer, &plain())?;
    let newer = take_snapshot(&mut *newer)?;
    let mut newer = restored(subject, &newer)?;
    let older = ValueState::<u64, u64, i64, Numbers<1>>::register_with(
        &mut *newer,
        "value",
        plain().migrations(back),
    );
    names_all(older, &["testkit:numbers v3", old])?;
    check::<Numbers<1>>(subject, backend, &plain(), |old| old)
}

/// Keys, namespaces and user keys are what they were, or refused: no step is applied to them.
pub fn keys_and_namespaces_are_never_migrated(subject: &BackendUnderTest) -> Verdict {
    let snapshot = version_one(subject)?;
    for mode in MODES {
        let mut backend = restored(subject, &snapshot)?;
        let backend: &mut dyn KeyedBackend = &mut *backend;
        let steps = Migrations::new()
            .step(|old: u64| old as u32)
            .step(|old: i64| old as u64)
            .step(|old: u32| u64::from(old));
        let options = || options(mode, steps.clone());
        type Value<K, N> = ValueState<K, u64, N, Numbers<1>>;
        let other_key = Value::<u32, i64>::register_with(backend, "value", options());
        names_all(other_key, &["\"value\"", "key", "u64 v1", "u32 v1"])?;
        let other_namespace = Value::<u64, u64>::register_with(backend, "value", options());
        names_all(other_namespace, &["\"value\"", "namespace", "i64 v1", "u64 v1"])?;
        type Map<UK> = MapState<u64, UK, u64, i64, DefaultCodec<UK>, Numbers<1>>;
        let other_user_key = Map::<u64>::register_with(backend, "map", options());
        names_all(other_user_key, &["\"map\"", "user key", "u32 v1", "u64 v1"])?;
        check::<Numbers<1>>(subject, backend, &options(), |old| old)?;
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq)]
struct FlightV1 {
    number: u32,
    delay: i32,
    carrier: String,
}
record!(FlightV1, version 1, { number: u32, delay: i32, carrier: String });

/// The same with a wider number, a field renamed and wider, one gone and one new.
#[derive(Clone, Debug, PartialEq)]
struct FlightV2 {
    number: u64,
    tail: String,
    minutes_late: i64,
}
record!(FlightV2, version 2, {
    number: u64,
    tail: String = "unknown".to_owned(),
    minutes_late (was delay): i64,
});

#[derive(Clone, Debug, PartialEq)]
struct FlightV3 {
    number: String,
}
record!(FlightV3, version 3, { number: String });

/// Fields of a record are added, renamed, widened and removed without code; a change of type is
/// refused by the name of the field.
pub fn records_evolve_by_the_names_of_their_fields(subject: &BackendUnderTest) -> Verdict {
    let mut backend = subject.open()?;
    let (context, list_at) = (key(subject, &7u64)?, key(subject, &8u64)?);
    let one = FlightV1 { number: 5, delay: -3, carrier: "AA".to_owned() };
    let value = ValueState::<u64, FlightV1>::register(&mut *backend, "value")?;
    let list = ListState::<u64, FlightV1>::register(&mut *backend, "list")?;
    let map = MapState::<u64, u32, FlightV1>::register(&mut *backend, "map")?;
    value.put(&mut *backend, context.at(), &one)?;
    list.add_all(&mut *backend, list_at.at(), &[one.clone(), one.clone()])?;
    map.put(&mut *backend, context.at(), &1, &one)?;
    let snapshot = take_snapshot(&mut *backend)?;
    let two = FlightV2 { number: 5, tail: "unknown".to_owned(), minutes_late: -3 };
    for mode in MODES {
        let mut backend = restored(subject, &snapshot)?;
        let backend: &mut dyn KeyedBackend = &mut *backend;
        let options = || options(mode, Migrations::new());
        let refused = ValueState::<u64, FlightV3>::register_with(backend, "value", options());
        names_all(refused, &["\"value\"", "number"])?;
        let value = ValueState::<u64, FlightV2>::register_with(backend, "value", options())?;
        let list = ListState::<u64, FlightV2>::register_with(backend, "list", options())?;
        let map = MapState::<u64, u32, FlightV2>::register_with(backend, "map", options())?;
        ensure_eq!(value.get(backend, context.at())?, Some(two.clone()), "value");
        ensure_eq!(list.get(backend, list_at.at())?, [two.clone(), two.clone()], "list");
        ensure_eq!(map.get(backend, context.at(), &1)?, Some(two.clone()), "map value");
    }
    Ok(())
}

/// Split and union lists and broadcast values are migrated along the same steps; other keys of
/// broadcast state are refused.
pub fn operator_state_is_migrated_between_codecs(subject: &BackendUnderTest) -> Verdict {
    type List<C> = OperatorList<u64, C>;
    type Rules<C> = millpond_state::BroadcastState<u64, u64, DefaultCodec<u64>, C>;
    let mut store = OperatorState::new();
    let split = List::<Numbers<1>>::register_split(&mut store, "split")?;
    let union = List::<Numbers<1>>::register_union(&mut store, "union")?;
    let rules = Rules::<Numbers<1>>::register(&mut store, "rules")?;
    split.add_all(&mut store, &[1, 2])?;
    union.add_all(&mut store, &[3, 4])?;
    rules.put(&mut store, &1, &5)?;
    let path = subject.operator_state();
    let cancel = millpond_state::CancelFlag::new();
    let parts = path.write_out(&store, store.snapshot(), &cancel)?;
    let mut store = OperatorState::restore(path.redistribute(&[parts], 1)?.concat())?;
    names_all(
        List::<Numbers<2>>::register_split(&mut store, "split"),
        &["\"split\"", "testkit:numbers v1", "testkit:numbers v2"],
    )?;
    let other_key = store.broadcast::<u32, u64>("rules");
    names_all(other_key, &["\"rules\"", "u64 v1", "u32 v1"])?;
    let steps = two_to_three(one_to_two(Migrations::new()));
    let split = List::<Numbers<3>>::register_split_with(&mut store, "split", &steps)?;
    let union = List::<Numbers<3>>::register_union_with(&mut store, "union", &steps)?;
    let rules = Rules::<Numbers<3>>::register_with(&mut store, "rules", &steps)?;
    ensure_eq!(split.get(&store)?, [17, 27], "split list");
    ensure_eq!(union.get(&store)?, [37, 47], "union list");
    ensure_eq!(rules.get(&store, &1)?, Some(57), "broadcast value");
    for part in path.write_out(&store, store.snapshot(), &cancel)? {
        let version = part.codecs.map(|codecs| codecs.value.version());
        ensure_eq!(version, Some(3), "codec of the next snapshot of {}", part.name);
    }
    Ok(())
}

/// A state that is restored under a name keeps its codecs until the program declares it, and what
/// was declared is not migrated under a handle's feet.
pub fn a_declared_state_is_not_migrated_again(subject: &BackendUnderTest) -> Verdict {
    let mut backend = restored(subject, &version_one(subject)?)?;
    let steps = options(MigrationMode::Lazy, one_to_two(Migrations::new()));
    Kinds::<Numbers<2>>::register(&mut *backend, &steps)?;
    let further = options(MigrationMode::Eager, two_to_three(Migrations::new()));
    let kind = ErrorKind::Incompatible;
    refused(Kinds::<Numbers<3>>::register(&mut *backend, &further), kind, "declared again")?;
    refused(
        Kinds::<Numbers<1>>::register(&mut *backend, &StateOptions::new()),
        kind,
        "declared as it was written",
    )?;
    check::<Numbers<2>>(subject, &mut *backend, &steps, |old| old * 10)?;
    ensure_eq!(backend.states().len(), NAMES.len(), "states");
    Ok(())
}
