//! Large maps and lists.

use std::ops::ControlFlow;

use millpond_state::{KeyedBackend, StateKind};

use crate::support::{at, backend, descriptor, run, snapshot};

const USER_KEYS: u64 = 1_000_000;

/// Visits user keys in no order of theirs: a permutation.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).swap_bytes()
}

#[test]
fn a_map_of_a_million_user_keys_is_written_read_walked_snapshot_and_emptied() {
    let mut backend = backend();
    let state = backend.register(&descriptor("maps", StateKind::Map)).unwrap();
    let map = at(b"hot key");
    for number in 0..USER_KEYS {
        let user_key = scattered(number).to_be_bytes();
        backend.map_put(state, map, &user_key, &number.to_le_bytes()).unwrap();
    }
    let task = snapshot(&mut backend, 1);
    for number in 0..USER_KEYS {
        let user_key = scattered(number).to_be_bytes();
        let value = backend.map_get(state, map, &user_key).unwrap();
        assert_eq!(value, Some(&number.to_le_bytes()[..]));
        if number % 100 == 0 {
            backend.map_put(state, map, &user_key, b"changed").unwrap();
        }
    }
    let (mut last, mut seen) = (None, 0);
    backend
        .map_visit(state, map, &mut |user_key, edit| {
            assert!(last.as_deref() < Some(user_key));
            last = Some(user_key.to_vec());
            seen += 1;
            edit.remove();
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!((seen, backend.entry_count(state).unwrap()), (USER_KEYS, 0));
    let (written, summary) = run(task);
    assert_eq!(summary.entries, USER_KEYS);
    assert!(written.entries.iter().all(|entry| entry.value.len() == 8));
}

#[test]
fn appends_to_a_large_list_during_a_snapshot_take_memory_for_what_is_appended_only() {
    let mut backend = backend();
    let state = backend.register(&descriptor("lists", StateKind::List)).unwrap();
    for i in 0..100_000u32 {
        backend.append(state, at(b"list"), &[i.to_le_bytes(); 25].concat()).unwrap();
    }
    assert_eq!(backend.get(state, at(b"list")).unwrap().map(<[u8]>::len), Some(10_000_000));
    let before = backend.memory_bytes();
    let task = snapshot(&mut backend, 1);
    for _ in 0..1_000 {
        backend.append(state, at(b"list"), b"more").unwrap();
    }
    let grown = backend.memory_bytes() - before;
    assert!(grown < 3_000_000, "{grown}");
    let (written, _) = run(task);
    assert_eq!(written.entries[0].value.len(), 10_000_000);
    let list = backend.get(state, at(b"list")).unwrap().unwrap();
    assert_eq!((list.len(), &list[list.len() - 4..]), (10_004_000, &b"more"[..]));
}
