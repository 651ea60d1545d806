//! The fixed input of the golden files that came with timers, values that expire, and typed
//! operator state. Never change what is here: new versions get new functions.

use millpond_snapshot::metadata::{
    CheckpointKind, CheckpointMetadata, CheckpointMode, SubtaskMetadata, VertexMetadata,
};
use millpond_snapshot::{Compression, FullOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    AttemptId, CheckpointId, MaxParallelism, OperatorStateCodecs, OperatorStatePart,
    Redistribution, StateCodecs, StateDescriptor, StateKind, SubtaskIndex,
};

use crate::golden_input::{Expected, Golden, field, metadata_of};
use crate::seal::seal_full;
use crate::support::{Entry, write};

pub(crate) const EVERY_KIND: &str = "full/v1/good/every-kind.full";
pub(crate) const OPERATOR_STATE: &str = "metadata/v1/good/operator-state.metadata";

fn id(name: &str) -> CodecIdentity {
    CodecIdentity::new(name, 1)
}

/// One state of every kind; of those that can expire, one that does.
pub(crate) fn states() -> Vec<StateDescriptor> {
    use StateKind::{Aggregating, List, Map, Reducing, Timer, Value};
    let state = |name: &str, kind: StateKind, user_key: Option<&str>, value: &str| {
        let codecs = StateCodecs {
            key: id("string"),
            namespace: CodecIdentity::void(),
            user_key: user_key.map(id),
            value: id(value),
        };
        StateDescriptor::new(name, kind, codecs).unwrap()
    };
    vec![
        state("value", Value, None, "u64"),
        state("list", List, None, "string"),
        state("map", Map, Some("u8"), "option<u16>"),
        state("reducing", Reducing, None, "i64"),
        state("aggregating", Aggregating, None, "tuple<u64,i64>"),
        state("timer", Timer, Some("i64"), "void"),
        state("expiring_value", Value, None, "expiring<event,u64>"),
        state("expiring_list", List, None, "expiring<processing,string>"),
        state("expiring_map", Map, Some("u8"), "expiring<event,u16>"),
        state("expiring_sum", Reducing, None, "expiring<processing,i64>"),
        state("named", Value, None, "named:acme.order"),
    ]
}

/// A signed number as its codec writes it.
fn signed(number: i64) -> [u8; 8] {
    ((number as u64) ^ (1 << 63)).to_be_bytes()
}

pub(crate) fn entries() -> Vec<Entry> {
    // The stamp of a value that was touched before time was known.
    let unknown = signed(i64::MIN);
    let stamp = signed(1_700_000_000_000);
    let five = 5u64.to_be_bytes();
    let values: [(u16, &[u8], Vec<u8>); 16] = [
        (0, b"", five.to_vec()),
        (1, b"", b"\x03ORD\x00\x03JFK".to_vec()),
        (2, b"\x01", vec![0]),
        (2, b"\x02", vec![1, 2, 3]),
        (3, b"", signed(-7).to_vec()),
        (4, b"", [five, signed(9)].concat()),
        (5, &signed(-1), Vec::new()),
        (5, &signed(0), Vec::new()),
        (5, &signed(1_700_000_000_000), Vec::new()),
        (5, &signed(i64::MAX), Vec::new()),
        (6, b"", [stamp, five].concat()),
        (7, b"", [&stamp[..], b"\x03ORD", &unknown, b"\x00"].concat()),
        (8, b"\x01", [&stamp[..], &[0, 9]].concat()),
        (8, b"\x02", [&unknown[..], &[0, 9]].concat()),
        (9, b"", [stamp, signed(-7)].concat()),
        // A MessagePack map of one field: {"id": 5}.
        (10, b"", b"\x05\x81\xa2id\x05".to_vec()),
    ];
    let entry = |(state, user_key, value): (u16, &[u8], Vec<u8>)| Entry {
        group: 7,
        state,
        key: b"\x06N14228".to_vec(),
        namespace: Vec::new(),
        user_key: user_key.to_vec(),
        value,
    };
    values.into_iter().map(entry).collect()
}

fn every_kind() -> Vec<u8> {
    let options = FullOptions { compression: Compression::None, ..FullOptions::default() };
    write(&states(), &entries(), options).0
}

/// The kind of the last timer state in the schema, made one that nobody knows.
fn newer_kind() -> Vec<u8> {
    let mut bytes = every_kind();
    let name = b"\x05timer";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    assert_eq!(bytes[at], 6);
    bytes[at] = 7;
    seal_full(&mut bytes);
    bytes
}

fn codecs(key: Option<&str>, value: &str) -> Option<OperatorStateCodecs> {
    Some(OperatorStateCodecs { key: key.map(id), value: CodecIdentity::new(value, 300) })
}

/// Two subtasks with lists of every redistribution.
pub(crate) fn checkpoint() -> CheckpointMetadata {
    let max = MaxParallelism::new(128).unwrap();
    let part = |name: &str, redistribution, codecs, items: &[&[u8]]| OperatorStatePart {
        name: name.into(),
        redistribution,
        codecs,
        items: items.iter().map(|item| item.to_vec()).collect(),
    };
    let subtask = |index: u32, offset: u8| {
        let mut subtask = SubtaskMetadata::new(SubtaskIndex::new(index));
        let rules: [&[u8]; 2] = [b"\x04\x03JFK\x05", b"\x04\x03LGA\x00"];
        subtask.operator_state = vec![
            part("opaque", Redistribution::Split, None, &[&[offset], &[]]),
            part("offsets", Redistribution::Split, codecs(None, "u8"), &[&[offset]]),
            part("none", Redistribution::Union, codecs(None, "u8"), &[]),
            part("ids", Redistribution::Union, codecs(None, "acme:id"), &[&[1, offset], &[2]]),
            part("rules", Redistribution::Broadcast, codecs(Some("string"), "u8"), &rules),
        ];
        subtask
    };
    CheckpointMetadata {
        job_name: "flights".into(),
        job_kind: "flights".into(),
        attempt: AttemptId::new(1),
        checkpoint: CheckpointId::new(2),
        kind: CheckpointKind::Checkpoint,
        triggered_at_ms: 0,
        completed_at_ms: 0,
        duration_ms: 0,
        mode: CheckpointMode::ExactlyOnce,
        state_backend: "memory".into(),
        max_parallelism: max,
        vertices: vec![VertexMetadata {
            name: "source".into(),
            parallelism: 2,
            max_parallelism: max,
            finished: false,
            states: Vec::new(),
            subtasks: vec![subtask(0, 11), subtask(1, 12)],
        }],
    }
}

/// A metadata file whose only vertex has one subtask with an operator state of these fields; and
/// where the content of the last of them begins.
fn with_operator_state(fields: &[(u16, &[u8])]) -> (Vec<u8>, usize) {
    let file = checkpoint().encode().unwrap();
    let vertex = file.windows(8).position(|it| it == b"\x01\x80\x06\0\0\0so").unwrap();
    let state: Vec<u8> = fields.iter().flat_map(|(tag, content)| field(*tag, content)).collect();
    let last = fields.last().map_or(0, |(_, content)| content.len());
    let finished = field(0x8005, &[0]);
    let subtask = [field(0x8001, &[0; 4]), field(0x8004, &state), finished.clone()].concat();
    // Name, parallelism, max parallelism and the mark of the vertex stay.
    let head = &file[vertex..vertex + 12 + 10 + 10 + 7];
    let content = [head, &field(0x8006, &subtask)].concat();
    let message = [&file[16..vertex - 6], &field(0x800c, &content)].concat();
    let bytes = metadata_of(&message);
    let at = bytes.len() - 4 - finished.len() - last;
    (bytes, at)
}

fn broken_metadata() -> Vec<Golden> {
    const NAME: (u16, &[u8]) = (0x8001, b"ids");
    const SPLIT: (u16, &[u8]) = (0x8002, &[1]);
    const CODEC: &[u8] = b"\x03u64\x01";
    let case = |name: &str, fields: &[(u16, &[u8])], kind, placed: bool, message| {
        let (bytes, at) = with_operator_state(fields);
        Golden {
            path: format!("metadata/v1/broken/{name}.metadata"),
            bytes,
            expected: Expected::Broken {
                kind,
                offset: placed.then_some(at),
                key_group: None,
                message,
            },
        }
    };
    let left_over = [CODEC, b"?"].concat();
    let key_alone = [NAME, (0x8002, &[3]), (4, CODEC)];
    let listed = [NAME, SPLIT, (4, CODEC), (5, CODEC)];
    let keyless = [NAME, (0x8002, &[3]), (5, CODEC)];
    vec![
        case("newer-redistribution", &[NAME, (0x8002, &[4])], "unsupported", true, "field 2 is 4"),
        case("codec-left-over", &[NAME, SPLIT, (5, &left_over)], "corrupt", true, "left over"),
        case("codec-twice", &[NAME, SPLIT, (5, CODEC), (5, CODEC)], "corrupt", true, "twice"),
        case("key-codec-alone", &key_alone, "corrupt", false, "no value codec"),
        case("list-with-key-codec", &listed, "corrupt", false, "has a key codec"),
        case("broadcast-without-key-codec", &keyless, "corrupt", false, "has a key codec"),
    ]
}

pub(crate) fn all() -> Vec<Golden> {
    let good = |path: &str, bytes| Golden { path: path.into(), bytes, expected: Expected::Good };
    let mut all = vec![
        good(EVERY_KIND, every_kind()),
        good(OPERATOR_STATE, checkpoint().encode().unwrap()),
        Golden {
            path: "full/v1/broken/newer-kind.full".into(),
            bytes: newer_kind(),
            expected: Expected::Broken {
                kind: "unsupported",
                offset: Some(16),
                key_group: None,
                message: "kind number 7",
            },
        },
    ];
    all.extend(broken_metadata());
    all
}
