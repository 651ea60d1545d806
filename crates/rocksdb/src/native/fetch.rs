//! Brings files of a snapshot into a folder of the instance, several at once.
//!
//! What a source has on the local disk, compared already, is linked; where that cannot be, the
//! system copies it, which some file systems do without touching the bytes. All else is read in
//! ranges, of which a few are under way at once, whichever files they are of. Each byte that is
//! read goes into a checksum, which is compared with the file's identity.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crc32fast::Hasher;
use millpond_state::{
    ErrorKind, FileIdentity, FileReader, FileSource, Result, StateError, StoredFile,
};

use crate::native::sst::file_number;

/// Bytes that are asked of a source at once: enough for a store far away to be worth the trip.
const RANGE_BYTES: u64 = 2 << 20;

/// Files that are open at once.
const FILES_AT_ONCE: usize = 64;

/// A file on its way.
struct Fetch {
    reader: Box<dyn FileReader>,
    identity: FileIdentity,
    to: PathBuf,
    /// RocksDB never writes to it: it may be a link.
    is_immutable: bool,
    /// Where ranges go; none if the file is there as a whole.
    copy: OnceLock<File>,
}

/// A part of a file that is read at once.
struct Range<'f> {
    file: &'f Fetch,
    offset: u64,
    bytes: u64,
    hasher: OnceLock<Hasher>,
}

/// Brings `files` of `source` into `folder`, with up to `threads` threads.
pub(super) fn fetch(
    source: &dyn FileSource,
    files: &[&StoredFile],
    folder: &Path,
    threads: usize,
) -> Result<()> {
    for some in files.chunks(FILES_AT_ONCE) {
        let open = |file: &&StoredFile| Fetch::open(source, file, folder);
        let fetches = some.iter().map(open).collect::<Result<Vec<Fetch>>>()?;
        for_each(threads, &fetches, Fetch::begin)?;
        let ranges: Vec<Range<'_>> = fetches.iter().flat_map(Fetch::ranges).collect();
        for_each(threads, &ranges, Range::copy)?;
        for file in ranges.chunk_by(|one, next| core::ptr::eq(one.file, next.file)) {
            check(file)?;
        }
    }
    Ok(())
}

/// Does `work` for all of `items`, with up to `threads` threads, until one fails.
fn for_each<T: Sync>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T, &mut Vec<u8>) -> Result<()> + Sync,
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let serve = || {
        let mut buffer = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            work(item, &mut buffer).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others = 1..threads.min(items.len());
        let others: Vec<_> = others.map(|_| scope.spawn(serve)).collect();
        let own = serve();
        let ended = others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(gone())));
        own.and(ended.collect::<Result<Vec<()>>>().map(drop))
    })
}

impl Fetch {
    fn open(source: &dyn FileSource, file: &StoredFile, folder: &Path) -> Result<Self> {
        Ok(Self {
            reader: source.open(&file.name)?,
            identity: file.identity.clone(),
            to: folder.join(&file.name),
            is_immutable: file_number(&file.name).is_some(),
            copy: OnceLock::new(),
        })
    }

    /// Links the file, or makes an empty one for its ranges.
    fn begin(&self, _: &mut Vec<u8>) -> Result<()> {
        if self.reader.len() != self.identity.bytes() {
            return Err(self.damaged(format!(
                "it has {} bytes instead of {}",
                self.reader.len(),
                self.identity.bytes()
            )));
        }
        if self.is_immutable && self.reader.local_path().is_some_and(|local| self.link(local)) {
            return Ok(());
        }
        let created = File::create_new(&self.to).map_err(|error| self.unwritable(error))?;
        self.copy.get_or_init(|| created);
        Ok(())
    }

    /// Whether the file is there now.
    fn link(&self, local: &Path) -> bool {
        if std::fs::hard_link(local, &self.to).is_ok() {
            return true;
        }
        // On another disk, or somebody else's.
        let copied = std::fs::copy(local, &self.to);
        let is_whole = copied.is_ok_and(|bytes| bytes == self.identity.bytes());
        if !is_whole {
            // What is left of it; if that stays, the copy is told so.
            let _ = std::fs::remove_file(&self.to);
        }
        is_whole
    }

    fn ranges(&self) -> impl Iterator<Item = Range<'_>> {
        let bytes = if self.copy.get().is_some() { self.identity.bytes() } else { 0 };
        (0..bytes.div_ceil(RANGE_BYTES)).map(move |number| {
            let offset = number * RANGE_BYTES;
            let bytes = RANGE_BYTES.min(bytes - offset);
            Range { file: self, offset, bytes, hasher: OnceLock::new() }
        })
    }

    #[cold]
    fn unwritable(&self, error: std::io::Error) -> StateError {
        StateError::from_io(format_args!("write {}", self.to.display()), error)
    }

    #[cold]
    fn damaged(&self, what: String) -> StateError {
        let message = format!("{} is damaged, or is another file: {what}", self.reader.name());
        StateError::new(ErrorKind::Corrupt, message)
    }
}

impl Range<'_> {
    fn copy(&self, buffer: &mut Vec<u8>) -> Result<()> {
        let Some(to) = self.file.copy.get() else { return Ok(()) };
        buffer.resize(self.bytes as usize, 0);
        self.file.reader.read_exact_at(self.offset, buffer)?;
        let mut hasher = Hasher::new();
        hasher.update(buffer);
        self.hasher.get_or_init(|| hasher);
        to.write_all_at(buffer, self.offset).map_err(|error| self.file.unwritable(error))
    }
}

/// Compares the checksum of a file, all ranges of which were copied.
fn check(ranges: &[Range<'_>]) -> Result<()> {
    let Some(Range { file, .. }) = ranges.first() else { return Ok(()) };
    let mut whole = Hasher::new();
    ranges.iter().filter_map(|range| range.hasher.get()).for_each(|part| whole.combine(part));
    let (found, expected) = (whole.finalize(), file.identity.crc32());
    if found == expected {
        return Ok(());
    }
    Err(file.damaged(format!("its checksum is {found:08x} instead of {expected:08x}")))
}

/// A thread that fetched has panicked.
#[cold]
fn gone() -> StateError {
    StateError::new(ErrorKind::Io, "files are no longer fetched")
}

#[cfg(test)]
mod tests;
