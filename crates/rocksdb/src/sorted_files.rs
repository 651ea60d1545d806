//! SST files written from sorted operations, for the database to take over.

use std::path::PathBuf;

use millpond_state::{Result, StateError};
use rocksdb::SstFileWriter;

use crate::error::rocksdb_error;
use crate::store::Store;

/// Writes files of about the store's file size. They are removed unless they are taken over.
pub(crate) struct SortedFiles<'s> {
    store: &'s Store,
    /// What the names of the files begin with.
    what: &'static str,
    writer: Option<SstFileWriter<'s>>,
    /// Files that are written, the open one last.
    files: Vec<PathBuf>,
}

impl<'s> SortedFiles<'s> {
    /// No files yet; their names will begin with `what`.
    pub(crate) const fn new(store: &'s Store, what: &'static str) -> Self {
        Self { store, what, writer: None, files: Vec::new() }
    }

    /// Puts a value. Keys ascend.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add(|writer| writer.put(key, value))
    }

    /// Adds a merge operand. Keys ascend.
    pub(crate) fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<()> {
        self.add(|writer| writer.merge(key, operand))
    }

    /// Deletes a key. Keys ascend.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<()> {
        self.add(|writer| writer.delete(key))
    }

    fn add(
        &mut self,
        add: impl FnOnce(&mut SstFileWriter<'s>) -> Result<(), rocksdb::Error>,
    ) -> Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let path = self.store.folder().unused(self.what).with_extension("sst");
                self.files.push(path.clone());
                let writer = SstFileWriter::create(self.store.options());
                writer.open(&path).map_err(failed)?;
                self.writer.insert(writer)
            }
        };
        add(writer).map_err(failed)?;
        if writer.file_size() >= self.store.file_bytes() {
            self.close_file()?;
        }
        Ok(())
    }

    fn close_file(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(mut writer) => writer.finish().map_err(failed),
            None => Ok(()),
        }
    }

    /// Finishes the last file; returns all of them.
    pub(crate) fn finish(&mut self) -> Result<&[PathBuf]> {
        self.close_file()?;
        Ok(&self.files)
    }

    /// Has the database take the files over, all at once.
    pub(crate) fn take_over(mut self) -> Result<()> {
        self.close_file()?;
        if !self.files.is_empty() {
            self.store.ingest(self.files.clone())?;
            self.files.clear();
        }
        Ok(())
    }
}

impl Drop for SortedFiles<'_> {
    fn drop(&mut self) {
        drop(self.writer.take());
        for file in &self.files {
            // What stays goes with the instance's folder.
            let _ = std::fs::remove_file(file);
        }
    }
}

fn failed(error: rocksdb::Error) -> StateError {
    rocksdb_error("write sorted entries to a file", error)
}
