//! Local files that were damaged.

use millpond_state::{
    CancelFlag, CheckpointId, EntryKey, ErrorKind, KeyedBackend, SnapshotRequest, StateKind,
};

use crate::support::{MadeUp, Sum, TemporaryFactory, descriptor};

#[test]
fn damaged_files_are_reported_as_corrupt_by_reads_and_snapshots() {
    const KEYS: u64 = 2_000;
    let factory = TemporaryFactory::usual();
    let mut backend = factory.backend();
    let state = backend.register(&descriptor("values", StateKind::Value)).unwrap();
    let states = backend.states().to_vec();
    assert_eq!(backend.restore(&mut MadeUp::new(states, KEYS)).unwrap(), KEYS);
    let files = factory.sst_files();
    assert!(!files.is_empty(), "nothing was written");
    for file in files {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&file, bytes).unwrap();
    }
    let keys = (0..KEYS).map(|left| (u64::MAX - left).to_be_bytes());
    let errors: Vec<_> = keys
        .filter_map(|key| backend.get(state, EntryKey::in_group(&key, MadeUp::GROUP)).err())
        .collect();
    assert!(errors.len() > 1_000, "{} errors", errors.len());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("restore from a checkpoint"), "{error}");
    }
    let task = backend.snapshot(&SnapshotRequest::full(CheckpointId::new(1))).unwrap();
    let error = task.run(&mut Sum::default(), &CancelFlag::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
