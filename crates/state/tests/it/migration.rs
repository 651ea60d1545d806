//! Migrations, one behaviour each.

use millpond_state::codec::{Codec, CodecIdentity, DefaultCodec, HasCodec};
use millpond_state::{
    AggregatingState, ErrorKind, KeyedBackend, ListState, MapState, MigrationMode, Migrations,
    ReducingState, StateError, StateOptions, StateTime, TimeDomain, Ttl, ValueState,
    plan_migration, record,
};
use millpond_state::{Compatibility, Result};
use millpond_testkit::entries::CollectedSnapshot;
use millpond_testkit::model::ModelBackend;

use crate::support::{Mean, advance, key, open, refused, restored, snapshot, ttl};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct V1 {
    pub(crate) minutes: i32,
}
record!(V1, version 1, { minutes: i32 });

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct V2 {
    pub(crate) millis: i64,
}
record!(V2, version 2, { millis: i64 });

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct V3 {
    pub(crate) text: String,
}
record!(V3, version 3, { text: String });

/// From version 1 to 3, through 2.
pub(crate) fn chain() -> Migrations {
    Migrations::new()
        .step(|old: V2| V3 { text: format!("{} ms", old.millis) })
        .step(|old: V1| V2 { millis: i64::from(old.minutes) * 60_000 })
}

fn options(migrations: &Migrations, mode: MigrationMode) -> StateOptions {
    StateOptions::new().migrations(migrations.clone()).migration_mode(mode)
}

/// A snapshot of a value state with `count` values.
fn written(count: u64) -> CollectedSnapshot {
    let mut backend = open();
    let state = ValueState::<u64, V1>::register(&mut backend, "delays").unwrap();
    for number in 0..count {
        let value = V1 { minutes: number as i32 };
        state.put(&mut backend, key(number).at(), &value).unwrap();
    }
    snapshot(&mut backend)
}

/// The values of the state, as `V` decodes them from the bytes alone.
fn decoded<V: HasCodec>(snapshot: &CollectedSnapshot) -> Vec<V> {
    let decode = |bytes: &[u8]| DefaultCodec::<V>::default().decode_all(bytes).unwrap();
    snapshot.entries.iter().map(|entry| decode(&entry.value)).collect()
}

fn path(compatibility: &Compatibility) -> Vec<String> {
    match compatibility {
        Compatibility::AfterMigration(plan) => plan.path().iter().map(|i| i.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_of_the_same_codec_are_read_as_they_are() {
    let identity = DefaultCodec::<V1>::default().identity();
    let verdict = plan_migration::<V1, DefaultCodec<V1>>(&identity, &chain());
    assert!(matches!(verdict, Compatibility::AsIs));
    let taken = written(20);
    let mut backend = restored(&taken);
    ValueState::<u64, V1>::register(&mut backend, "delays").unwrap();
    assert_eq!(snapshot(&mut backend).entries, taken.entries);
}

#[test]
fn steps_are_chained_whatever_order_they_are_given_in() {
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let mut backend = restored(&written(50));
        let b = &mut backend;
        let state =
            ValueState::<u64, V3>::register_with(b, "delays", options(&chain(), mode)).unwrap();
        assert_eq!(state.get(b, key(2).at()).unwrap().unwrap().text, "120000 ms");
        assert_eq!(b.states()[0].is_migrating(), mode == MigrationMode::Lazy);
        state.put(b, key(99).at(), &V3 { text: "new".into() }).unwrap();
        let taken = snapshot(b);
        assert_eq!(taken.states[0].codecs().value.to_string(), "record<text:string> v3");
        let values = decoded::<V3>(&taken);
        assert_eq!(values.len(), 51);
        assert!(values.iter().all(|value| value.text.ends_with(" ms") || value.text == "new"));
    }
}

#[test]
fn the_shortest_chain_is_taken_and_steps_of_the_user_before_what_codecs_offer() {
    let v1 = DefaultCodec::<V1>::default().identity();
    let long = plan_migration::<V3, DefaultCodec<V3>>(&v1, &chain());
    assert_eq!(
        path(&long),
        ["record<minutes:i32> v1", "record<millis:i64> v2", "record<text:string> v3"]
    );
    let direct = chain().step(|old: V1| V3 { text: old.minutes.to_string() });
    let short = plan_migration::<V3, DefaultCodec<V3>>(&v1, &direct);
    assert_eq!(path(&short), ["record<minutes:i32> v1", "record<text:string> v3"]);

    struct Wide {
        minutes: i64,
    }
    record!(Wide, version 2, { minutes: i64 });
    let offered = plan_migration::<Wide, DefaultCodec<Wide>>(&v1, &Migrations::new());
    assert_eq!(path(&offered), ["record<minutes:i32> v1", "record<minutes:i64> v2"]);
    let given = Migrations::new()
        .step(|old: V2| Wide { minutes: old.millis / 60_000 })
        .step(|old: V1| V2 { millis: i64::from(old.minutes) * 60_000 });
    let given = plan_migration::<Wide, DefaultCodec<Wide>>(&v1, &given);
    assert_eq!(path(&given).len(), 3, "the offer is shorter, but the user said how");
}

#[test]
fn what_a_codec_offers_leads_to_the_first_step_of_a_chain() {
    #[derive(Debug)]
    struct Wide {
        minutes: i64,
    }
    record!(Wide, version 2, { minutes: i64 });
    let steps = Migrations::new().step(|old: Wide| format!("{}", old.minutes));
    let mut backend = restored(&written(3));
    let options = StateOptions::new().migrations(steps);
    let state = ValueState::<u64, String>::register_with(&mut backend, "delays", options).unwrap();
    assert_eq!(state.get(&mut backend, key(2).at()).unwrap().unwrap(), "2");
}

#[test]
fn steps_that_lead_in_circles_or_nowhere_are_no_way() {
    let circles = Migrations::new().step(|old: V1| V2 { millis: i64::from(old.minutes) });
    let circles = circles.step(|old: V2| V1 { minutes: old.millis as i32 });
    let mut backend = restored(&written(3));
    let options = options(&circles, MigrationMode::Eager);
    let result = ValueState::<u64, V3>::register_with(&mut backend, "delays", options);
    refused(
        result,
        ErrorKind::Incompatible,
        &[
            "\"delays\"",
            "its value",
            "record<minutes:i32> v1",
            "record<text:string> v3",
            "give a migration step",
        ],
    );
    assert!(ValueState::<u64, V1>::register(&mut backend, "delays").is_ok(), "nothing was changed");
}

#[test]
fn keys_namespaces_and_user_keys_are_never_migrated() {
    let mut backend = open();
    let b = &mut backend;
    MapState::<u64, V1, u8, u16>::register(b, "m").unwrap();
    let taken = snapshot(b);
    let steps = chain().step(|old: u64| old as u32).step(|old: u16| u64::from(old));
    let with = || StateOptions::new().migrations(steps.clone());
    let b = &mut restored(&taken);
    let kind = ErrorKind::Incompatible;
    let result = MapState::<u32, V1, u8, u16>::register_with(b, "m", with());
    refused(result, kind, &["\"m\"", "its key was", "u64 v1", "u32 v1", "as it was written"]);
    let result = MapState::<u64, V1, u8, u64>::register_with(b, "m", with());
    refused(result, kind, &["\"m\"", "its namespace", "u16 v1", "u64 v1"]);
    let result = MapState::<u64, V2, u8, u16>::register_with(b, "m", with());
    refused(result, kind, &["\"m\"", "its user key", "record<minutes:i32> v1"]);
    let result = ListState::<u64, u8, u16>::register_with(b, "m", with());
    refused(result, kind, &["\"m\"", "map state", "list state"]);
    MapState::<u64, V1, u8, u16>::register_with(b, "m", with()).unwrap();
}

/// Steps that fail for one value.
fn failing_for(minutes: i32) -> Migrations {
    Migrations::new().try_step(move |old: V1| -> Result<V2> {
        if old.minutes == minutes {
            return Err(StateError::new(ErrorKind::UserCode, "this one is wrong"));
        }
        Ok(V2 { millis: i64::from(old.minutes) * 60_000 })
    })
}

fn refused_step<T>(result: Result<T>) {
    let parts =
        ["\"delays\"", "key group", "record<minutes:i32> v1", "record<millis:i64> v2", "wrong"];
    refused(result, ErrorKind::UserCode, &parts);
}

#[test]
fn a_step_that_fails_at_once_changes_nothing() {
    let taken = written(40);
    let mut backend = restored(&taken);
    let b = &mut backend;
    let failing = options(&failing_for(33), MigrationMode::Eager);
    refused_step(ValueState::<u64, V2>::register_with(b, "delays", failing));
    assert_eq!(snapshot(b).entries, taken.entries);
    assert_eq!(b.states(), taken.states);
    let state = ValueState::<u64, V1>::register(b, "delays").unwrap();
    assert_eq!(state.get(b, key(33).at()).unwrap(), Some(V1 { minutes: 33 }));
}

#[test]
fn a_step_that_fails_later_fails_the_access_and_changes_nothing() {
    let taken = written(40);
    let mut backend = restored(&taken);
    let b = &mut backend;
    let failing = options(&failing_for(33), MigrationMode::Lazy);
    let state = ValueState::<u64, V2>::register_with(b, "delays", failing).unwrap();
    let bad = key(33).group();
    for number in 0..40 {
        let key = key(number);
        if key.group() == bad {
            refused_step(state.get(b, key.at()));
            refused_step(state.put(b, key.at(), &V2 { millis: 1 }));
            let stored = b.get(state.id(), key.at().entry()).unwrap().unwrap();
            let old = DefaultCodec::<V1>::default().decode_all(stored).unwrap();
            assert_eq!(old.minutes, number as i32);
        } else {
            let value = state.get(b, key.at()).unwrap().unwrap();
            assert_eq!(value.millis, 60_000 * number as i64);
        }
    }
    let cancel = millpond_state::CancelFlag::new();
    let request = millpond_state::SnapshotRequest::full(millpond_state::CheckpointId::new(1));
    let task = b.snapshot(&request).unwrap();
    let mut sink = millpond_testkit::entries::CollectingSink::new();
    refused(task.run(&mut sink, &cancel).map(drop), ErrorKind::UserCode, &["wrong"]);
}

#[test]
fn all_kinds_are_migrated_lazily_and_two_handles_agree_on_how_far() {
    let mut backend = open();
    let b = &mut backend;
    let list = ListState::<u64, V1>::register(b, "l").unwrap();
    let map = MapState::<u64, u8, V1>::register(b, "m").unwrap();
    let first = |a: V1, _| a;
    let reducing = ReducingState::<u64, V1>::register(b, "r", first).unwrap();
    for number in 0..30 {
        let (key, value) = (key(number), V1 { minutes: number as i32 });
        list.add_all(b, key.at(), [&value, &value]).unwrap();
        map.put(b, key.at(), &1, &value).unwrap();
        map.put(b, key.at(), &2, &value).unwrap();
        reducing.add(b, key.at(), value).unwrap();
    }
    let mut backend = restored(&snapshot(b));
    let b = &mut backend;
    let lazy = || options(&chain(), MigrationMode::Lazy);
    let lists = [
        ListState::<u64, V3>::register_with(b, "l", lazy()).unwrap(),
        ListState::<u64, V3>::register_with(b, "l", lazy()).unwrap(),
    ];
    let maps = [
        MapState::<u64, u8, V3>::register_with(b, "m", lazy()).unwrap(),
        MapState::<u64, u8, V3>::register(b, "m").unwrap(),
    ];
    let first = |a: V3, _| a;
    let reducing = ReducingState::<u64, V3>::register_with(b, "r", first, lazy()).unwrap();
    for number in 0..30 {
        let (key, text) = (key(number), V3 { text: format!("{} ms", number * 60_000) });
        let handle = (number % 2) as usize;
        lists[handle].add(b, key.at(), &text).unwrap();
        let expected = vec![text.clone(); 3];
        assert_eq!(lists[1 - handle].get(b, key.at()).unwrap(), expected);
        maps[handle].put(b, key.at(), &3, &text).unwrap();
        assert_eq!(maps[1 - handle].entries(b, key.at()).unwrap().len(), 3);
        assert_eq!(maps[handle].get(b, key.at(), &2).unwrap(), Some(text.clone()));
        reducing.add_many(b, &[key.at().entry()], |_| V3 { text: "later".into() }).unwrap();
        assert_eq!(reducing.get(b, key.at()).unwrap(), Some(text));
    }
}

#[test]
fn a_program_declares_a_state_once() {
    let mut backend = restored(&written(5));
    let b = &mut backend;
    let old = ValueState::<u64, V1>::register(b, "delays").unwrap();
    let result =
        ValueState::<u64, V3>::register_with(b, "delays", StateOptions::new().migrations(chain()));
    refused(result, ErrorKind::Incompatible, &["\"delays\"", "declares it both ways"]);
    assert_eq!(old.get(b, key(3).at()).unwrap(), Some(V1 { minutes: 3 }));
}

#[test]
fn an_accumulator_is_migrated() {
    struct Old;
    impl millpond_state::Aggregate for Old {
        type Input = u64;
        type Accumulator = u64;
        type Output = u64;
        fn create(&self) -> u64 {
            0
        }
        fn add(&self, sum: &mut u64, input: &u64) {
            *sum += input;
        }
        fn merge(&self, sum: &mut u64, other: u64) {
            *sum += other;
        }
        fn result(&self, sum: &u64) -> u64 {
            *sum
        }
    }
    let mut backend = open();
    let state = AggregatingState::<u64, Old>::register(&mut backend, "a", Old).unwrap();
    state.add(&mut backend, key(1).at(), &5).unwrap();
    let mut backend = restored(&snapshot(&mut backend));
    let steps = Migrations::new().step(|sum: u64| (sum, 1u64));
    let options = StateOptions::new().migrations(steps);
    let b = &mut backend;
    let state = AggregatingState::<u64, Mean>::register_with(b, "a", Mean, options).unwrap();
    state.add(b, key(1).at(), &7).unwrap();
    assert_eq!(state.get(b, key(1).at()).unwrap(), Some((12, 2)));
}

/// Value, list and map of one key, all holding 1.
fn three(b: &mut ModelBackend, ttl: Option<&Ttl>, mode: MigrationMode) -> Result<[usize; 3]> {
    let mut options = StateOptions::new().migration_mode(mode);
    if let Some(ttl) = ttl {
        options = options.ttl(ttl.clone());
    }
    let value = ValueState::<u64, u64>::register_with(b, "v", options.clone())?;
    let list = ListState::<u64, u64>::register_with(b, "l", options.clone())?;
    let map = MapState::<u64, u8, u64>::register_with(b, "m", options)?;
    let key = key(1);
    if b.entry_count(value.id())? == 0 {
        value.put(b, key.at(), &1)?;
        list.add_all(b, key.at(), [&1, &1])?;
        map.put_all(b, key.at(), [(&1, &1), (&2, &1)])?;
    }
    Ok([
        value.get(b, key.at())?.map_or(0, |value| value as usize),
        list.get(b, key.at())?.iter().sum::<u64>() as usize,
        map.entries(b, key.at())?.len(),
    ])
}

#[test]
fn a_time_to_live_can_be_switched_on_and_off_and_to_the_other_clock() {
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let (time, all) = (StateTime::new(), [1, 2, 2]);
        advance(&time, 1_000);
        let event = ttl(10, TimeDomain::Event, &time);
        let processing = ttl(10, TimeDomain::Processing, &time);
        let mut backend = open();
        assert_eq!(three(&mut backend, None, mode).unwrap(), all);

        let mut backend = restored(&snapshot(&mut backend));
        assert_eq!(three(&mut backend, Some(&event), mode).unwrap(), all, "on");
        advance(&time, 1_009);
        assert_eq!(three(&mut backend, Some(&event), mode).unwrap(), all, "touched now");

        let mut backend = restored(&snapshot(&mut backend));
        assert_eq!(three(&mut backend, Some(&processing), mode).unwrap(), all, "other clock");
        advance(&time, 1_018);
        assert_eq!(three(&mut backend, Some(&processing), mode).unwrap(), all, "touched anew");

        let longer = ttl(1_000, TimeDomain::Processing, &time);
        let mut backend = restored(&snapshot(&mut backend));
        advance(&time, 1_019);
        assert_eq!(three(&mut backend, Some(&longer), mode).unwrap(), all, "longer");

        let shorter = ttl(1, TimeDomain::Processing, &time);
        let mut again = restored(&snapshot(&mut backend));
        assert_eq!(three(&mut again, Some(&shorter), mode).unwrap(), [1, 2, 2].map(|_| 0));

        let mut backend = restored(&snapshot(&mut backend));
        advance(&time, 1_000_000);
        assert_eq!(three(&mut backend, None, mode).unwrap(), all, "off");
        assert_eq!(snapshot(&mut backend).states[0].codecs().value.name(), "u64");
    }
}

#[test]
fn values_and_time_to_live_can_change_together() {
    for mode in [MigrationMode::Eager, MigrationMode::Lazy] {
        let time = StateTime::new();
        advance(&time, 50);
        let mut backend = restored(&written(10));
        let options = options(&chain(), mode).ttl(ttl(10, TimeDomain::Event, &time));
        let b = &mut backend;
        let state = ValueState::<u64, V3>::register_with(b, "delays", options).unwrap();
        let identity = &b.states()[0].codecs().value;
        let expected = CodecIdentity::new("expiring<event,record<text:string>>", 3);
        assert_eq!(identity, &expected);
        assert_eq!(state.get(b, key(1).at()).unwrap().unwrap().text, "60000 ms");
        advance(&time, 60);
        assert_eq!(state.get(b, key(1).at()).unwrap(), None);
    }
}

#[test]
fn bytes_that_do_not_decode_fail_the_migration() {
    let mut taken = written(5);
    taken.entries[3].value.push(9);
    let mut backend = restored(&taken);
    let result = ValueState::<u64, V3>::register_with(
        &mut backend,
        "delays",
        options(&chain(), MigrationMode::Eager),
    );
    refused(result, ErrorKind::Corrupt, &["\"delays\"", "key group"]);
    assert_eq!(snapshot(&mut backend).entries, taken.entries);
}
