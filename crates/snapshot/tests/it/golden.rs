//! The committed files of every version read as they did when they were written.

use std::fs;
use std::path::PathBuf;

use millpond_snapshot::{
    CheckpointMetadata, DeltaReader, FullReader, SliceSource, SnapshotError, SnapshotErrorKind,
    verify_delta, verify_full, verify_metadata,
};
use millpond_state::{ErrorKind, StateError};

use crate::golden_input::{self, Expected, Golden};
use crate::golden_kinds;
use crate::support::{all_groups, drain, read_all};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn committed(file: &Golden) -> Vec<u8> {
    fs::read(root().join(&file.path)).unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

#[test]
fn current_code_writes_the_committed_bytes() {
    for file in golden_input::all() {
        assert!(committed(&file) == file.bytes, "{} has other bytes", file.path);
    }
}

#[test]
fn no_committed_file_is_left_out_of_the_tests() {
    let mut known: Vec<String> = golden_input::all().into_iter().map(|file| file.path).collect();
    known.push(golden_input::ZSTD_PATH.into());
    for folder in [
        "delta/v1/good",
        "delta/v1/broken",
        "full/v1/good",
        "full/v1/broken",
        "metadata/v1/good",
        "metadata/v1/broken",
    ] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(known.contains(&path), "{path}");
        }
    }
}

#[test]
fn good_full_files_read_as_what_was_written() {
    for name in ["plain", "zstd"] {
        let bytes = fs::read(root().join(format!("full/v1/good/{name}.full"))).unwrap();
        let reader = FullReader::open(SliceSource::new(name, &bytes)).unwrap();
        assert_eq!(reader.version().number(), 1);
        assert_eq!(reader.states(), golden_input::states());
        assert_eq!(drain(&reader, all_groups()).unwrap(), golden_input::entries());
        assert!(verify_full(reader.source(), None).unwrap().is_whole());
    }
    for name in ["no-entries", "no-states"] {
        let bytes = fs::read(root().join(format!("full/v1/good/{name}.full"))).unwrap();
        assert_eq!(read_all(&bytes).unwrap(), []);
        assert!(verify_full(&SliceSource::new(name, &bytes), None).unwrap().is_whole());
    }
}

#[test]
fn a_good_delta_reads_as_what_was_written() {
    let bytes = fs::read(root().join(golden_input::DELTA)).unwrap();
    let reader = DeltaReader::open(SliceSource::new("delta", &bytes)).unwrap();
    assert_eq!(reader.version().number(), 1);
    assert_eq!(reader.states(), golden_input::states());
    let mut changes = reader.changes(all_groups());
    for (expected, kind) in golden_input::delta_changes() {
        assert_eq!(changes.next_change().unwrap(), Some((expected.view(), kind)));
    }
    assert_eq!(changes.next_change().unwrap(), None);
    assert!(verify_delta(&SliceSource::new("delta", &bytes), None).unwrap().is_whole());
}

#[test]
fn good_metadata_reads_as_what_was_written_and_optional_fields_of_later_versions_are_skipped() {
    for name in ["savepoint", "unknown-optional-field"] {
        let bytes = fs::read(root().join(format!("metadata/v1/good/{name}.metadata"))).unwrap();
        let metadata = CheckpointMetadata::decode_from(name, &bytes).unwrap();
        assert_eq!(metadata, golden_input::checkpoint());
        assert!(verify_metadata(name, &bytes).unwrap().is_whole());
    }
}

#[test]
fn a_full_file_with_every_kind_of_state_reads_as_what_was_written() {
    let bytes = fs::read(root().join(golden_kinds::EVERY_KIND)).unwrap();
    let reader = FullReader::open(SliceSource::new("every-kind", &bytes)).unwrap();
    assert_eq!(reader.version().number(), 1);
    assert_eq!(reader.states(), golden_kinds::states());
    assert_eq!(drain(&reader, all_groups()).unwrap(), golden_kinds::entries());
    assert!(verify_full(reader.source(), None).unwrap().is_whole());
    let kinds = reader.states().iter().map(|state| state.kind().code());
    assert!((1..=6).all(|kind| kinds.clone().any(|it| it == kind)), "a kind is missing");
}

#[test]
fn metadata_with_operator_state_of_every_redistribution_reads_as_what_was_written() {
    let bytes = fs::read(root().join(golden_kinds::OPERATOR_STATE)).unwrap();
    let metadata = CheckpointMetadata::decode_from("operator-state", &bytes).unwrap();
    assert_eq!(metadata, golden_kinds::checkpoint());
    assert!(verify_metadata("operator-state", &bytes).unwrap().is_whole());
}

#[test]
fn good_metadata_of_incremental_state_reads_as_what_was_written() {
    let bytes = fs::read(root().join("metadata/v1/good/incremental.metadata")).unwrap();
    let metadata = CheckpointMetadata::decode_from("m", &bytes).unwrap();
    assert_eq!(metadata, golden_input::incremental_checkpoint());
}

#[test]
fn broken_files_are_reported_with_file_kind_offset_and_key_group() {
    for file in golden_input::all() {
        let Expected::Broken { kind, offset, key_group, message } = file.expected else {
            continue;
        };
        let bytes = committed(&file);
        let source = SliceSource::new(file.path.as_str(), bytes.as_slice());
        let verified = match file.path.split('/').next() {
            Some("full") => verify_full(&source, None),
            Some("delta") => verify_delta(&source, None),
            _ => verify_metadata(&file.path, &bytes),
        };
        let expected_kind = match kind {
            "corrupt" => SnapshotErrorKind::Corrupt,
            _ => SnapshotErrorKind::Unsupported,
        };
        match verified {
            Ok(report) => {
                assert_eq!(expected_kind, SnapshotErrorKind::Corrupt, "{}", file.path);
                let found = report.damage.iter().any(|damage| {
                    damage.file == file.path
                        && damage.offset == offset.unwrap_or(0) as u64
                        && damage.key_group.map(|group| group.get()) == key_group
                        && damage.what.contains(message)
                });
                assert!(found, "{}: {:#?}", file.path, report.damage);
            }
            Err(error) => check_error(&file.path, &error, expected_kind, message),
        }
        if !file.path.starts_with("metadata") {
            check_restore(&file.path, &bytes, kind, offset, message);
        } else {
            let error = CheckpointMetadata::decode_from(&file.path, &bytes).unwrap_err();
            check_error(&file.path, &error, expected_kind, message);
            assert_eq!(error.offset(), offset.map(|offset| offset as u64), "{error}");
        }
    }
}

fn check_error(path: &str, error: &SnapshotError, kind: SnapshotErrorKind, message: &str) {
    assert_eq!(error.kind(), kind, "{path}: {error}");
    assert_eq!(error.file(), Some(path), "{error}");
    assert!(error.message().contains(message), "{path}: {error}");
}

/// What a restore reports must say the same.
fn check_restore(path: &str, bytes: &[u8], kind: &str, offset: Option<usize>, message: &str) {
    let source = SliceSource::new(path, bytes);
    let read = || -> Result<(), StateError> {
        if path.starts_with("full") {
            return drain(&FullReader::open(source)?, all_groups()).map(|_| ());
        }
        let reader = DeltaReader::open(source)?;
        let mut changes = reader.changes(all_groups());
        while changes.next_change()?.is_some() {}
        Ok(())
    };
    let error = read().unwrap_err();
    let expected = if kind == "corrupt" { ErrorKind::Corrupt } else { ErrorKind::Incompatible };
    assert_eq!(error.kind(), expected, "{path}: {error}");
    assert!(error.message().contains(path), "{error}");
    assert!(error.message().contains(message), "{path}: {error}");
    if let Some(offset) = offset {
        assert!(error.message().contains(&format!("offset {offset}")), "{path}: {error}");
    }
}
