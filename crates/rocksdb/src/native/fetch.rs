//! Brings files of a snapshot into a folder of the instance, several at once.
//!
//! Each byte that is copied goes into a checksum, which is compared with the file's identity. What
//! a source has on the local disk, compared already, is linked instead.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use millpond_state::{
    ErrorKind, FileIdentity, FileReader, FileSource, Result, StateError, StoredFile,
};

use crate::native::sst::file_number;

/// Bytes that are read at once.
const COPY_BYTES: usize = 1 << 20;

/// A file on its way.
struct Job {
    reader: Box<dyn FileReader>,
    identity: FileIdentity,
    to: PathBuf,
    /// RocksDB never writes to it: it may be a link.
    is_immutable: bool,
}

/// Brings `files` of `source` into `folder`, up to `threads` at once.
pub(super) fn fetch(
    source: &dyn FileSource,
    files: &[&StoredFile],
    folder: &Path,
    threads: usize,
) -> Result<()> {
    let (send, receive) = sync_channel(0);
    let receive = Mutex::new(receive);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..threads.min(files.len())).map(|_| scope.spawn(|| work(&receive))).collect();
        let opened = open_all(source, files, folder, &send);
        drop(send);
        let ended = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(gone())));
        // A worker's error is why the others could not be handed out.
        ended.collect::<Result<Vec<()>>>().and(opened)
    })
}

/// Opens all files and hands them out.
fn open_all(
    source: &dyn FileSource,
    files: &[&StoredFile],
    folder: &Path,
    send: &SyncSender<Job>,
) -> Result<()> {
    for file in files {
        let job = Job {
            reader: source.open(&file.name)?,
            identity: file.identity.clone(),
            to: folder.join(&file.name),
            is_immutable: file_number(&file.name).is_some(),
        };
        send.send(job).map_err(|_| gone())?;
    }
    Ok(())
}

/// Copies what comes until all is done or one file fails, which ends the others too.
fn work(receive: &Mutex<Receiver<Job>>) -> Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let next = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return Ok(()) };
        job.run(&mut buffer)?;
    }
}

impl Job {
    fn run(&self, buffer: &mut [u8]) -> Result<()> {
        if self.reader.len() != self.identity.bytes() {
            return Err(self.damaged(format!(
                "it has {} bytes instead of {}",
                self.reader.len(),
                self.identity.bytes()
            )));
        }
        match self.reader.local_path() {
            // If not on this disk: copied.
            Some(local) if self.is_immutable && std::fs::hard_link(local, &self.to).is_ok() => {
                Ok(())
            }
            _ => self.copy(buffer),
        }
    }

    fn copy(&self, buffer: &mut [u8]) -> Result<()> {
        let on_error =
            |error| StateError::from_io(format_args!("write {}", self.to.display()), error);
        let mut to = File::create_new(&self.to).map_err(on_error)?;
        let mut hasher = crc32fast::Hasher::new();
        let (mut offset, bytes) = (0, self.identity.bytes());
        while offset < bytes {
            let len = (bytes - offset).min(buffer.len() as u64);
            let part = buffer.get_mut(..len as usize).unwrap_or_default();
            self.reader.read_exact_at(offset, part)?;
            hasher.update(part);
            to.write_all(part).map_err(on_error)?;
            offset += len;
        }
        let found = hasher.finalize();
        if found == self.identity.crc32() {
            return Ok(());
        }
        let expected = self.identity.crc32();
        Err(self.damaged(format!("its checksum is {found:08x} instead of {expected:08x}")))
    }

    #[cold]
    fn damaged(&self, what: String) -> StateError {
        let message = format!("{} is damaged, or is another file: {what}", self.reader.name());
        StateError::new(ErrorKind::Corrupt, message)
    }
}

/// Seen only beside the error that made the other side end.
#[cold]
fn gone() -> StateError {
    StateError::new(ErrorKind::Io, "files are no longer fetched")
}
