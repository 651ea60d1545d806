//! Native files of backends on their way into and out of storage.
//!
//! What one subtask writes anew for one checkpoint goes into few large objects: files that are
//! streamed into one, one after the other; local files into several that are written at once, if
//! they are large enough together. Objects are published when the task has ended well; the
//! registry is told before the subtask acknowledges. On an error none of them stays.

mod object;
mod pack;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_snapshot::check_relative_name;
use millpond_snapshot::metadata::{FileHandle, IncrementalHandle, KeyedStateHandle, LogicalFile};
use millpond_state::{
    CancelFlag, ErrorKind as StateErrorKind, FileIdentity, FileTransfer, FileWriter, FilesTask,
    LocalFile, Result as StateResult, StateError,
};
use millpond_storage::Store;

use super::keyed_state::{KeyedPart, WriteKeyedState};
use super::local::{Draft, LocalCopies};
use super::shared_files::SharedFiles;
use super::{CheckpointStorage, threads};
use crate::error::{CheckpointError, ErrorKind, Result};
use crate::name;
use crate::registry::{ReportedFile, SharedFile};
use object::{NewObject, Part, Stop, local_bytes, remove};
use pack::{PackLimits, plan_objects};
pub(super) use source::HandleFiles;
pub use source::ObjectPart;

/// What backends, and the local disk, know a file by.
pub(super) fn place(object: &str, offset: u64) -> String {
    format!("{object}@{offset}")
}

impl CheckpointStorage {
    /// Runs the asynchronous part of a snapshot in files: `backend` is the name of the backend that
    /// made it. On an error or a cancellation nothing is left behind; on success the registry in
    /// `shared` knows the files.
    ///
    /// # Errors
    /// What the task, the store or the registry reports.
    pub fn write_files(
        &self,
        (write, backend): (&WriteKeyedState<'_>, &str),
        task: Box<dyn FilesTask>,
        shared: &SharedFiles,
        cancel: &CancelFlag,
    ) -> Result<KeyedPart> {
        let mut transfer = StoreTransfer::new(self, *write, (shared, cancel));
        let summary = task.run(&mut transfer, cancel).map_err(super::describe::state)?;
        let written = transfer.finish()?;
        shared.with(|registry| registry.report(write.checkpoint, written.reported))?;
        let handle = IncrementalHandle {
            backend: backend.to_owned(),
            key_groups: write.key_groups,
            states: summary.states.iter().map(|state| state.name().to_owned()).collect(),
            objects: written.objects,
            logical_files: written.logical_files,
            manifest: summary.manifest,
        };
        Ok(KeyedPart {
            handle: KeyedStateHandle::Incremental(handle),
            key_groups: write.key_groups,
            states: summary.states,
            entries: summary.entries,
            entries_changed: summary.entries_changed,
            bytes: written.new_bytes,
        })
    }
}

/// A file of the snapshot.
struct Named {
    name: String,
    placed: Placed,
}

enum Placed {
    Stored(SharedFile),
    /// In the new object of this position.
    New {
        object: usize,
        part: Part,
        draft: Option<Draft>,
    },
}

/// Where new files go, for all threads that write them.
struct Target<'t> {
    store: &'t dyn Store,
    upload_threads: usize,
    copies: Option<Arc<LocalCopies>>,
    write: WriteKeyedState<'t>,
    cancel: &'t CancelFlag,
    /// Whether a file could not be written: nothing is published then.
    failed: AtomicBool,
}

struct StoreTransfer<'t> {
    target: Target<'t>,
    /// What may be re-used, by place.
    offers: BTreeMap<String, SharedFile>,
    objects: Vec<NewObject>,
    /// The position of the object that files are streamed to.
    streamed: Option<usize>,
    named: Vec<Named>,
    names: BTreeSet<String>,
}

/// What a transfer came to.
struct Transferred {
    objects: Vec<FileHandle>,
    logical_files: Vec<LogicalFile>,
    reported: Vec<ReportedFile>,
    new_bytes: u64,
}

impl Target<'_> {
    fn object_name(&self, position: usize) -> String {
        let index = u32::try_from(position).unwrap_or(u32::MAX);
        name::shared_object_name(
            self.write.attempt,
            self.write.checkpoint,
            self.write.subtask,
            index,
        )
    }

    fn stop(&self) -> Stop<'_> {
        Stop { cancel: self.cancel, failed: &self.failed }
    }

    /// What was written, if that did not fail; if it did, nothing is published.
    fn note<T>(&self, written: StateResult<T>) -> StateResult<T> {
        self.failed.fetch_or(written.is_err(), Ordering::Relaxed);
        written
    }

    fn draft(&self) -> Option<Draft> {
        self.copies.as_ref()?.draft(self.write.checkpoint)
    }

    fn draft_of(&self, file: &LocalFile) -> Option<Draft> {
        self.copies.as_ref()?.draft_of(self.write.checkpoint, &file.path)
    }

    fn write_object(
        &self,
        (position, name): (usize, String),
        files: &[LocalFile],
        packed: &[usize],
    ) -> StateResult<(NewObject, Vec<(usize, Written)>)> {
        let linked = match packed {
            [alone] => files.get(*alone).and_then(|it| NewObject::link(self.store, &name, it)),
            _ => None,
        };
        let mut object = linked.map_or_else(|| NewObject::create(self.store, name), Ok)?;
        let mut all = Vec::new();
        for (at, file) in packed.iter().filter_map(|at| Some((*at, files.get(*at)?))) {
            let mut draft = self.draft_of(file);
            let part = object.append(&mut draft, self.stop(), &mut |sink| file.copy_to(sink))?;
            all.push((at, Written { object: position, part, draft }));
        }
        Ok((object, all))
    }
}

impl<'t> StoreTransfer<'t> {
    fn new(
        storage: &'t CheckpointStorage,
        write: WriteKeyedState<'t>,
        (shared, cancel): (&SharedFiles, &'t CancelFlag),
    ) -> Self {
        let offers = shared.with(|registry| {
            let keyed = |file: &SharedFile| (place(file.object.name(), file.offset), file.clone());
            registry.offers(write.checkpoint).map(keyed).collect()
        });
        let target = Target {
            store: storage.store.as_ref(),
            upload_threads: storage.upload_threads,
            copies: storage.copies.clone(),
            write,
            cancel,
            failed: AtomicBool::new(false),
        };
        let (objects, named, names) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { target, offers, objects, streamed: None, named, names }
    }

    fn take_name(&mut self, name: &str) -> StateResult<()> {
        check_relative_name(name)?;
        if self.names.insert(name.to_owned()) {
            return Ok(());
        }
        let message = format!("two files of a snapshot are called {name:?}");
        Err(StateError::new(StateErrorKind::InvalidArgument, message))
    }

    fn offer(&self, file: &FileIdentity) -> Option<&SharedFile> {
        let offer = self.offers.get(file.place())?;
        (offer.bytes == file.bytes() && offer.crc32 == file.crc32()).then_some(offer)
    }

    /// Streams a file to the object for that.
    fn stream(
        &mut self,
        mut draft: Option<Draft>,
        write: &mut FileWriter<'_>,
    ) -> StateResult<Written> {
        let at = match self.streamed {
            Some(at) => at,
            None => {
                let at = self.objects.len();
                let name = self.target.object_name(at);
                self.objects.push(NewObject::create(self.target.store, name)?);
                *self.streamed.insert(at)
            }
        };
        let object = self.objects.get_mut(at).ok_or_else(no_object)?;
        let part = self.target.note(object.append(&mut draft, self.target.stop(), write))?;
        Ok(Written { object: at, part, draft })
    }

    fn take_written(&mut self, name: &str, written: Written) -> StateResult<FileIdentity> {
        let Written { object, part, draft } = written;
        let object_name = self.objects.get(object).ok_or_else(no_object)?.name();
        let place = place(object_name, part.offset);
        let placed = Placed::New { object, part, draft };
        self.named.push(Named { name: name.to_owned(), placed });
        Ok(FileIdentity::new(place, part.bytes, part.crc32))
    }

    /// Writes each of `packed`, positions in `files`, as an object, several at once.
    fn write_packed(
        &mut self,
        files: &[LocalFile],
        packed: Vec<Vec<usize>>,
    ) -> StateResult<Vec<(usize, Written)>> {
        let first = self.objects.len();
        let jobs: Vec<(usize, String, Vec<usize>)> = (first..)
            .zip(packed)
            .map(|(position, files)| (position, self.target.object_name(position), files))
            .collect();
        let target = &self.target;
        let objects = threads::for_each(target.upload_threads, jobs, |(position, name, packed)| {
            target.note(target.write_object((position, name), files, &packed))
        });
        // The cause comes before those that only gave up because of it.
        let mut errors = Vec::new();
        let mut all = Vec::new();
        for object in objects {
            match object {
                Ok((object, written)) => {
                    self.objects.push(object);
                    all.extend(written);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.sort_by_key(|error| error.kind() == StateErrorKind::Cancelled);
        errors.into_iter().next().map_or(Ok(all), Err)
    }

    /// Publishes the new objects, several at once.
    fn finish(self) -> Result<Transferred> {
        let Self { target, objects, named, .. } = self;
        if target.failed.load(Ordering::Relaxed) {
            let message = "a file of the snapshot could not be written";
            return Err(CheckpointError::new(ErrorKind::Storage, message));
        }
        let new = publish_all(target.store, objects, target.upload_threads)?;
        let new_bytes = new.iter().map(|object| object.bytes()).sum();
        let mut objects: Vec<FileHandle> = Vec::new();
        let (mut logical_files, mut reported) = (Vec::new(), Vec::new());
        for Named { name, placed } in named {
            let report = match placed {
                Placed::Stored(file) => ReportedFile::Reused(file),
                Placed::New { object, part, draft } => {
                    // Each new file opened its object.
                    let Some(object) = new.get(object).cloned() else { continue };
                    if let Some(draft) = draft {
                        draft.publish(&place(object.name(), part.offset));
                    }
                    let (attempt, checkpoint) = (target.write.attempt, target.write.checkpoint);
                    let Part { offset, bytes, crc32 } = part;
                    let file = SharedFile { object, attempt, checkpoint, offset, bytes, crc32 };
                    ReportedFile::New(file)
                }
            };
            if let (ReportedFile::Reused(file), Some(copies)) = (&report, &target.copies) {
                copies.reuse(target.write.checkpoint, &place(file.object.name(), file.offset));
            }
            logical_files.push(logical_file(name, report.file(), &mut objects));
            reported.push(report);
        }
        Ok(Transferred { objects, logical_files, reported, new_bytes })
    }
}

/// A new file in the new object of a position.
struct Written {
    object: usize,
    part: Part,
    draft: Option<Draft>,
}

#[cold]
fn no_object() -> StateError {
    StateError::new(StateErrorKind::Io, "a new file of the snapshot has no object")
}

/// Publishes all of `objects`, or none.
fn publish_all(
    store: &dyn Store,
    objects: Vec<NewObject>,
    upload_threads: usize,
) -> Result<Vec<Arc<FileHandle>>> {
    let finished = threads::for_each(upload_threads, objects, |object| object.finish(store));
    if finished.iter().all(Result::is_ok) {
        return finished.into_iter().map(|object| object.map(Arc::new)).collect();
    }
    let mut outcome = Ok(Vec::new());
    for object in finished {
        match object {
            Ok(object) => remove(store, object.name()),
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}

/// Describes `file`, with its object among `objects`.
fn logical_file(name: String, file: &SharedFile, objects: &mut Vec<FileHandle>) -> LogicalFile {
    let position = objects.iter().position(|known| known == file.object.as_ref());
    let position = position.unwrap_or_else(|| {
        objects.push(file.object.as_ref().clone());
        objects.len() - 1
    });
    LogicalFile {
        name,
        attempt: file.attempt,
        checkpoint: file.checkpoint,
        object: u32::try_from(position).unwrap_or(u32::MAX),
        offset: file.offset,
        bytes: file.bytes,
        crc32: file.crc32,
    }
}

impl FileTransfer for StoreTransfer<'_> {
    fn reuse(&mut self, name: &str, file: &FileIdentity) -> StateResult<bool> {
        self.reuse_all(&[(name, file)])
    }

    fn reuse_all(&mut self, files: &[(&str, &FileIdentity)]) -> StateResult<bool> {
        let offered: Option<Vec<SharedFile>> =
            files.iter().map(|(_, file)| self.offer(file).cloned()).collect();
        let Some(offered) = offered else { return Ok(false) };
        for ((name, _), file) in files.iter().zip(offered) {
            self.take_name(name)?;
            let (name, placed) = ((*name).to_owned(), Placed::Stored(file));
            self.named.push(Named { name, placed });
        }
        Ok(true)
    }

    fn add(&mut self, name: &str, write: &mut FileWriter<'_>) -> StateResult<FileIdentity> {
        self.take_name(name)?;
        let written = self.stream(self.target.draft(), write)?;
        self.take_written(name, written)
    }

    fn add_local(&mut self, files: &[LocalFile]) -> StateResult<Vec<FileIdentity>> {
        files.iter().try_for_each(|file| self.take_name(&file.name))?;
        let sizes: Vec<u64> = files.iter().map(local_bytes).collect::<StateResult<_>>()?;
        let packing = plan_objects(&sizes, PackLimits::of(self.target.upload_threads));
        let mut written = self.write_packed(files, packing.objects)?;
        for (at, file) in packing.rest.into_iter().filter_map(|at| Some((at, files.get(at)?))) {
            let draft = self.target.draft_of(file);
            written.push((at, self.stream(draft, &mut |sink| file.copy_to(sink))?));
        }
        written.sort_by_key(|(at, _)| *at);
        let named = files.iter().zip(written);
        named.map(|(file, (_, written))| self.take_written(&file.name, written)).collect()
    }

    fn compression_level(&self) -> i32 {
        self.target.write.compression_level
    }
}
