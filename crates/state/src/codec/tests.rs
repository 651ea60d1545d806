//! Codecs: round trips, order, pinned bytes, shapes.

use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Totals {
    flights: u64,
    delay: i64,
    tail: Option<String>,
}
crate::record!(Totals, version 1, { flights: u64, delay: i64, tail: Option<String> });

fn encode<T: HasCodec>(value: &T) -> Vec<u8> {
    let mut out = Scratch::new();
    T::Codec::default().encode_into(value, &mut out).unwrap();
    out.as_slice().to_vec()
}

fn round_trip<T: HasCodec + PartialEq + core::fmt::Debug>(value: T) {
    let bytes = encode(&value);
    let codec = T::Codec::default();
    assert_eq!(codec.decode_all(&bytes).unwrap(), value);
    for cut in 0..bytes.len() {
        assert!(codec.decode_all(&bytes[..cut]).is_err(), "{value:?} cut to {cut}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(codec.decode_all(&longer).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn every_ready_codec_round_trips_and_refuses_cut_and_long_input() {
    round_trip(true);
    round_trip(0x1234u16);
    round_trip(u64::MAX);
    round_trip(i64::MIN);
    round_trip(-1i128);
    round_trip(-1.5f64);
    round_trip(String::from("pond\u{e9}"));
    round_trip(vec![0u8, 255]);
    round_trip(Some(7u32));
    round_trip(None::<u32>);
    round_trip((1u8, String::from("a"), -2i32));
    round_trip(Totals { flights: 3, delay: -4, tail: Some("N1".into()) });
}

#[test]
fn byte_order_of_numbers_is_their_numeric_order() {
    let ints = [i64::MIN, -70_000, -1, 0, 1, 255, 256, i64::MAX];
    assert!(ints.windows(2).all(|pair| encode(&pair[0]) < encode(&pair[1])));
    let floats = [f64::NEG_INFINITY, -1.0, -1e-300, -0.0, 0.0, 1e-300, 2.5, f64::INFINITY];
    assert!(floats.windows(2).all(|pair| encode(&pair[0]) < encode(&pair[1])));
    let pairs = [(1u32, -5i8), (1, 3), (2, -128)];
    assert!(pairs.windows(2).all(|pair| encode(&pair[0]) < encode(&pair[1])));
}

#[test]
fn encodings_are_pinned_because_snapshots_contain_them() {
    assert_eq!(encode(&1u32), [0, 0, 0, 1]);
    assert_eq!(encode(&-1i16), [0x7f, 0xff]);
    assert_eq!(encode(&1.0f32), [0xbf, 0x80, 0, 0]);
    assert_eq!(encode(&String::from("ab")), [2, b'a', b'b']);
    assert_eq!(encode(&Some(true)), [1, 1]);
    assert_eq!(encode(&vec![9u8; 128])[..3], [0x80, 0x01, 9]);
}

#[test]
fn varints_have_one_encoding_each() {
    for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
        let mut out = Scratch::new();
        varint::encode_into(value, &mut out);
        let mut input = out.as_slice();
        assert_eq!(varint::decode_from(&mut input).unwrap(), value);
        assert!(input.is_empty());
    }
    for bad in [&[0x80u8][..], &[0x80, 0x00], &[0xff; 11], &[]] {
        assert!(varint::decode_from(&mut &bad[..]).is_err(), "{bad:?}");
    }
}

#[test]
fn shapes_parse_from_the_identity_and_decode_without_the_type() {
    let totals = Totals { flights: 3, delay: -4, tail: Some("N1".into()) };
    let identity = DefaultCodec::<Totals>::default().identity();
    assert_eq!(identity.name(), "record<flights:u64,delay:i64,tail:option<string>>");
    let value = Shape::parse(identity.name()).unwrap().decode_all(&encode(&totals)).unwrap();
    assert_eq!(value.to_string(), "(flights=3, delay=-4, tail=N1)");
}

#[test]
fn names_that_are_no_shapes_are_refused() {
    for name in
        ["", "u65", "tuple<", "tuple<u8", "option<u8,u8>", "u8>", "postcard:x", "record<u8>"]
    {
        assert!(Shape::parse(name).is_err(), "{name}");
    }
    let deep = "option<".repeat(100_000);
    assert!(Shape::parse(&deep).is_err());
}

#[cfg(feature = "serde")]
mod postcard_types {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Order {
        id: u64,
        lines: Vec<String>,
    }

    impl PostcardType for Order {
        const NAME: &'static str = "test.order";
        const VERSION: u32 = 3;
    }

    impl HasCodec for Order {
        type Codec = Postcard<Order>;
    }

    #[test]
    fn serde_types_round_trip_also_when_larger_than_the_inline_buffer() {
        round_trip(Order { id: 7, lines: vec![] });
        round_trip(Order { id: 7, lines: vec!["x".repeat(40); 5] });
    }
}
