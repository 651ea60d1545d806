//! State descriptors as bytes: the schema block, and the schemas in checkpoint metadata.
//!
//! ```text
//! descriptor = name kind:u8 codec(key) codec(namespace) has_user_key:u8 [codec(user key)]
//!              codec(value)
//! codec      = name version:varint
//! name       = length:varint, UTF-8
//! ```

use std::collections::BTreeSet;

use millpond_state::codec::{CODEC_NAME_BYTES_MAX, CodecIdentity};
use millpond_state::{STATE_NAME_BYTES_MAX, STATES_MAX, StateCodecs, StateDescriptor, StateKind};

use crate::bytes::{ByteReader, put_bytes, put_varint};
use crate::error::{Result, SnapshotError};
use crate::version::newer;

pub(super) fn encode_schema(states: &[StateDescriptor]) -> Result<Vec<u8>> {
    check_states(states)?;
    let mut out = Vec::new();
    for state in states {
        encode_descriptor(state, &mut out)?;
    }
    Ok(out)
}

/// Decodes the schema block: `count` descriptors and nothing else.
pub(crate) fn decode_schema(raw: &[u8], count: u32) -> Result<Vec<StateDescriptor>> {
    if count as usize > STATES_MAX {
        return Err(SnapshotError::corrupt(format!(
            "schema claims {count} states, more than the limit {STATES_MAX}"
        )));
    }
    let mut reader = ByteReader::new(raw);
    let mut states = Vec::new();
    for _ in 0..count {
        states.push(decode_descriptor(&mut reader)?);
    }
    reader.expect_end()?;
    check_states(&states).map_err(|error| SnapshotError::corrupt(error.message()))?;
    Ok(states)
}

fn check_states(states: &[StateDescriptor]) -> Result<()> {
    if states.len() > STATES_MAX {
        return Err(SnapshotError::invalid(format!(
            "{} states are more than the limit {STATES_MAX}",
            states.len()
        )));
    }
    let mut names = BTreeSet::new();
    match states.iter().find(|state| !names.insert(state.name())) {
        None => Ok(()),
        Some(twice) => {
            Err(SnapshotError::invalid(format!("two states are called {:?}", twice.name())))
        }
    }
}

pub(crate) fn encode_descriptor(state: &StateDescriptor, out: &mut Vec<u8>) -> Result<()> {
    let codecs = state.codecs();
    put_bytes(out, state.name().as_bytes());
    out.push(state.kind().code());
    encode_codec(&codecs.key, out)?;
    encode_codec(&codecs.namespace, out)?;
    out.push(u8::from(codecs.user_key.is_some()));
    if let Some(user_key) = &codecs.user_key {
        encode_codec(user_key, out)?;
    }
    encode_codec(&codecs.value, out)
}

pub(crate) fn encode_codec(codec: &CodecIdentity, out: &mut Vec<u8>) -> Result<()> {
    if codec.name().len() > CODEC_NAME_BYTES_MAX {
        return Err(SnapshotError::invalid(format!(
            "a codec name of {} bytes is longer than the limit {CODEC_NAME_BYTES_MAX}",
            codec.name().len()
        )));
    }
    put_bytes(out, codec.name().as_bytes());
    put_varint(out, u64::from(codec.version()));
    Ok(())
}

pub(crate) fn decode_descriptor(reader: &mut ByteReader<'_>) -> Result<StateDescriptor> {
    let name = reader.text(STATE_NAME_BYTES_MAX, "length of a state name")?;
    let code = reader.u8()?;
    let kind = StateKind::from_code(code)
        .ok_or_else(|| newer(&format!("state {name:?} has kind number {code}")))?;
    let key = decode_codec(reader)?;
    let namespace = decode_codec(reader)?;
    let user_key = match reader.u8()? {
        0 => None,
        1 => Some(decode_codec(reader)?),
        other => {
            return Err(SnapshotError::corrupt(format!("user-key mark is {other}, not 0 or 1")));
        }
    };
    let value = decode_codec(reader)?;
    StateDescriptor::new(name, kind, StateCodecs { key, namespace, user_key, value })
        .map_err(|error| SnapshotError::corrupt(error.message()))
}

pub(crate) fn decode_codec(reader: &mut ByteReader<'_>) -> Result<CodecIdentity> {
    let name = reader.text(CODEC_NAME_BYTES_MAX, "length of a codec name")?;
    let version = reader.varint_to(u64::from(u32::MAX), "codec version")?;
    Ok(CodecIdentity::new(name, version as u32))
}
