//! Stamps and how they are judged, up to the ends of time.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::buffer::Scratch;
use crate::codec::{Codec, DefaultCodec, skip_one};

fn ttl(duration_ms: u64) -> (Ttl, StateTime) {
    let time = StateTime::new();
    let ttl = Ttl::new(Duration::from_millis(duration_ms), TimeDomain::Event, &time).unwrap();
    (ttl, time)
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -100i64..100, i64::MIN..i64::MIN + 100, i64::MAX - 100..=i64::MAX,]
}

/// A list of stamped bytes.
fn encode_list(parts: &[(i64, u8)]) -> Vec<u8> {
    let mut out = Scratch::new();
    for (stamp, element) in parts {
        stamp::encode_into(*stamp, &mut out);
        out.push(*element);
    }
    out.as_slice().to_vec()
}

fn decode_list(mut bytes: &[u8]) -> Vec<(i64, u8)> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let stamp = stamp::decode_from(&mut bytes).unwrap();
        parts.push((stamp, DefaultCodec::<u8>::default().decode_from(&mut bytes).unwrap()));
    }
    parts
}

proptest! {
    #[test]
    fn stamps_are_encoded_as_their_type_is(stamp in any_time()) {
        let (mut stamped, mut encoded) = (Scratch::new(), Scratch::new());
        stamp::encode_into(stamp, &mut stamped);
        DefaultCodec::<i64>::default().encode_into(&stamp, &mut encoded).unwrap();
        prop_assert_eq!(stamped.as_slice(), encoded.as_slice());
        prop_assert_eq!(stamp::decode_from(&mut stamped.as_slice()).unwrap(), stamp);
    }

    #[test]
    fn expiry_is_what_unbounded_numbers_say(
        stamp in any_time(),
        now in any_time(),
        duration in prop_oneof![1u64..200, any::<u64>().prop_map(|ms| ms.max(1))],
    ) {
        let (ttl, _) = ttl(duration);
        let duration = i128::from(duration.min(i64::MAX as u64));
        // A difference past the largest number counts as that: more than any duration but one.
        let age = (i128::from(now) - i128::from(stamp)).min(i128::from(i64::MAX));
        let known = stamp != i64::MIN && now != i64::MIN;
        prop_assert_eq!(ttl.is_expired(stamp, now), known && age >= duration);
    }

    #[test]
    fn a_judged_list_has_its_live_elements_in_order(
        parts in prop::collection::vec((any_time(), any::<u8>()), 0..12),
        now in any_time(),
        duration in 1u64..100,
    ) {
        let (ttl, time) = ttl(duration);
        time.advance_event_ms(now);
        let filter = TtlFilter::new(ttl.clone(), Some(skip_one::<u8, DefaultCodec<u8>>));
        let stored = encode_list(&parts);
        let mut rewritten = Scratch::new();
        let verdict = filter.judge(&stored, filter.now_ms(), &mut rewritten).unwrap();
        let Some(now) = filter.now_ms() else {
            prop_assert_eq!(verdict, Expiry::Live);
            return Ok(());
        };
        let mut expected = parts.clone();
        expected.retain(|part| !ttl.is_expired(part.0, now));
        expected.iter_mut().filter(|part| part.0 == i64::MIN).for_each(|part| part.0 = now);
        match verdict {
            Expiry::Live => prop_assert_eq!(expected, parts),
            Expiry::Expired => prop_assert!(expected.is_empty() && !parts.is_empty()),
            Expiry::Rewrite => {
                prop_assert!(expected != parts && !expected.is_empty());
                prop_assert_eq!(decode_list(rewritten.as_slice()), expected);
            }
        }
    }
}

#[test]
fn cut_bytes_are_corrupt_and_not_expired() {
    let (ttl, time) = ttl(1);
    time.advance_event_ms(1_000);
    let list = TtlFilter::new(ttl.clone(), Some(skip_one::<u8, DefaultCodec<u8>>));
    let value = TtlFilter::new(ttl, None);
    let mut rewritten = Scratch::new();
    for cut in 1..9 {
        let error = list.judge(&encode_list(&[(0, 1)])[..cut], list.now_ms(), &mut rewritten);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let error = value.judge(&[0; 7], value.now_ms(), &mut rewritten);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn identities_are_wrapped_and_split() {
    let (ttl, _) = ttl(1);
    let inner = CodecIdentity::new("tuple<u8,expiring<event,u8>>", 7);
    let wrapped = ttl.identity_of(&inner);
    assert_eq!(wrapped.to_string(), "expiring<event,tuple<u8,expiring<event,u8>>> v7");
    assert_eq!(split_identity(&wrapped), Some((TimeDomain::Event, inner.clone())));
    assert_eq!(split_identity(&inner), None);
}
