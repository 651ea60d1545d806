//! Files that are fetched, linked, copied, and damaged on the way.

#![allow(clippy::unwrap_used, reason = "tests stop on errors")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millpond_state::{KeyGroupRange, MaxParallelism};

use super::*;

/// Files of one content each, which may be on the local disk too.
struct Source {
    files: Vec<StoredFile>,
    contents: Vec<Arc<[u8]>>,
    local: Option<PathBuf>,
    reads: Arc<AtomicUsize>,
}

struct Reader {
    bytes: Arc<[u8]>,
    local: Option<PathBuf>,
    reads: Arc<AtomicUsize>,
}

impl FileReader for Reader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let start = offset as usize;
        buffer.copy_from_slice(self.bytes.get(start..start + buffer.len()).unwrap());
        Ok(())
    }

    fn name(&self) -> &str {
        "the file"
    }

    fn local_path(&self) -> Option<&Path> {
        self.local.as_deref()
    }
}

impl Source {
    fn new(contents: &[&[u8]]) -> Self {
        let file = |(number, bytes): (usize, &&[u8])| StoredFile {
            name: format!("{number:06}.sst"),
            identity: FileIdentity::new("place", bytes.len() as u64, crc32fast::hash(bytes)),
        };
        Self {
            files: contents.iter().enumerate().map(file).collect(),
            contents: contents.iter().map(|bytes| Arc::from(*bytes)).collect(),
            local: None,
            reads: Arc::default(),
        }
    }

    fn fetch(&self, threads: usize) -> (tempfile::TempDir, Result<()>) {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<&StoredFile> = self.files.iter().collect();
        let fetched = fetch(self, &files, folder.path(), threads);
        (folder, fetched)
    }

    fn assert_arrive(&self, threads: usize) -> tempfile::TempDir {
        let (folder, fetched) = self.fetch(threads);
        fetched.unwrap();
        for (file, bytes) in self.files.iter().zip(&self.contents) {
            let arrived = std::fs::read(folder.path().join(&file.name)).unwrap();
            assert!(arrived == bytes[..], "{} has other bytes", file.name);
        }
        folder
    }
}

impl FileSource for Source {
    fn backend(&self) -> &str {
        "rocksdb"
    }

    fn key_groups(&self) -> KeyGroupRange {
        MaxParallelism::new(1).unwrap().full_range()
    }

    fn manifest(&self) -> &[u8] {
        &[]
    }

    fn files(&self) -> &[StoredFile] {
        &self.files
    }

    fn open(&self, name: &str) -> Result<Box<dyn FileReader>> {
        let position = self.files.iter().position(|file| file.name == name).unwrap();
        let bytes = Arc::clone(&self.contents[position]);
        let (local, reads) = (self.local.clone(), Arc::clone(&self.reads));
        Ok(Box::new(Reader { bytes, local, reads }))
    }
}

fn bytes(count: usize, seed: u32) -> Vec<u8> {
    (0..count as u32)
        .map(|at| ((at ^ at >> 15).wrapping_mul(0x9e37_79b1 ^ seed) >> 24) as u8)
        .collect()
}

#[test]
fn files_of_no_one_and_many_ranges_arrive_whole_with_any_number_of_threads() {
    let (large, range) = (bytes(3 * RANGE_BYTES as usize + 5, 77), bytes(RANGE_BYTES as usize, 3));
    for threads in [1, 2, 7] {
        let source = Source::new(&[&large, &[], b"little", &range]);
        source.assert_arrive(threads);
        assert_eq!(source.reads.load(Ordering::Relaxed), 4 + 1 + 1);
    }
}

#[test]
fn damage_in_any_range_and_ranges_in_another_order_are_found() {
    let good = bytes(2 * RANGE_BYTES as usize + 9, 5);
    let range = RANGE_BYTES as usize;
    let mut swapped = good.clone();
    let (first, second) = swapped.split_at_mut(range);
    first.swap_with_slice(&mut second[..range]);
    let flipped = [0, range, good.len() - 1].map(|at| {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        damaged
    });
    for damaged in flipped.into_iter().chain([swapped, good[..good.len() - 1].to_vec()]) {
        let mut source = Source::new(&[b"whole", &good, b"whole"]);
        source.contents[1] = damaged.into();
        let error = source.fetch(2).1.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("the file"), "{error}");
    }
}

#[test]
fn what_is_on_this_disk_is_linked_and_its_name_may_have_gone() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("object");
    std::fs::write(&local, b"content").unwrap();
    let mut source = Source::new(&[b"content"]);
    source.local = Some(local.clone());
    let arrived = source.assert_arrive(1);
    let metadata = |path: &Path| std::fs::metadata(path).unwrap();
    assert_eq!(metadata(&local).nlink(), 2);
    assert_eq!(metadata(&arrived.path().join("000000.sst")).ino(), metadata(&local).ino());
    assert_eq!(source.reads.load(Ordering::Relaxed), 0);
    std::fs::remove_file(&local).unwrap();
    source.assert_arrive(1);
    assert_eq!(source.reads.load(Ordering::Relaxed), 1);
}

/// The kernel's own files are on no disk that a test writes to.
#[cfg(target_os = "linux")]
#[test]
fn what_is_on_another_disk_is_copied_by_the_system() {
    let local = Path::new("/proc/version");
    let content = std::fs::read(local).unwrap();
    let mut source = Source::new(&[&content]);
    source.local = Some(local.to_owned());
    source.assert_arrive(1);
    assert_eq!(source.reads.load(Ordering::Relaxed), 0);
    // One that is shorter than it was is not taken.
    let mut source = Source::new(&[&bytes(content.len() + 1, 9)]);
    source.local = Some(local.to_owned());
    source.assert_arrive(1);
}
