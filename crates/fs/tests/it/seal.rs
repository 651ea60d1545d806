//! Recomputes the checksums of damaged segment files, so that tests get past them. Written from
//! `docs/formats.md` alone and shares no code with the crate.

const FOOTER_BYTES: usize = 56;

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?)))
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// Bytes of the record or filler at `at`.
pub(crate) fn item_bytes(bytes: &[u8], at: usize) -> Option<usize> {
    let length = u32_at(bytes, at + 4)?;
    if length >> 31 == 1 {
        return Some((length & 0x7fff_ffff) as usize * 8);
    }
    let chunk = if u16_at(bytes, at + 12)? & 0x1000 == 0 { 0 } else { 4 };
    let head = 16 + chunk + u16_at(bytes, at + 8)? + u16_at(bytes, at + 10)?;
    Some((head + length as usize).next_multiple_of(8))
}

/// Where the records and fillers of a segment begin.
pub(crate) fn items(bytes: &[u8]) -> Vec<usize> {
    let footer = bytes.len().saturating_sub(FOOTER_BYTES);
    let end = u32_at(bytes, footer).map_or(0, |end| end as usize).min(footer);
    let (mut at, mut found) = (16, Vec::new());
    while at < end {
        let Some(size) = item_bytes(bytes, at).filter(|size| *size > 0 && *size <= end - at) else {
            break;
        };
        found.push(at);
        at += size;
    }
    found
}

/// Makes all checksums of a segment file fit its bytes, as far as its parts can be told.
pub(crate) fn seal_segment(bytes: &mut [u8]) {
    if bytes.len() < 16 + FOOTER_BYTES {
        return;
    }
    let header = crc32fast::hash(&bytes[..12]);
    put_u32(bytes, 12, header);
    for at in items(bytes) {
        let Some(size) = item_bytes(bytes, at) else { continue };
        let crc32 = crc32fast::hash(&bytes[at + 4..at + size]);
        put_u32(bytes, at, crc32);
    }
    seal_ends(bytes);
}

/// Makes the checksums of hints, of the table of key groups and of the footer fit.
fn seal_ends(bytes: &mut [u8]) {
    let footer = bytes.len() - FOOTER_BYTES;
    let [hints, groups] =
        [0, 8].map(|at| u32_at(bytes, footer + at).map_or(usize::MAX, |at| at as usize));
    let count = u32_at(bytes, footer + 24).map_or(0, |count| count as usize);
    let end = groups.saturating_add(count.saturating_mul(24));
    if hints <= groups && end <= footer {
        for at in (groups..end).step_by(24) {
            let [count, first] =
                [4, 8].map(|field| u32_at(bytes, at + field).unwrap_or(0) as usize * 16);
            if let Some(of_group) = bytes.get(hints + first..hints + first + count) {
                let crc32 = crc32fast::hash(of_group);
                put_u32(bytes, at + 12, crc32);
            }
        }
        let crc32 = crc32fast::hash(&bytes[groups..end]);
        put_u32(bytes, footer + 32, crc32);
    }
    let crc32 = crc32fast::hash(&bytes[footer..footer + 44]);
    put_u32(bytes, footer + 44, crc32);
}
