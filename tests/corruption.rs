//! Damage to any file of a checkpoint of any kind is found by verification and by restore, and
//! named, and a restore falls back to the checkpoint before: each bit, each length, files of the
//! right name that hold something else. Damage to a local copy is found, and costs the copy.
//!
//! The cases are counted and printed (`cargo test -p millpond-tests --test corruption --
//! --nocapture`, with `--features rocksdb` for that backend). All bits and lengths of full
//! checkpoints and chains of deltas are verified and one in 31 is restored; of the files of other
//! backends fewer are. With `EVERY_BIT=1` every one is verified and restored, but of RocksDB's
//! files one in 53 is restored.

#![allow(clippy::panic, reason = "this is all test: a panic is how it reports")]
#![allow(clippy::print_stdout, reason = "the number of cases is a result")]

mod backends;
#[path = "corruption/local.rs"]
mod local;
#[path = "corruption/world.rs"]
mod world;

use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::{MemoryBackendFactory, MemoryOptions};
use millpond_state::MaxParallelism;
use millpond_storage::Store;
use millpond_testkit::SplitMix64;
use millpond_testkit::double::{FlipStore, ReplaceStore};
use millpond_testkit::model::ModelFactory;
use millpond_tests::{Cluster, Fallible, Taking};

use self::world::{DAMAGED, Unread, World, folder_of};

#[test]
fn each_flipped_bit_of_each_file_of_each_kind_of_checkpoint_is_found() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for world in World::all(state.path())? {
        let (mut verified, mut restored, mut unread, mut bits) = (0_u64, 0_u64, 0_u64, 0);
        for file in world.files()? {
            bits += file.len * 8;
            for (bit, is_restored) in world.sampled(file.len * 8) {
                let flipped = FlipStore::new(Arc::clone(&world.store), file.path.clone(), bit);
                let shown: Arc<dyn Store> = Arc::new(flipped);
                let case = format!("bit {bit}");
                world.assert_verify_finds(&shown, &[&file.path], &case)?;
                verified += 1;
                if is_restored {
                    let is_part = world.is_part(&file.path, bit / 8)?;
                    let may_be = if is_part { Unread::Refused } else { Unread::Allowed };
                    let files = [&file.path];
                    let found = world.assert_restore_finds(&shown, &files, (&case, 2), may_be)?;
                    restored += u64::from(found);
                    unread += u64::from(!found);
                }
            }
        }
        assert!(restored > 0, "{}: nothing was restored", world.name);
        println!(
            "{}: {verified} flipped bits of {bits} found by verification, {restored} by restore; \
             {unread} in what the checkpoint does not use",
            world.name
        );
    }
    Ok(())
}

#[test]
fn a_file_cut_to_any_length_or_with_something_behind_it_is_found() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for world in World::all(state.path())? {
        let (mut verified, mut restored, mut lengths) = (0, 0, 0);
        for file in world.files()? {
            let longer = [world.read(&file.path)?.as_slice(), b"x"].concat();
            lengths += longer.len() - 1;
            let mut check = |len: usize, is_restored: bool| -> Fallible<()> {
                let bytes = longer.get(..len).ok_or("out of range")?;
                let shown = world.replaced(&file.path, bytes);
                let case = format!("length {len}");
                world.assert_verify_finds(&shown, &[&file.path], &case)?;
                verified += 1;
                if is_restored {
                    let files = [&file.path];
                    world.assert_restore_finds(&shown, &files, (&case, 2), Unread::Refused)?;
                    restored += 1;
                }
                Ok(())
            };
            // Always nothing at all, all but the last byte, and a byte too many.
            for len in [0, longer.len() - 2, longer.len()] {
                check(len, true)?;
            }
            for (len, is_restored) in world.sampled(longer.len() as u64 - 2) {
                if len > 0 {
                    check(usize::try_from(len)?, is_restored)?;
                }
            }
        }
        println!(
            "{}: {verified} of {} wrong lengths found by verification, {restored} by restore",
            world.name,
            lengths + world.files()?.len()
        );
    }
    Ok(())
}

#[test]
fn files_swapped_with_each_other_are_found() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for world in World::all(state.path())? {
        let files = world.files()?;
        let mut cases = 0;
        for one in &files {
            for other in files.iter().filter(|other| other.path > one.path) {
                let (a, b) = (world.read(&one.path)?, world.read(&other.path)?);
                let shown = ReplaceStore::new(Arc::clone(&world.store));
                let shown = shown.replace(one.path.clone(), b).replace(other.path.clone(), a);
                let shown: Arc<dyn Store> = Arc::new(shown);
                world.assert_found(shown, &[&one.path, &other.path], "a swap")?;
                cases += 1;
            }
        }
        println!("{}: {cases} of {cases} swaps found", world.name);
    }
    Ok(())
}

/// What RocksDB wrote as several files lies in one object: there, too, each has its place.
#[cfg(feature = "rocksdb")]
#[test]
fn files_that_changed_places_within_an_object_are_found() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    let mut cases = 0;
    for backend in backends::native(state.path())? {
        let world = World::incremental(backend)?;
        let metadata = world.folder(&world.store)?.load()?;
        for object in world.files()? {
            let parts = metadata.incremental_handles().flat_map(|handle| handle.placed_files());
            let parts = parts.filter(|(_, file)| file.name() == object.path.as_ref());
            let mut ends: Vec<usize> = parts
                .map(|(part, _)| usize::try_from(part.offset + part.bytes))
                .collect::<Result<_, _>>()?;
            ends.sort_unstable();
            let Some(first) = ends.first().filter(|_| ends.len() > 1) else { continue };
            let mut bytes = world.read(&object.path)?;
            let whole = bytes.clone();
            bytes.rotate_left(*first);
            if bytes != whole {
                let shown = world.replaced(&object.path, &bytes);
                world.assert_found(shown, &[&object.path], "files in another order")?;
                cases += 1;
            }
        }
    }
    assert!(cases > 0, "no object has several files");
    println!("{cases} of {cases} objects with their files in another order found");
    Ok(())
}

/// Checkpoints of the same numbers, one of a value that was there before.
fn old_and_new(
    open: &dyn Fn() -> Fallible<World>,
    (compression_level, incremental): (i32, bool),
    values: [&[u8]; 2],
) -> Fallible<(World, World)> {
    let world = |value: &[u8]| -> Fallible<World> {
        let mut world = open()?;
        let storage = CheckpointStorage::new(Arc::clone(&world.store)).with_upload_threads(1);
        let shared = storage.open_shared_files(RegistrySettings::default())?;
        let mut cluster = world.open()?;
        for id in [DAMAGED - 1, DAMAGED] {
            cluster.put_blob(value)?;
            let taking = Taking { compression_level, ..Taking::full(&storage, id) };
            // The one before is full, so that what is stale is not its file too.
            let is_native = incremental && id == DAMAGED;
            let taking = if is_native { taking.incremental(&shared) } else { taking };
            world.take(&mut cluster, &taking)?;
        }
        Ok(world)
    };
    let [old, new] = values;
    Ok((world(old)?, world(new)?))
}

/// A file is whole in itself and has the right name and length, but is of another time: what a
/// backup that was put back, or a cache that answers late, leaves. Returns how many there were.
fn assert_stale_files_are_found(old: &World, new: &World) -> Fallible<usize> {
    let (old_files, new_files) = (old.files()?, new.files()?);
    assert_eq!(old_files, new_files, "names and lengths are alike");
    let mut cases = 0;
    for file in &new_files {
        let (stale, now) = (old.read(&file.path)?, new.read(&file.path)?);
        if stale == now {
            continue;
        }
        let shown = new.replaced(&file.path, &stale);
        // Stale metadata names the files of its time, which are not there any more.
        let named: Vec<_> = new_files
            .iter()
            .filter(|it| file.path.name() != "_metadata" || it.path.name() != "_metadata")
            .filter(|it| file.path.name() == "_metadata" || it.path == file.path)
            .map(|it| &it.path)
            .collect();
        new.assert_found(shown, &named, "a stale file")?;
        cases += 1;
    }
    Ok(cases)
}

#[test]
fn a_stale_file_of_the_right_name_and_length_is_found() -> Fallible<()> {
    let mut cases = 0;
    for compression_level in [0, 1] {
        let open = || Ok(World::new("stale", Box::new(ModelFactory)));
        let (old, new) = old_and_new(&open, (compression_level, false), [b"old", b"new"])?;
        cases += assert_stale_files_are_found(&old, &new)?;
    }
    assert!(cases >= 4, "{cases} stale files");
    println!("full: {cases} of {cases} stale files found");
    Ok(())
}

#[test]
fn a_stale_native_file_of_the_right_name_and_length_is_found() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    let names: Vec<&str> = backends::native(state.path())?.iter().map(|(name, _)| *name).collect();
    for wanted in names {
        let open = || -> Fallible<World> {
            let state = tempfile::tempdir()?;
            let all = backends::native(state.path())?;
            let (name, factory) =
                all.into_iter().find(|(name, _)| *name == wanted).ok_or("unknown")?;
            Ok(World::new(name, factory).keeping(state))
        };
        // RocksDB compresses what is in its files: not every two are of one length.
        let alike = (0..100).map(|try_| {
            let value = format!("{try_:03}");
            old_and_new(&open, (0, true), [b"old", value.as_bytes()])
        });
        let is_alike = |(old, new): &(World, World)| old.files().ok() == new.files().ok();
        let mut alike = alike.filter(|worlds| worlds.as_ref().map_or(true, is_alike));
        let (old, new) = alike.next().ok_or("no two alike")??;
        let cases = assert_stale_files_are_found(&old, &new)?;
        assert!(cases >= 2, "{wanted}: {cases} stale files");
        println!("{wanted}: {cases} of {cases} stale files found");
    }
    Ok(())
}

#[test]
fn metadata_of_another_checkpoint_is_found() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for world in World::all(state.path())? {
        let path = folder_of(DAMAGED)?.join("_metadata")?;
        let other = folder_of(DAMAGED - 1)?.join("_metadata")?;
        let shown = world.replaced(&path, &world.read(&other)?);
        world.assert_found(shown, &[&path], "older metadata")?;
    }
    Ok(())
}

#[test]
fn a_missing_file_is_found_and_named() -> Fallible<()> {
    let state = tempfile::tempdir()?;
    for world in World::all(state.path())? {
        for file in world.files()? {
            let shown = ReplaceStore::new(Arc::clone(&world.store)).remove(file.path.clone());
            let shown: Arc<dyn Store> = Arc::new(shown);
            if file.path.name() == "_metadata" {
                let kind = world.folder(&shown)?.verify().map_err(|error| error.kind());
                assert_eq!(kind, Err(millpond_checkpoint::ErrorKind::NotFound));
                continue;
            }
            world.assert_found(shown, &[&file.path], "absence")?;
        }
    }
    Ok(())
}

#[test]
fn flipped_bits_of_a_large_checkpoint_are_found() -> Fallible<()> {
    let factory = MemoryBackendFactory::new(MemoryOptions::new());
    let world = World::new("large", Box::new(factory));
    let storage = CheckpointStorage::new(Arc::clone(&world.store));
    let mut cluster = Cluster::open(world.factory.as_ref(), MaxParallelism::new(16)?, 3)?;
    cluster.fill(20_000)?;
    cluster.checkpoint(&storage, DAMAGED, 1)?;
    let files = world.files()?;
    let bytes: u64 = files.iter().map(|file| file.len).sum();
    assert!(bytes > 400_000, "{bytes} bytes are not large");
    let mut random = SplitMix64::new(0xF11B);
    for file in &files {
        for _ in 0..40 {
            let bit = random.next_u64() % (file.len * 8);
            let flipped = FlipStore::new(Arc::clone(&world.store), file.path.clone(), bit);
            let case = format!("bit {bit}");
            let shown: Arc<dyn Store> = Arc::new(flipped);
            world.assert_verify_finds(&shown, &[&file.path], &case)?;
        }
    }
    Ok(())
}
