//! Segment files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop on errors")]

use millpond_state::{EntryKey, ErrorKind, MaxParallelism, StateId};
use proptest::prelude::*;

use super::*;
use crate::record::Address;
use crate::seal::write_segment;

/// Addresses of `count` keys, some of them twice.
fn keys(count: u64) -> Vec<[u8; 8]> {
    (0..count).chain(0..count / 3).map(u64::to_be_bytes).collect()
}

fn address(key: &[u8]) -> Address<'_> {
    Address::new(StateId::new(3), &EntryKey::new(key, MaxParallelism::new(16).unwrap()))
}

/// A segment of these keys; every fifth record is a tombstone.
fn segment(keys: &[[u8; 8]]) -> Vec<u8> {
    let mut data = vec![0; HEADER_BYTES];
    for (number, key) in keys.iter().enumerate() {
        let (at, start) = (address(key), data.len());
        data.resize(start + at.record_bytes(key.len()), 0);
        let room = &mut data[start..];
        if number % 5 == 4 { at.write_tombstone(key, room) } else { at.write(key, room) }.unwrap();
    }
    let mut out = Vec::new();
    write_segment(&data, "test", &mut out).unwrap();
    out
}

fn read_all(bytes: &[u8]) -> Result<Vec<Hint>> {
    let layout = Layout::read(bytes, "test")?;
    let mut found = Vec::new();
    for group in &layout.groups {
        for hint in layout.hints(group, (bytes, "test"))? {
            found.push(hint?);
        }
    }
    Ok(found)
}

#[test]
fn hints_lead_to_the_newest_record_of_each_address() {
    let keys = keys(300);
    let bytes = segment(&keys);
    let layout = Layout::read(&bytes, "test").unwrap();
    assert_eq!((layout.footer.hints, layout.footer.items), (300, 400));
    for (number, key) in keys.iter().enumerate().skip(100) {
        let at = address(key);
        let of = layout.group(at.group()).unwrap();
        let hint = layout.search(of, &bytes, at.identity()).unwrap().unwrap();
        assert_eq!(hint.is_tombstone(), number % 5 == 4, "{number}");
        assert_eq!((hint.state(), hint.is_part()), (3, false));
        let record = crate::record::Item::parse(&bytes[hint.offset()..]).unwrap().record().unwrap();
        assert_eq!((record.address(), record.value), (at, &key[..]));
        assert_eq!(hint.offset(), HEADER_BYTES + number * at.record_bytes(8), "the newest");
    }
    let absent = address(b"absent");
    let of = layout.group(absent.group()).unwrap();
    assert_eq!(layout.search(of, &bytes, absent.identity()), Some(None));
}

#[test]
fn a_segment_without_records_is_one() {
    let bytes = segment(&[]);
    assert_eq!(bytes.len(), HEADER_BYTES + FOOTER_BYTES);
    assert_eq!(read_all(&bytes).unwrap(), []);
}

#[test]
fn every_flipped_bit_outside_of_records_is_found() {
    let bytes = segment(&keys(12));
    let records = HEADER_BYTES..Layout::read(&bytes, "test").unwrap().footer.hints_offset as usize;
    for at in (0..bytes.len()).filter(|at| !records.contains(at)) {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let error = read_all(&damaged).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}, bit {bit}: {error}");
            assert!(error.message().starts_with("test, offset "), "{error}");
        }
    }
}

#[test]
fn every_missing_tail_is_found() {
    let bytes = segment(&keys(12));
    for length in 0..bytes.len() {
        let error = read_all(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read_all(&bytes).is_err());
    }
}
