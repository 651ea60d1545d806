//! Order and round trip of keys.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop on errors")]

use proptest::prelude::*;

use super::*;

type Address = (u16, u16, Vec<u8>, Vec<u8>, Vec<u8>);

fn encoded((group, state, key, namespace, user_key): &Address) -> Vec<u8> {
    let mut out = Vec::new();
    let at = EntryKey::in_group(key, KeyGroup::new(*group)).in_namespace(namespace);
    push_entry(&mut out, StateId::new(*state), &at);
    out.extend_from_slice(user_key);
    out
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![Just(0u8), Just(1), Just(0xFE), Just(0xFF), any::<u8>()],
        0..5,
    )
}

fn address() -> impl Strategy<Value = Address> {
    (0..3u16, prop_oneof![0..3u16, Just(256)], part(), part(), part())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_sort_as_their_addresses(left in address(), right in address()) {
        prop_assert_eq!(encoded(&left).cmp(&encoded(&right)), left.cmp(&right));
    }

    #[test]
    fn keys_are_taken_apart_as_they_were_put_together(address in address()) {
        let key = encoded(&address);
        let found = parts(&key).unwrap();
        prop_assert_eq!((found.group.get(), found.state.get()), (address.0, address.1));
        let (mut a, mut b) = (vec![7], vec![7]);
        prop_assert_eq!(found.key.plain(&mut a), &address.2[..]);
        prop_assert_eq!(found.namespace.plain(&mut b), &address.3[..]);
        prop_assert_eq!(found.user_key, &address.4[..]);
        let mut namespace = Vec::new();
        push_namespace(&mut namespace, &address.3);
        prop_assert_eq!(found.namespace.bytes, &namespace[..]);
        prop_assert_eq!(entry_of(entry_of(&key)), entry_of(&key));
    }

    #[test]
    fn the_end_of_an_entry_bounds_its_keys_and_no_other(left in address(), right in address()) {
        let (map, other) = (encoded(&left), encoded(&right));
        let mut bound = entry_of(&map).to_vec();
        to_end_of_entry(&mut bound);
        let inside = entry_of(&map) <= &other[..] && other < bound;
        prop_assert_eq!(inside, entry_of(&map) == entry_of(&other));
    }
}

#[test]
fn what_is_no_key_is_not_taken_apart() {
    for bytes in [
        &b""[..],
        b"\0\0\0",
        b"\0\0\0\0",
        b"\0\0\0\0a\0",
        b"\0\0\0\0a\0\0",
        b"\0\0\0\0a\0\0b",
        b"\0\0\0\0a\0\x01\0\0\0\0",
    ] {
        assert_eq!(parts(bytes), None, "{bytes:?}");
        assert!(!has_entry(bytes));
        assert_eq!(entry_of(bytes), bytes);
    }
}
