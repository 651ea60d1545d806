//! Files and folders as they are, with what they were when they were last synced.
//!
//! # Invariants
//! - The last state of a name, and the whole content of a file, are what programs see.
//! - The first state of a name, and the synced part of a file, are durable; what comes after is
//!   not. States differ from the one before them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_storage::DiskEntry;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(usize),
    Folder(usize),
}

/// The states of a name since its folder was last synced, the durable one first.
pub(super) type States = Vec<Option<Node>>;

/// A rename in a folder since that was last synced: the state that it gave the new name, and the
/// one that it gave the old name, by their places among the states.
#[derive(Clone, Debug)]
pub(super) struct Rename {
    pub(super) from: (String, usize),
    pub(super) to: (String, usize),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    pub(super) names: BTreeMap<String, States>,
    pub(super) renames: Vec<Rename>,
}

/// Appended to only, so that what was synced is a beginning of what there is.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) content: Arc<Vec<u8>>,
    pub(super) synced: usize,
}

/// A file system. Files and folders are numbered and never go, names do.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub(super) folders: Vec<Folder>,
    pub(super) files: Vec<File>,
}

impl Files {
    /// The folder `root`, durable, and those it is in.
    pub(super) fn new(root: &Path) -> Self {
        let mut files = Self { folders: vec![Folder::default()], files: Vec::new() };
        let mut parent = 0;
        for name in segments(root) {
            let folder = files.add_folder();
            if let Some(parent) = files.folders.get_mut(parent) {
                parent.names.insert(name, vec![Some(Node::Folder(folder))]);
            }
            parent = folder;
        }
        files
    }

    pub(super) fn add_folder(&mut self) -> usize {
        self.folders.push(Folder::default());
        self.folders.len() - 1
    }

    pub(super) fn add_file(&mut self, content: Arc<Vec<u8>>) -> usize {
        let synced = content.len();
        self.files.push(File { content, synced });
        self.files.len() - 1
    }

    fn node(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Folder(0);
        for name in segments(path) {
            let Node::Folder(folder) = node else { return None };
            node = (*self.folders.get(folder)?.names.get(&name)?.last()?)?;
        }
        Some(node)
    }

    fn folder(&self, path: &Path) -> io::Result<usize> {
        match self.node(path) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.node(path) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Adds a state to the name `path`.
    fn set(&mut self, path: &Path, node: Option<Node>) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let folder = self.folder(&parent)?;
        let names = self.folders.get_mut(folder).map(|folder| &mut folder.names);
        let states = names.ok_or(io::ErrorKind::NotFound)?.entry(name);
        states.or_insert_with(|| vec![None]).push(node);
        Ok(())
    }

    fn check_free(&self, path: &Path) -> io::Result<()> {
        self.folder(&split(path)?.0)?;
        match self.node(path) {
            None => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<usize> {
        self.check_free(path)?;
        let file = self.add_file(Arc::default());
        self.set(path, Some(Node::File(file)))?;
        Ok(file)
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from)?;
        self.check_free(to)?;
        self.set(to, Some(Node::File(file)))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.file(from)?;
        let ((folder, from_name), (to_folder, to_name)) = (split(from)?, split(to)?);
        if folder != to_folder {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        match self.node(to) {
            Some(Node::Folder(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            // As the kernel has it: they are one file already.
            Some(Node::File(other)) if other == file => return Ok(()),
            _ => {}
        }
        self.set(to, Some(Node::File(file)))?;
        self.set(from, None)?;
        let folder = self.folder(&folder)?;
        if let Some(folder) = self.folders.get_mut(folder) {
            let last = |name: &String| folder.names.get(name).map_or(0, |states| states.len() - 1);
            let (from, to) = (last(&from_name), last(&to_name));
            folder.renames.push(Rename { from: (from_name, from), to: (to_name, to) });
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.set(path, None)
    }

    pub(super) fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        self.check_free(path)?;
        let folder = self.add_folder();
        self.set(path, Some(Node::Folder(folder)))
    }

    pub(super) fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        if !self.names(path)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.set(path, None)
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.folder(path)?;
        if let Some(folder) = self.folders.get_mut(folder) {
            for states in folder.names.values_mut() {
                let settled = states.len().saturating_sub(1);
                states.drain(..settled);
            }
            folder.renames.clear();
            folder.names.retain(|_, states| states.iter().any(Option::is_some));
        }
        Ok(())
    }

    pub(super) fn append(&mut self, file: usize, bytes: &[u8]) -> io::Result<()> {
        let file = self.files.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        Arc::make_mut(&mut file.content).extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn sync_file(&mut self, file: usize) -> io::Result<()> {
        let file = self.files.get_mut(file).ok_or(io::ErrorKind::NotFound)?;
        file.synced = file.content.len();
        Ok(())
    }

    pub(super) fn content(&self, file: usize) -> io::Result<&[u8]> {
        let file = self.files.get(file).ok_or(io::ErrorKind::NotFound)?;
        Ok(&file.content)
    }

    pub(super) fn entry(&self, path: &Path) -> Option<DiskEntry> {
        Some(match self.node(path)? {
            Node::Folder(_) => DiskEntry::Folder,
            Node::File(file) => DiskEntry::File { len: self.content(file).ok()?.len() as u64 },
        })
    }

    pub(super) fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let folder = self.folders.get(self.folder(path)?);
        let names = folder.into_iter().flat_map(|folder| &folder.names);
        let there = names.filter(|(_, states)| states.last().is_some_and(Option::is_some));
        Ok(there.map(|(name, _)| name.clone()).collect())
    }
}

fn segments(path: &Path) -> Vec<String> {
    let normal = path.components().filter_map(|part| match part {
        std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    normal.collect()
}

fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((parent.to_owned(), name.to_string_lossy().into_owned()))
}
