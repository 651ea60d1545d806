//! The index of timers: what is put in comes out, deleted and doubled records are swept out.

use super::bucket::Bucket;
use super::*;

#[test]
fn a_bucket_gives_back_what_was_put_in_and_sweeps_out_what_is_gone_and_doubled() {
    let entry = |key: &'static [u8]| EntryKey::in_group(key, KeyGroup::new(7)).in_namespace(b"ns");
    let mut bucket = Bucket::default();
    for key in [b"a".as_slice(), b"", b"ccc", b"a", b"dd"] {
        bucket.push(entry(key));
    }
    assert_eq!(bucket.front().map(|record| record.entry()), Some(entry(b"a")));
    bucket.advance();
    bucket.retain(|entry| Ok(entry.key() != b"ccc")).unwrap();
    let mut keys = Vec::new();
    while let Some(record) = bucket.front() {
        assert_eq!(record.entry().namespace(), b"ns");
        assert_eq!(record.entry().group(), KeyGroup::new(7));
        keys.push(record.entry().key().to_vec());
        bucket.advance();
    }
    assert_eq!(keys, [b"".to_vec(), b"a".to_vec(), b"dd".to_vec()]);
    assert!(bucket.is_empty());
}
