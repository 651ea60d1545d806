//! Local recovery: a copy that is damaged in any way is found, named and not used, and the state is
//! that of the checkpoint all the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use millpond_checkpoint::driver::{
    CheckpointStorage, LocalCopies, LocalCopiesListener, LocalProblem, RestoredBytes,
};
use millpond_checkpoint::registry::RegistrySettings;
use millpond_state::{CheckpointId, MaxParallelism};
use millpond_tests::{Cluster, Fallible, Taking};

use crate::backends;
use crate::world::{DAMAGED, World};

/// Remembers which copies were found to be damaged.
#[derive(Clone, Default)]
struct Found(Arc<Mutex<Vec<PathBuf>>>);

impl LocalCopiesListener for Found {
    fn on_problem(&self, problem: &LocalProblem<'_>) {
        let LocalProblem::Damaged { file, .. } = problem else { panic!("{problem:?}") };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(PathBuf::from(file));
    }
}

impl Found {
    fn take(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A checkpoint of which there are local copies.
struct Copied {
    world: World,
    storage: CheckpointStorage,
    copies: Arc<LocalCopies>,
    found: Found,
    /// All copies as they were written.
    whole: BTreeMap<PathBuf, Vec<u8>>,
    _folder: tempfile::TempDir,
}

fn files_below(folder: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) -> Fallible<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|it| it.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            files_below(&path, all)?;
        } else if !is_hidden {
            all.insert(path.clone(), std::fs::read(&path)?);
        }
    }
    Ok(())
}

impl Copied {
    /// Two incremental checkpoints: copies of what the first wrote are among those of the second.
    fn new((name, factory): backends::Named) -> Fallible<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path().canonicalize()?;
        let mut world = World::new(name, factory);
        let found = Found::default();
        let copies = LocalCopies::open(&root, Box::new(found.clone()))?;
        let storage = CheckpointStorage::new(Arc::clone(&world.store)).with_upload_threads(1);
        let storage = storage.with_local_copies(Some(Arc::clone(&copies)));
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let mut cluster = world.open()?;
        for (id, keys) in [(DAMAGED - 1, 3), (DAMAGED, 2)] {
            cluster.fill(keys)?;
            copies.begin(CheckpointId::new(id));
            world.take(&mut cluster, &Taking::full(&storage, id).incremental(&shared))?;
            copies.complete(CheckpointId::new(id));
        }
        let mut whole = BTreeMap::new();
        files_below(&root, &mut whole)?;
        Ok(Self { world, storage, copies, found, whole, _folder: folder })
    }

    /// Checks that the state is restored as it was; returns what was read where.
    fn restore(&self, case: &str) -> Fallible<RestoredBytes> {
        let from = (&self.storage, &self.copies);
        let max = MaxParallelism::new(4)?;
        let (mut cluster, bytes) =
            Cluster::restore_with(self.world.factory.as_ref(), from, max, 2)?;
        let expected = self.world.contents.get(&DAMAGED);
        assert!(expected == Some(&cluster.contents()?), "{}, {case}", self.world.name);
        Ok(bytes)
    }

    /// Restores with other bytes in some copies, which must be found and no longer be there; then
    /// puts the whole copies back.
    fn assert_found(&self, damaged: &[(&PathBuf, Vec<u8>)], case: &str) -> Fallible<()> {
        for (path, bytes) in damaged {
            // Not in place: a copy may be a second name of the backend's own file.
            std::fs::remove_file(path)?;
            std::fs::write(path, bytes)?;
        }
        let case = format!("{case} of {damaged:?}");
        let bytes = self.restore(&case)?;
        let expected: Vec<PathBuf> = damaged.iter().map(|(path, _)| (*path).clone()).collect();
        let mut found = self.found.take();
        found.sort();
        assert_eq!(found, expected, "{}, {case}", self.world.name);
        assert!(bytes.storage > 0, "{}, {case}", self.world.name);
        for (path, _) in damaged {
            assert!(!path.exists(), "{}, {case}: a damaged copy stays", self.world.name);
            std::fs::write(path, self.whole.get(*path).ok_or("unknown")?)?;
        }
        Ok(())
    }
}

#[test]
fn a_local_copy_that_is_damaged_in_any_way_is_found_named_and_not_used() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for backend in backends::native(state.path())? {
        let copied = Copied::new(backend)?;
        let bytes = copied.restore("nothing damaged")?;
        assert!(bytes.local > 0 && bytes.storage == 0, "copies are used: {bytes:?}");
        assert_eq!(copied.found.take(), Vec::<PathBuf>::new());
        let (mut bits, mut flips, mut lengths) = (0, 0, 0);
        for (path, whole) in &copied.whole {
            let count = whole.len() as u64 * 8;
            bits += count;
            for (bit, is_restored) in copied.world.sampled(count) {
                if is_restored {
                    let mut flipped = whole.clone();
                    let byte = flipped.get_mut(usize::try_from(bit / 8)?).ok_or("out of range")?;
                    *byte ^= 1 << (bit % 8);
                    copied.assert_found(&[(path, flipped)], &format!("bit {bit}"))?;
                    flips += 1;
                }
            }
            let shorter = whole.get(..whole.len() - 1).unwrap_or_default();
            for other in [&[], shorter, &[whole, b"x".as_slice()].concat()] {
                copied.assert_found(&[(path, other.to_vec())], "another length")?;
                lengths += 1;
            }
        }
        assert!(flips > 0);
        println!(
            "copies of {}: {flips} flipped bits of {bits} found, {lengths} of {lengths} lengths",
            copied.world.name
        );
    }
    Ok(())
}

#[test]
fn local_copies_that_were_swapped_stale_or_lost_are_not_used() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for backend in backends::native(state.path())? {
        let copied = Copied::new(backend)?;
        let paths: Vec<_> = copied.whole.iter().collect();
        let mut swaps = 0;
        for (at, (one, a)) in paths.iter().enumerate() {
            for (other, b) in paths.iter().skip(at + 1).filter(|(_, b)| b != a) {
                let swapped = [(*one, b.to_vec()), (*other, a.to_vec())];
                copied.assert_found(&swapped, "a swap")?;
                swaps += 1;
            }
            // Of the right name and length, and of another time.
            let mut stale = a.to_vec();
            stale.rotate_left(1);
            if stale != **a {
                copied.assert_found(&[(*one, stale)], "stale bytes")?;
            }
            std::fs::remove_file(one)?;
            let bytes = copied.restore("a lost copy")?;
            assert!(bytes.storage > 0 && copied.found.take().is_empty(), "{one:?}");
            std::fs::write(one, a)?;
        }
        assert!(swaps > 0, "{}: too few copies", copied.world.name);
        println!("copies of {}: {swaps} of {swaps} swaps found", copied.world.name);
    }
    Ok(())
}
