//! What a native snapshot says beside its segment files: states, entries of each key group, and the
//! segments in the order of the log. `docs/formats.md` specifies it.
//!
//! # Invariants
//! - The segment at position `n` is the file called `n.seg`. Newer segments have higher positions.
//! - Records of a segment outside of its key groups do not count: they may be stale.
//!
//! # Failures
//! What does not decode is [`ErrorKind::Corrupt`]; another version is
//! [`ErrorKind::Incompatible`].

use millpond_state::codec::CodecIdentity;
use millpond_state::{
    ErrorKind, KeyGroup, KeyGroupRange, Result, STATES_MAX, StateCodecs, StateDescriptor,
    StateError, StateKind,
};

use crate::error::newer;

/// The version that is written.
const VERSION: u64 = 1;

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// In the order of the numbers that records have.
    pub(crate) states: Vec<StateDescriptor>,
    /// The key groups that the snapshot was taken of.
    pub(crate) groups: KeyGroupRange,
    /// Entries of each of these key groups, of maps user keys.
    pub(crate) group_entries: Vec<u64>,
    /// For each segment, the first and the last key group that counts and that it has something of.
    pub(crate) segments: Vec<KeyGroupRange>,
}

/// The name of the segment file at a position.
pub(crate) fn segment_name(position: usize) -> String {
    format!("{position}.seg")
}

impl Manifest {
    /// The manifest's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, VERSION);
        put_varint(&mut out, self.states.len() as u64);
        self.states.iter().for_each(|state| put_descriptor(&mut out, state));
        put_range(&mut out, self.groups);
        self.group_entries.iter().for_each(|count| put_varint(&mut out, *count));
        put_varint(&mut out, self.segments.len() as u64);
        self.segments.iter().for_each(|groups| put_range(&mut out, *groups));
        out
    }

    /// Reads what [`Self::encode`] made.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        let version = reader.varint()?;
        if version != VERSION {
            return Err(newer("the manifest of segments", &format!("version {version}")));
        }
        let count = reader.count(STATES_MAX)?;
        let states = (0..count).map(|_| reader.descriptor()).collect::<Result<_>>()?;
        let groups = reader.range()?;
        let group_entries = (0..groups.count()).map(|_| reader.varint()).collect::<Result<_>>()?;
        // A range takes two bytes at least.
        let count = reader.count(reader.0.len() / 2)?;
        let segments = (0..count).map(|_| reader.range()).collect::<Result<_>>()?;
        if !reader.0.is_empty() {
            return Err(damaged("there are bytes behind its end"));
        }
        Ok(Self { states, groups, group_entries, segments })
    }
}

fn put_varint(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_range(out: &mut Vec<u8>, groups: KeyGroupRange) {
    put_varint(out, u64::from(groups.first().get()));
    put_varint(out, u64::from(groups.last().get()));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_codec(out: &mut Vec<u8>, codec: &CodecIdentity) {
    put_text(out, codec.name());
    put_varint(out, u64::from(codec.version()));
}

fn put_descriptor(out: &mut Vec<u8>, state: &StateDescriptor) {
    let codecs = state.codecs();
    put_text(out, state.name());
    out.push(state.kind().code());
    put_codec(out, &codecs.key);
    put_codec(out, &codecs.namespace);
    out.push(u8::from(codecs.user_key.is_some()));
    if let Some(user_key) = &codecs.user_key {
        put_codec(out, user_key);
    }
    put_codec(out, &codecs.value);
}

/// What is left of a manifest.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.0.split_first().ok_or_else(|| damaged("it ends early"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(damaged("a number is too long"))
    }

    fn count(&mut self, most: usize) -> Result<usize> {
        let count = self.varint()?;
        let fits = usize::try_from(count).ok().filter(|count| *count <= most);
        fits.ok_or_else(|| damaged("a count is too large"))
    }

    fn group(&mut self) -> Result<KeyGroup> {
        let group = u16::try_from(self.varint()?);
        group.map(KeyGroup::new).map_err(|_| damaged("a key group is out of range"))
    }

    fn range(&mut self) -> Result<KeyGroupRange> {
        let (first, last) = (self.group()?, self.group()?);
        KeyGroupRange::new(first, last).map_err(|_| damaged("key groups end before they begin"))
    }

    fn text(&mut self) -> Result<String> {
        let length = self.count(self.0.len())?;
        let (text, rest) =
            self.0.split_at_checked(length).ok_or_else(|| damaged("it ends early"))?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| damaged("a name is no UTF-8"))
    }

    fn codec(&mut self) -> Result<CodecIdentity> {
        let name = self.text()?;
        let version = u32::try_from(self.varint()?);
        let version = version.map_err(|_| damaged("a codec's version is too large"))?;
        Ok(CodecIdentity::new(name, version))
    }

    fn descriptor(&mut self) -> Result<StateDescriptor> {
        let (name, code) = (self.text()?, self.byte()?);
        let kind = StateKind::from_code(code)
            .ok_or_else(|| newer(&format!("state {name:?}"), &format!("kind number {code}")))?;
        let (key, namespace) = (self.codec()?, self.codec()?);
        let user_key = match self.byte()? {
            0 => None,
            1 => Some(self.codec()?),
            _ => return Err(damaged("a user-key mark is neither 0 nor 1")),
        };
        let codecs = StateCodecs { key, namespace, user_key, value: self.codec()? };
        StateDescriptor::new(name, kind, codecs).map_err(|error| damaged(error.message()))
    }
}

#[cold]
fn damaged(what: &str) -> StateError {
    StateError::new(ErrorKind::Corrupt, format!("the manifest of segments is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let codec = |name: &str| CodecIdentity::new(name, 300);
        let codecs = StateCodecs {
            key: codec("u64"),
            namespace: CodecIdentity::void(),
            user_key: Some(codec("string")),
            value: codec("i64"),
        };
        let range =
            |first, last| KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap();
        Manifest {
            states: vec![StateDescriptor::new("seen", StateKind::Map, codecs).unwrap()],
            groups: range(300, 302),
            group_entries: vec![0, 1, u64::MAX],
            segments: vec![range(300, 301), range(300, 302)],
        }
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        assert_eq!(Manifest::decode(&manifest().encode()).unwrap(), manifest());
    }

    #[test]
    fn a_manifest_that_is_cut_short_or_continued_is_refused() {
        let bytes = manifest().encode();
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Manifest::decode(&longer).unwrap_err().kind(), ErrorKind::Corrupt);
        let newer = [&[2], &bytes[1..]].concat();
        assert_eq!(Manifest::decode(&newer).unwrap_err().kind(), ErrorKind::Incompatible);
    }
}
