//! Lists whose pieces lie in several places.

use millpond_state::{CancelFlag, CheckpointId, KeyedBackend, SnapshotRequest, StateKind};

use crate::support::{Sum, TemporaryFactory, at, descriptor};

const LISTS: u64 = 50;
const ROUNDS: u64 = 40;

/// Appends to each list, and writes so much else in between that each append lies in another file.
fn append_across_flushes(backend: &mut dyn KeyedBackend) {
    let lists = backend.register(&descriptor("lists", StateKind::List)).unwrap();
    let values = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    for round in 0..ROUNDS {
        for list in 0..LISTS {
            let element = (round * LISTS + list).to_le_bytes();
            backend.append(lists, at(&list.to_be_bytes()), &element).unwrap();
        }
        for key in 0..200u64 {
            let value = [round as u8; 100];
            backend.put(values, at(&(round * 200 + key).to_be_bytes()), &value).unwrap();
        }
    }
}

fn expected(list: u64) -> Vec<u8> {
    (0..ROUNDS).flat_map(|round| (round * LISTS + list).to_le_bytes()).collect()
}

#[test]
fn appends_keep_their_order_across_flushes_and_compactions() {
    let factory = TemporaryFactory::tiny_buffers();
    let mut backend = factory.backend();
    append_across_flushes(&mut backend);
    assert!(!factory.sst_files().is_empty(), "nothing was flushed");
    let lists = backend.register(&descriptor("lists", StateKind::List)).unwrap();
    for list in 0..LISTS {
        let found = backend.get(lists, at(&list.to_be_bytes())).unwrap().unwrap();
        assert_eq!(found, expected(list));
    }
    let keys: Vec<_> = (0..LISTS).map(u64::to_be_bytes).collect();
    let entries: Vec<_> = keys.iter().map(|key| at(key)).collect();
    let mut out = vec![None; entries.len()];
    backend.get_many(lists, &entries, &mut out).unwrap();
    for (list, found) in (0..).zip(out) {
        assert_eq!(found, Some(&expected(list)[..]));
    }
}

#[test]
fn a_list_starts_anew_after_it_was_deleted_or_replaced_across_flushes() {
    let factory = TemporaryFactory::tiny_buffers();
    let mut backend = factory.backend();
    append_across_flushes(&mut backend);
    let lists = backend.register(&descriptor("lists", StateKind::List)).unwrap();
    let (deleted, replaced) = (0u64.to_be_bytes(), 1u64.to_be_bytes());
    backend.delete(lists, at(&deleted)).unwrap();
    backend.put(lists, at(&replaced), b"replaced").unwrap();
    append_across_flushes(&mut backend);
    assert_eq!(backend.get(lists, at(&deleted)).unwrap().unwrap(), expected(0));
    let whole = [b"replaced".to_vec(), expected(1)].concat();
    assert_eq!(backend.get(lists, at(&replaced)).unwrap().unwrap(), whole);
    let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
    let mut sum = Sum::default();
    task.run(&mut sum, &CancelFlag::new()).unwrap();
    assert_eq!(sum.entries, LISTS + ROUNDS * 200);
}
