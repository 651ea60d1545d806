//! Delta files, and chains of a base and deltas.

use std::collections::{BTreeMap, BTreeSet};

use millpond_snapshot::incremental::{ChainFileKind, chain_file_name, parse_chain_file};
use millpond_snapshot::{
    ChainReader, ChangeKind, DeltaReader, DeltaWriter, FullOptions, FullReader, SliceSource,
    SnapshotError, SnapshotErrorKind, verify_delta, verify_full,
};
use millpond_state::{EntrySource, ErrorKind, KeyGroupRange, StateError};
use proptest::prelude::*;

use crate::golden_input::{delta_changes, delta_file, states};
use crate::support::{Entry, all_groups, range, write};

fn small_blocks() -> FullOptions {
    FullOptions { block_bytes: 64, ..FullOptions::default() }
}

fn write_delta(changes: &[(Entry, ChangeKind)]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = DeltaWriter::create(&mut file, small_blocks()).unwrap();
    writer.begin(&states()).unwrap();
    for (entry, change) in changes {
        writer.change(&entry.view(), *change).unwrap();
    }
    writer.finish().unwrap();
    file
}

fn read_delta(bytes: &[u8]) -> Result<Vec<(Entry, ChangeKind)>, StateError> {
    let reader = DeltaReader::open(SliceSource::new("test.delta", bytes))?;
    let mut source = reader.changes(all_groups());
    let mut changes = Vec::new();
    while let Some((entry, change)) = source.next_change()? {
        changes.push((Entry::of(&entry), change));
    }
    Ok(changes)
}

fn read_chain(files: &[Vec<u8>], range: KeyGroupRange) -> Result<Vec<Entry>, StateError> {
    let names: Vec<String> = (0..files.len() as u32).map(name_of).collect();
    // Handles may list files in any order.
    let sources = names.iter().zip(files).rev();
    let sources = sources.map(|(name, file)| (name.as_str(), SliceSource::new(name, file)));
    let reader = ChainReader::open(sources)?;
    let mut source = reader.entries(range);
    let mut entries = Vec::new();
    while let Some(entry) = source.next_entry()? {
        entries.push(Entry::of(&entry));
    }
    Ok(entries)
}

fn name_of(position: u32) -> String {
    let kind = if position == 0 { ChainFileKind::Base } else { ChainFileKind::Delta };
    chain_file_name(position, kind)
}

/// One step of a history: what happens to a map or a value.
#[derive(Clone, Debug)]
enum Step {
    Put(Entry),
    Delete(Entry),
    DeleteMap(Entry),
    EndOfFile,
}

fn map_state() -> u16 {
    states().iter().position(|state| state.kind().is_map()).unwrap() as u16
}

fn step() -> impl Strategy<Value = Step> {
    let address = (0..4u16, any::<bool>(), 0..3u8, 0..2u8, 0..4u8, any::<u8>());
    let entry = address.prop_map(|(group, is_map, key, namespace, user_key, value)| Entry {
        group,
        state: if is_map { map_state() } else { 0 },
        key: vec![key; usize::from(key)],
        namespace: vec![namespace; usize::from(namespace)],
        // The empty user key is one like any other.
        user_key: if is_map { vec![user_key; usize::from(user_key)] } else { Vec::new() },
        value: vec![value; 5],
    });
    (entry, 0..10u8).prop_map(|(entry, choice)| match choice {
        0..=4 => Step::Put(entry),
        5..=6 => Step::Delete(entry),
        7..=8 => Step::DeleteMap(entry),
        _ => Step::EndOfFile,
    })
}

type Address = (u16, u16, Vec<u8>, Vec<u8>, Vec<u8>);

fn address(entry: &Entry) -> Address {
    let Entry { group, state, key, namespace, user_key, .. } = entry.clone();
    (group, state, key, namespace, user_key)
}

/// The files of a history: what a backend would write.
#[derive(Default)]
struct History {
    now: BTreeMap<Address, Entry>,
    /// Since the last file: entries that were put or deleted, maps that were deleted.
    changed: BTreeSet<Address>,
    deleted_maps: BTreeSet<Address>,
    files: Vec<Vec<u8>>,
}

impl History {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Put(entry) => {
                self.changed.insert(address(entry));
                self.now.insert(address(entry), entry.clone());
            }
            Step::Delete(entry) => {
                self.changed.insert(address(entry));
                self.now.remove(&address(entry));
            }
            Step::DeleteMap(entry) if entry.state == map_state() => {
                let mut map = address(entry);
                map.4.clear();
                let same = |other: &Address| {
                    (other.0, other.1, &other.2, &other.3) == (map.0, map.1, &map.2, &map.3)
                };
                self.now.retain(|address, _| !same(address));
                self.changed.retain(|address| !same(address));
                self.deleted_maps.insert(map);
            }
            Step::DeleteMap(_) => {}
            Step::EndOfFile => self.end_file(),
        }
    }

    fn end_file(&mut self) {
        if self.files.is_empty() {
            let entries: Vec<Entry> = self.now.values().cloned().collect();
            self.files.push(write(&states(), &entries, small_blocks()).0);
        } else {
            let mut changes: Vec<(Entry, ChangeKind)> = Vec::new();
            for address in &self.deleted_maps {
                changes.push((gone(address), ChangeKind::MapDeleted));
            }
            for address in &self.changed {
                changes.push(match self.now.get(address) {
                    Some(entry) => (entry.clone(), ChangeKind::Put),
                    None => (gone(address), ChangeKind::Deleted),
                });
            }
            changes.sort_by_key(|(entry, change)| {
                let (group, state, key, namespace, user_key) = address(entry);
                (group, state, key, namespace, *change != ChangeKind::MapDeleted, user_key)
            });
            let file = write_delta(&changes);
            assert_eq!(read_delta(&file).unwrap(), changes);
            let report = verify_delta(&SliceSource::new("d", &file), None).unwrap();
            assert!(report.is_whole(), "{report:?}");
            assert_eq!(report.entries, changes.len() as u64);
            self.files.push(file);
        }
        self.changed.clear();
        self.deleted_maps.clear();
    }
}

fn gone((group, state, key, namespace, user_key): &Address) -> Entry {
    Entry {
        group: *group,
        state: *state,
        key: key.clone(),
        namespace: namespace.clone(),
        user_key: user_key.clone(),
        value: Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_chain_reads_as_the_newest_state_whatever_was_changed_and_deleted(
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut history = History::default();
        steps.iter().for_each(|step| history.apply(step));
        history.end_file();
        let expected: Vec<Entry> = history.now.values().cloned().collect();
        prop_assert_eq!(read_chain(&history.files, all_groups()).unwrap(), expected.clone());
        let some: Vec<Entry> =
            expected.into_iter().filter(|entry| (1..=2).contains(&entry.group)).collect();
        prop_assert_eq!(read_chain(&history.files, range(1, 2)).unwrap(), some);
    }
}

#[test]
fn every_single_bit_flip_of_a_delta_is_found_and_never_restored() {
    let file = delta_file();
    assert_eq!(read_delta(&file).unwrap(), delta_changes());
    let mut damaged = file.clone();
    for at in 0..file.len() {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            let report = verify_delta(&SliceSource::new("d", &damaged), None).unwrap();
            assert!(!report.is_whole(), "byte {at} bit {bit} is not found");
            let error = read_delta(&damaged).unwrap_err();
            assert!(error.message().contains("offset"), "{error}");
            damaged[at] ^= 1 << bit;
        }
    }
    for len in 0..file.len() {
        assert!(read_delta(&file[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_delta_is_no_full_snapshot_and_a_full_snapshot_no_delta() {
    let delta = delta_file();
    let full = crate::golden_input::plain();
    for error in [
        FullReader::open(SliceSource::new("f", &delta)).err().unwrap(),
        DeltaReader::open(SliceSource::new("f", &full)).err().unwrap(),
    ] {
        assert_eq!(error.kind(), SnapshotErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("no magic"), "{error}");
    }
    assert!(!verify_full(&SliceSource::new("f", &delta), None).unwrap().is_whole());
    assert!(!verify_delta(&SliceSource::new("f", &full), None).unwrap().is_whole());
}

#[test]
fn deletions_that_make_no_sense_are_refused() {
    let entry = |state, user_key: &[u8], value: &[u8]| Entry {
        group: 1,
        state,
        key: b"k".to_vec(),
        namespace: Vec::new(),
        user_key: user_key.to_vec(),
        value: value.to_vec(),
    };
    let map = map_state();
    for (first, second) in [
        (None, (entry(0, b"", b""), ChangeKind::MapDeleted)),
        (None, (entry(map, b"u", b""), ChangeKind::MapDeleted)),
        (None, (entry(map, b"u", b"v"), ChangeKind::Deleted)),
        (
            Some((entry(map, b"", b"v"), ChangeKind::Put)),
            (entry(map, b"", b""), ChangeKind::MapDeleted),
        ),
        (
            Some((entry(map, b"", b"v"), ChangeKind::Put)),
            (entry(map, b"", b""), ChangeKind::Deleted),
        ),
    ] {
        let mut file = Vec::new();
        let mut writer = DeltaWriter::create(&mut file, small_blocks()).unwrap();
        writer.begin(&states()).unwrap();
        if let Some((entry, change)) = &first {
            writer.change(&entry.view(), *change).unwrap();
        }
        let error = writer.change(&second.0.view(), second.1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{first:?} {second:?}");
    }
}

fn open_chain(files: &[(&str, Vec<u8>)]) -> Option<SnapshotError> {
    let sources = files.iter().map(|(name, file)| (*name, SliceSource::new(*name, file)));
    ChainReader::open(sources).err()
}

#[test]
fn files_that_make_no_chain_are_refused() {
    let (base, delta) = (crate::golden_input::plain(), delta_file());
    for files in [
        vec![],
        vec![("1.delta", delta.clone())],
        vec![("0.full", base.clone()), ("2.delta", delta.clone())],
        vec![("0.full", base.clone()), ("1.full", base.clone())],
        vec![("0.delta", delta.clone())],
        vec![("0.full", base.clone()), ("01.delta", delta.clone())],
        vec![("0.full", base.clone()), ("x", delta)],
        vec![("1.delta", write(&states()[..1], &[], small_blocks()).0), ("0.full", base)],
    ] {
        let error = open_chain(&files).unwrap_or_else(|| panic!("{} files", files.len()));
        assert_eq!(error.kind(), SnapshotErrorKind::Corrupt, "{error}");
    }
    assert_eq!(parse_chain_file("12.delta"), Some((12, ChainFileKind::Delta)));
    for name in ["", "1", "1.", "-1.full", "+1.full", "1.full.x", "4294967296.full"] {
        assert_eq!(parse_chain_file(name), None, "{name}");
    }
}

#[test]
fn a_file_whose_states_do_not_begin_with_those_before_is_refused() {
    let mut delta = Vec::new();
    let mut writer = DeltaWriter::create(&mut delta, small_blocks()).unwrap();
    writer.begin(&states()[1..]).unwrap();
    writer.finish().unwrap();
    let base = crate::golden_input::plain();
    let error = open_chain(&[("0.full", base), ("1.delta", delta)]).unwrap();
    assert!(error.message().contains("states"), "{error}");
    assert_eq!(error.file(), Some("1.delta"));
}
