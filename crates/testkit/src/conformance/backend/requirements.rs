//! The requirements that behaviours guard.

/// A requirement on state, whatever holds it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Requirement {
    /// Its number, `B-1` to `B-24`.
    pub id: &'static str,
    /// What is required.
    pub what: &'static str,
    /// What of it does not apply here, or is guarded elsewhere; empty if nothing.
    pub note: &'static str,
}

const fn requirement(id: &'static str, what: &'static str, note: &'static str) -> Requirement {
    Requirement { id, what, note }
}

/// All requirements, in order. `docs/conformance.md` shows them with what guards them.
pub const REQUIREMENTS: &[Requirement] = &[
    requirement(
        "B-1",
        "value: absent is none; set, get, clear; states beside each other; one key while others \
         are in use",
        "",
    ),
    requirement(
        "B-2",
        "storing nothing is clearing; a default for absent keys is made anew each time",
        "",
    ),
    requirement(
        "B-3",
        "list: add, add all, replace, order; a refused element leaves the list as it was; an \
         empty replacement clears",
        "",
    ),
    requirement(
        "B-4",
        "reducing and aggregating: folded at each add; an accumulator of another type, changed in \
         place or made anew; no value before the first add",
        "",
    ),
    requirement(
        "B-5",
        "map: put, get, remove, contains, bulk, emptiness, walks that remove and change",
        "a walk cannot be used after a change: visitors do not reach the backend",
    ),
    requirement(
        "B-6",
        "one key in two namespaces is two entries",
        "a missing namespace cannot be expressed: the namespace is part of the address's type",
    ),
    requirement(
        "B-7",
        "merging namespaces of lists, reductions and aggregates: sources vanish, the target holds \
         the combination, absent ones are harmless",
        "",
    ),
    requirement(
        "B-8",
        "keys, and pairs of key and namespace, are enumerated; a function is applied to all keys, \
         also if it changes the state",
        "",
    ),
    requirement("B-9", "entry counts after adds, removals, restore", ""),
    requirement(
        "B-10",
        "timers: a set, polled in order, removed, added in bulk, by key group, part of snapshots",
        "",
    ),
    requirement(
        "B-11",
        "snapshot and restore of an empty backend, and of states never touched",
        "",
    ),
    requirement(
        "B-12",
        "an asynchronous snapshot shows its instant; several at once are independent",
        "",
    ),
    requirement(
        "B-13",
        "cancelling or dropping a snapshot releases everything; the backend may be closed before \
         or while it runs",
        "snapshots go to a sink: that a cancelled one leaves no files is tested in \
         `tests/crash_publish.rs`",
    ),
    requirement(
        "B-14",
        "restore at equal, larger, smaller and uneven parallelism: each key once, in its range",
        "",
    ),
    requirement("B-15", "another codec on restore is a clear error, never wrong data", ""),
    requirement(
        "B-16",
        "as is, migrated or incompatible, over several versions, for every kind of keyed and \
         operator state",
        "",
    ),
    requirement(
        "B-17",
        "codecs of keys, namespaces and timers are never migrated",
        "there is no reconfiguring: an identity is equal or it is not",
    ),
    requirement("B-18", "a time to live switched on, off, or changed between snapshots", ""),
    requirement(
        "B-19",
        "time to live: visibility, refreshing, per list element and map entry, ends of time, \
         several keys, namespaces and states, merges",
        "",
    ),
    requirement(
        "B-20",
        "cleanup: by snapshot, by a sweep that ends while entries change, by a backend's own \
         compaction, after restore and rescale",
        "compaction itself is the backend's: here it is what it asks, the filter",
    ),
    requirement(
        "B-21",
        "whether a returned value may be changed by the caller is fixed: it is the caller's own",
        "",
    ),
    requirement(
        "B-22",
        "a canonical snapshot of one backend restores into another, timers included",
        "every pair of real backends, through the real files: `tests/equivalence.rs`",
    ),
    requirement(
        "B-23",
        "many small files are merged without losing a key",
        "whether there are files is the backend's affair; what is checked is that many small \
         snapshots and restores lose no key",
    ),
    requirement(
        "B-24",
        "operator state: split, union and broadcast redistribution; empty beside full; cancelled \
         and closed while under way",
        "no backend holds it: the way through a checkpoint is what is under test",
    ),
];
