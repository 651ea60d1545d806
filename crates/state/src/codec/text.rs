//! Codecs of strings and byte strings: varint length, then the bytes.

use super::{Codec, CodecIdentity, HasCodec, malformed, take, varint};
use crate::buffer::Scratch;
use crate::error::Result;

/// Encodes a byte string as its length and its bytes. Its order is by length first.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesCodec;

impl Codec<Vec<u8>> for BytesCodec {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::new("bytes", 1)
    }

    #[inline]
    fn encode_into(&self, value: &Vec<u8>, out: &mut Scratch) -> Result<()> {
        encode_slice(value, out);
        Ok(())
    }

    #[inline]
    fn decode_from(&self, input: &mut &[u8]) -> Result<Vec<u8>> {
        decode_slice(input, "bytes").map(<[u8]>::to_vec)
    }
}

impl HasCodec for Vec<u8> {
    type Codec = BytesCodec;
}

/// Encodes a string as its length in bytes and its UTF-8. Its order is by length first.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringCodec;

impl Codec<String> for StringCodec {
    fn identity(&self) -> CodecIdentity {
        CodecIdentity::new("string", 1)
    }

    #[inline]
    fn encode_into(&self, value: &String, out: &mut Scratch) -> Result<()> {
        encode_slice(value.as_bytes(), out);
        Ok(())
    }

    #[inline]
    fn decode_from(&self, input: &mut &[u8]) -> Result<String> {
        let bytes = decode_slice(input, "string")?;
        core::str::from_utf8(bytes).map(str::to_owned).map_err(|_| malformed("string"))
    }
}

impl HasCodec for String {
    type Codec = StringCodec;
}

#[inline]
pub(crate) fn encode_slice(bytes: &[u8], out: &mut Scratch) {
    varint::encode_into(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[inline]
pub(crate) fn decode_slice<'a>(input: &mut &'a [u8], what: &str) -> Result<&'a [u8]> {
    let len = usize::try_from(varint::decode_from(input)?).map_err(|_| malformed(what))?;
    take(input, len, what)
}
