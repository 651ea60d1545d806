//! Handles of native incremental state: what they promise and refuse.

use millpond_snapshot::metadata::{
    CheckpointKind, FileHandle, FileScope, IncrementalHandle, KeyedStateHandle,
};
use millpond_snapshot::{CheckpointMetadata, SliceSource, SnapshotErrorKind, verify_object};
use millpond_state::CheckpointId;

use crate::golden_input::{checkpoint, incremental_checkpoint};
use crate::support::range;

type Change = fn(&mut IncrementalHandle);

fn handle(metadata: &mut CheckpointMetadata) -> &mut IncrementalHandle {
    match &mut metadata.vertices[1].subtasks[0].keyed_state[0] {
        KeyedStateHandle::Incremental(handle) => handle,
        other => panic!("{other:?}"),
    }
}

fn refused(metadata: &CheckpointMetadata) -> String {
    let error = metadata.encode().unwrap_err();
    assert_eq!(error.kind(), SnapshotErrorKind::InvalidArgument);
    error.message().to_owned()
}

#[test]
fn incremental_state_reads_back_as_it_was() {
    let metadata = incremental_checkpoint();
    let bytes = metadata.encode().unwrap();
    assert_eq!(bytes, incremental_checkpoint().encode().unwrap());
    assert_eq!(CheckpointMetadata::decode_from("m", &bytes).unwrap(), metadata);
}

#[test]
fn metadata_names_every_object_and_counts_shared_ones_once() {
    let metadata = incremental_checkpoint();
    let names: Vec<_> = metadata.files().map(|file| (file.scope(), file.name())).collect();
    let merged = (FileScope::Shared, "shared/5-40-totals-0");
    let own = (FileScope::Exclusive, "5-totals-0.manifest");
    let table = (FileScope::Shared, "shared/5-42-totals-1");
    assert_eq!(names, [merged, own, merged, table]);
    assert_eq!(metadata.data_bytes(), 3_000 + 40 + 500);
    assert_eq!(metadata.incremental_handles().count(), 2);
}

#[test]
fn what_a_checkpoint_wrote_itself_is_told_from_what_it_reuses() {
    let mut metadata = incremental_checkpoint();
    let handle = handle(&mut metadata);
    assert_eq!(handle.new_and_reused_bytes(CheckpointId::new(42)), (40, 2_500));
    assert_eq!(handle.new_and_reused_bytes(CheckpointId::new(40)), (2_500, 40));
    let placed: Vec<_> =
        handle.placed_files().map(|(file, object)| (file.name.as_str(), object.name())).collect();
    let merged = "shared/5-40-totals-0";
    assert_eq!(
        placed,
        [("000007.sst", merged), ("000009.sst", merged), ("MANIFEST", "5-totals-0.manifest")]
    );
}

#[test]
fn incremental_state_that_breaks_an_invariant_is_neither_written_nor_read() {
    let cases: [(&str, Change); 15] = [
        ("name its backend", |h| h.backend.clear()),
        ("control", |h| h.backend = "a\nb".into()),
        ("max parallelism", |h| h.key_groups = range(0, 128)),
        ("there twice", |h| h.states.push("totals".into())),
        ("no schema", |h| h.states.push("unheard_of".into())),
        ("there twice", |h| h.objects.push(h.objects[0].clone())),
        ("holds no logical file", |h| h.objects.push(FileHandle::new("idle", 1, 1).unwrap())),
        ("there twice", |h| h.logical_files[1].name = "000007.sst".into()),
        ("relative file name", |h| h.logical_files[1].name = "../x".into()),
        ("is later than", |h| h.logical_files[1].checkpoint = CheckpointId::new(43)),
        ("no object 7", |h| h.logical_files[1].object = 7),
        ("beyond the end", |h| h.logical_files[1].bytes += 501),
        ("beyond the end", |h| h.logical_files[1].bytes = u64::MAX),
        ("overlap", |h| h.logical_files[0].bytes += 1),
        ("contradicts the checksum", |h| h.logical_files[2].crc32 += 1),
    ];
    for (message, change) in cases {
        let mut metadata = incremental_checkpoint();
        change(handle(&mut metadata));
        let found = refused(&metadata);
        assert!(found.contains(message), "{message}: {found}");
    }
}

#[test]
fn two_logical_files_never_share_a_place_even_if_one_is_empty() {
    let mut metadata = incremental_checkpoint();
    let handle = handle(&mut metadata);
    handle.logical_files[0].bytes = 0;
    handle.logical_files[1].offset = 0;
    assert!(refused(&metadata).contains("overlap"));
}

#[test]
fn handles_that_contradict_each_other_on_a_shared_object_are_refused() {
    let mut metadata = incremental_checkpoint();
    handle(&mut metadata).objects[0] =
        FileHandle::shared("shared/5-40-totals-0", 3_000, 0x0bad).unwrap();
    assert!(refused(&metadata).contains("contradict each other"));
}

#[test]
fn a_savepoint_refers_to_nothing_outside_its_folder() {
    let mut metadata = incremental_checkpoint();
    metadata.kind = CheckpointKind::Savepoint;
    assert!(refused(&metadata).contains("a savepoint refers to the shared file"));
    for subtask in &mut metadata.vertices[1].subtasks {
        for state in &mut subtask.keyed_state {
            if let KeyedStateHandle::Incremental(handle) = state {
                for object in &mut handle.objects {
                    *object =
                        FileHandle::new(object.name(), object.bytes(), object.crc32()).unwrap();
                }
            }
        }
    }
    assert!(metadata.encode().is_ok());
}

#[test]
fn a_full_snapshot_is_never_shared() {
    let mut metadata = checkpoint();
    metadata.kind = CheckpointKind::Checkpoint;
    let KeyedStateHandle::Full(full) = &mut metadata.vertices[1].subtasks[0].keyed_state[0] else {
        panic!("a full handle");
    };
    full.file = FileHandle::shared("x.full", 1_234, 0xdead_beef).unwrap();
    assert!(refused(&metadata).contains("never shared"));
}

#[test]
fn damage_to_an_object_is_placed_in_the_logical_file_it_hit() {
    let bytes: Vec<u8> = (0..2_500_u32).map(|at| (at * 7) as u8).collect();
    let object = FileHandle::shared("o", 2_500, crc32fast::hash(&bytes)).unwrap();
    let mut metadata = incremental_checkpoint();
    let mut files = handle(&mut metadata).logical_files.clone();
    files.truncate(2);
    for file in &mut files {
        let (from, to) = (file.offset as usize, (file.offset + file.bytes) as usize);
        file.crc32 = crc32fast::hash(&bytes[from..to]);
    }
    let report = verify_object(&SliceSource::new("o", &bytes), &object, &files).unwrap();
    assert!(report.is_whole() && report.blocks == 2, "{report:?}");

    let second = files[1].offset as usize;
    let mut flipped = bytes.clone();
    flipped[second + 3] ^= 1;
    let report = verify_object(&SliceSource::new("o", &flipped), &object, &files).unwrap();
    assert_eq!(report.damage.len(), 2);
    assert!(report.damage[0].what.contains("000009.sst"), "{report:?}");
    assert_eq!(report.damage[0].offset, second as u64);

    let cut = &bytes[..bytes.len() - 1];
    let report = verify_object(&SliceSource::new("o", cut), &object, &files).unwrap();
    assert!(report.damage.iter().any(|it| it.what.contains("past the end")), "{report:?}");
    assert_eq!(report.blocks, 1);
}
