//! Whole files of several databases as one column family of a new one.
//!
//! What the instance has already is captured and comes along, since a family can only be imported
//! as a whole. Files lie in folders of their own until then; the import moves them.

use std::collections::BTreeMap;
use std::path::Path;

use millpond_state::{ErrorKind, FileIdentity, Result, StateError};
use rocksdb::{DB, DEFAULT_COLUMN_FAMILY_NAME};

use super::capture::{Captured, capture};
use super::known::KnownFiles;
use super::sst::{SstFile, file_number};
use super::sys::{self, FileToImport};
use crate::error::rocksdb_error;
use crate::folder::{DatabaseFolder, TemporaryFolder};
use crate::store::{IMPORTED_FAMILY, Store, families};

/// Files to import, in one folder.
pub(super) struct Part {
    pub(super) folder: Folder,
    pub(super) tables: Vec<SstFile>,
    /// What storage has of them, by name.
    pub(super) identities: BTreeMap<String, FileIdentity>,
}

/// Holds the files of a part.
pub(super) enum Folder {
    Captured(Captured),
    Fetched(TemporaryFolder),
}

impl Part {
    fn path(&self) -> &Path {
        match &self.folder {
            Folder::Captured(captured) => captured.path(),
            Folder::Fetched(folder) => folder.path(),
        }
    }

    /// What `store` holds now.
    pub(super) fn of_store(store: &Store, known: &KnownFiles) -> Result<Self> {
        let captured = capture(store)?;
        let tables = captured.files(&captured.open()?)?.tables;
        let identity = |table: &SstFile| {
            let known = known.of(&table.name).into_iter().next()?;
            Some((table.name.clone(), known))
        };
        let identities = tables.iter().filter_map(identity).collect();
        Ok(Self { folder: Folder::Captured(captured), tables, identities })
    }
}

/// Makes a database, with the settings of `like`, of the files of `parts`, and says which of them
/// storage has. They overlap only within a part.
pub(super) fn import(like: &Store, parts: &[Part]) -> Result<(Store, KnownFiles)> {
    let folder = DatabaseFolder::reserve(like.folder());
    let files = files_to_import(parts)?;
    let imported = create_imported(like, &folder, &files)?;
    let known = identify(parts, imported)?;
    Ok((Store::open(folder, like, IMPORTED_FAMILY)?, known))
}

fn files_to_import(parts: &[Part]) -> Result<Vec<FileToImport<'_>>> {
    let mut files = Vec::new();
    for part in parts {
        let folder = part.path();
        for file in &part.tables {
            let path = folder.join(&file.name);
            let metadata = std::fs::metadata(&path).map_err(|error| {
                StateError::from_io(format_args!("look at {}", path.display()), error)
            })?;
            files.push(FileToImport { folder, bytes: metadata.len(), file });
        }
    }
    Ok(files)
}

/// Creates the database in `folder`; returns its files. It is closed again, and nothing compacts
/// before.
fn create_imported(
    like: &Store,
    folder: &DatabaseFolder,
    files: &[FileToImport<'_>],
) -> Result<Vec<SstFile>> {
    let mut options = like.options().clone();
    options.set_disable_auto_compactions(true);
    let default = families(&options, DEFAULT_COLUMN_FAMILY_NAME);
    let db = DB::open_cf_descriptors(&options, folder.path(), default)
        .map_err(|error| rocksdb_error("create a database for imported files", error))?;
    sys::import(&db, &options, IMPORTED_FAMILY, files)?;
    let mut imported = sys::live_files(&db, IMPORTED_FAMILY)?;
    imported.sort_by_key(|file| file_number(&file.name));
    Ok(imported)
}

/// Files are numbered in the order in which they were listed for the import: tells which of them
/// storage has, by their new names.
fn identify(parts: &[Part], imported: Vec<SstFile>) -> Result<KnownFiles> {
    let before = parts.iter().flat_map(|part| part.tables.iter().map(move |file| (part, file)));
    let before: Vec<(&Part, &SstFile)> = before.collect();
    if before.len() != imported.len() {
        let message =
            format!("{} files were imported and {} are there", before.len(), imported.len());
        return Err(StateError::new(ErrorKind::Io, message));
    }
    let known = KnownFiles::default();
    for ((part, old), new) in before.into_iter().zip(imported) {
        // Otherwise the order is not what it was taken for: uploading anew is always right.
        let is_same = SstFile { name: old.name.clone(), ..new.clone() } == *old;
        if let Some(identity) = part.identities.get(&old.name).filter(|_| is_same) {
            known.note(&new.name, identity.clone());
        }
    }
    Ok(known)
}
