//! Access to values of a fixed size allocates nothing.

use core::time::Duration;

use millpond_state::{
    KeyContext, KeyedBackend, Refresh, StateKind, StateOptions, StateTime, TimeDomain, Ttl,
    ValueState,
};

use crate::support::{at, backend, descriptor, max};

const KEYS: u64 = 10_000;

#[test]
fn bytes_of_a_fixed_size_are_read_and_written_without_allocation() {
    let mut backend = backend();
    let state = backend.register(&descriptor("totals", StateKind::Value)).unwrap();
    let keys: Vec<[u8; 8]> = (0..KEYS).map(u64::to_be_bytes).collect();
    for key in &keys {
        backend.put(state, at(key), key).unwrap();
    }
    let info = allocation_counter::measure(|| {
        for key in &keys {
            assert_eq!(backend.get(state, at(key)).unwrap(), Some(&key[..]));
            backend.put(state, at(key), &[7; 8]).unwrap();
        }
        for keys in keys.as_chunks::<50>().0 {
            let entries = keys.each_ref().map(|key| at(key));
            let mut out = [None; 50];
            backend.get_many(state, &entries, &mut out).unwrap();
            assert_eq!(out, [Some(&[7; 8][..]); 50]);
            backend.put_many(state, &entries, &[&[8; 8][..]; 50]).unwrap();
            let mut change = |_, edit: &mut millpond_state::Edit<'_>| {
                assert_eq!(edit.current(), Some(&[8; 8][..]));
                edit.replace(&[9; 8]);
                Ok(())
            };
            backend.update_many(state, &entries, &mut change).unwrap();
        }
    });
    assert_eq!(info.count_total, 0);
    assert_eq!(backend.get(state, at(&keys[77])).unwrap(), Some(&[9; 8][..]));
}

#[test]
fn typed_values_of_a_fixed_size_are_read_and_written_without_allocation() {
    let mut backend = backend();
    let totals = ValueState::<u64, u64>::register(&mut backend, "totals").unwrap();
    for key in 0..KEYS {
        let context = KeyContext::new(&key, max()).unwrap();
        totals.put(&mut backend, context.at(), &key).unwrap();
    }
    let info = allocation_counter::measure(|| {
        for key in 0..KEYS {
            let context = KeyContext::new(&key, max()).unwrap();
            let value = totals.get(&mut backend, context.at()).unwrap().unwrap();
            totals.put(&mut backend, context.at(), &(value + 1)).unwrap();
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn values_that_expire_are_read_refreshed_and_written_without_allocation() {
    let (mut backend, time) = (backend(), StateTime::new());
    time.set_processing_ms(1);
    let ttl = Ttl::new(Duration::from_secs(1), TimeDomain::Processing, &time).unwrap();
    let options = StateOptions::new().ttl(ttl.refresh(Refresh::OnReadAndWrite));
    let totals = ValueState::<u64, u64>::register_with(&mut backend, "totals", options).unwrap();
    for key in 0..KEYS {
        let context = KeyContext::new(&key, max()).unwrap();
        totals.put(&mut backend, context.at(), &key).unwrap();
    }
    let info = allocation_counter::measure(|| {
        for key in 0..KEYS {
            time.set_processing_ms(2 + (key / 100) as i64);
            let context = KeyContext::new(&key, max()).unwrap();
            let value = totals.get(&mut backend, context.at()).unwrap().unwrap();
            totals.put(&mut backend, context.at(), &(value + 1)).unwrap();
            totals.update(&mut backend, context.at(), |value| value.map(|it| it + 1)).unwrap();
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn shorter_values_are_written_without_allocation() {
    let mut backend = backend();
    let state = backend.register(&descriptor("texts", StateKind::Value)).unwrap();
    for key in 0..KEYS {
        backend.put(state, at(&key.to_be_bytes()), &[1; 40]).unwrap();
    }
    let info = allocation_counter::measure(|| {
        for key in 0..KEYS {
            let value = &[2; 40][..(key % 41) as usize];
            backend.put(state, at(&key.to_be_bytes()), value).unwrap();
            assert_eq!(backend.get(state, at(&key.to_be_bytes())).unwrap(), Some(value));
        }
    });
    assert_eq!(info.count_total, 0);
}
