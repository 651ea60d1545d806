//! The fixed input of the golden files, good and broken. Used by the tests and by the example
//! `write_golden`. Never change what is here: new versions get new functions.

use millpond_snapshot::metadata::{
    CheckpointKind, CheckpointMode, FileHandle, FullHandle, IncrementalHandle, KeyGroupSize,
    KeyedStateHandle, LogicalFile, StateEntries, SubtaskMetadata, SubtaskStats, VertexMetadata,
};
use millpond_snapshot::{ChangeKind, CheckpointMetadata, Compression, DeltaWriter, FullOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    AttemptId, CheckpointId, KeyGroup, KeyGroupRange, MaxParallelism, OperatorStatePart,
    Redistribution, StateCodecs, StateDescriptor, StateKind, SubtaskIndex,
};

use crate::seal::{seal_block, seal_full, seal_metadata};
use crate::support::{Entry, write};

/// One golden file: its path below `tests/golden`, its bytes, and what a reader makes of it.
pub(crate) struct Golden {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

/// What opening and reading a golden file gives.
pub(crate) enum Expected {
    Good,
    /// The kind of the error, its place, and a part of its message.
    Broken {
        kind: &'static str,
        offset: Option<usize>,
        key_group: Option<u16>,
        message: &'static str,
    },
}

pub(crate) fn states() -> Vec<StateDescriptor> {
    let id = CodecIdentity::new;
    let state = |name: &str, kind, namespace, user_key, value| {
        let codecs = StateCodecs { key: id("string", 1), namespace, user_key, value };
        StateDescriptor::new(name, kind, codecs).unwrap()
    };
    let void = CodecIdentity::void;
    vec![
        state("totals", StateKind::Value, void(), None, id("record<flights:u64,minutes:i64>", 1)),
        state("legs", StateKind::List, void(), None, id("u32", 1)),
        state("by_month", StateKind::Map, void(), Some(id("u8", 1)), id("u64", 1)),
        state("hours", StateKind::Aggregating, id("tuple<i64,i64>", 2), None, id("acme:sum", 300)),
        state("never_used", StateKind::Reducing, void(), None, id("f64", 1)),
    ]
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut entries = Vec::new();
    for (group, key) in [(0u16, b"\x06N14228".as_slice()), (3, b"\x06N24211"), (127, b"\x00")] {
        let entry = |state, namespace: &[u8], user_key: &[u8], value: &[u8]| Entry {
            group,
            state,
            key: key.to_vec(),
            namespace: namespace.to_vec(),
            user_key: user_key.to_vec(),
            value: value.to_vec(),
        };
        entries.push(entry(0, b"", b"", &[0, 0, 0, 0, 0, 0, 0, 111, 128, 0, 0, 0, 0, 0, 2, 3]));
        entries.push(entry(1, b"", b"", &[0, 0, 0, 1, 0, 0, 2, 0, 0, 3, 0, 0]));
        for month in 1..=12 {
            entries.push(entry(2, b"", &[month], &[0, 0, 0, 0, 0, 0, 0, month * 3]));
        }
        for hour in 0..3 {
            let mut namespace = vec![128, 0, 0, 0, 0, 0, 0, hour];
            namespace.extend([128, 0, 0, 0, 0, 0, 0, hour + 1]);
            entries.push(entry(3, &namespace, b"", &[7; 150]));
        }
    }
    let last = entries.last_mut().unwrap();
    last.value = (0..200).map(|i| i as u8).collect();
    entries
}

pub(crate) fn options(compression: Compression) -> FullOptions {
    FullOptions { compression, block_bytes: 256 }
}

pub(crate) fn plain() -> Vec<u8> {
    write(&states(), &entries(), options(Compression::None)).0
}

pub(crate) const ZSTD_PATH: &str = "full/v1/good/zstd.full";

/// The one golden file whose bytes depend on the version of the zstd library: only read, never
/// compared.
pub(crate) fn zstd() -> Vec<u8> {
    write(&states(), &entries(), options(Compression::Zstd { level: 3 })).0
}

fn good(path: &str, bytes: Vec<u8>) -> Golden {
    Golden { path: path.into(), bytes, expected: Expected::Good }
}

fn broken(
    path: &str,
    bytes: Vec<u8>,
    kind: &'static str,
    (offset, key_group): (Option<usize>, Option<u16>),
    message: &'static str,
) -> Golden {
    let expected = Expected::Broken { kind, offset, key_group, message };
    Golden { path: path.into(), bytes, expected }
}

/// Every kind of change, in two key groups.
pub(crate) fn delta_changes() -> Vec<(Entry, ChangeKind)> {
    let map = states().iter().position(|state| state.kind().is_map()).unwrap_or_default() as u16;
    let entry = |group, state, key: &[u8], user_key: &[u8], value: &[u8]| Entry {
        group,
        state,
        key: key.to_vec(),
        namespace: Vec::new(),
        user_key: user_key.to_vec(),
        value: value.to_vec(),
    };
    vec![
        (entry(3, 0, b"a", b"", b"value"), ChangeKind::Put),
        (entry(3, 0, b"b", b"", b""), ChangeKind::Deleted),
        (entry(3, map, b"c", b"", b""), ChangeKind::MapDeleted),
        (entry(3, map, b"c", b"", b"again"), ChangeKind::Put),
        (entry(3, map, b"c", b"u", b""), ChangeKind::Deleted),
        (entry(7, 0, b"a", b"", b""), ChangeKind::Deleted),
    ]
}

pub(crate) fn delta_file() -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = DeltaWriter::create(&mut file, options(Compression::None)).unwrap();
    writer.begin(&states()).unwrap();
    for (entry, change) in delta_changes() {
        writer.change(&entry.view(), change).unwrap();
    }
    writer.finish().unwrap();
    file
}

pub(crate) const DELTA: &str = "delta/v1/good/every-change.delta";

/// Every golden file whose bytes are pinned.
pub(crate) fn all() -> Vec<Golden> {
    let mut all = full_good();
    all.extend(full_broken());
    all.push(good(DELTA, delta_file()));
    all.extend(crate::golden_delta::all());
    all.extend(metadata_good());
    all.extend(metadata_broken());
    all.extend(crate::golden_kinds::all());
    all
}

fn full_good() -> Vec<Golden> {
    vec![
        good("full/v1/good/plain.full", plain()),
        good("full/v1/good/no-entries.full", write(&states(), &[], options(Compression::None)).0),
        good("full/v1/good/no-states.full", write(&[], &[], options(Compression::None)).0),
    ]
}

/// Offsets of the blocks of a whole file: schema, entries, index.
pub(crate) fn block_offsets(file: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut at = 16;
    while at < file.len() - 64 {
        offsets.push(at);
        at += 28 + u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    offsets
}

fn full_path(name: &str) -> String {
    format!("full/v1/broken/{name}.full")
}

/// The plain file with a change, its checksums made to fit.
fn sealed(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = plain();
    change(&mut bytes);
    seal_full(&mut bytes);
    bytes
}

fn flipped(at: usize) -> Vec<u8> {
    let mut bytes = plain();
    bytes[at] ^= 0x10;
    bytes
}

fn full_broken() -> Vec<Golden> {
    let file = plain();
    let blocks = block_offsets(&file);
    let (schema, index) = (blocks[0], *blocks.last().unwrap());
    let footer = file.len() - 64;
    let cut = file[..file.len() - 1].to_vec();
    let case = |name, bytes, kind, offset, message| {
        broken(&full_path(name), bytes, kind, (Some(offset), None), message)
    };
    let mut cases = vec![
        case("empty", Vec::new(), "corrupt", 0, "no full snapshot"),
        case("other-file", vec![b'x'; 400], "corrupt", 0, "no magic"),
        case("flip-header", flipped(9), "corrupt", 0, "checksum"),
        case("flip-schema", flipped(schema + 40), "corrupt", schema, "checksum"),
        case("flip-index", flipped(index + 30), "corrupt", index, "checksum"),
        case("flip-footer", flipped(footer + 20), "corrupt", footer, "checksum"),
        case("cut-tail", cut, "corrupt", footer - 1, "tail"),
        case("newer-version", sealed(|b| b[8] = 2), "unsupported", 0, "newer"),
        case("newer-flags", sealed(|b| b[10] = 1), "unsupported", 0, "newer"),
    ];
    cases.extend(full_broken_blocks(&file, &blocks));
    cases
}

/// All in the first block, which is of key group 0.
fn full_broken_blocks(file: &[u8], blocks: &[usize]) -> Vec<Golden> {
    let first = blocks[1];
    let entry = first + 28;
    let case = |name, bytes, kind, message| {
        broken(&full_path(name), bytes, kind, (Some(first), Some(0)), message)
    };
    let claim = |b: &mut Vec<u8>| b[first + 8..first + 12].copy_from_slice(&[0xff; 4]);
    let swapped = swapped(file, first, blocks[2], blocks[3]);
    vec![
        case("flip-entry", flipped(first + 50), "corrupt", "checksum"),
        case("flip-block-length", flipped(first + 6), "corrupt", "claims"),
        case("newer-encoding", sealed(|b| b[first + 1] = 9), "unsupported", "encoding 9"),
        case("unknown-entry-flags", sealed(|b| b[entry] = 0x80), "corrupt", "flags"),
        case("repeats-nothing", sealed(|b| b[entry] |= 1), "corrupt", "flags"),
        case("unknown-state", sealed(|b| b[entry + 1] = 77), "corrupt", "no state 77"),
        case("raw-bytes-claim", sealed(claim), "corrupt", "more than its"),
        case("wrong-count", sealed(|b| b[first + 12] -= 1), "corrupt", "left over"),
        case("not-of-index", sealed(|b| b[first + 2] = 1), "corrupt", "the index has another"),
        case("blocks-swapped", swapped, "corrupt", "wrong place"),
    ]
}

/// Two neighbouring blocks in each other's place, otherwise whole.
fn swapped(file: &[u8], first: usize, second: usize, end: usize) -> Vec<u8> {
    [&file[..first], &file[second..end], &file[first..second], &file[end..]].concat()
}

/// Claims that 17 zstd bytes decompress to a gigabyte.
pub(crate) fn bomb() -> Vec<u8> {
    let mut file = write(&[], &[], options(Compression::None)).0;
    let mut block = vec![1, 1, 0xff, 0xff];
    block.extend(17u32.to_le_bytes());
    block.extend(0x3fff_0000u32.to_le_bytes());
    block.extend(0u32.to_le_bytes());
    block.extend(16u64.to_le_bytes());
    block.extend([0; 4]);
    block.extend([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0xff, 0x3f, 2, 0, 0xff, 0, 0, 0, 0, 0]);
    let (at, end) = (16, 16 + block.len());
    file.splice(at..at + 28, block);
    seal_block(&mut file, at, end);
    let footer = file.len() - 64;
    let index_offset = (footer - 28) as u64;
    file[footer..footer + 8].copy_from_slice(&index_offset.to_le_bytes());
    file[footer + 12..footer + 16].copy_from_slice(&45u32.to_le_bytes());
    let len = file.len() as u64;
    file[footer + 40..footer + 48].copy_from_slice(&len.to_le_bytes());
    seal_full(&mut file);
    file
}

pub(crate) fn checkpoint() -> CheckpointMetadata {
    let max = MaxParallelism::new(128).unwrap();
    let range =
        |first, last| KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap();
    let handle = FullHandle {
        file: FileHandle::new("5-totals-0-0.full", 1_234, 0xdead_beef).unwrap(),
        key_groups: range(0, 63),
        raw_bytes: 4_321,
        entries: 300,
        states: vec![
            StateEntries { state: "totals".into(), entries: 298 },
            StateEntries { state: "never_used".into(), entries: 0 },
            StateEntries { state: "by_month".into(), entries: 2 },
        ],
        sizes: vec![
            KeyGroupSize { group: KeyGroup::new(0), entries: 1, bytes: 60 },
            KeyGroupSize { group: KeyGroup::new(63), entries: 299, bytes: 900 },
        ],
    };
    let mut keyed = SubtaskMetadata::new(SubtaskIndex::new(0));
    keyed.key_groups = Some(range(0, 63));
    keyed.keyed_state = vec![KeyedStateHandle::Full(handle)];
    keyed.stats = SubtaskStats {
        sync_us: 17,
        async_ms: 230,
        alignment_ms: 4,
        entries: 300,
        entries_changed: 12,
        bytes: 1_234,
    };
    let mut finished = SubtaskMetadata::new(SubtaskIndex::new(1));
    finished.key_groups = Some(range(64, 127));
    finished.finished = true;
    let mut source = SubtaskMetadata::new(SubtaskIndex::new(0));
    source.operator_state = vec![OperatorStatePart::opaque(
        "offsets",
        Redistribution::Split,
        vec![vec![1, 2, 3], Vec::new(), vec![0; 40]],
    )];
    let vertex = |name: &str, parallelism, states, subtasks| VertexMetadata {
        name: name.into(),
        parallelism,
        max_parallelism: max,
        finished: false,
        states,
        subtasks,
    };
    CheckpointMetadata {
        job_name: "flights \u{2708} 2013".into(),
        job_kind: "flights".into(),
        attempt: AttemptId::new(5),
        checkpoint: CheckpointId::new(42),
        kind: CheckpointKind::Savepoint,
        triggered_at_ms: 1_700_000_000_000,
        completed_at_ms: 1_700_000_000_251,
        duration_ms: 250,
        mode: CheckpointMode::ExactlyOnce,
        state_backend: "memory".into(),
        max_parallelism: max,
        vertices: vec![
            vertex("source", 1, Vec::new(), vec![source]),
            vertex("totals", 2, states(), vec![keyed, finished]),
        ],
    }
}

fn table(name: &str, checkpoint: u64, object: u32, (offset, bytes): (u64, u64)) -> LogicalFile {
    let (attempt, checkpoint) = (AttemptId::new(5), CheckpointId::new(checkpoint));
    LogicalFile { name: name.into(), attempt, checkpoint, object, offset, bytes, crc32: 0x5eed }
}

/// A checkpoint of native files: an object of two merged ones that both subtasks refer to, one of
/// its own for each.
pub(crate) fn incremental_checkpoint() -> CheckpointMetadata {
    let range =
        |first, last| KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last)).unwrap();
    let merged = FileHandle::shared("shared/5-40-totals-0", 3_000, 0xfeed_f00d).unwrap();
    let first = IncrementalHandle {
        backend: "rocksdb".into(),
        key_groups: range(0, 63),
        states: vec!["by_month".into(), "totals".into()],
        objects: vec![merged.clone(), FileHandle::new("5-totals-0.manifest", 40, 0x5eed).unwrap()],
        logical_files: vec![
            table("000007.sst", 40, 0, (0, 1_000)),
            table("000009.sst", 40, 0, (1_000, 1_500)),
            table("MANIFEST", 42, 1, (0, 40)),
        ],
        manifest: vec![0, 1, 2, 255],
    };
    let second = IncrementalHandle {
        backend: "rocksdb".into(),
        key_groups: range(64, 127),
        states: Vec::new(),
        objects: vec![merged, FileHandle::shared("shared/5-42-totals-1", 500, 0x5eed).unwrap()],
        logical_files: vec![
            table("000003.sst", 40, 0, (2_500, 500)),
            table("deep/000004.sst", 42, 1, (0, 500)),
        ],
        manifest: Vec::new(),
    };
    let mut metadata = checkpoint();
    metadata.kind = CheckpointKind::Checkpoint;
    metadata.state_backend = "rocksdb".into();
    for (subtask, handle) in [(0, first), (1, second)] {
        if let Some(slot) = metadata.vertices[1].subtasks.get_mut(subtask) {
            slot.finished = false;
            slot.keyed_state = vec![KeyedStateHandle::Incremental(handle)];
        }
    }
    metadata
}

/// The message of a metadata file, header and checksum left out.
fn fields() -> Vec<u8> {
    let file = checkpoint().encode().unwrap();
    file[16..file.len() - 4].to_vec()
}

pub(crate) fn field(tag: u16, content: &[u8]) -> Vec<u8> {
    let len = content.len() as u32;
    [&tag.to_le_bytes(), &len.to_le_bytes()[..], content].concat()
}

/// A metadata file of these fields.
pub(crate) fn metadata_of(fields: &[u8]) -> Vec<u8> {
    let header = [b"MPDMETA\n".as_slice(), &[1, 0, 0, 0], &[0; 4]].concat();
    let mut file = [&header, fields, &[0; 4]].concat();
    seal_metadata(&mut file);
    file
}

/// Replaces the only place where `from` occurs.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = place_of(bytes, from);
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

fn place_of(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

fn metadata_good() -> Vec<Golden> {
    let later = [fields(), field(0x7001, b"a field of a later version")].concat();
    vec![
        good("metadata/v1/good/savepoint.metadata", checkpoint().encode().unwrap()),
        good("metadata/v1/good/incremental.metadata", incremental_checkpoint().encode().unwrap()),
        good("metadata/v1/good/unknown-optional-field.metadata", metadata_of(&later)),
    ]
}

fn metadata_broken() -> Vec<Golden> {
    let file = checkpoint().encode().unwrap();
    let mut flipped = file.clone();
    flipped[100] ^= 4;
    let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = file.clone();
        change(&mut bytes);
        seal_metadata(&mut bytes);
        bytes
    };
    let cut = file[..file.len() - 5].to_vec();
    let mut cases = vec![
        metadata_case("empty", Vec::new(), "corrupt", Some(0), "no checkpoint metadata"),
        metadata_case("other-file", vec![b'x'; 100], "corrupt", Some(0), "no magic"),
        metadata_case("flip", flipped, "corrupt", Some(0), "checksum"),
        metadata_case("cut-tail", cut, "corrupt", Some(12), "cut"),
        metadata_case("newer-version", sealed(&|b| b[8] = 2), "unsupported", Some(8), "newer"),
        metadata_case("newer-flags", sealed(&|b| b[10] = 2), "unsupported", Some(10), "newer"),
    ];
    cases.extend(metadata_broken_fields());
    cases.extend(metadata_broken_incremental());
    cases
}

fn metadata_broken_incremental() -> Vec<Golden> {
    let file = incremental_checkpoint().encode().unwrap();
    let message = file[16..file.len() - 4].to_vec();
    let place = |part: &[u8]| 16 + place_of(&message, part);
    let swapped = |from: &[u8], to: &[u8]| metadata_of(&replaced(&message, from, to));
    // The scope is the last field of the object with the second subtask's own table.
    let own = b"\xed\x5e\0\0\x04\x80\x01\0\0\0\x01";
    let scope = place(own) + own.len() - 1;
    let newer_scope = swapped(own, b"\xed\x5e\0\0\x04\x80\x01\0\0\0\x09");
    let table = b"\x0fdeep/000004.sst";
    let (unsafe_name, table_place) = (swapped(table, b"\x0f../p/000004.sst"), place(table));
    // The length of the merged object's second table: 1500 becomes 2013.
    let overrun = swapped(b"\xe8\x07\xdc\x0b", b"\xe8\x07\xdd\x0f");
    // A checkpoint of kind 1 becomes a savepoint.
    let savepoint = swapped(b"\x05\x80\x01\0\0\0\x01", b"\x05\x80\x01\0\0\0\x02");
    let (corrupt, unsupported) = ("corrupt", "unsupported");
    vec![
        metadata_case("newer-scope", newer_scope, unsupported, Some(scope), "field 4 is 9"),
        metadata_case(
            "unsafe-logical-name",
            unsafe_name,
            corrupt,
            Some(table_place),
            "relative file name",
        ),
        metadata_case("object-overrun", overrun, corrupt, None, "000009.sst"),
        metadata_case("savepoint-shares", savepoint, corrupt, None, "savepoint refers"),
    ]
}

fn metadata_case(
    name: &str,
    bytes: Vec<u8>,
    kind: &'static str,
    offset: Option<usize>,
    message: &'static str,
) -> Golden {
    broken(&format!("metadata/v1/broken/{name}.metadata"), bytes, kind, (offset, None), message)
}

fn metadata_broken_fields() -> Vec<Golden> {
    let message = fields();
    let end = 16 + message.len();
    let with = |more: &[u8]| metadata_of(&[&message, more].concat());
    let swapped = |from: &[u8], to: &[u8]| metadata_of(&replaced(&message, from, to));
    let twice = metadata_of(&[field(0x8001, b"a"), field(0x8001, b"b")].concat());
    // A handle is the field of its kind, then the file, then the file's name.
    let handle = 16 + place_of(&message, b"\x01\x80\x11\0\0\x005-totals") - 12;
    let mut newer_handle = message.clone();
    newer_handle[handle - 16] = 2;
    let newer_handle = metadata_of(&newer_handle);
    let name = b"5-totals-0-0.full";
    let name_place = Some(16 + place_of(&message, name));
    let unsafe_name = swapped(name, b"../otals-0-0.full");
    let same_vertex = swapped(b"\x06\0\0\0source", b"\x06\0\0\0totals");
    let counts = swapped(b"\x06totals\xaa\x02", b"\x06totals\xab\x02");
    let backwards = with(&field(6, &[0; 8]));
    let must = with(&field(0xf001, b""));
    let (corrupt, unsupported) = ("corrupt", "unsupported");
    vec![
        metadata_case("unknown-must-field", must, unsupported, Some(end + 6), "field 28673"),
        metadata_case("newer-handle", newer_handle, unsupported, Some(handle + 6), "keyed state"),
        metadata_case("no-fields", metadata_of(&[]), corrupt, None, "no job name"),
        metadata_case("fields-backwards", backwards, corrupt, Some(end), "after field 12"),
        metadata_case("field-twice", twice, corrupt, Some(29), "twice"),
        metadata_case("unsafe-name", unsafe_name, corrupt, name_place, "relative file name"),
        metadata_case("vertex-twice", same_vertex, corrupt, None, "there twice"),
        metadata_case("counts-contradict", counts, corrupt, None, "contradict"),
    ]
}
