//! Any changes as a base and deltas: the chain reads as an ordered map to which the same was done,
//! whole and by range. With bytes of the files changed and sealed again nothing panics, and what is
//! handed out stays in order.
#![no_main]

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use millpond_snapshot::incremental::{ChainFileKind, chain_file_name};
use millpond_snapshot::{
    ChainReader, ChangeKind, Compression, DeltaWriter, FullOptions, FullWriter, SliceSource,
};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    EntrySink, EntrySource, KeyGroup, KeyGroupRange, SnapshotEntry, StateCodecs, StateDescriptor,
    StateError, StateKind,
};

#[path = "../../crates/snapshot/tests/it/seal.rs"]
#[allow(dead_code, reason = "shared with the tests and other targets")]
mod seal;

/// Key group, whether a map, key, namespace.
type Place = (u8, bool, Vec<u8>, Vec<u8>);

#[derive(Arbitrary, Clone, Debug)]
enum Change {
    Put(Vec<u8>),
    Delete,
    DeleteMap,
}

#[derive(Arbitrary, Debug)]
struct Input {
    base: BTreeMap<(Place, Vec<u8>), Vec<u8>>,
    deltas: Vec<Vec<((Place, Vec<u8>), Change)>>,
    block_bytes: u8,
    zstd: bool,
    damage: Vec<(u8, u16, u8)>,
}

/// Group, state, key, namespace; then the deletion of the map before its entries.
type Sorted = BTreeMap<(u16, u16, Vec<u8>, Vec<u8>, bool, Vec<u8>), Change>;
type Address = (u16, u16, Vec<u8>, Vec<u8>, Vec<u8>);

fn address(((group, map, key, namespace), user_key): (Place, Vec<u8>)) -> Address {
    let user_key = if map { user_key } else { Vec::new() };
    (u16::from(group), u16::from(map), key, namespace, user_key)
}

fn states() -> Result<Vec<StateDescriptor>, StateError> {
    let codecs = |user_key| StateCodecs {
        key: CodecIdentity::new("bytes", 1),
        namespace: CodecIdentity::void(),
        user_key,
        value: CodecIdentity::new("bytes", 1),
    };
    Ok(vec![
        StateDescriptor::new("value", StateKind::Value, codecs(None))?,
        StateDescriptor::new("map", StateKind::Map, codecs(Some(CodecIdentity::new("bytes", 1))))?,
    ])
}

/// Sorts a delta's changes; the last of each address counts.
fn sorted(delta: Vec<((Place, Vec<u8>), Change)>) -> Sorted {
    let mut sorted = Sorted::new();
    for (place, change) in delta {
        let (group, state, key, namespace, user_key) = address(place);
        if matches!(change, Change::DeleteMap) {
            if state == 1 {
                sorted.insert((group, state, key, namespace, false, Vec::new()), change);
            }
        } else {
            sorted.insert((group, state, key, namespace, true, user_key), change);
        }
    }
    sorted
}

fn apply(model: &mut BTreeMap<Address, Vec<u8>>, changes: &Sorted) {
    for ((group, state, key, namespace, _, user_key), change) in changes {
        let address = (*group, *state, key.clone(), namespace.clone(), user_key.clone());
        match change {
            Change::Put(value) => drop(model.insert(address, value.clone())),
            Change::Delete => drop(model.remove(&address)),
            Change::DeleteMap => model.retain(|(g, s, k, n, _), _| {
                (*g, *s, &*k, &*n) != (*group, *state, &*key, &*namespace)
            }),
        }
    }
}

fn entry<'a>(address: &'a Address, value: &'a [u8]) -> SnapshotEntry<'a> {
    let (group, state, key, namespace, user_key) = address;
    SnapshotEntry { group: KeyGroup::new(*group), state: *state, key, namespace, user_key, value }
}

fn write_delta(changes: &Sorted, options: FullOptions) -> Result<Vec<u8>, StateError> {
    let mut file = Vec::new();
    let mut writer = DeltaWriter::create(&mut file, options)?;
    writer.begin(&states()?)?;
    for ((group, state, key, namespace, _, user_key), change) in changes {
        let (kind, value) = match change {
            Change::Put(value) => (ChangeKind::Put, value.as_slice()),
            Change::Delete => (ChangeKind::Deleted, [].as_slice()),
            Change::DeleteMap => (ChangeKind::MapDeleted, [].as_slice()),
        };
        let address = (*group, *state, key.clone(), namespace.clone(), user_key.clone());
        writer.change(&entry(&address, value), kind)?;
    }
    writer.finish()?;
    Ok(file)
}

/// Reads the chain; checks the order.
fn read(files: &[Vec<u8>], range: KeyGroupRange) -> Result<Vec<(Address, Vec<u8>)>, StateError> {
    let kind = |at| if at == 0 { ChainFileKind::Base } else { ChainFileKind::Delta };
    let names: Vec<String> =
        (0..files.len() as u32).map(|at| chain_file_name(at, kind(at))).collect();
    let sources = names.iter().zip(files);
    let sources = sources.map(|(name, file)| (name.as_str(), SliceSource::new(name, file)));
    let chain = ChainReader::open(sources)?;
    let mut entries = chain.entries(range);
    let mut all: Vec<(Address, Vec<u8>)> = Vec::new();
    while let Some(it) = entries.next_entry()? {
        let (key, namespace) = (it.key.to_vec(), it.namespace.to_vec());
        let address = (it.group.get(), it.state, key, namespace, it.user_key.to_vec());
        assert!(all.last().is_none_or(|(last, _)| *last < address), "not in order");
        all.push((address, it.value.to_vec()));
    }
    Ok(all)
}

fn run(input: Input) -> Result<(), StateError> {
    let compression = if input.zstd { Compression::Zstd { level: 1 } } else { Compression::None };
    let options = FullOptions { compression, block_bytes: usize::from(input.block_bytes) + 1 };
    let mut model = BTreeMap::new();
    for (place, value) in input.base {
        model.insert(address(place), value);
    }
    let mut base = Vec::new();
    let mut writer = FullWriter::create(&mut base, options)?;
    writer.begin(&states()?)?;
    for (address, value) in &model {
        writer.entry(&entry(address, value))?;
    }
    writer.finish()?;
    let mut files = vec![base];
    for delta in input.deltas.into_iter().take(6) {
        let changes = sorted(delta);
        apply(&mut model, &changes);
        files.push(write_delta(&changes, options)?);
    }
    for (first, last) in [(0, 255), (7, 130)] {
        let range = KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last))?;
        let expected = model.iter().filter(|((group, ..), _)| (first..=last).contains(group));
        let expected: Vec<(Address, Vec<u8>)> =
            expected.map(|(address, value)| (address.clone(), value.clone())).collect();
        assert_eq!(read(&files, range)?, expected);
    }
    for (file, at, change) in input.damage {
        let file = usize::from(file) % files.len();
        let len = files[file].len();
        files[file][usize::from(at) % len] ^= change;
    }
    files.iter_mut().for_each(|file| seal::seal_full(file));
    let _ = read(&files, KeyGroupRange::new(KeyGroup::new(0), KeyGroup::new(255))?);
    Ok(())
}

fuzz_target!(|input: Input| {
    if let Err(error) = run(input) {
        panic!("{error}");
    }
});
