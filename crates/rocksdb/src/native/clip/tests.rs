//! What is clipped is gone from the files, range tombstones too.

#![allow(clippy::unwrap_used, reason = "tests stop on errors")]

use millpond_state::{BackendContext, EntryKey, KeyGroup, KeyedBackend, MaxParallelism};
use millpond_state::{StateCodecs, StateDescriptor, StateKind, codec::CodecIdentity};
use rocksdb::properties;

use super::*;
use crate::backend::RocksDbBackend;
use crate::options::{RocksDbOptions, WriteBuffer};

/// An instance of 16 key groups with many small files on several levels, and what is to be found in
/// each group.
fn filled(dir: &std::path::Path) -> (RocksDbBackend, Vec<(KeyGroup, Vec<u8>)>) {
    let mut options = RocksDbOptions::new(dir).with_write_buffer_size(32 << 10);
    options.target_file_size_base = 8 << 10;
    options.max_bytes_for_level_base = 32 << 10;
    let options = options
        .with_write_buffer(WriteBuffer::Memtable)
        .with_rocksdb_options("max_bytes_for_level_multiplier=4");
    let factory = crate::RocksDbBackendFactory::create(options).unwrap();
    let max = MaxParallelism::new(16).unwrap();
    let mut backend =
        factory.open_backend(&BackendContext::new("clip", max.full_range(), max)).unwrap();
    let bytes = || CodecIdentity::new("bytes", 1);
    let codecs = StateCodecs { key: bytes(), namespace: bytes(), user_key: None, value: bytes() };
    let lists = StateDescriptor::new("lists", StateKind::List, codecs).unwrap();
    let lists = backend.register(&lists).unwrap();
    let mut expected = Vec::new();
    for number in 0..8_000u64 {
        let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let (group, key) = (KeyGroup::new((number >> 60) as u16), number.to_be_bytes());
        // Merge operands, which a compaction filter would not see.
        backend.append(lists, EntryKey::in_group(&key, group), &key).unwrap();
        expected.push((group, key.to_vec()));
    }
    expected.sort_unstable();
    (backend, expected)
}

fn contents(store: &Store) -> Vec<(KeyGroup, Vec<u8>)> {
    let mut items = store.iterator(crate::tuning::scan_read_options()).unwrap();
    items.seek_to_first();
    let mut found = Vec::new();
    while let Some((key, value)) = items.item() {
        found.push((layout::parts(key).unwrap().group, value.to_vec()));
        items.next();
    }
    found
}

#[test]
fn a_clipped_database_has_its_key_groups_and_no_trace_of_others() {
    for (first, last) in [(0, 6), (5, 5), (9, 15), (3, 12), (0, 0), (15, 15)] {
        let dir = tempfile::tempdir().unwrap();
        let (backend, mut expected) = filled(dir.path());
        let groups = KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap();
        assert!(clip(&backend.tables.store, groups).unwrap());
        expected.retain(|(group, _)| groups.contains(*group));
        assert!(contents(&backend.tables.store) == expected, "{groups}");
        for file in
            sys::live_files(backend.tables.store.db(), backend.tables.store.family_name()).unwrap()
        {
            assert!(groups.contains_range(file.key_groups().unwrap()), "{groups}: {file:?}");
        }
        let db = backend.tables.store.db();
        let tables = db.property_value(properties::AGGREGATED_TABLE_PROPERTIES).unwrap().unwrap();
        assert!(tables.contains("# range deletions=0;"), "{groups}: {tables}");
    }
}

#[test]
fn clipping_to_all_that_is_there_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (backend, expected) = filled(dir.path());
    let all = MaxParallelism::new(16).unwrap().full_range();
    assert!(clip(&backend.tables.store, all).unwrap());
    assert!(contents(&backend.tables.store) == expected);
}
