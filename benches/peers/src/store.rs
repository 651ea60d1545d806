//! Stores of keys and values, and the cases in terms of them: a map is a range of keys.

use std::path::Path;

use cobble::{Config, SingleDb, VolumeDescriptor};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use crate::Outcome;

/// User keys of a map.
const MAP_KEYS: u64 = 10;

/// Something that puts, gets and walks.
pub trait Store {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()>;

    /// The number that is stored; 0 for none.
    fn get(&mut self, key: &[u8]) -> Outcome<u64>;

    /// Adds up the user keys and numbers of a map.
    fn walk(&mut self, map: [u8; 8]) -> Outcome<u64>;
}

fn number(bytes: &[u8]) -> u64 {
    bytes.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The key after all keys that start with `map`; none after the last.
fn end_of(map: [u8; 8]) -> Option<[u8; 8]> {
    u64::from_be_bytes(map).checked_add(1).map(u64::to_be_bytes)
}

/// `cobble` with default settings, without a write-ahead log, as it comes.
pub struct Cobble(SingleDb);

impl Cobble {
    pub fn open(folder: &Path) -> Outcome<Self> {
        let volumes = VolumeDescriptor::single_volume(format!("file://{}", folder.display()));
        let log_level = "off".parse()?;
        Ok(Self(SingleDb::open(Config { volumes, log_level, ..Config::default() })?))
    }
}

impl Store for Cobble {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        Ok(self.0.put(0, key, 0, value)?)
    }

    fn get(&mut self, key: &[u8]) -> Outcome<u64> {
        let columns = self.0.get(0, key)?.unwrap_or_default();
        Ok(columns.first().and_then(Option::as_ref).map_or(0, |value| number(value)))
    }

    fn walk(&mut self, map: [u8; 8]) -> Outcome<u64> {
        let end = end_of(map).map_or(vec![0xFF; 32], |end| end.to_vec());
        let mut sum = 0u64;
        for row in self.0.scan(0, &map[..]..&end[..])? {
            let (key, columns) = row?;
            let value = columns.first().and_then(Option::as_ref).map_or(0, |it| number(it));
            sum = sum.wrapping_add(number(&key)).wrapping_add(value);
        }
        Ok(sum)
    }
}

/// `fjall` with default settings; its journal is not synced.
pub struct Fjall {
    keyspace: Keyspace,
    _database: Database,
}

impl Fjall {
    pub fn open(folder: &Path) -> Outcome<Self> {
        let database = Database::builder(folder).open()?;
        let keyspace = database.keyspace("state", KeyspaceCreateOptions::default)?;
        Ok(Self { keyspace, _database: database })
    }
}

impl Store for Fjall {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        Ok(self.keyspace.insert(key, value)?)
    }

    fn get(&mut self, key: &[u8]) -> Outcome<u64> {
        Ok(self.keyspace.get(key)?.map_or(0, |value| number(&value)))
    }

    fn walk(&mut self, map: [u8; 8]) -> Outcome<u64> {
        let mut sum = 0u64;
        for entry in self.keyspace.prefix(map) {
            let (key, value) = entry.into_inner()?;
            sum = sum.wrapping_add(number(&key)).wrapping_add(number(&value));
        }
        Ok(sum)
    }
}

fn element(map: u64, user_key: u64) -> [u8; 16] {
    let mut element = [0; 16];
    element[..8].copy_from_slice(&map.to_be_bytes());
    element[8..].copy_from_slice(&user_key.to_be_bytes());
    element
}

/// Puts all preset keys.
pub fn preset(store: &mut dyn Store, bench: &str, keys: impl Iterator<Item = u64>) -> Outcome<()> {
    for (index, key) in (0u64..).zip(keys) {
        if bench.starts_with("map_") {
            for user_key in 0..MAP_KEYS {
                store.put(&element(key, user_key), &index.to_be_bytes())?;
            }
        } else {
            store.put(&key.to_be_bytes(), &index.to_be_bytes())?;
        }
    }
    Ok(())
}

/// Does the accesses of a round; returns a checksum of what they read.
pub fn run(store: &mut dyn Store, bench: &str, keys: &[u64]) -> Outcome<u64> {
    let mut sum = 0u64;
    for (index, key) in (0u64..).zip(keys) {
        let element = element(*key, index % MAP_KEYS);
        let read = match bench {
            "value_add" | "value_update" => {
                store.put(&key.to_be_bytes(), &index.to_be_bytes())?;
                0
            }
            "value_get" => store.get(&key.to_be_bytes())?,
            "map_update" => {
                store.put(&element, &index.to_be_bytes())?;
                0
            }
            "map_get" => store.get(&element)?,
            "map_iterator" => store.walk(key.to_be_bytes())?,
            other => return Err(format!("no store has the case {other}").into()),
        };
        sum = sum.wrapping_add(read);
    }
    Ok(sum)
}
