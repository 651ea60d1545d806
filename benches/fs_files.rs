//! What do snapshots, restores and compaction of the filesystem backend cost: the pause, the bytes
//! written with 1 % changed, the time until a restored state can be read against copying the same
//! files, the space taken after everything was overwritten twenty times?
//!
//! Figures are medians over rounds. Files go to a temporary folder of the local disk.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures, prints, and stops on errors"
)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use millpond_benches::{Rng, Sizes, at, fill, key, max_parallelism, median};
use millpond_fs::{FsBackend, FsBackendFactory, FsOptions};
use millpond_state::codec::CodecIdentity;
use millpond_state::{
    BackendContext, CancelFlag, CheckpointId, ErrorKind, FileIdentity, FileReader, FileSink,
    FileSource, FileTransfer, FileWriter, KeyGroupRange, KeyedBackend, Result, SnapshotRequest,
    StateCodecs, StateDescriptor, StateError, StateId, StateKind, StoredFile,
};

/// Files of checkpoints in a folder.
struct Folder {
    path: PathBuf,
    named: Vec<StoredFile>,
    written: u64,
    added_bytes: u64,
}

impl Folder {
    /// Begins another snapshot.
    fn begin(&mut self) {
        self.named.clear();
        self.added_bytes = 0;
    }
}

/// A file on its way.
struct Sink {
    file: File,
    bytes: u64,
    checksum: crc32fast::Hasher,
}

impl FileSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(failed)
    }
}

fn failed(error: std::io::Error) -> StateError {
    StateError::new(ErrorKind::Io, "a file of the benchmark").with_source(error)
}

impl FileTransfer for Folder {
    fn reuse(&mut self, name: &str, file: &FileIdentity) -> Result<bool> {
        self.reuse_all(&[(name, file)])
    }

    fn reuse_all(&mut self, files: &[(&str, &FileIdentity)]) -> Result<bool> {
        let named = files
            .iter()
            .map(|(name, file)| StoredFile { name: (*name).to_owned(), identity: (*file).clone() });
        self.named.extend(named);
        Ok(true)
    }

    fn add(&mut self, name: &str, write: &mut FileWriter<'_>) -> Result<FileIdentity> {
        let place = self.path.join(format!("{}", self.written));
        self.written += 1;
        let file = File::create(&place).map_err(failed)?;
        let mut sink = Sink { file, bytes: 0, checksum: crc32fast::Hasher::new() };
        write(&mut sink)?;
        self.added_bytes += sink.bytes;
        let place = place.to_str().unwrap();
        let identity = FileIdentity::new(place, sink.bytes, sink.checksum.finalize());
        self.named.push(StoredFile { name: name.to_owned(), identity: identity.clone() });
        Ok(identity)
    }

    fn compression_level(&self) -> i32 {
        0
    }
}

/// The files of a snapshot, streamed or as they lie on the local disk.
struct Source {
    files: Vec<StoredFile>,
    manifest: Vec<u8>,
    groups: KeyGroupRange,
    is_local: bool,
}

impl FileSource for Source {
    fn backend(&self) -> &str {
        "fs"
    }

    fn key_groups(&self) -> KeyGroupRange {
        self.groups
    }

    fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    fn files(&self) -> &[StoredFile] {
        &self.files
    }

    fn open(&self, name: &str) -> Result<Box<dyn FileReader>> {
        let stored = self.files.iter().find(|file| file.name == name).unwrap().clone();
        let file = File::open(stored.identity.place()).map_err(failed)?;
        Ok(Box::new(Reader { file, stored, is_local: self.is_local }))
    }
}

struct Reader {
    file: File,
    stored: StoredFile,
    is_local: bool,
}

impl FileReader for Reader {
    fn len(&self) -> u64 {
        self.stored.identity.bytes()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(failed)
    }

    fn name(&self) -> &str {
        &self.stored.name
    }

    fn local_path(&self) -> Option<&Path> {
        self.is_local.then(|| Path::new(self.stored.identity.place()))
    }
}

struct Job {
    backend: FsBackend,
    state: StateId,
    keys: u64,
    value: Vec<u8>,
    rng: Rng,
    checkpoints: u64,
}

impl Job {
    fn open(factory: &FsBackendFactory) -> (FsBackend, StateId) {
        let max = max_parallelism().unwrap();
        let context = BackendContext::new("bench", max.full_range(), max);
        let mut backend = factory.open_backend(&context).unwrap();
        let state = Self::register(&mut backend);
        (backend, state)
    }

    fn register(backend: &mut FsBackend) -> StateId {
        let identity = || CodecIdentity::new("bytes", 1);
        let (key, namespace, value) = (identity(), CodecIdentity::void(), identity());
        let codecs = StateCodecs { key, namespace, user_key: None, value };
        let descriptor = StateDescriptor::new("totals", StateKind::Value, codecs).unwrap();
        backend.register(&descriptor).unwrap()
    }

    fn filled(factory: &FsBackendFactory, keys: u64, value_bytes: usize) -> Self {
        let (mut backend, state) = Self::open(factory);
        fill(&mut backend, state, keys, value_bytes).unwrap();
        let (value, rng) = (vec![3; value_bytes], Rng::new(5));
        Self { backend, state, keys, value, rng, checkpoints: 0 }
    }

    fn overwrite(&mut self, count: u64) {
        let max = max_parallelism().unwrap();
        for _ in 0..count {
            let key = key(self.rng.below(self.keys)).to_be_bytes();
            self.backend.put(self.state, at(&key, max), &self.value).unwrap();
        }
    }

    /// Takes a checkpoint that completes; returns the pause in microseconds and the manifest.
    fn checkpoint(&mut self, files: &mut Folder) -> (f64, Vec<u8>) {
        self.checkpoints += 1;
        let id = CheckpointId::new(self.checkpoints);
        let start = Instant::now();
        let task = self.backend.snapshot_files(&SnapshotRequest::incremental(id)).unwrap().unwrap();
        let pause = start.elapsed().as_nanos() as f64 / 1e3;
        files.begin();
        let summary = task.run(files, &CancelFlag::new()).unwrap();
        self.backend.checkpoint_completed(id);
        (pause, summary.manifest)
    }

    /// The pause of a canonical snapshot in microseconds.
    fn canonical_pause(&mut self) -> f64 {
        self.checkpoints += 1;
        let request = SnapshotRequest::full(CheckpointId::new(self.checkpoints));
        let start = Instant::now();
        let task = self.backend.snapshot(&request).unwrap();
        let pause = start.elapsed().as_nanos() as f64 / 1e3;
        drop(task);
        pause
    }
}

/// Pauses at several parts changed, bytes written at 1 %.
fn snapshots(job: &mut Job, files: &mut Folder, rounds: usize) {
    job.checkpoint(files);
    println!("  changed   pause us   worst us   canonical us   bytes of changed entries   CPU ms");
    for percent in [0, 1, 10, 100] {
        let count = job.keys * percent / 100;
        let entry = 24 + job.value.len() as u64;
        let mut pauses = Vec::new();
        let (mut canonical, mut bytes, mut ms) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            job.overwrite(count);
            canonical.push(job.canonical_pause());
            job.overwrite(count);
            let before = files.added_bytes;
            let _ = before;
            let start = Instant::now();
            let (pause, _) = job.checkpoint(files);
            ms.push(start.elapsed().as_secs_f64() * 1e3);
            pauses.push(pause);
            // Twice as many were changed, since the canonical snapshot wrote nothing.
            bytes.push(files.added_bytes as f64 / (2 * count * entry).max(1) as f64);
        }
        let worst = pauses.iter().copied().fold(0.0, f64::max);
        println!(
            "  {percent:>5} %  {:>9.1}  {worst:>9.1}  {:>13.1}   {:>24.2}   {:>6.1}",
            median(pauses),
            median(canonical),
            median(bytes),
            median(ms)
        );
    }
}

/// Seconds until a restored state can be read, against copying the same files.
fn restores(factory: &FsBackendFactory, job: &mut Job, files: &mut Folder, rounds: usize) {
    let (_, manifest) = job.checkpoint(files);
    let max = max_parallelism().unwrap();
    let copies = files.path.join("copies");
    let (mut copying, mut streamed, mut local, mut reading) = (vec![], vec![], vec![], vec![]);
    let bytes: u64 = files.named.iter().map(|file| file.identity.bytes()).sum();
    for _ in 0..rounds {
        std::fs::create_dir_all(&copies).unwrap();
        let start = Instant::now();
        for (number, file) in files.named.iter().enumerate() {
            // As bytes, like a restore: the system's own copies within a file may share blocks.
            let mut from = File::open(file.identity.place()).unwrap();
            let mut to = File::create(copies.join(number.to_string())).unwrap();
            copy(&mut from, &mut to);
        }
        copying.push(start.elapsed().as_secs_f64());
        std::fs::remove_dir_all(&copies).unwrap();
        for (is_local, seconds) in [(false, &mut streamed), (true, &mut local)] {
            let (files, manifest) = (files.named.clone(), manifest.clone());
            let mut source = Source { files, manifest, groups: max.full_range(), is_local };
            let context = BackendContext::new("bench", max.full_range(), max);
            let mut backend = factory.open_backend(&context).unwrap();
            let start = Instant::now();
            let restored = backend.restore_files(&mut source, max.full_range()).unwrap();
            seconds.push(start.elapsed().as_secs_f64());
            assert_eq!(restored, job.keys);
            let state = Job::register(&mut backend);
            let start = Instant::now();
            assert!(backend.get(state, at(&key(0).to_be_bytes(), max)).unwrap().is_some());
            reading.push(start.elapsed().as_secs_f64());
        }
    }
    let (copying, streamed, local) = (median(copying), median(streamed), median(local));
    println!(
        "  restore of {:.2} GB: copying {copying:.2} s, restore from storage {streamed:.2} s \
         ({:.2} of the speed), from the local disk {local:.2} s ({:.2}); first read after \
         {:.1} us more",
        bytes as f64 / 1e9,
        copying / streamed,
        copying / local,
        median(reading) * 1e6
    );
}

fn copy(from: &mut File, to: &mut File) {
    use std::io::Read;

    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer).unwrap() {
            0 => return,
            count => to.write_all(&buffer[..count]).unwrap(),
        }
    }
}

/// Overwrites everything twenty times and says what that took.
fn space(job: &mut Job) {
    let mut worst: f64 = 0.0;
    for _ in 0..200 {
        job.overwrite(job.keys / 10);
        let it = job.backend.statistics();
        worst = worst.max(it.sealed_bytes as f64 / it.live_bytes as f64);
    }
    let it = job.backend.statistics();
    let own = it.appended_bytes - it.copied_bytes;
    println!(
        "  after 20 overwrites: {:.2} of the live bytes in segments, worst {worst:.2}, write \
         amplification {:.2}; index bytes a key {:.1}",
        it.sealed_bytes as f64 / it.live_bytes as f64,
        it.appended_bytes as f64 / own as f64,
        it.index_bytes as f64 / it.index_entries as f64
    );
}

fn main() {
    let sizes = Sizes::from_environment();
    let rounds = sizes.rounds.min(5);
    for keys in &sizes.keys {
        for value_bytes in &sizes.value_bytes {
            println!("\n{keys} keys, {value_bytes} bytes a value");
            let dir = tempfile::tempdir().unwrap();
            let factory = FsBackendFactory::new(FsOptions::new(dir.path().join("fs"))).unwrap();
            let path = dir.path().join("files");
            std::fs::create_dir(&path).unwrap();
            let mut files = Folder { path, named: Vec::new(), written: 0, added_bytes: 0 };
            let mut job = Job::filled(&factory, *keys, *value_bytes);
            snapshots(&mut job, &mut files, rounds);
            space(&mut job);
            restores(&factory, &mut job, &mut files, rounds);
        }
    }
}
