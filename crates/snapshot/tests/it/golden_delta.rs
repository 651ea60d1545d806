//! The broken golden files of deltas. Never change what is here: new versions get new functions.

use crate::golden_input::{Expected, Golden, block_offsets, delta_file, plain};
use crate::seal::seal_full;

/// The good file with a change, its checksums made to fit.
fn sealed(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = delta_file();
    change(&mut bytes);
    seal_full(&mut bytes);
    bytes
}

fn flipped(at: usize) -> Vec<u8> {
    let mut bytes = delta_file();
    bytes[at] ^= 0x10;
    bytes
}

pub(crate) fn all() -> Vec<Golden> {
    let file = delta_file();
    let blocks = block_offsets(&file);
    let footer = file.len() - 64;
    let case = |name: &str, bytes, kind, (offset, key_group), message| {
        let path = format!("delta/v1/broken/{name}.delta");
        let expected = Expected::Broken { kind, offset: Some(offset), key_group, message };
        Golden { path, bytes, expected }
    };
    // The first block of entries is of key group 3: a value put, one deleted, a map deleted, two
    // of its entries.
    let first = blocks[1];
    let at = (first, Some(3));
    let place = |entry: &[u8]| {
        first + file[first..].windows(entry.len()).position(|it| it == entry).unwrap()
    };
    let (put, deleted) = (first + 28, place(b"\x1d\x01b"));
    let (whole_map, entry_deleted) = (place(b"\x3c\x02\x01c"), place(b"\x17\x01u"));
    let (corrupt, unsupported) = ("corrupt", "unsupported");
    let cut = file[..file.len() - 1].to_vec();
    vec![
        case("empty", Vec::new(), corrupt, (0, None), "no delta"),
        case("full-snapshot", plain(), corrupt, (0, None), "no magic"),
        case("cut-tail", cut, corrupt, (footer - 1, None), "tail"),
        case("newer-version", sealed(|b| b[8] = 2), unsupported, (0, None), "newer"),
        case("flip-entry", flipped(put + 3), corrupt, at, "checksum"),
        case("unknown-entry-flags", sealed(|b| b[put] = 0x80), corrupt, at, "flags"),
        // Only maps are deleted as a whole, and only deletions are of a whole map.
        case("value-deleted-as-map", sealed(|b| b[deleted] |= 0x20), corrupt, at, "map"),
        case("whole-map-put", sealed(|b| b[whole_map] &= !0x10), corrupt, at, "flags"),
        case("map-deleted-late", sealed(|b| b[entry_deleted] = 0x3f), corrupt, at, "after"),
        case("wrong-count", sealed(|b| b[first + 12] -= 1), corrupt, at, "left over"),
    ]
}
