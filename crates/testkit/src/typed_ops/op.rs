//! One operation, as plain data.

use millpond_state::TimeDomain;

/// A key and a namespace, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The key's number.
    pub key: u8,
    /// The namespace's number.
    pub window: u8,
}

/// The states of the operator: one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A value.
    Value,
    /// A list.
    List,
    /// A map.
    Map,
    /// A reduction.
    Reducing,
    /// An aggregate.
    Aggregating,
    /// Timers.
    Timers,
}

/// All kinds.
pub(super) const KINDS: [Kind; 6] =
    [Kind::Value, Kind::List, Kind::Map, Kind::Reducing, Kind::Aggregating, Kind::Timers];

/// An operation on one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Sets the value.
    Put(u64),
    /// Reads the value.
    Get,
    /// Adds to the value; one whose old number is divisible by three is removed.
    Update(u64),
    /// Deletes what a state has there.
    Clear(Kind),
    /// Appends to the list.
    ListAdd(Vec<u64>),
    /// Replaces the list.
    ListReplace(Vec<u64>),
    /// Reads the list.
    ListGet,
    /// Sets the value of a user key.
    MapPut(u8, u64),
    /// Removes a user key.
    MapRemove(u8),
    /// Reads the value of a user key.
    MapGet(u8),
    /// Asks for a user key.
    MapContains(u8),
    /// Reads the map.
    MapEntries,
    /// Asks whether the map is empty.
    MapIsEmpty,
    /// Adds to each value of the map; those whose old number is divisible by three are removed.
    MapUpdateEach(u64),
    /// Adds to the reduction.
    Reduce(u64),
    /// Reads the reduction.
    Reduced,
    /// Adds to the aggregate.
    Aggregate(u64),
    /// Reads the aggregate.
    Aggregated,
    /// Merges these namespaces of a list, reduction or aggregate into the place; nothing for other
    /// kinds.
    Merge(Kind, Vec<u8>),
    /// Adds a timer.
    TimerAdd(i64),
    /// Deletes a timer.
    TimerDelete(i64),
    /// Reads the times of timers.
    TimerTimes,
}

/// A time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// The clock.
    pub domain: TimeDomain,
    /// How long, in milliseconds.
    pub duration_ms: u32,
    /// Whether reads refresh too.
    pub on_read: bool,
    /// Whether what has expired is seen until it is cleaned. A sweep then always goes to the end,
    /// so that the oracle need not know how far it came.
    pub relaxed: bool,
}

/// What the states are declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Version of the codec of values, 1 to 3.
    pub version: u32,
    /// Whether values are migrated when they are touched. A change of the time to live that stamps
    /// all values is done at once all the same, so that the oracle need not know who touched what.
    pub lazy: bool,
    /// The time to live of all states but timers.
    pub ttl: Option<Expiring>,
}

impl Program {
    /// The first version, without a time to live.
    pub const FIRST: Self = Self { version: 1, lazy: false, ttl: None };

    /// Whether values that `written` wrote get the present time as stamp.
    pub(super) fn stamps_anew(&self, written: &Self) -> bool {
        let domain = |program: &Self| program.ttl.map(|ttl| ttl.domain);
        self.ttl.is_some() && domain(self) != domain(written)
    }
}

/// One operation. Those that name a snapshot that is not there do nothing, so that any part of a
/// sequence is a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Drops all instances and opens empty ones, for so many subtasks of a program.
    Open(u32, Program),
    /// Something on one place.
    At(Place, Access),
    /// Lists the places where a state has something.
    Walk(Kind),
    /// Counts entries.
    Count(Kind),
    /// Reads everything everywhere.
    Check,
    /// Takes all timers that are due.
    Fire(i64),
    /// Time passes on one clock, in milliseconds.
    Pass(TimeDomain, u32),
    /// So many steps of each instance's sweeper.
    Sweep(u32),
    /// Sweeps until nothing that has expired is left.
    SweepAll,
    /// The synchronous part of the snapshot of that number, of all instances.
    Snapshot(u64),
    /// Writes a snapshot out.
    Finish(u64),
    /// Drops a snapshot that was not written out.
    Drop(u64),
    /// Drops all instances, as a crash does, and restores a finished snapshot into so many subtasks
    /// of a program. One that cannot read what was written is refused, and nothing happens.
    Restore(u64, u32, Program),
}
