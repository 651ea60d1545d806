//! What the writer of full files promises and refuses, and how much the reader reads.

use std::cell::RefCell;
use std::error::Error as _;

use millpond_snapshot::{
    ByteSink, ByteSource, Compression, FullOptions, FullReader, FullWriter, Result, SliceSource,
    SnapshotError, SnapshotErrorKind,
};
use millpond_state::{EntrySink, EntrySource, ErrorKind, StateKind};

use crate::golden_input::{block_offsets, bomb, entries, options, states};
use crate::seal::seal_full;
use crate::support::{Entry, all_groups, drain, range, read_all, write};

fn writer(sink: &mut Vec<u8>) -> FullWriter<&mut Vec<u8>> {
    let mut writer = FullWriter::create(sink, FullOptions::default()).unwrap();
    writer.begin(&states()).unwrap();
    writer
}

#[test]
fn a_summary_counts_what_the_file_holds() {
    for compression in [Compression::None, Compression::default()] {
        let (file, summary) = write(&states(), &entries(), options(compression));
        assert_eq!(summary.bytes, file.len() as u64);
        assert_eq!(summary.crc32, crc32fast::hash(&file));
        assert_eq!(summary.entries, entries().len() as u64);
        let by_state: Vec<u64> = summary.states.iter().map(|state| state.entries).collect();
        assert_eq!(by_state, [3, 3, 36, 9, 0]);
        let groups: Vec<(u16, u64)> =
            summary.key_groups.iter().map(|group| (group.group.get(), group.entries)).collect();
        assert_eq!(groups, [(0, 17), (3, 17), (127, 17)]);
        let raw: u64 = summary.key_groups.iter().map(|group| group.raw_bytes).sum();
        assert_eq!(summary.raw_bytes, raw);
        let reader = FullReader::open(SliceSource::new("f", &file)).unwrap();
        assert_eq!(reader.key_groups(), summary.key_groups);
        assert_eq!(reader.state_summaries(), summary.states);
        assert_eq!((reader.entry_count(), reader.raw_bytes()), (summary.entries, raw));
    }
}

#[test]
fn equal_entries_give_equal_bytes() {
    for compression in [Compression::None, Compression::default()] {
        let once = write(&states(), &entries(), options(compression));
        assert_eq!(once, write(&states(), &entries(), options(compression)));
    }
}

#[test]
fn compression_makes_compressible_state_smaller_and_never_makes_a_block_larger() {
    let plain = write(&states(), &entries(), options(Compression::None)).1;
    let zstd = write(&states(), &entries(), options(Compression::Zstd { level: 1 })).1;
    assert!(zstd.bytes < plain.bytes * 3 / 4, "{} {}", zstd.bytes, plain.bytes);
    for (zstd, plain) in zstd.key_groups.iter().zip(&plain.key_groups) {
        assert!(zstd.file_bytes <= plain.file_bytes);
    }
}

#[test]
fn entries_out_of_order_or_twice_are_refused_and_the_writer_stays_failed() {
    let all = entries();
    for (first, second) in [(1, 0), (0, 0), (20, 3), (13, 12)] {
        let mut file = Vec::new();
        let mut writer = writer(&mut file);
        writer.entry(&all[first].view()).unwrap();
        let error = writer.entry(&all[second].view()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let again = writer.entry(&all[30].view()).unwrap_err();
        assert!(again.message().contains("earlier write failed"), "{again}");
        let error = writer.finish().unwrap_err();
        assert_eq!(error.kind(), SnapshotErrorKind::InvalidArgument);
    }
}

#[test]
fn entries_that_break_the_contract_are_refused() {
    let good = &entries()[0];
    type Change = fn(&mut Entry);
    let cases: [(&str, Change); 5] = [
        ("no state", |entry| entry.state = 5),
        ("user key", |entry| entry.user_key = vec![1]),
        ("limits", |entry| entry.key = vec![0; 65_536]),
        ("limits", |entry| entry.namespace = vec![0; 65_536]),
        ("key group", |entry| entry.group = 32_768),
    ];
    for (message, change) in cases {
        let mut file = Vec::new();
        let mut writer = writer(&mut file);
        let mut entry = good.clone();
        change(&mut entry);
        let error = writer.entry(&entry.view()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(message), "{error}");
    }
}

#[test]
fn a_snapshot_is_begun_exactly_once_with_unique_states() {
    let mut file = Vec::new();
    let mut writer = FullWriter::create(&mut file, FullOptions::default()).unwrap();
    assert!(writer.entry(&entries()[0].view()).is_err());
    let never = FullWriter::create(Vec::new(), FullOptions::default()).unwrap();
    assert!(never.finish().unwrap_err().message().contains("never begun"));
    let mut twice = FullWriter::create(Vec::new(), FullOptions::default()).unwrap();
    twice.begin(&states()).unwrap();
    assert!(twice.begin(&states()).is_err());
    let mut same = FullWriter::create(Vec::new(), FullOptions::default()).unwrap();
    let doubled = [states(), states()].concat();
    assert!(same.begin(&doubled).unwrap_err().message().contains("totals"));
    for block_bytes in [0, 64 * 1024 * 1024 + 1] {
        let options = FullOptions { block_bytes, ..FullOptions::default() };
        assert!(FullWriter::create(Vec::new(), options).is_err());
    }
}

#[test]
fn a_block_holds_about_its_target_and_a_big_entry_makes_a_big_block() {
    let mut all = Vec::new();
    for i in 0..5_000u32 {
        let mut entry = entries()[0].clone();
        entry.key = i.to_be_bytes().to_vec();
        entry.value = vec![1; if i == 2_000 { 1_000_000 } else { 50 }];
        all.push(entry);
    }
    for compression in [Compression::None, Compression::default()] {
        let options = FullOptions { compression, ..FullOptions::default() };
        let (file, summary) = write(&states(), &all, options);
        assert_eq!(summary.key_groups[0].blocks, 6);
        assert_eq!(read_all(&file).unwrap(), all);
    }
}

/// Records which bytes are read.
struct Watched<'a> {
    bytes: &'a [u8],
    reads: RefCell<Vec<(u64, u64)>>,
}

impl ByteSource for Watched<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.reads.borrow_mut().push((offset, offset + buffer.len() as u64));
        SliceSource::new("watched", self.bytes).read_exact_at(offset, buffer)
    }

    fn name(&self) -> &str {
        "watched"
    }
}

#[test]
fn a_range_reads_only_the_blocks_of_its_key_groups_and_each_byte_once() {
    let mut all = Vec::new();
    for group in 0..64 {
        for i in 0..400u32 {
            let mut entry = entries()[0].clone();
            entry.group = group;
            entry.key = i.to_be_bytes().to_vec();
            entry.value = vec![group as u8; 40];
            all.push(entry);
        }
    }
    let options = FullOptions { compression: Compression::None, block_bytes: 2_000 };
    let (file, _) = write(&states(), &all, options);
    let reader = FullReader::open(Watched { bytes: &file, reads: RefCell::default() }).unwrap();
    let opened: u64 = reader.source().reads.take().iter().map(|(from, to)| to - from).sum();
    assert!(opened < file.len() as u64 / 50, "{opened} bytes to open {}", file.len());
    let found = drain(&reader, range(10, 40)).unwrap();
    let expected: Vec<Entry> =
        all.iter().filter(|entry| (10..=40).contains(&entry.group)).cloned().collect();
    assert!(found == expected);
    let reads = reader.source().reads.take();
    let groups = &reader.key_groups()[10..=40];
    let last = groups.last().unwrap();
    assert_eq!(reads.first().unwrap().0, groups[0].offset);
    assert_eq!(reads.last().unwrap().1, last.offset + last.file_bytes);
    assert!(reads.windows(2).all(|pair| pair[0].1 == pair[1].0), "{reads:?}");
    assert!(reads.len() < 5, "{} reads", reads.len());
}

#[test]
fn a_range_without_entries_reads_nothing() {
    let (file, _) = write(&states(), &entries(), options(Compression::default()));
    let reader = FullReader::open(Watched { bytes: &file, reads: RefCell::default() }).unwrap();
    reader.source().reads.take();
    for range in [range(1, 2), range(4, 126), range(128, 32_767)] {
        assert_eq!(drain(&reader, range).unwrap(), []);
    }
    assert!(reader.source().reads.take().is_empty());
}

#[test]
fn after_the_end_there_is_no_entry_and_after_an_error_only_errors() {
    let (mut file, _) = write(&states(), &entries(), options(Compression::default()));
    let reader = FullReader::open(SliceSource::new("f", file.clone())).unwrap();
    let mut source = reader.entries(range(127, 127));
    assert_eq!(source.states().len(), states().len());
    assert_eq!(source.states()[2].kind(), StateKind::Map);
    for _ in 0..17 {
        assert!(source.next_entry().unwrap().is_some());
    }
    assert!(source.next_entry().unwrap().is_none());
    assert!(source.next_entry().unwrap().is_none());
    let at = reader.key_groups()[1].offset as usize;
    file[at + 30] ^= 1;
    let reader = FullReader::open(SliceSource::new("f", file)).unwrap();
    let mut source = reader.entries(all_groups());
    for _ in 0..17 {
        assert!(source.next_entry().unwrap().is_some());
    }
    let error = source.next_entry().unwrap_err();
    assert!(error.message().contains(&format!("file f, offset {at}, key group 3")), "{error}");
    assert!(source.next_entry().is_err());
}

#[test]
fn a_block_that_claims_more_than_zstd_can_pack_is_refused_before_memory_is_taken() {
    let error = read_all(&bomb()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("more than its 17 stored bytes can hold"), "{error}");
}

/// Zeros are what zstd packs tightest: no limit on sizes would keep a block of them, small as it
/// is, from claiming as much as a block may hold. The checksums fit whatever it claims.
#[test]
fn what_zstd_packs_tightest_is_read_and_a_claim_of_one_byte_more_than_it_can_pack_is_refused() {
    let value = vec![0; 8 << 20];
    let entry = Entry { value, ..entries()[0].clone() };
    let (file, _) = write(&states(), std::slice::from_ref(&entry), FullOptions::default());
    assert!(read_all(&file).unwrap() == [entry]);
    let block = block_offsets(&file)[1];
    let field = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let (stored, raw) = (field(block + 4), field(block + 8));
    assert!(raw / stored > 16 << 10, "{stored} bytes for {raw}");
    let most = stored * (32 << 10);
    for (claim, message) in [(most, "block decompresses to"), (most + 1, "stored bytes can hold")] {
        let mut file = file.clone();
        file[block + 8..block + 12].copy_from_slice(&claim.to_le_bytes());
        seal_full(&mut file);
        let error = read_all(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(message), "{error}");
    }
}

/// Takes so many bytes, then fails.
struct Full {
    room: usize,
}

impl ByteSink for Full {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.room = self.room.checked_sub(bytes.len()).ok_or_else(|| {
            SnapshotError::io("cannot write", "no space left").in_file("chk-1/a.full")
        })?;
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_at_any_byte_fails_the_snapshot_with_its_cause() {
    let (file, _) = write(&states(), &entries(), options(Compression::None));
    for room in 0..file.len() {
        let mut writer = FullWriter::create(Full { room }, options(Compression::None)).unwrap();
        let written = writer
            .begin(&states())
            .and_then(|()| entries().iter().try_for_each(|entry| writer.entry(&entry.view())));
        match written {
            Ok(()) => {
                let error = writer.finish().unwrap_err();
                assert_eq!(error.kind(), SnapshotErrorKind::Io);
                assert_eq!(error.file(), Some("chk-1/a.full"));
                assert_eq!(error.source().unwrap().to_string(), "no space left");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Io);
                assert!(error.message().contains("chk-1/a.full"), "{error}");
                assert_eq!(error.source().unwrap().to_string(), "no space left");
                assert!(writer.finish().is_err());
            }
        }
    }
}
