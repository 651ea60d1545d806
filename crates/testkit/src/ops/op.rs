//! One operation, as plain data. Numbers stand for bytes, so that a sequence stays readable.

/// Which state an operation goes to: each backend under test has one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChoice {
    /// A value state.
    Value,
    /// A list state.
    List,
    /// A map state.
    Map,
}

/// A key and a namespace, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The key's number.
    pub key: u16,
    /// The namespace's number; 0 is the void namespace.
    pub namespace: u8,
}

impl Address {
    /// The bytes of the key: of different lengths, some the start of others.
    #[must_use]
    pub fn key_bytes(self) -> Vec<u8> {
        numbered(self.key)
    }

    /// The bytes of the namespace.
    #[must_use]
    pub fn namespace_bytes(self) -> Vec<u8> {
        if self.namespace == 0 { Vec::new() } else { numbered(self.namespace.into()) }
    }
}

/// The bytes that stand for a number: different numbers have different bytes.
pub(super) fn numbered(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let len = match number % 8 {
        0 => 0,
        1..=4 => 6,
        5 => 38,
        6 => 1,
        _ => 298,
    };
    let mut bytes = vec![b'k'; len];
    bytes.extend([low, high]);
    bytes
}

/// The bytes of a value, by seed and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Makes payloads of one length differ.
    pub seed: u8,
    /// Length in bytes.
    pub len: u32,
}

impl Payload {
    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        (0..self.len).map(|i| self.seed.wrapping_add((i as u8).wrapping_mul(31))).collect()
    }
}

/// What a visitor does with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leaves it.
    Keep,
    /// Stores other bytes.
    Replace(Payload),
    /// Deletes it.
    Remove,
    /// Deletes it and ends the visit; in a batch the same as [`Self::Remove`].
    Break,
    /// Fails.
    Fail,
}

/// One operation. Those that name a snapshot that is not there do nothing, so that any part of a
/// sequence is a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Drops all instances and opens empty ones for so many subtasks.
    Open(u32),
    /// Reads a value or list.
    Get(StateChoice, Address),
    /// Writes a value or list.
    Put(StateChoice, Address, Payload),
    /// Appends to a value or list.
    Append(StateChoice, Address, Payload),
    /// Deletes an entry of any state.
    Delete(StateChoice, Address),
    /// Reads many.
    GetMany(StateChoice, Vec<Address>),
    /// Writes many.
    PutMany(StateChoice, Vec<(Address, Payload)>),
    /// Reads, modifies and writes many.
    UpdateMany(StateChoice, Vec<(Address, Action)>),
    /// Reads the value of a user key.
    MapGet(Address, u16),
    /// Writes the value of a user key.
    MapPut(Address, u16, Payload),
    /// Removes a user key.
    MapRemove(Address, u16),
    /// Visits a map; action `i` is for the `i`-th user key, those past the end are kept.
    MapVisit(Address, Vec<Action>),
    /// Visits the entries of the key groups from the first to the last number, of one namespace if
    /// one is given.
    Visit(StateChoice, u16, u16, Option<u8>),
    /// Counts entries.
    Count(StateChoice),
    /// The synchronous part of the snapshot of that number, of all instances.
    Snapshot(u64),
    /// Writes a snapshot out and compares it.
    Finish(u64),
    /// Writes a snapshot out and cancels that in the middle.
    Cancel(u64),
    /// Drops a snapshot that was not written out.
    Drop(u64),
    /// Tells all instances that a checkpoint is complete.
    Completed(u64),
    /// Tells all instances that a checkpoint was aborted.
    Aborted(u64),
    /// Drops all instances and restores a finished snapshot at a parallelism.
    Restore(u64, u32),
}
