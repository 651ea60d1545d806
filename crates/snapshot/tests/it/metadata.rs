//! What metadata promises and refuses.

use millpond_snapshot::metadata::{FileHandle, FullHandle, KeyedStateHandle, Skew};
use millpond_snapshot::{
    CheckpointMetadata, Compression, RELATIVE_NAME_BYTES_MAX, SnapshotErrorKind,
};
use millpond_state::{
    CheckpointId, KeyGroup, StateCodecs, StateDescriptor, StateKind, SubtaskIndex,
    codec::CodecIdentity,
};

use crate::golden_input::{checkpoint, entries, field, metadata_of, options, states};
use crate::support::{range, write};

type Change = fn(&mut CheckpointMetadata);

fn full(metadata: &mut CheckpointMetadata) -> &mut FullHandle {
    match &mut metadata.vertices[1].subtasks[0].keyed_state[0] {
        KeyedStateHandle::Full(full) => full,
        _ => unreachable!(),
    }
}

#[test]
fn metadata_reads_back_as_it_was_and_equal_metadata_has_equal_bytes() {
    let metadata = checkpoint();
    let bytes = metadata.encode().unwrap();
    assert_eq!(bytes, checkpoint().encode().unwrap());
    assert_eq!(CheckpointMetadata::decode_from("m", &bytes).unwrap(), metadata);
}

#[test]
fn metadata_that_breaks_an_invariant_is_neither_written_nor_read() {
    let cases: [(&str, Change); 13] = [
        ("control", |m| m.job_name = "a\nb".into()),
        ("1024 bytes", |m| m.state_backend = "x".repeat(1_025)),
        ("there twice", |m| m.vertices[0].name = "totals".into()),
        ("must have a name", |m| m.vertices[0].name.clear()),
        ("parallelism", |m| m.vertices[0].parallelism = 129),
        ("not in order", |m| m.vertices[1].subtasks[1].index = SubtaskIndex::new(0)),
        ("not in order", |m| m.vertices[1].subtasks[1].index = SubtaskIndex::new(2)),
        ("max parallelism", |m| m.vertices[1].subtasks[1].key_groups = Some(range(1, 128))),
        ("no key groups", |m| m.vertices[1].subtasks[0].key_groups = None),
        ("no schema", |m| m.vertices[1].states.clear()),
        ("contradict", |m| full(m).entries += 1),
        ("outside", |m| full(m).sizes[0].group = KeyGroup::new(64)),
        ("there twice", |m| {
            let state = m.vertices[0].subtasks[0].operator_state[0].clone();
            m.vertices[0].subtasks[0].operator_state.push(state);
        }),
    ];
    for (message, change) in cases {
        let mut metadata = checkpoint();
        change(&mut metadata);
        let error = metadata.encode().unwrap_err();
        assert_eq!(error.kind(), SnapshotErrorKind::InvalidArgument);
        assert!(error.message().contains(message), "{error}");
    }
}

#[test]
fn numbers_reserved_for_later_are_reported_as_newer_and_zero_as_damage() {
    let bytes = checkpoint().encode().unwrap();
    let redistribution = b"\x07\0\0\0offsets\x02\x80\x01\0\0\0";
    let at = bytes.windows(redistribution.len()).position(|w| w == redistribution).unwrap()
        + redistribution.len();
    assert_eq!(bytes[at], 1);
    for (number, kind) in [
        (0, SnapshotErrorKind::Corrupt),
        (4, SnapshotErrorKind::Unsupported),
        (255, SnapshotErrorKind::Unsupported),
    ] {
        let mut fields = bytes[16..bytes.len() - 4].to_vec();
        fields[at - 16] = number;
        let error = CheckpointMetadata::decode_from("m", &metadata_of(&fields)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!((error.file(), error.offset()), (Some("m"), Some(at as u64)));
    }
}

#[test]
fn a_length_past_the_input_is_damage_and_takes_no_memory() {
    let mut fields = field(0x8001, b"job");
    fields[2..6].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = CheckpointMetadata::decode_from("m", &metadata_of(&fields)).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (SnapshotErrorKind::Corrupt, Some(16)));
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused_by_handles() {
    for name in ["../a", "/a", "a\\b", "", "a/./b"] {
        assert!(FileHandle::new(name, 1, 2).is_err(), "{name}");
    }
    let long = "a".repeat(200) + "/";
    assert!(FileHandle::new(long.repeat(5) + "a", 1, 2).is_ok());
    assert!(FileHandle::new(long.repeat(6) + "a", 1, 2).is_err(), "{RELATIVE_NAME_BYTES_MAX}");
}

#[test]
fn a_handle_takes_its_figures_from_the_summary_of_the_writer() {
    let (file, summary) = write(&states(), &entries(), options(Compression::None));
    let handle = FullHandle::new("5-a-0-0.full", range(0, 127), &summary).unwrap();
    assert_eq!(handle.file.bytes(), file.len() as u64);
    assert_eq!(handle.file.crc32(), crc32fast::hash(&file));
    assert_eq!(handle.entry_skew(), Skew { min: 0, median: 0, max: 17 });
    assert!(handle.byte_skew().max > 500);
    let mut metadata = checkpoint();
    metadata.vertices[1].subtasks[0].key_groups = Some(range(0, 127));
    metadata.vertices[1].subtasks[0].keyed_state = vec![KeyedStateHandle::Full(handle.clone())];
    let bytes = metadata.encode().unwrap();
    let read = CheckpointMetadata::decode_from("m", &bytes).unwrap();
    assert_eq!(read.files().collect::<Vec<_>>(), [&handle.file]);
    assert_eq!(read.data_bytes(), file.len() as u64);
    assert_eq!(read.checkpoint, CheckpointId::new(42));
    assert!(read.vertex("totals").is_some() && read.vertex("nothing").is_none());
}

#[test]
fn the_skew_of_key_groups_is_their_smallest_middle_and_largest() {
    assert_eq!(Skew::of(vec![]), Skew::default());
    assert_eq!(Skew::of(vec![5]), Skew { min: 5, median: 5, max: 5 });
    assert_eq!(Skew::of(vec![9, 1, 4]), Skew { min: 1, median: 4, max: 9 });
}

#[test]
fn subtasks_that_disagree_on_a_state_are_told_apart() {
    let mut vertex = checkpoint().vertices[0].clone();
    for state in states().iter().chain(&states()) {
        vertex.add_state(state).unwrap();
    }
    assert_eq!(vertex.states, states());
    let void = CodecIdentity::void;
    let codecs = StateCodecs { key: void(), namespace: void(), user_key: None, value: void() };
    let other = StateDescriptor::new("legs", StateKind::Value, codecs).unwrap();
    let error = vertex.add_state(&other).unwrap_err();
    assert!(error.message().contains("legs"), "{error}");
}
