//! Random entries survive, random damage is found, random bytes never make a decoder panic.

use std::collections::BTreeMap;

use millpond_snapshot::{
    CheckpointMetadata, Compression, FullOptions, FullReader, SliceSource, verify_full,
    verify_metadata,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::golden_input::{checkpoint, incremental_checkpoint, plain, states, zstd};
use crate::golden_kinds;
use crate::seal::{seal_full, seal_metadata};
use crate::support::{Entry, drain, range, read_all, write};

type Address = (u16, u16, Vec<u8>, Vec<u8>, Vec<u8>);

/// Few different bytes and short parts, so that neighbours share them; now and then a long one.
fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(0u8..3, 0..4),
        2 => vec(0u8..2, 9..11).prop_map(|tail| [[7; 8].as_slice(), &tail].concat()),
        1 => vec(any::<u8>(), 0..200),
    ]
}

fn address() -> impl Strategy<Value = Address> {
    let group = prop_oneof![0u16..5, 120u16..128, 32_760u16..32_768];
    (group, 0u16..5, part(), part(), part()).prop_map(|(group, state, key, namespace, user_key)| {
        let user_key = if state == 2 { user_key } else { Vec::new() };
        (group, state, key, namespace, user_key)
    })
}

fn some_entries() -> impl Strategy<Value = BTreeMap<Address, Vec<u8>>> {
    btree_map(address(), prop_oneof![8 => part(), 1 => vec(any::<u8>(), 0..2_000)], 0..120)
}

fn some_options() -> impl Strategy<Value = FullOptions> {
    let compression = prop_oneof![
        Just(Compression::None),
        (-5..20).prop_map(|level| Compression::Zstd { level }),
    ];
    (compression, prop_oneof![1usize..300, Just(65_536)])
        .prop_map(|(compression, block_bytes)| FullOptions { compression, block_bytes })
}

fn listed(entries: BTreeMap<Address, Vec<u8>>) -> Vec<Entry> {
    entries
        .into_iter()
        .map(|((group, state, key, namespace, user_key), value)| Entry {
            group,
            state,
            key,
            namespace,
            user_key,
            value,
        })
        .collect()
}

/// Reads everything there is; what comes out does not matter, that it comes out does.
fn try_all(bytes: &[u8]) -> bool {
    let whole = verify_full(&SliceSource::new("f", bytes), None).is_ok_and(|r| r.is_whole());
    let read = read_all(bytes).is_ok();
    assert!(read || !whole, "a whole file cannot be read");
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn entries_read_back_as_written_whole_and_by_range(
        entries in some_entries(),
        options in some_options(),
        first in 0u16..130,
        count in 0u16..130,
    ) {
        let entries = listed(entries);
        let (file, summary) = write(&states(), &entries, options);
        prop_assert_eq!(summary.entries, entries.len() as u64);
        let reader = FullReader::open(SliceSource::new("f", &file)).unwrap();
        prop_assert_eq!(&read_all(&file).unwrap(), &entries);
        let part = drain(&reader, range(first, first + count)).unwrap();
        let inside = |entry: &&Entry| (first..=first + count).contains(&entry.group);
        let expected: Vec<Entry> = entries.iter().filter(inside).cloned().collect();
        prop_assert_eq!(part, expected);
        prop_assert!(verify_full(reader.source(), None).unwrap().is_whole());
    }

    #[test]
    fn damaged_full_files_are_found_and_never_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        compressed in any::<bool>(),
        sealed in any::<bool>(),
    ) {
        let original = if compressed { zstd() } else { plain() };
        let mut file = original.clone();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if sealed {
            seal_full(&mut file);
            try_all(&file);
        } else {
            prop_assert_eq!(try_all(&file), file == original);
        }
    }

    #[test]
    fn damaged_metadata_is_found_and_never_panics(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sealed in any::<bool>(),
        kind in 0..3_u8,
    ) {
        let metadata = match kind {
            0 => checkpoint(),
            1 => golden_kinds::checkpoint(),
            _ => incremental_checkpoint(),
        };
        let original = metadata.encode().unwrap();
        let mut file = original.clone();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if sealed {
            seal_metadata(&mut file);
            if let Ok(read) = CheckpointMetadata::decode_from("m", &file) {
                let again = read.encode().unwrap();
                prop_assert_eq!(CheckpointMetadata::decode_from("m", &again).unwrap(), read);
            }
        } else {
            let whole = verify_metadata("m", &file).is_ok_and(|report| report.is_whole());
            prop_assert_eq!(whole, file == original);
        }
    }

    #[test]
    fn arbitrary_bytes_never_make_a_decoder_panic(
        bytes in vec(any::<u8>(), 0..400),
        magic in any::<bool>(),
    ) {
        let mut full = bytes.clone();
        let mut metadata = bytes;
        if magic && full.len() >= 8 {
            full[..8].copy_from_slice(b"MPDFULL\n");
            metadata[..8].copy_from_slice(b"MPDMETA\n");
            seal_full(&mut full);
            seal_metadata(&mut metadata);
        }
        try_all(&full);
        prop_assert!(CheckpointMetadata::decode_from("m", &metadata).is_err());
    }
}
