//! Bounds: the index, the disk, large values, space; and what compaction does about expiry.

use core::time::Duration;
use std::ops::ControlFlow;

use millpond_fs::FsBackend;
use millpond_state::{
    ErrorKind, KeyContext, KeyedBackend, StateId, StateKind, StateOptions, StateTime, TimeDomain,
    Ttl, ValueState,
};

use crate::support::{TemporaryFactory, at, collect, descriptor, max};

fn values(backend: &mut FsBackend) -> StateId {
    backend.register(&descriptor("values", StateKind::Value)).unwrap()
}

#[test]
fn a_write_that_might_pass_the_bound_of_the_index_is_refused_and_reads_go_on() {
    let factory = TemporaryFactory::new(|options| options.with_index_bytes_max(200 << 10));
    let mut backend = factory.backend();
    let state = values(&mut backend);
    let maps = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
    let mut written = 0u64;
    let error = loop {
        match backend.put(state, at(&written.to_be_bytes()), b"value") {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert!(error.message().contains("index_bytes_max"), "{error}");
    assert!(written > 8_000, "{written}");
    assert!(backend.statistics().index_bytes <= 200 << 10);
    assert!(backend.map_put(maps, at(b"k"), b"u", b"v").is_err());
    assert!(backend.append(state, at(b"other"), b"v").is_err());
    for number in 0..written {
        assert_eq!(backend.get(state, at(&number.to_be_bytes())).unwrap(), Some(&b"value"[..]));
    }
    // What is there can still be changed, and what is deleted makes no room for nothing.
    backend.put(state, at(&0u64.to_be_bytes()), b"another value").unwrap();
    backend.delete(state, at(&1u64.to_be_bytes())).unwrap();
    assert_eq!(backend.entry_count(state).unwrap(), written - 1);
}

#[test]
fn an_entry_takes_at_most_24_bytes_of_the_index() {
    let factory = TemporaryFactory::usual();
    let mut backend = factory.backend();
    let state = values(&mut backend);
    for number in 0..300_000u64 {
        backend.put(state, at(&number.to_be_bytes()), b"12345678").unwrap();
        if number % 10_000 == 9_999 {
            let bytes = backend.statistics().index_bytes;
            assert!(bytes <= 24 * (number + 1), "{bytes} bytes of {} entries", number + 1);
        }
    }
}

#[test]
fn space_stays_bounded_while_everything_is_overwritten() {
    let settings = |options: millpond_fs::FsOptions| {
        options.with_segment_bytes(256 << 10).with_tail_bytes(1 << 20)
    };
    let factory = TemporaryFactory::new(settings);
    let mut backend = factory.backend();
    let state = values(&mut backend);
    let keys = 40_000u64;
    for round in 0..20u8 {
        for number in 0..keys {
            // In another order each time.
            let number = number.wrapping_mul(2 * u64::from(round) + 7_919) % keys;
            backend.put(state, at(&number.to_be_bytes()), &[round; 100]).unwrap();
        }
        let it = backend.statistics();
        let most = 2 * it.live_bytes + (256 << 10) + (2 << 20);
        assert!(it.sealed_bytes <= most, "round {round}: {it:?}");
    }
    let it = backend.statistics();
    let user = it.appended_bytes - it.copied_bytes;
    assert!(it.copied_bytes < 3 * user, "{it:?}");
    for number in (0..keys).step_by(101) {
        assert_eq!(backend.get(state, at(&number.to_be_bytes())).unwrap(), Some(&[19; 100][..]));
    }
}

#[test]
fn deleted_entries_and_their_tombstones_go_in_the_end() {
    let factory = TemporaryFactory::tiny_segments();
    let mut backend = factory.backend();
    let state = values(&mut backend);
    for number in 0..100_000u64 {
        backend.put(state, at(&number.to_be_bytes()), &[1; 40]).unwrap();
        if let Some(old) = number.checked_sub(50) {
            backend.delete(state, at(&old.to_be_bytes())).unwrap();
        }
    }
    let it = backend.statistics();
    assert_eq!(it.index_entries, 50);
    assert!(it.segments < 40, "{it:?}");
    assert_eq!(collect(&mut backend).entries.len(), 50);
}

#[test]
fn values_of_tens_of_megabytes_are_stored_like_any_other() {
    let factory = TemporaryFactory::new(|options| options.with_tail_bytes(16 << 20));
    let mut backend = factory.backend();
    let state = values(&mut backend);
    let maps = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
    let large = |byte: u8, mib: usize| vec![byte; mib << 20];
    backend.put(state, at(b"small"), b"before").unwrap();
    for round in 0..3 {
        backend.put(state, at(b"large"), &large(round, 40)).unwrap();
        backend.put(state, at(b"small"), &[round]).unwrap();
        backend.put(state, at(b"other"), &large(round + 10, 3)).unwrap();
    }
    backend.map_put(maps, at(b"map"), b"a", b"1").unwrap();
    backend.map_put(maps, at(b"map"), b"b", &large(5, 20)).unwrap();
    backend.map_put(maps, at(b"map"), b"c", b"3").unwrap();
    assert_eq!(backend.get(state, at(b"large")).unwrap(), Some(&large(2, 40)[..]));
    assert_eq!(backend.get(state, at(b"small")).unwrap(), Some(&[2][..]));
    let snapshot = collect(&mut backend);
    assert_eq!(snapshot.entries.len(), 6);
    assert_eq!(backend.get(state, at(b"other")).unwrap(), Some(&large(12, 3)[..]));
    assert_eq!(backend.map_get(maps, at(b"map"), b"b").unwrap(), Some(&large(5, 20)[..]));
    let mut seen = Vec::new();
    backend
        .map_visit(maps, at(b"map"), &mut |key, _| {
            seen.push(key.to_vec());
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(seen, [b"a", b"b", b"c"]);
}

#[test]
fn a_map_of_three_costs_no_more_than_twice_three_values() {
    let factory = TemporaryFactory::usual();
    let mut bytes = Vec::new();
    for is_map in [false, true] {
        let mut backend = factory.backend();
        let kind = if is_map { StateKind::Map } else { StateKind::Value };
        let state = backend.register(&descriptor("state", kind)).unwrap();
        for number in 0..10_000u64 {
            let key = number.to_be_bytes();
            for user_key in 0..3u64 {
                let user_key = user_key.to_be_bytes();
                if is_map {
                    backend.map_put(state, at(&key), &user_key, b"12345678").unwrap();
                } else {
                    let at = at(&key).in_namespace(&user_key);
                    backend.put(state, at, b"12345678").unwrap();
                }
            }
        }
        let it = backend.statistics();
        bytes.push(it.live_bytes + it.index_bytes);
    }
    assert!(bytes[1] <= 2 * bytes[0], "{bytes:?}");
}

/// `MILLPOND_FS_MAP_KEYS` user keys: 60,000, or a million in a long run.
#[test]
fn a_large_map_is_read_changed_walked_and_restored() {
    let keys = std::env::var("MILLPOND_FS_MAP_KEYS").map_or(60_000, |it| it.parse().unwrap());
    let factory = TemporaryFactory::usual();
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
    let key = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    for number in 0..keys {
        backend.map_put(state, at(b"one"), &key(number), &number.to_le_bytes()).unwrap();
    }
    for number in (0..keys).step_by(3) {
        backend.map_remove(state, at(b"one"), &key(number)).unwrap();
    }
    for number in (0..keys).step_by(keys as usize / 500) {
        let found = backend.map_get(state, at(b"one"), &key(number)).unwrap();
        let expected = number.to_le_bytes();
        assert_eq!(found, (number % 3 != 0).then_some(&expected[..]));
    }
    let (mut last, mut count) = (Vec::new(), 0);
    backend
        .map_visit(state, at(b"one"), &mut |key, _| {
            assert!(key > &last[..]);
            last = key.to_vec();
            count += 1;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(count, keys - keys.div_ceil(3));
    let snapshot = collect(&mut backend);
    assert_eq!(snapshot.entries.len() as u64, count);
    backend.delete(state, at(b"one")).unwrap();
    assert_eq!((backend.entry_count(state).unwrap(), backend.statistics().index_entries), (0, 0));
    backend.restore(&mut snapshot.source(max().full_range())).unwrap();
    assert_eq!(collect(&mut backend), snapshot);
}

#[test]
fn compaction_drops_what_has_expired() {
    let factory = TemporaryFactory::tiny_segments();
    let mut backend = factory.backend();
    let time = StateTime::new();
    let ttl = Ttl::new(Duration::from_secs(1), TimeDomain::Event, &time).unwrap();
    let options = StateOptions::new().ttl(ttl);
    let expiring =
        ValueState::<u64, u64>::register_with(&mut backend, "expiring", options).unwrap();
    let lasting = ValueState::<u64, u64>::register(&mut backend, "lasting").unwrap();
    time.advance_event_ms(0);
    let put = |backend: &mut FsBackend, state: &ValueState<u64, u64>, key: u64| {
        let context = KeyContext::new(&key, max()).unwrap();
        state.put(backend, context.at(), &key).unwrap();
    };
    (0..2_000).for_each(|key| put(&mut backend, &expiring, key));
    (0..20_000).for_each(|key| put(&mut backend, &lasting, key % 500));
    assert_eq!(backend.entry_count(expiring.id()).unwrap(), 2_000, "before they expired");
    time.advance_event_ms(1_001);
    // More garbage, next to what has expired.
    for round in 0..200 {
        (0..500).for_each(|key| put(&mut backend, &lasting, key));
        (2_000..2_500).for_each(|key| put(&mut backend, &expiring, key + round));
    }
    let left = backend.entry_count(expiring.id()).unwrap();
    let alive = 700;
    assert!(left < alive + 1_000, "{left} entries are left");
    assert_eq!(backend.entry_count(lasting.id()).unwrap(), 500);
    // The figures say what is there.
    let mut seen = 0;
    let groups = backend.key_groups();
    backend
        .visit_entries(expiring.id(), groups, None, &mut |_, _, _| {
            seen += 1;
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(seen, left);
}

#[test]
fn an_append_does_not_rewrite_the_list() {
    let factory = TemporaryFactory::tiny_segments();
    let mut backend = factory.backend();
    let lists = backend.register(&descriptor("lists", StateKind::List)).unwrap();
    let mut expected = vec![Vec::new(); 20];
    for number in 0..20_000u64 {
        let list = (number % 20) as usize;
        backend.append(lists, at(&[list as u8]), &number.to_be_bytes()).unwrap();
        expected[list].extend_from_slice(&number.to_be_bytes());
    }
    for (list, expected) in expected.iter().enumerate() {
        assert_eq!(backend.get(lists, at(&[list as u8])).unwrap(), Some(&expected[..]));
    }
    // Rewriting whole lists would have appended 80 MB.
    let it = backend.statistics();
    assert!(it.appended_bytes - it.copied_bytes < 20_000 * 300, "{it:?}");
}
