//! The floor of the RocksDB backend: the raw crate with the backend's own options and a memory
//! budget of the same size. Keys are put together as one would by hand for keys of a fixed size:
//! key group, kind of state, key, and user key. Lists are merge operands, maps ranges of keys.

use core::marker::PhantomData;
use std::path::{Path, PathBuf};

use millpond_rocksdb::{RocksDbBackendFactory, RocksDbOptions};
use millpond_state::{EntryKey, MaxParallelism};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    ColumnFamilyDescriptor, DB, Options, ReadOptions, SliceTransform, WaitForCompactOptions,
    WriteOptions,
};

use super::case::{Access, Kind};
use super::hash_floor::{Stamp, push_element, visit_elements};
use super::subject::{Subject, Ticker};
use super::workload::{
    Accesses, LIST_ELEMENTS, MAP_KEYS, Payload, first_number, many_elements, user_key,
};
use crate::backends::max_parallelism;
use crate::error::Result;
use crate::rng::key;

const ENTRY_BYTES: usize = 12;
const ELEMENT_BYTES: usize = ENTRY_BYTES + 8;

/// A raw database.
pub(super) struct RocksDbFloor<V, S> {
    database: Database,
    ticker: Ticker,
    value: V,
    stamp: PhantomData<S>,
}

struct Database {
    db: DB,
    options: Options,
    read: ReadOptions,
    write: WriteOptions,
    max: MaxParallelism,
    /// For values that are being put together.
    buffer: Vec<u8>,
    // Last, so that it is removed after the database is closed.
    folder: Folder,
}

/// A folder that goes with the database in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Database {
    /// An empty database below `folder`.
    fn create(folder: &Path) -> Result<Self> {
        let folder = Folder(folder.join("floor"));
        let factory = RocksDbBackendFactory::create(RocksDbOptions::new(folder.0.join("budget")))?;
        let mut options = factory.database_options()?;
        // The backend's keys tell by themselves where an entry ends; these by their length.
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(ENTRY_BYTES));
        Self::open(options, folder)
    }

    fn open(options: Options, folder: Folder) -> Result<Self> {
        let family = ColumnFamilyDescriptor::new("default", options.clone());
        let db = DB::open_cf_descriptors(&options, folder.0.join("db"), [family])?;
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        let (read, max, buffer) = (ReadOptions::default(), max_parallelism()?, Vec::new());
        Ok(Self { db, options, read, write, max, buffer, folder })
    }

    /// Another database with the same entries: hard links to the files of this one.
    fn copy(&self) -> Result<Self> {
        let folder = Folder(self.folder.0.with_extension("copy"));
        std::fs::create_dir_all(&folder.0)?;
        self.db.flush()?;
        self.db.wait_for_compact(&WaitForCompactOptions::default())?;
        Checkpoint::new(&self.db)?.create_checkpoint(folder.0.join("db"))?;
        let mut options = self.options.clone();
        options.set_error_if_exists(false);
        Self::open(options, folder)
    }

    /// Key group, kind of state, key.
    fn entry(&self, kind: Kind, key: u64) -> [u8; ENTRY_BYTES] {
        let key = key.to_be_bytes();
        let group = EntryKey::new(&key, self.max).group().get().to_be_bytes();
        let mut entry = [0; ENTRY_BYTES];
        let parts = group.into_iter().chain([0, kind as u8]).chain(key);
        entry.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        entry
    }

    fn element(&self, key: u64, user_key: u64) -> [u8; ELEMENT_BYTES] {
        let mut element = [0; ELEMENT_BYTES];
        let parts = self.entry(Kind::Map, key).into_iter().chain(user_key.to_be_bytes());
        element.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        element
    }

    /// Puts what `write` writes.
    fn put(&mut self, entry: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.buffer.clear();
        write(&mut self.buffer);
        Ok(self.db.put_opt(entry, &self.buffer, &self.write)?)
    }

    /// Appends what `write` writes.
    fn merge(&mut self, entry: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.buffer.clear();
        write(&mut self.buffer);
        Ok(self.db.merge_opt(entry, &self.buffer, &self.write)?)
    }

    fn put_payload<V: Payload, S: Stamp>(
        &mut self,
        entry: &[u8],
        value: &V,
        now_ms: i64,
    ) -> Result<()> {
        self.put(entry, |out| {
            S::at(now_ms).write_to(out);
            value.write_to(out);
        })
    }

    /// What `read` makes of the stored bytes.
    fn get<R>(&self, entry: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.db.get_pinned_opt(entry, &self.read)?.map(|value| read(&value)))
    }

    /// Visits user keys and values of a map until `visit` has enough.
    fn walk(&self, key: u64, mut visit: impl FnMut(u64, &[u8]) -> bool) -> Result<()> {
        let start = self.entry(Kind::Map, key);
        let mut end = start;
        // The next entry; after the last key of all there is none, nor another bound.
        let mut carried = true;
        for byte in end.iter_mut().rev() {
            if carried {
                *byte = byte.wrapping_add(1);
                carried = *byte == 0;
            }
        }
        let mut read = ReadOptions::default();
        if !carried {
            read.set_iterate_upper_bound(end);
        }
        let mut elements = self.db.raw_iterator_opt(read);
        elements.seek(start);
        while let Some((element, value)) = elements.item() {
            let user_key = element.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            if !visit(user_key, value) {
                break;
            }
            elements.next();
        }
        Ok(elements.status()?)
    }
}

/// The payload after the stamp, if it lives.
fn live<S: Stamp>(stored: &[u8], now_ms: i64) -> Option<&[u8]> {
    let (stamp, payload) = stored.split_at_checked(S::BYTES)?;
    S::read_from(stamp).is_live(now_ms).then_some(payload)
}

impl<V: Payload, S: Stamp> RocksDbFloor<V, S> {
    pub(super) fn new(folder: &Path, value_bytes: usize) -> Result<Self> {
        let database = Database::create(folder)?;
        let value = V::template(value_bytes);
        Ok(Self { database, ticker: Ticker::new(), value, stamp: PhantomData })
    }

    fn run_value(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { database, ticker, value, .. } = self;
        if access == Access::ValueGet {
            return ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let entry = database.entry(Kind::Value, key);
                    let found =
                        database.get(&entry, |bytes| live::<S>(bytes, now).map(V::read_from));
                    Ok(found?.flatten().map_or(0, |value| value.number()))
                },
            );
        }
        ticker.each(
            accesses,
            |_| {},
            |key, index, now| {
                value.set_number(index);
                database.put_payload::<V, S>(&database.entry(Kind::Value, key), value, now)?;
                Ok(0)
            },
        )
    }

    fn run_list(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { database, ticker, .. } = self;
        let many = many_elements();
        match access {
            Access::ListAppend => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let entry = database.entry(Kind::List, key);
                    database.merge(&entry, |out| push_element::<S>(out, index, now))?;
                    Ok(0)
                },
            ),
            Access::ListGet => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let entry = database.entry(Kind::List, key);
                    let mut list = Vec::new();
                    let read = |bytes: &[u8]| visit_elements::<S>(bytes, now, |it| list.push(it));
                    database.get(&entry, read)?;
                    Ok(list.last().copied().unwrap_or(0).wrapping_add(list.len() as u64))
                },
            ),
            Access::ListGetAndIterate => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let entry = database.entry(Kind::List, key);
                    let mut sum = 0u64;
                    let add = |element| sum = sum.wrapping_add(element);
                    database.get(&entry, |bytes| visit_elements::<S>(bytes, now, add))?;
                    Ok(sum)
                },
            ),
            Access::ListAddAll => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let entry = database.entry(Kind::List, key);
                    database.merge(&entry, |out| {
                        many.iter().for_each(|element| push_element::<S>(out, *element, now));
                    })?;
                    Ok(0)
                },
            ),
            _ => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let entry = database.entry(Kind::List, key);
                    database.put(&entry, |out| push_element::<S>(out, index, now))?;
                    Ok(0)
                },
            ),
        }
    }

    fn run_map(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { database, ticker, value, .. } = self;
        match access {
            Access::MapGet => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let element = database.element(key, user_key(index));
                    let found =
                        database.get(&element, |bytes| live::<S>(bytes, now).map(V::read_from));
                    Ok(found?.flatten().map_or(0, |value| value.number()))
                },
            ),
            Access::MapContains => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    let element = database.element(key, user_key(index) * 2);
                    let found = database.get(&element, |bytes| live::<S>(bytes, now).is_some())?;
                    Ok(u64::from(found == Some(true)))
                },
            ),
            Access::MapIsEmpty => ticker.each(
                accesses,
                |_| {},
                |key, _, now| {
                    let mut empty = true;
                    database.walk(key, |_, stored| {
                        empty = live::<S>(stored, now).is_none();
                        empty
                    })?;
                    Ok(u64::from(empty))
                },
            ),
            Access::MapRemove => ticker.each(
                accesses,
                |_| {},
                |key, index, _| {
                    let element = database.element(key, user_key(index));
                    database.db.delete_opt(element, &database.write)?;
                    Ok(0)
                },
            ),
            Access::MapPutAll => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    value.set_number(index);
                    for user_key in 0..MAP_KEYS {
                        let element = database.element(key, user_key);
                        database.put_payload::<V, S>(&element, value, now)?;
                    }
                    Ok(0)
                },
            ),
            Access::MapAdd | Access::MapUpdate => ticker.each(
                accesses,
                |_| {},
                |key, index, now| {
                    value.set_number(index);
                    let element = database.element(key, user_key(index));
                    database.put_payload::<V, S>(&element, value, now)?;
                    Ok(0)
                },
            ),
            _ => self.walk_map(access, accesses),
        }
    }

    fn walk_map(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { database, ticker, .. } = self;
        let keys = u64::from(access != Access::MapValues);
        let values = u64::from(access != Access::MapKeys);
        ticker.each(
            accesses,
            |_| {},
            |key, _, now| {
                let (mut sum, mut entries) = (0u64, Vec::new());
                database.walk(key, |user_key, stored| {
                    let Some(value) = live::<S>(stored, now).map(V::read_from) else { return true };
                    if access == Access::MapEntries {
                        entries.push((user_key, value));
                        return true;
                    }
                    let number = value.number().wrapping_mul(values);
                    sum = sum.wrapping_add(user_key * keys).wrapping_add(number);
                    true
                })?;
                let add = |sum: u64, (user_key, value): &(u64, V)| {
                    sum.wrapping_add(*user_key).wrapping_add(value.number())
                };
                Ok(entries.iter().fold(sum, add))
            },
        )
    }

    /// A sum is one number, a mean a sum and a count.
    fn run_folded(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { database, ticker, .. } = self;
        let kind = access.kind();
        ticker.each(
            accesses,
            |_| {},
            |key, index, now| {
                let entry = database.entry(kind, key);
                let (sum, count) =
                    database.get(&entry, |stored| folded::<S>(stored, now))?.unwrap_or_default();
                database.put(&entry, |out| {
                    S::at(now).write_to(out);
                    out.extend_from_slice(&sum.wrapping_add(index).to_le_bytes());
                    if kind == Kind::Aggregating {
                        out.extend_from_slice(&(count + 1).to_le_bytes());
                    }
                })?;
                Ok(0)
            },
        )
    }
}

fn folded<S: Stamp>(stored: &[u8], now_ms: i64) -> (u64, u64) {
    let payload = live::<S>(stored, now_ms).unwrap_or_default();
    (first_number(payload), payload.get(8..).map_or(0, first_number))
}

impl<V: Payload, S: Stamp> Subject for RocksDbFloor<V, S> {
    fn preset(&mut self, access: Access, keys: u64) -> Result<()> {
        let all = Accesses { keys: (0..keys).map(key).collect() };
        match access.kind() {
            Kind::Value => self.run_value(Access::ValueUpdate, &all)?,
            Kind::List if access.reads_lists() => {
                let Self { database, ticker, .. } = self;
                ticker.each(
                    &all,
                    |_| {},
                    |key, index, now| {
                        let entry = database.entry(Kind::List, key);
                        let elements = index..index + LIST_ELEMENTS;
                        database.put(&entry, |out| {
                            elements.for_each(|element| push_element::<S>(out, element, now));
                        })?;
                        Ok(0)
                    },
                )?
            }
            Kind::List => self.run_list(Access::ListUpdate, &all)?,
            Kind::Map => self.run_map(Access::MapPutAll, &all)?,
            Kind::Reducing | Kind::Aggregating => self.run_folded(access, &all)?,
        };
        Ok(())
    }

    fn copy(&mut self) -> Result<Option<Box<dyn Subject>>> {
        let Self { ticker, value, stamp, .. } = self;
        let database = self.database.copy()?;
        Ok(Some(Box::new(Self { database, ticker: *ticker, value: value.clone(), stamp: *stamp })))
    }

    fn run(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        match access.kind() {
            Kind::Value => self.run_value(access, accesses),
            Kind::List => self.run_list(access, accesses),
            Kind::Map => self.run_map(access, accesses),
            Kind::Reducing | Kind::Aggregating => self.run_folded(access, accesses),
        }
    }

    fn read_back(&mut self, access: Access, accesses: &Accesses) -> Result<u64> {
        let Self { database, ticker, .. } = self;
        let kind = access.kind();
        if !matches!(kind, Kind::Reducing | Kind::Aggregating) {
            return self.run(access.read_back(), accesses);
        }
        ticker.each(
            accesses,
            |_| {},
            |key, _, now| {
                let entry = database.entry(kind, key);
                let (sum, count) =
                    database.get(&entry, |stored| folded::<S>(stored, now))?.unwrap_or_default();
                Ok(sum / count.max(1))
            },
        )
    }
}
