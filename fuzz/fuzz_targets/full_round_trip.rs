//! Any entries: written and read back they are the same, whole and by range, and the file verifies;
//! with one byte changed it does not.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use millpond_snapshot::{
    Compression, FullOptions, FullReader, FullWriter, SliceSource, verify_full,
};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    EntrySink, EntrySource, KeyGroup, KeyGroupRange, SnapshotEntry, StateCodecs, StateDescriptor,
    StateError, StateKind,
};

/// Key group, state, key, namespace, user key: in canonical order.
type Address = (u16, u16, Vec<u8>, Vec<u8>, Vec<u8>);

#[derive(Arbitrary, Debug)]
struct Input {
    entries: BTreeMap<Address, Vec<u8>>,
    block_bytes: u16,
    zstd: Option<i8>,
    first: u16,
    last: u16,
    damage_at: u32,
    damage: u8,
}

fn states() -> Result<Vec<StateDescriptor>, StateError> {
    let codecs = |user_key| StateCodecs {
        key: CodecIdentity::new("bytes", 1),
        namespace: CodecIdentity::void(),
        user_key,
        value: CodecIdentity::new("bytes", 1),
    };
    let user_key = Some(CodecIdentity::new("bytes", 1));
    Ok(vec![
        StateDescriptor::new("value", StateKind::Value, codecs(None))?,
        StateDescriptor::new("map", StateKind::Map, codecs(user_key))?,
    ])
}

fn run(input: Input) -> Result<(), StateError> {
    let mut entries = BTreeMap::new();
    for ((group, state, key, namespace, user_key), value) in input.entries {
        let state = state % 2;
        let user_key = if state == 1 { user_key } else { Vec::new() };
        entries.insert((group % 32_768, state, key, namespace, user_key), value);
    }
    let options = FullOptions {
        compression: match input.zstd {
            None => Compression::None,
            Some(level) => Compression::Zstd { level: i32::from(level % 10) },
        },
        block_bytes: usize::from(input.block_bytes) + 1,
    };
    let mut file = Vec::new();
    let mut writer = FullWriter::create(&mut file, options)?;
    writer.begin(&states()?)?;
    for ((group, state, key, namespace, user_key), value) in &entries {
        let (group, state) = (KeyGroup::new(*group), *state);
        writer.entry(&SnapshotEntry { group, state, key, namespace, user_key, value })?;
    }
    writer.finish()?;

    let (first, last) = (input.first.min(input.last), input.first.max(input.last));
    let reader = FullReader::open(SliceSource::new("fuzz", &file))?;
    let mut source = reader.entries(KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last))?);
    for ((group, state, key, namespace, user_key), value) in
        entries.iter().filter(|((group, ..), _)| (first..=last).contains(group))
    {
        let (group, state) = (KeyGroup::new(*group), *state);
        let expected = SnapshotEntry { group, state, key, namespace, user_key, value };
        assert_eq!(source.next_entry()?, Some(expected));
    }
    assert_eq!(source.next_entry()?, None);
    assert!(verify_full(reader.source(), None)?.is_whole());

    if input.damage != 0 {
        let at = input.damage_at as usize % file.len();
        file[at] ^= input.damage;
        let report = verify_full(&SliceSource::new("fuzz", &file), None);
        assert!(!report.is_ok_and(|report| report.is_whole()), "changed byte {at} is not found");
    }
    Ok(())
}

fuzz_target!(|input: Input| {
    if let Err(error) = run(input) {
        panic!("{error}");
    }
});
