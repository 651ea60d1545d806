//! Recomputes the checksums of damaged files, so that tests get past them. Written from
//! `docs/formats.md` alone and shares no code with the crate.

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(slot) = bytes.get_mut(at..at + 4) {
        slot.copy_from_slice(&value.to_le_bytes());
    }
}

/// Makes the checksums of a full snapshot file fit its bytes: of the header, of all blocks that
/// follow it one after the other, of the footer.
pub(crate) fn seal_full(bytes: &mut [u8]) {
    if bytes.len() < 80 {
        return;
    }
    let header = crc32fast::hash(&bytes[..12]);
    put_u32(bytes, 12, header);
    let footer_start = bytes.len() - 64;
    let mut at = 16;
    while at + 28 <= footer_start {
        let Some(stored) = u32_at(bytes, at + 4) else { break };
        let end = at + 28 + stored as usize;
        if end > footer_start {
            break;
        }
        seal_block(bytes, at, end);
        at = end;
    }
    let footer = crc32fast::hash(&bytes[footer_start..footer_start + 60]);
    put_u32(bytes, footer_start + 60, footer);
}

/// Makes the checksum of the block from `at` to `end` fit.
pub(crate) fn seal_block(bytes: &mut [u8], at: usize, end: usize) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[at..at + 24]);
    hasher.update(&bytes[at + 28..end]);
    put_u32(bytes, at + 24, hasher.finalize());
}

/// Makes length and checksum of a metadata file fit its bytes.
pub(crate) fn seal_metadata(bytes: &mut [u8]) {
    if bytes.len() < 20 {
        return;
    }
    let len = bytes.len();
    put_u32(bytes, 12, len as u32);
    let crc32 = crc32fast::hash(&bytes[..len - 4]);
    put_u32(bytes, len - 4, crc32);
}
