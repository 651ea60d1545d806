//! Records.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop on errors")]

use millpond_state::MaxParallelism;
use proptest::prelude::*;

use super::*;

fn address<'a>(key: &'a [u8], namespace: &'a [u8], state: u16, chunk: u32) -> Address<'a> {
    let at = EntryKey::new(key, MaxParallelism::new(128).unwrap()).in_namespace(namespace);
    Address::new(StateId::new(state), &at).part(chunk)
}

/// The record's bytes, with a checksum as in a file.
fn written(at: &Address<'_>, value: &[u8], is_tombstone: bool) -> Vec<u8> {
    let mut out = vec![0xee; at.record_bytes(value.len())];
    if is_tombstone { at.write_tombstone(value, &mut out) } else { at.write(value, &mut out) }
        .unwrap();
    let crc32 = checksum(&out).to_le_bytes();
    out[..4].copy_from_slice(&crc32);
    out
}

proptest! {
    #[test]
    fn what_was_written_is_parsed(
        key in prop::collection::vec(any::<u8>(), 0..40),
        namespace in prop::collection::vec(any::<u8>(), 0..20),
        value in prop::collection::vec(any::<u8>(), 0..300),
        state in 0u16..4_096,
        chunk in prop_oneof![Just(0u32), any::<u32>()],
        is_tombstone: bool,
    ) {
        let at = address(&key, &namespace, state, chunk);
        let bytes = written(&at, &value, is_tombstone);
        prop_assert_eq!(bytes.len() % ALIGNMENT, 0);
        prop_assert!(is_whole(&bytes));
        let record = Item::parse(&bytes).unwrap().record().unwrap();
        prop_assert_eq!(record.address(), at);
        prop_assert_eq!(record.value, &value[..]);
        prop_assert_eq!((record.is_tombstone, record.size), (is_tombstone, bytes.len()));
        let found = at.find_value(&bytes);
        prop_assert_eq!(found.is_some(), !is_tombstone);
        if let Some(place) = found {
            prop_assert_eq!(&bytes[place.start..place.start + place.bytes], &value[..]);
            prop_assert_eq!(place.record_bytes(), bytes.len());
        }
    }

    #[test]
    fn a_record_that_is_cut_or_changed_is_not_taken_for_whole(
        value in prop::collection::vec(any::<u8>(), 0..60),
        at in 0usize..1_000,
        bit in 0u8..8,
    ) {
        let address = address(b"some key", b"space", 3, 0);
        let mut bytes = written(&address, &value, false);
        prop_assert_eq!(Item::parse(&bytes[..bytes.len() - 1]), None);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(!is_whole(&bytes));
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Some(item) = Item::parse(&bytes) {
            prop_assert!(item.size() <= bytes.len() && item.size() > 0);
        }
    }
}

#[test]
fn another_address_is_not_found() {
    let at = address(b"key", b"space", 3, 7);
    let bytes = written(&at, b"value", false);
    let others = [
        address(b"kez", b"space", 3, 7),
        address(b"ke", b"yspace", 3, 7),
        address(b"key", b"spacf", 3, 7),
        address(b"key", b"space", 4, 7),
        address(b"key", b"space", 3, 8),
        address(b"key", b"space", 3, 0),
    ];
    for other in others {
        assert_eq!(other.find_value(&bytes), None, "{other:?}");
        assert_ne!(other.identity(), at.identity());
    }
    assert!(at.find_value(&bytes).is_some());
}

#[test]
fn a_filler_is_walked_over() {
    for size in [8, 16, 800] {
        let mut bytes = vec![0xee; size];
        write_filler(&mut bytes, size);
        assert_eq!(Item::parse(&bytes), Some(Item::Filler(size)));
        assert_eq!(Item::parse(&bytes[..size - 1]), None);
    }
}

/// `docs/formats.md` gives the arithmetic.
#[test]
fn hash_and_check_bits_never_change() {
    let plain = address(b"key", b"", 1, 0);
    let full = address(b"another key", b"space", 4_095, 9);
    let found = [plain.hash(), u64::from(plain.check()), full.hash(), u64::from(full.check())];
    let expected = [&plain, &full].map(by_the_document);
    assert_eq!(found, [expected[0].0, expected[0].1, expected[1].0, expected[1].1]);
}

fn by_the_document(at: &Address<'_>) -> (u64, u64) {
    let (chunk, state) = (u64::from(at.chunk()), u64::from(at.state().get()));
    let mut h = xxh3_64(at.key());
    if !at.namespace().is_empty() {
        h ^= xxh3_64(at.namespace()).rotate_left(29);
    }
    h = h.wrapping_add(chunk << 12).wrapping_add(state);
    h = (h ^ (h >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let seed = 0x6d69_6c6c_706f_6e64;
    let namespace = xxh3_64_with_seed(at.namespace(), seed).rotate_left(17);
    let c = xxh3_64_with_seed(at.key(), seed) ^ namespace;
    (h ^ (h >> 29), c.wrapping_add(chunk).wrapping_mul(seed) >> 44)
}
