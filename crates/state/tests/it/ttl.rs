//! What a time to live does to each kind of state.

use core::ops::ControlFlow;

use millpond_state::kinds::{apply_to_all, for_each_entry};
use millpond_state::{
    AggregatingState, CancelFlag, CheckpointId, ErrorKind, KeyedBackend, ListState, MapState,
    ReducingState, Refresh, SnapshotRequest, StateOptions, StateTime, TimeDomain, Ttl, ValueState,
    Visibility,
};
use millpond_testkit::entries::CollectingSink;

use crate::support::{Mean, advance, key, open, refused, restored, snapshot, summed_snapshot, ttl};

const DOMAINS: [TimeDomain; 2] = [TimeDomain::Processing, TimeDomain::Event];

fn with(ttl: &Ttl) -> StateOptions {
    StateOptions::new().ttl(ttl.clone())
}

#[test]
fn a_value_is_gone_the_millisecond_its_time_is_up_and_its_entry_with_it() {
    for domain in DOMAINS {
        let (mut backend, time, key) = (open(), StateTime::new(), key(1));
        advance(&time, 1_000);
        let ttl = ttl(10, domain, &time);
        let state = ValueState::<u64, u64>::register_with(&mut backend, "v", with(&ttl)).unwrap();
        state.put(&mut backend, key.at(), &7).unwrap();
        advance(&time, 1_009);
        assert_eq!(state.get(&mut backend, key.at()).unwrap(), Some(7));
        advance(&time, 1_010);
        assert_eq!(backend.entry_count(state.id()).unwrap(), 1);
        assert_eq!(state.get(&mut backend, key.at()).unwrap(), None);
        assert_eq!(backend.entry_count(state.id()).unwrap(), 0, "the read gave it back");
    }
}

#[test]
fn a_user_key_is_gone_when_its_time_is_up_and_its_entry_with_it() {
    let (mut backend, time) = (open(), StateTime::new());
    advance(&time, 0);
    let (b, options) = (&mut backend, with(&ttl(10, TimeDomain::Event, &time)));
    let map = MapState::<u64, u8, u64>::register_with(b, "m", options).unwrap();
    for number in [1, 2] {
        map.put(b, key(number).at(), &1, &7).unwrap();
    }
    advance(&time, 10);
    assert_eq!(map.get(b, key(1).at(), &1).unwrap(), None);
    assert_eq!(b.entry_count(map.id()).unwrap(), 1, "the read gave it back");
    assert!(!map.contains(b, key(2).at(), &1).unwrap());
    assert_eq!(b.entry_count(map.id()).unwrap(), 0);
}

#[test]
fn only_the_clock_of_the_states_domain_counts() {
    let (mut backend, time, key) = (open(), StateTime::new(), key(1));
    advance(&time, 0);
    let of = |domain| with(&ttl(10, domain, &time));
    let event = of(TimeDomain::Event);
    let event = ValueState::<u64, u64>::register_with(&mut backend, "e", event).unwrap();
    let processing = of(TimeDomain::Processing);
    let processing = ValueState::<u64, u64>::register_with(&mut backend, "p", processing).unwrap();
    event.put(&mut backend, key.at(), &1).unwrap();
    processing.put(&mut backend, key.at(), &2).unwrap();
    time.set_processing_ms(100);
    assert_eq!(event.get(&mut backend, key.at()).unwrap(), Some(1));
    assert_eq!(processing.get(&mut backend, key.at()).unwrap(), None);
}

#[test]
fn reading_refreshes_only_if_it_shall() {
    for (refresh, lives) in [(Refresh::OnWrite, false), (Refresh::OnReadAndWrite, true)] {
        let (mut backend, time, key) = (open(), StateTime::new(), key(1));
        advance(&time, 0);
        let options = with(&ttl(10, TimeDomain::Event, &time).refresh(refresh));
        let b = &mut backend;
        let value = ValueState::<u64, u64>::register_with(b, "v", options.clone()).unwrap();
        let list = ListState::<u64, u64>::register_with(b, "l", options.clone()).unwrap();
        let map = MapState::<u64, u8, u64>::register_with(b, "m", options.clone()).unwrap();
        let sum = |a, b| a + b;
        let reducing =
            ReducingState::<u64, u64>::register_with(b, "r", sum, options.clone()).unwrap();
        let mean =
            AggregatingState::<u64, Mean>::register_with(b, "a", Mean, options.clone()).unwrap();
        value.put(b, key.at(), &1).unwrap();
        list.add(b, key.at(), &2).unwrap();
        map.put(b, key.at(), &0, &3).unwrap();
        map.put(b, key.at(), &1, &3).unwrap();
        map.put(b, key.at(), &2, &3).unwrap();
        reducing.add(b, key.at(), 4).unwrap();
        mean.add(b, key.at(), &5).unwrap();
        for now in [9, 18, 27] {
            advance(&time, now);
            let alive = lives || now < 10;
            assert_eq!(value.get(b, key.at()).unwrap().is_some(), alive, "{refresh:?} {now}");
            assert_eq!(list.get(b, key.at()).unwrap().len(), usize::from(alive));
            assert_eq!(map.get(b, key.at(), &0).unwrap().is_some(), alive);
            assert_eq!(map.contains(b, key.at(), &1).unwrap(), alive);
            assert_eq!(map.entries(b, key.at()).unwrap().len(), 3 * usize::from(alive));
            assert_eq!(reducing.get(b, key.at()).unwrap().is_some(), alive);
            assert_eq!(mean.get(b, key.at()).unwrap().is_some(), alive);
        }
    }
}

#[test]
fn writing_refreshes_every_kind() {
    let (mut backend, time, key) = (open(), StateTime::new(), key(1));
    advance(&time, 0);
    let options = with(&ttl(10, TimeDomain::Processing, &time));
    let b = &mut backend;
    let value = ValueState::<u64, u64>::register_with(b, "v", options.clone()).unwrap();
    let map = MapState::<u64, u8, u64>::register_with(b, "m", options.clone()).unwrap();
    let sum = |a, b| a + b;
    let reducing = ReducingState::<u64, u64>::register_with(b, "r", sum, options.clone()).unwrap();
    let mean = AggregatingState::<u64, Mean>::register_with(b, "a", Mean, options).unwrap();
    map.put(b, key.at(), &1, &0).unwrap();
    map.put(b, key.at(), &2, &0).unwrap();
    for (round, now) in (1..).zip([0, 9, 18]) {
        advance(&time, now);
        value.update(b, key.at(), |old| Some(old.unwrap_or(0) + 1)).unwrap();
        map.put(b, key.at(), &1, &round).unwrap();
        map.update_each(b, key.at(), |_, old| Some(old + 1)).unwrap();
        reducing.add(b, key.at(), 1).unwrap();
        mean.add(b, key.at(), &1).unwrap();
        assert_eq!(value.get(b, key.at()).unwrap(), Some(round));
        assert_eq!(map.entries(b, key.at()).unwrap(), [(1, round + 1), (2, round)]);
        assert_eq!(reducing.get(b, key.at()).unwrap(), Some(round));
        assert_eq!(mean.get(b, key.at()).unwrap(), Some((round, round)));
    }
    advance(&time, 28);
    value.update(b, key.at(), |old| Some(old.map_or(100, |_| 0))).unwrap();
    reducing.add_many(b, &[key.at().entry()], |_| 100).unwrap();
    mean.add_many(b, &[key.at().entry()], &[&100]).unwrap();
    let gone = "what had expired was not seen by the update";
    assert_eq!(value.get(b, key.at()).unwrap(), Some(100), "{gone}");
    assert_eq!(reducing.get(b, key.at()).unwrap(), Some(100), "{gone}");
    assert_eq!(mean.get(b, key.at()).unwrap(), Some((100, 1)), "{gone}");
    assert!(map.is_empty(b, key.at()).unwrap());
    assert_eq!(b.entry_count(map.id()).unwrap(), 0, "looking for a live user key removed the rest");
}

#[test]
fn elements_of_a_list_and_entries_of_a_map_expire_one_by_one() {
    let (mut backend, time, key) = (open(), StateTime::new(), key(1));
    let options = with(&ttl(10, TimeDomain::Event, &time));
    let b = &mut backend;
    let list = ListState::<u64, String>::register_with(b, "l", options.clone()).unwrap();
    let map = MapState::<u64, u8, String>::register_with(b, "m", options).unwrap();
    for (number, now) in (0u8..).zip([100, 104, 108]) {
        advance(&time, now);
        list.add(b, key.at(), &number.to_string()).unwrap();
        map.put(b, key.at(), &number, &number.to_string()).unwrap();
    }
    let stored = b.get(list.id(), key.at().entry()).unwrap().unwrap().len();
    for (now, live) in [(109, &["0", "1", "2"][..]), (110, &["1", "2"]), (117, &["2"]), (118, &[])]
    {
        advance(&time, now);
        assert_eq!(list.get(b, key.at()).unwrap(), live);
        let left = b.get(list.id(), key.at().entry()).unwrap().map_or(0, <[u8]>::len);
        assert_eq!(left, stored / 3 * live.len(), "the read rewrote the list");
        let seen: Vec<_> = map.entries(b, key.at()).unwrap().into_iter().map(|(_, v)| v).collect();
        assert_eq!(seen, live);
    }
    assert_eq!(b.entry_count(list.id()).unwrap() + b.entry_count(map.id()).unwrap(), 0);
}

#[test]
fn expired_values_are_seen_until_cleaned_if_that_was_asked_for() {
    let (mut backend, time, key) = (open(), StateTime::new(), key(1));
    advance(&time, 0);
    let ttl = ttl(10, TimeDomain::Event, &time)
        .visibility(Visibility::UntilCleaned)
        .refresh(Refresh::OnReadAndWrite);
    let b = &mut backend;
    let value = ValueState::<u64, u64>::register_with(b, "v", with(&ttl)).unwrap();
    let map = MapState::<u64, u8, u64>::register_with(b, "m", with(&ttl)).unwrap();
    value.put(b, key.at(), &1).unwrap();
    map.put(b, key.at(), &1, &1).unwrap();
    advance(&time, 50);
    for _ in 0..2 {
        assert!(!map.is_empty(b, key.at()).unwrap());
        assert_eq!(value.get(b, key.at()).unwrap(), Some(1));
        assert_eq!(map.get(b, key.at(), &1).unwrap(), Some(1));
        assert_eq!(map.entries(b, key.at()).unwrap(), [(1, 1)]);
    }
    let (filtered, summary) = summed_snapshot(b);
    assert_eq!((filtered.entries.len(), summary.entries), (0, 0), "reading did not refresh it");
}

#[test]
fn nothing_expires_while_time_is_unknown_and_what_was_written_then_is_stamped_later() {
    let (mut backend, time, keys) = (open(), StateTime::new(), [key(1), key(2)]);
    let options = with(&ttl(10, TimeDomain::Event, &time));
    let b = &mut backend;
    let value = ValueState::<u64, u64>::register_with(b, "v", options.clone()).unwrap();
    let list = ListState::<u64, u64>::register_with(b, "l", options.clone()).unwrap();
    for key in &keys {
        value.put(b, key.at(), &1).unwrap();
        list.add(b, key.at(), &1).unwrap();
        assert_eq!(value.get(b, key.at()).unwrap(), Some(1));
    }
    advance(&time, i64::MAX - 1_000);
    for key in &keys {
        assert_eq!(value.get(b, key.at()).unwrap(), Some(1), "nobody knows how old it is");
        assert_eq!(list.get(b, key.at()).unwrap(), [1]);
    }
    let mut backend = restored(&snapshot(b));
    let b = &mut backend;
    let value = ValueState::<u64, u64>::register_with(b, "v", options.clone()).unwrap();
    let list = ListState::<u64, u64>::register_with(b, "l", options).unwrap();
    advance(&time, i64::MAX - 991);
    assert_eq!(value.get(b, keys[0].at()).unwrap(), Some(1), "the snapshot stamped it");
    assert_eq!(list.get(b, keys[0].at()).unwrap(), [1]);
    advance(&time, i64::MAX - 990);
    assert_eq!(value.get(b, keys[1].at()).unwrap(), None);
    assert_eq!(list.get(b, keys[1].at()).unwrap(), []);
}

#[test]
fn a_snapshot_leaves_out_what_had_expired_when_it_was_taken_and_nothing_else() {
    let (mut backend, time) = (open(), StateTime::new());
    let options = with(&ttl(10, TimeDomain::Event, &time));
    let b = &mut backend;
    let value = ValueState::<u64, u64>::register_with(b, "v", options.clone()).unwrap();
    let list = ListState::<u64, u64>::register_with(b, "l", options.clone()).unwrap();
    let map = MapState::<u64, u8, u64>::register_with(b, "m", options).unwrap();
    let plain = ValueState::<u64, u64>::register(b, "plain").unwrap();
    for (number, now) in [(0, 0), (1, 5)] {
        advance(&time, now);
        value.put(b, key(number).at(), &number).unwrap();
        list.add(b, key(9).at(), &number).unwrap();
        map.put(b, key(9).at(), &(number as u8), &number).unwrap();
        plain.put(b, key(number).at(), &number).unwrap();
    }
    advance(&time, 10);
    let task = b.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
    advance(&time, 1_000_000);
    let mut sink = CollectingSink::new();
    let summary = task.run(&mut sink, &CancelFlag::new()).unwrap();
    let taken = sink.into_snapshot();
    let count = |name: &str| {
        let entries = taken.entries.iter();
        entries.filter(|e| taken.states[usize::from(e.state)].name() == name).count()
    };
    assert_eq!([count("v"), count("l"), count("m"), count("plain")], [1, 1, 1, 2]);
    assert_eq!((summary.entries, summary.entries_changed), (5, 5));
    assert!(taken.states.iter().all(|state| state.expiry().is_none() && state.ttl().is_none()));
    let later = StateTime::new();
    advance(&later, 14);
    let mut backend = restored(&taken);
    let options = with(&ttl(10, TimeDomain::Event, &later));
    let list = ListState::<u64, u64>::register_with(&mut backend, "l", options).unwrap();
    assert_eq!(list.get(&mut backend, key(9).at()).unwrap(), [1], "stamps were kept");
}

#[test]
fn walks_over_keys_leave_out_and_remove_what_has_expired() {
    let (mut backend, time) = (open(), StateTime::new());
    advance(&time, 0);
    let options = with(&ttl(10, TimeDomain::Event, &time));
    let b = &mut backend;
    let map = MapState::<u64, u8, u64>::register_with(b, "m", options.clone()).unwrap();
    let value = ValueState::<u64, u64>::register_with(b, "v", options).unwrap();
    for number in 0..40 {
        advance(&time, (number / 20 * 5) as i64);
        map.put(b, key(number).at(), &1, &1).unwrap();
        value.put(b, key(number).at(), &1).unwrap();
    }
    advance(&time, 12);
    let mut keys = Vec::new();
    for_each_entry::<u64, (), _>(b, map.id(), |key, ()| {
        keys.push(key);
        ControlFlow::Continue(())
    })
    .unwrap();
    keys.sort_unstable();
    assert_eq!(keys, (20..40).collect::<Vec<_>>());
    assert_eq!(b.entry_count(map.id()).unwrap(), 20);
    let mut count = 0;
    apply_to_all::<u64, (), _>(b, value.id(), |b, at| {
        count += 1;
        value.delete(b, at)
    })
    .unwrap();
    assert_eq!((count, b.entry_count(value.id()).unwrap()), (20, 0));
}

#[test]
fn a_time_to_live_under_a_millisecond_is_refused() {
    let duration = core::time::Duration::from_micros(999);
    let result = Ttl::new(duration, TimeDomain::Event, &StateTime::new());
    refused(result, ErrorKind::InvalidArgument, &["millisecond"]);
}

#[test]
fn a_state_cannot_be_declared_with_two_times_to_live() {
    let (mut backend, time) = (open(), StateTime::new());
    let ten = with(&ttl(10, TimeDomain::Event, &time));
    let state = ValueState::<u64, u64>::register_with(&mut backend, "v", ten.clone()).unwrap();
    let again = ValueState::<u64, u64>::register_with(&mut backend, "v", ten).unwrap();
    assert_eq!(state.id(), again.id());
    let eleven = with(&ttl(11, TimeDomain::Event, &time));
    let result = ValueState::<u64, u64>::register_with(&mut backend, "v", eleven);
    refused(result, ErrorKind::InvalidArgument, &["\"v\"", "twice"]);
    let other_clock = with(&ttl(10, TimeDomain::Event, &StateTime::new()));
    let result = ValueState::<u64, u64>::register_with(&mut backend, "v", other_clock);
    refused(result, ErrorKind::InvalidArgument, &["\"v\"", "twice"]);
    let result = ValueState::<u64, u64>::register(&mut backend, "v");
    refused(result, ErrorKind::Incompatible, &["\"v\"", "expiring<event,u64> v1", "u64 v1"]);
}
