//! The seeds of the fuzz targets, in `fuzz/seeds/`: small inputs of every sort, so that a fuzzer
//! begins behind the first checks of a decoder. `BLESS=1 cargo test -p millpond-tests --test
//! fuzz_seeds` writes them anew; without it they must be what it would write.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millpond_checkpoint::driver::CheckpointStorage;
use millpond_checkpoint::registry::RegistrySettings;
use millpond_memory::{IncrementalOptions, MemoryBackendFactory, MemoryOptions};
use millpond_snapshot::{DeltaReader, FullReader, SliceSource};
use millpond_state::codec::{Codec, DefaultCodec, HasCodec};
use millpond_state::{MaxParallelism, Scratch};
use millpond_storage::{MemoryStore, Store, StoreExt, StorePath};
use millpond_testkit::{SplitMix64, ops, typed_ops};
use millpond_tests::{Cluster, Fallible, Taking};

/// Bytes by target and name.
type Seeds = BTreeMap<PathBuf, Vec<u8>>;

fn add(seeds: &mut Seeds, target: &str, name: impl AsRef<str>, bytes: impl Into<Vec<u8>>) {
    seeds.insert(Path::new(target).join(name.as_ref()), bytes.into());
}

/// Objects of checkpoints, full ones or a chain, each for the reader that it is meant for.
fn add_checkpoints(seeds: &mut Seeds, name: &str, incremental: bool) -> Fallible<()> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let storage = CheckpointStorage::new(Arc::clone(&store));
    let options = IncrementalOptions::new().with_delta_percent_max(1_000);
    let factory = MemoryBackendFactory::new(MemoryOptions::new().with_incremental(options));
    let shared = storage.open_shared_files(RegistrySettings::default())?;
    let mut cluster = Cluster::open(&factory, MaxParallelism::new(4)?, 2)?;
    let mut registry = Vec::new();
    for id in 1..=3 {
        cluster.fill(id)?;
        // Compressed bytes would change with the compressor; golden files have some.
        let taking = Taking { compression_level: 0, ..Taking::full(&storage, id) };
        let taking = Taking { operator_state: id > 1, ..taking };
        cluster.take(&if incremental { taking.incremental(&shared) } else { taking })?;
        let metadata = store.read_all(&StorePath::new(format!("chk-{id}/_metadata"))?)?;
        add(seeds, "metadata", format!("{name}-{id}"), metadata.clone());
        registry.extend(u16::try_from(metadata.len())?.to_le_bytes());
        registry.extend(metadata);
        add(seeds, "registry", format!("{name}-{id}"), registry.clone());
    }
    let objects = store.list(None)?;
    let objects = objects.iter().filter(|object| object.path.name() != "_metadata");
    for (number, object) in objects.enumerate() {
        let bytes = store.read_all(&object.path)?;
        let target = match FullReader::open(SliceSource::new("seed", &bytes)) {
            Ok(_) => "full_reader",
            Err(_) => {
                DeltaReader::open(SliceSource::new("seed", &bytes))?;
                "delta_reader"
            }
        };
        add(seeds, target, format!("{name}-{number}"), bytes);
    }
    Ok(())
}

/// The name of a codec, and a value in it.
fn add_codec<T: HasCodec>(seeds: &mut Seeds, name: &str, value: &T) -> Fallible<()> {
    let (codec, mut out) = (DefaultCodec::<T>::default(), Scratch::new());
    codec.encode_into(value, &mut out)?;
    let mut bytes = format!("{}\n", codec.identity().name()).into_bytes();
    bytes.extend(out.as_slice());
    add(seeds, "codecs", name, bytes);
    Ok(())
}

fn add_texts(seeds: &mut Seeds) {
    for seed in 0..3 {
        add(seeds, "operations", format!("ops-{seed}"), ops::print(&ops::generate(seed, 30)));
        let typed = typed_ops::print(&typed_ops::generate(seed, 30));
        add(seeds, "operations", format!("typed-{seed}"), typed);
    }
    let flights = "scheduled_departure,carrier,flight,tailnum,origin,dest,dep_delay,arr_delay,\
                   air_time,distance\n\
                   2013-01-01T05:15,UA,1545,N14228,EWR,IAH,2,11,227,1400\n\
                   2013-12-31T23:59,\"U,A\",1,\"N\"\"1\",JFK,SFO,,,,7\n";
    add(seeds, "csv_input", "flights", flights);
    let cells = [
        ("number", "i128\n-170141183460469231731687303715884105728"),
        ("float", "f64\n-1.5e-300"),
        ("bytes", "bytes\n00ffa5"),
        ("option", "option<string>\n\"quoted\""),
        ("record", "record<a:string,b:tuple<bytes,option<u8>>>\n{\"a\":\"x\",\"b\":[\"00\",null]}"),
    ];
    for (name, cell) in cells {
        add(seeds, "csv_input", name, cell);
    }
}

/// Bytes that stand for inputs with a structure: as they come, and odd, which makes most lists go
/// on.
fn add_bytes(seeds: &mut Seeds) {
    for (number, target) in (0..).zip(["backend", "chain", "checkpoint_faults", "full_round_trip"])
    {
        for (seed, len) in [(1, 100), (2, 400), (3, 1_000)] {
            let mut random = SplitMix64::new(number * 10 + seed);
            let even: Vec<u8> = (0..len).map(|_| random.next_u64().to_le_bytes()[0]).collect();
            let odd: Vec<u8> = even.iter().map(|byte| byte | 1).collect();
            add(seeds, target, format!("bytes-{len}"), even);
            add(seeds, target, format!("odd-{len}"), odd);
        }
    }
}

/// Golden files, where making the bytes takes more than the crates that these tests build with.
fn add_golden(seeds: &mut Seeds) -> Fallible<()> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let files = [
        ("segment", "segment/v1/good/every-record.seg"),
        ("fs_manifest", "segment-manifest/v1/good/every-record.manifest"),
        ("rocksdb_manifest", "rocksdb-manifest/v1/good/every-field.manifest"),
    ];
    for (target, file) in files {
        let path = golden.join(file);
        let name = path.file_stem().and_then(|name| name.to_str()).ok_or("no name")?;
        add(seeds, target, name, fs::read(&path)?);
    }
    Ok(())
}

fn seeds() -> Fallible<Seeds> {
    let mut seeds = Seeds::new();
    add_checkpoints(&mut seeds, "full", false)?;
    add_checkpoints(&mut seeds, "chain", true)?;
    add_codec(&mut seeds, "bool", &true)?;
    add_codec(&mut seeds, "pair", &(7_u64, "still".to_owned()))?;
    add_codec(&mut seeds, "nested", &Some((-3_i32, Some("water".to_owned()))))?;
    add_codec(&mut seeds, "absent", &None::<(i32, Option<String>)>)?;
    add_texts(&mut seeds);
    add_bytes(&mut seeds);
    add_golden(&mut seeds)?;
    Ok(seeds)
}

#[test]
fn seeds_are_what_their_command_makes_and_every_target_has_some() -> Fallible<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let (folder, seeds) = (fuzz.join("seeds"), seeds()?);
    if std::env::var_os("BLESS").is_some() {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        for (name, bytes) in &seeds {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            fs::write(path, bytes)?;
        }
    }
    for target in fs::read_dir(fuzz.join("fuzz_targets"))? {
        let target = target?.path();
        let target = target.file_stem().ok_or("no name")?;
        assert!(seeds.keys().any(|name| name.starts_with(target)), "{target:?} has no seed");
    }
    let mut committed = Seeds::new();
    for target in fs::read_dir(&folder)? {
        for file in fs::read_dir(target?.path())? {
            let path = file?.path();
            committed.insert(path.strip_prefix(&folder)?.to_owned(), fs::read(&path)?);
        }
    }
    let names = |seeds: &Seeds| seeds.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&seeds), "BLESS=1 writes them anew");
    for (name, bytes) in &seeds {
        assert!(committed.get(name) == Some(bytes), "{name:?}: BLESS=1 writes it anew");
    }
    Ok(())
}
