//! Writing the keyed state of one operator: a file for each subtask, from entries in canonical
//! order.

use core::cell::RefCell;
use std::rc::Rc;

use millpond_snapshot::metadata::FullHandle;
use millpond_snapshot::{ByteSink, FullOptions, FullWriter};
use millpond_state::{EntrySink, MaxParallelism, SnapshotEntry, StateDescriptor};

use super::target::Target;
use super::{invalid, state_error};
use crate::driver::ObjectSink;
use crate::error::Result;

/// Longest part of an operator's name that goes into a file name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// What is to be written.
pub(super) struct VertexFiles<'a> {
    /// Index of the operator in the metadata: makes file names unique.
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) states: &'a [StateDescriptor],
    pub(super) parallelism: u32,
    pub(super) max_parallelism: MaxParallelism,
    pub(super) options: FullOptions,
}

/// Takes the entries of all subtasks in canonical order.
pub(super) struct VertexWriter<'a> {
    target: &'a mut Target,
    files: VertexFiles<'a>,
    current: Option<Open>,
    done: Vec<FullHandle>,
}

struct Open {
    name: String,
    sink: SharedSink,
    writer: FullWriter<SharedSink>,
}

impl<'a> VertexWriter<'a> {
    pub(super) const fn new(target: &'a mut Target, files: VertexFiles<'a>) -> Self {
        Self { target, files, current: None, done: Vec::new() }
    }

    /// Adds an entry.
    pub(super) fn push(&mut self, entry: &SnapshotEntry<'_>) -> Result<()> {
        let files = &self.files;
        let subtask = files.max_parallelism.subtask_of(entry.group, files.parallelism) as usize;
        while self.done.len() < subtask {
            self.end_file()?;
        }
        let open = match &mut self.current {
            Some(open) => open,
            None => {
                let open = self.open_file()?;
                self.current.insert(open)
            }
        };
        open.writer.entry(entry).map_err(state_error)
    }

    /// Ends the last file: one for each subtask, also where there are no entries.
    pub(super) fn finish(mut self) -> Result<Vec<FullHandle>> {
        while self.done.len() < self.files.parallelism as usize {
            self.end_file()?;
        }
        Ok(self.done)
    }

    fn open_file(&mut self) -> Result<Open> {
        let name = file_name(self.files.index, self.files.name, self.done.len());
        let sink = SharedSink(Rc::new(RefCell::new(self.target.file(&name)?)));
        let mut writer = FullWriter::create(sink.clone(), self.files.options)?;
        writer.begin(self.files.states).map_err(state_error)?;
        Ok(Open { name, sink, writer })
    }

    fn end_file(&mut self) -> Result<()> {
        let open = match self.current.take() {
            Some(open) => open,
            None => self.open_file()?,
        };
        let summary = open.writer.finish()?;
        let sink = Rc::try_unwrap(open.sink.0)
            .map_err(|_| invalid("a finished file is still being written"))?;
        sink.into_inner().finish()?;
        let files = &self.files;
        let subtask = self.done.len() as u32;
        let range =
            files.max_parallelism.range_of(subtask, files.parallelism).map_err(state_error)?;
        self.done.push(FullHandle::new(open.name, range, &summary)?);
        Ok(())
    }
}

/// The operator's name in it is for people to recognise, not to decode.
fn file_name(index: usize, operator: &str, subtask: usize) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let operator: String = operator.chars().map(fit).take(NAME_BYTES_MAX).collect();
    format!("{index:04}-{operator}-{subtask}.full")
}

/// A sink that its writer and whoever finishes it both hold.
#[derive(Clone)]
struct SharedSink(Rc<RefCell<ObjectSink>>);

impl ByteSink for SharedSink {
    fn write(&mut self, bytes: &[u8]) -> millpond_snapshot::Result<()> {
        self.0.borrow_mut().write(bytes)
    }
}
