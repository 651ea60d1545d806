//! Any line as a codec name and any bytes after it: a name that parses prints as itself, what
//! decodes encodes to bytes that decode alike, and typed codecs neither panic nor read past their
//! input. Conversions from any name neither.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_state::Scratch;
use millpond_state::codec::{Codec, CodecIdentity, DefaultCodec, Evolution, HasCodec, Shape};

fn check_shape(name: &str, bytes: &[u8]) {
    let Ok(shape) = Shape::parse(name) else { return };
    assert_eq!(shape.to_string(), name);
    let mut rest = bytes;
    let Ok(value) = shape.decode_from(&mut rest) else { return };
    assert!(rest.len() <= bytes.len());
    let _ = value.to_string();
    let mut out = Scratch::new();
    shape.encode_into(&value, &mut out).expect("what was decoded can be encoded");
    let again = shape.decode_all(out.as_slice()).expect("and decoded");
    // Not a number is not equal to itself.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
}

fn check_typed<T: HasCodec>(name: &str, bytes: &[u8]) {
    let codec = DefaultCodec::<T>::default();
    if let Ok(value) = codec.decode_all(bytes) {
        let mut out = Scratch::new();
        codec.encode_into(&value, &mut out).expect("what was decoded can be encoded");
        assert_eq!(out.as_slice(), bytes, "one value has one encoding");
    }
    if let Evolution::Possible(conversion) = codec.evolve_from(&CodecIdentity::new(name, 1)) {
        let (mut input, mut out) = (bytes, Scratch::new());
        if conversion.convert(&mut input, &mut out).is_ok() {
            codec.decode_all(out.as_slice()).expect("what was converted can be decoded");
        }
    }
}

#[derive(Debug)]
struct Visit {
    page: String,
    count: u64,
    tag: Option<i16>,
}

millpond_state::record!(Visit, version 1, { page: String, count: u64, tag: Option<i16> });

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (name, bytes) = input.split_at(end);
    let Ok(name) = str::from_utf8(name) else { return };
    let bytes = bytes.get(1..).unwrap_or_default();
    check_shape(name, bytes);
    check_typed::<bool>(name, bytes);
    check_typed::<(u64, String)>(name, bytes);
    check_typed::<Option<(i32, Option<String>)>>(name, bytes);
    check_typed::<Visit>(name, bytes);
});
