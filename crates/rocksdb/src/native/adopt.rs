//! All of an instance's key groups from one handle: its database goes on where it was.

use millpond_state::{FileSource, Result};

use super::fetch::fetch;
use super::known::KnownFiles;
use super::manifest::Manifest;
use super::restore::stored_database;
use super::sst::file_number;
use crate::folder::DatabaseFolder;
use crate::store::Store;

/// Opens the database that `source` holds, with the settings of `like`, and says which of its files
/// storage has.
pub(super) fn adopt(
    like: &Store,
    source: &dyn FileSource,
    manifest: &Manifest,
    threads: usize,
) -> Result<(Store, KnownFiles)> {
    let folder = DatabaseFolder::create(like.folder())?;
    let files = stored_database(source, manifest)?;
    fetch(source, &files, folder.path(), threads)?;
    let store = Store::open(folder, like, &manifest.family)?;
    let known = KnownFiles::default();
    for file in files.into_iter().filter(|file| file_number(&file.name).is_some()) {
        known.note(&file.name, file.identity.clone());
    }
    Ok((store, known))
}
