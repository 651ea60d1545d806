//! Files whose checksums fit, but whose parts contradict each other.

use millpond_snapshot::{Compression, FullOptions, SliceSource, verify_full};
use millpond_state::ErrorKind;

use crate::golden_input::{block_offsets, entries, states};
use crate::seal::seal_full;
use crate::support::{Entry, read_all, write};

/// One key group with one entry a block, both blocks alike but for the key.
fn two_blocks() -> Vec<u8> {
    let entry = |key: u8| Entry { key: vec![key], ..entries()[0].clone() };
    let options = FullOptions { compression: Compression::None, block_bytes: 1 };
    write(&states(), &[entry(1), entry(2)], options).0
}

/// Changes the file, makes its checksums fit; reading and verification must both name `message`.
fn is_found(change: impl Fn(&mut [u8], &[usize]), message: &str) {
    let mut file = two_blocks();
    let blocks = block_offsets(&file);
    change(&mut file, &blocks);
    seal_full(&mut file);
    let report = verify_full(&SliceSource::new("f", &file), None).unwrap();
    let found = report.damage.iter().any(|damage| damage.what.contains(message));
    assert!(found, "{message}: {:#?}", report.damage);
    let error = read_all(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains(message), "{error}");
}

/// Adds to a byte of the index: of its group's step, file_bytes, raw_bytes, blocks, entries,
/// states, and the state's step and entries, one byte each.
fn index_byte(file: &mut [u8], blocks: &[usize], byte: usize, add: u8) {
    let index = blocks[3] + 28;
    assert_eq!(file[index..index + 8], [0, 100, 44, 2, 2, 1, 0, 2]);
    file[index + byte] += add;
}

#[test]
fn entries_out_of_order_across_blocks_are_found() {
    is_found(
        |file, blocks| {
            let (first, second) = (blocks[1] + 28, blocks[2] + 28);
            for at in 0..blocks[2] - first {
                file.swap(first + at, second + at);
            }
        },
        "not after the block before",
    );
}

#[test]
fn an_entry_twice_across_blocks_is_found() {
    is_found(
        |file, blocks| file.copy_within(blocks[1] + 28..blocks[2], blocks[2] + 28),
        "not after the block before",
    );
}

#[test]
fn an_index_whose_states_do_not_sum_up_is_found() {
    is_found(|file, blocks| index_byte(file, blocks, 7, 1), "contradict each other");
}

#[test]
fn an_index_that_does_not_sum_up_to_the_footer_is_found() {
    is_found(|file, blocks| index_byte(file, blocks, 1, 27), "bytes of a key group");
    is_found(
        |file, _| {
            let footer = file.len() - 64;
            file[footer + 16] += 1;
        },
        "not the footer's totals",
    );
}

#[test]
fn an_index_and_footer_that_agree_against_the_blocks_are_found() {
    is_found(
        |file, blocks| {
            index_byte(file, blocks, 2, 1);
            let footer = file.len() - 64;
            file[footer + 24] += 1;
        },
        "the index says",
    );
}

#[test]
fn an_index_that_counts_entries_for_the_wrong_state_is_found_by_verification() {
    let mut file = two_blocks();
    let blocks = block_offsets(&file);
    index_byte(&mut file, &blocks, 6, 1);
    seal_full(&mut file);
    let report = verify_full(&SliceSource::new("f", &file), None).unwrap();
    assert_eq!(report.damage.len(), 1);
    assert!(report.damage[0].what.contains("by state"), "{:?}", report.damage);
}
