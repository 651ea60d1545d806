//! No bit of a file can change unnoticed.

use millpond_snapshot::metadata::FileHandle;
use millpond_snapshot::{
    CheckpointMetadata, Compression, FullReader, KeyGroupSummary, SliceSource, verify_full,
    verify_metadata,
};

use crate::golden_input;
use crate::support::{read_all, write};

const NAME: &str = "chk-1/5-agg-0-0.full";

/// The key group that the byte at `at` belongs to, and where its block begins.
fn block_of(groups: &[KeyGroupSummary], blocks: &[usize], at: usize) -> Option<(u16, u64)> {
    let group = groups
        .iter()
        .find(|group| (group.offset..group.offset + group.file_bytes).contains(&(at as u64)))?;
    let block = blocks.iter().rfind(|block| **block <= at)?;
    Some((group.group.get(), *block as u64))
}

fn every_flip_is_found_in(file: &[u8]) {
    let groups = FullReader::open(SliceSource::new(NAME, file)).unwrap().key_groups().to_vec();
    let blocks = golden_input::block_offsets(file);
    let mut damaged = file.to_vec();
    for at in 0..file.len() {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            let report = verify_full(&SliceSource::new(NAME, &damaged), None).unwrap();
            assert!(!report.is_whole(), "byte {at} bit {bit} is not found");
            assert!(report.damage.iter().all(|damage| damage.file == NAME));
            let place = block_of(&groups, &blocks, at);
            let named = report.damage.iter().any(|damage| match place {
                Some((group, block)) => {
                    damage.offset == block && damage.key_group.map(|g| g.get()) == Some(group)
                }
                None => damage.offset <= at as u64 && damage.key_group.is_none(),
            });
            assert!(named, "byte {at} bit {bit}: {:#?}", report.damage);
            let lost = |group: &KeyGroupSummary| {
                report.damage.iter().any(|damage| damage.key_group == Some(group.group))
            };
            let lost_count = groups.iter().filter(|group| lost(group)).count();
            assert!(lost_count <= 1, "byte {at} bit {bit} blames others: {:#?}", report.damage);
            let error = read_all(&damaged).unwrap_err();
            assert!(error.message().contains("offset"), "{error}");
            damaged[at] ^= 1 << bit;
        }
    }
}

#[test]
fn every_single_bit_flip_of_an_uncompressed_full_file_is_found_and_named() {
    every_flip_is_found_in(&golden_input::plain());
}

#[test]
fn every_single_bit_flip_of_a_compressed_full_file_is_found_and_named() {
    every_flip_is_found_in(&golden_input::zstd());
}

#[test]
fn every_missing_tail_of_a_full_file_is_found() {
    let file = golden_input::plain();
    let handle = FileHandle::new(NAME, file.len() as u64, crc32fast::hash(&file)).unwrap();
    for len in 0..file.len() {
        let source = SliceSource::new(NAME, &file[..len]);
        assert!(!verify_full(&source, None).unwrap().is_whole(), "{len}");
        assert!(!verify_full(&source, Some(&handle)).unwrap().is_whole(), "{len}");
        assert!(FullReader::open(&source).is_err(), "{len}");
        let error = FullReader::open_handle(&source, &handle).err().unwrap();
        assert!(error.to_string().contains("expected"), "{error}");
    }
    assert!(verify_full(&SliceSource::new(NAME, &file), Some(&handle)).unwrap().is_whole());
}

#[test]
fn a_whole_file_that_is_not_the_one_referred_to_is_found_by_its_checksum() {
    let mut entries = golden_input::entries();
    let handle =
        |file: &[u8]| FileHandle::new(NAME, file.len() as u64, crc32fast::hash(file)).unwrap();
    let old = golden_input::plain();
    entries[0].value[0] ^= 1;
    let options = golden_input::options(Compression::None);
    let (new, summary) = write(&golden_input::states(), &entries, options);
    assert_eq!(old.len(), new.len());
    assert_eq!(summary.crc32, handle(&new).crc32());
    let report = verify_full(&SliceSource::new(NAME, &new), Some(&handle(&old))).unwrap();
    assert_eq!(report.damage.len(), 1);
    assert!(report.damage[0].what.contains("checksum of the whole file"));
    assert!(verify_full(&SliceSource::new(NAME, &new), Some(&handle(&new))).unwrap().is_whole());
}

#[test]
fn several_damaged_places_are_all_reported() {
    let mut file = golden_input::plain();
    let reader = FullReader::open(SliceSource::new(NAME, file.clone())).unwrap();
    let blocks = golden_input::block_offsets(&file);
    assert!(blocks.len() > 6, "the test wants several blocks a key group");
    for group in reader.key_groups() {
        file[group.offset as usize + 30] ^= 1;
    }
    file[20] ^= 1;
    let report = verify_full(&SliceSource::new(NAME, &file), None).unwrap();
    let mut found: Vec<(u64, Option<u16>)> =
        report.damage.iter().map(|d| (d.offset, d.key_group.map(|group| group.get()))).collect();
    found.sort_unstable();
    let mut expected: Vec<(u64, Option<u16>)> =
        reader.key_groups().iter().map(|group| (group.offset, Some(group.group.get()))).collect();
    expected.insert(0, (16, None));
    assert_eq!(found, expected);
    let whole: u64 = reader.key_groups().iter().map(|group| group.blocks - 1).sum();
    assert_eq!(report.blocks, whole, "undamaged blocks after damaged ones are checked");
}

#[test]
fn blocks_are_still_checked_when_index_and_footer_are_lost() {
    let mut file = golden_input::plain();
    let blocks = golden_input::block_offsets(&file);
    let reader = FullReader::open(SliceSource::new(NAME, file.clone())).unwrap();
    let (count, entries) = ((blocks.len() - 2) as u64, reader.entry_count());
    let footer = file.len() - 64;
    file[footer + 1] ^= 1;
    let report = verify_full(&SliceSource::new(NAME, &file), None).unwrap();
    assert_eq!((report.damage.len(), report.blocks, report.entries), (1, count, entries));
    file[*blocks.last().unwrap() + 29] ^= 1;
    file[blocks[2] + 28] ^= 1;
    let report = verify_full(&SliceSource::new(NAME, &file), None).unwrap();
    let damaged: Vec<u64> = report.damage.iter().map(|damage| damage.offset).collect();
    assert_eq!(damaged, [footer as u64, blocks[2] as u64, *blocks.last().unwrap() as u64]);
    assert_eq!(report.blocks, count - 1);
}

#[test]
fn every_single_bit_flip_and_missing_tail_of_metadata_is_found() {
    every_damage_is_found(&golden_input::checkpoint().encode().unwrap());
    every_damage_is_found(&golden_input::incremental_checkpoint().encode().unwrap());
}

fn every_damage_is_found(file: &[u8]) {
    let mut damaged = file.to_vec();
    for at in 0..file.len() {
        for bit in 0..8 {
            damaged[at] ^= 1 << bit;
            let report = verify_metadata("_metadata", &damaged).unwrap();
            assert_eq!(report.damage.len(), 1, "byte {at} bit {bit} is not found");
            assert_eq!(report.damage[0].file, "_metadata");
            let error = CheckpointMetadata::decode_from("_metadata", &damaged).unwrap_err();
            assert!(error.offset().is_some_and(|offset| offset <= at as u64), "{error}");
            damaged[at] ^= 1 << bit;
        }
        assert!(!verify_metadata("_metadata", &file[..at]).unwrap().is_whole(), "{at}");
    }
}
