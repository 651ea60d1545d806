//! What is known of an SST file beside its bytes.

use millpond_state::{ErrorKind, KeyGroup, KeyGroupRange, Result, StateError};

/// A file as the MANIFEST of its database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SstFile {
    /// Its name in the database's folder: a number and `.sst`.
    pub(crate) name: String,
    pub(crate) level: u32,
    /// Least and greatest key, deleted ranges included.
    pub(crate) smallest: Vec<u8>,
    pub(crate) largest: Vec<u8>,
    pub(crate) smallest_seqno: u64,
    pub(crate) largest_seqno: u64,
    /// Records, deletions included.
    pub(crate) entries: u64,
    pub(crate) deletions: u64,
}

impl SstFile {
    /// The key groups that it may hold entries of.
    pub(crate) fn key_groups(&self) -> Result<KeyGroupRange> {
        let group = |key: &[u8]| key.first_chunk::<2>().map(|raw| u16::from_be_bytes(*raw));
        let groups = group(&self.smallest).zip(group(&self.largest));
        let (first, last) = groups.ok_or_else(|| no_key_groups(&self.name))?;
        KeyGroupRange::new(KeyGroup::new(first), KeyGroup::new(last))
            .map_err(|_| no_key_groups(&self.name))
    }
}

/// The number of a file called like an SST file.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    numbered(name.strip_suffix(".sst")?)
}

/// Whether a file is called like a MANIFEST.
pub(crate) fn is_manifest(name: &str) -> bool {
    name.strip_prefix("MANIFEST-").and_then(numbered).is_some()
}

/// The file that names the MANIFEST.
pub(crate) const CURRENT: &str = "CURRENT";

fn numbered(digits: &str) -> Option<u64> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}

/// Live records, as far as files tell: each deletion is taken to have one entry less to show.
pub(crate) fn estimated_entries<'s>(files: impl IntoIterator<Item = &'s SstFile>) -> u64 {
    let (mut entries, mut deletions) = (0u64, 0u64);
    for file in files {
        entries = entries.saturating_add(file.entries);
        deletions = deletions.saturating_add(file.deletions);
    }
    entries.saturating_sub(deletions.saturating_mul(2))
}

#[cold]
fn no_key_groups(name: &str) -> StateError {
    let message = format!("the file {name} has keys that are no entries");
    StateError::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests stop on errors")]

    use super::*;

    fn file(smallest: &[u8], largest: &[u8], entries: u64, deletions: u64) -> SstFile {
        SstFile {
            name: "000007.sst".into(),
            level: 6,
            smallest: smallest.to_vec(),
            largest: largest.to_vec(),
            smallest_seqno: 0,
            largest_seqno: 0,
            entries,
            deletions,
        }
    }

    #[test]
    fn the_key_groups_of_a_file_are_those_of_its_bounds() {
        let groups = file(&[0, 3, 0, 0, 9], &[1, 2], 1, 0).key_groups().unwrap();
        assert_eq!((groups.first().get(), groups.last().get()), (3, 258));
        for (smallest, largest) in [(&[0u8][..], &[1u8, 2][..]), (&[0, 1], &[]), (&[1, 0], &[0, 9])]
        {
            let error = file(smallest, largest, 1, 0).key_groups().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn only_names_that_rocksdb_gives_are_taken_for_its_files() {
        assert_eq!(file_number("000012.sst"), Some(12));
        assert_eq!(file_number("1234567.sst"), Some(1_234_567));
        for name in
            [".sst", "12", "x12.sst", "+12.sst", "../000012.sst", "99999999999999999999.sst"]
        {
            assert_eq!(file_number(name), None, "{name}");
        }
        assert!(is_manifest("MANIFEST-000004"));
        for name in ["MANIFEST-", "MANIFEST", "MANIFEST-1/2", "MANIFEST-x"] {
            assert!(!is_manifest(name), "{name}");
        }
    }

    #[test]
    fn a_deletion_counts_for_itself_and_for_what_it_deletes() {
        assert_eq!(estimated_entries(&[file(&[], &[], 10, 2), file(&[], &[], 5, 0)]), 11);
        assert_eq!(estimated_entries(&[file(&[], &[], 3, 3)]), 0);
    }
}
