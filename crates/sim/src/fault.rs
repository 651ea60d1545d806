//! The kinds of faults, and how often each strikes.

use core::fmt;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// A message between the coordinator and a subtask never arrives.
    MessageLost,
    /// A message arrives twice.
    MessageDuplicated,
    /// A message arrives late, after others that were sent after it.
    MessageDelayed,
    /// A subtask dies.
    SubtaskCrash,
    /// The coordinator dies; its subtasks go on for a while.
    CoordinatorCrash,
    /// A process dies with all that is in it, perhaps within a storage operation.
    ProcessCrash,
    /// A process is taken for dead, and another takes over beside it.
    Failover,
    /// A storage operation fails without effect.
    StorageFails,
    /// A storage operation is refused because there are too many.
    StorageThrottles,
    /// A storage operation happens, and its answer is lost.
    AnswerLost,
    /// A storage operation times out and never happens.
    TimedOut,
    /// A storage operation times out and happens later.
    HappensLate,
    /// A listing shows an earlier state.
    StaleList,
    /// Others act between two storage operations of one procedure.
    Interleaved,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::MessageLost,
        Self::MessageDuplicated,
        Self::MessageDelayed,
        Self::SubtaskCrash,
        Self::CoordinatorCrash,
        Self::ProcessCrash,
        Self::Failover,
        Self::StorageFails,
        Self::StorageThrottles,
        Self::AnswerLost,
        Self::TimedOut,
        Self::HappensLate,
        Self::StaleList,
        Self::Interleaved,
    ];

    const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MessageLost => "message lost",
            Self::MessageDuplicated => "message duplicated",
            Self::MessageDelayed => "message delayed",
            Self::SubtaskCrash => "subtask crash",
            Self::CoordinatorCrash => "coordinator crash",
            Self::ProcessCrash => "process crash",
            Self::Failover => "failover beside the old process",
            Self::StorageFails => "storage fails",
            Self::StorageThrottles => "storage throttles",
            Self::AnswerLost => "storage answer lost",
            Self::TimedOut => "storage times out",
            Self::HappensLate => "storage operation happens late",
            Self::StaleList => "stale listing",
            Self::Interleaved => "interleaved",
        })
    }
}

/// A number for each kind of fault: how often out of 10,000 chances, or how many there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultTable([u64; Fault::ALL.len()]);

impl FaultTable {
    /// The number of `fault`.
    #[must_use]
    pub fn get(&self, fault: Fault) -> u64 {
        self.0.get(fault.index()).copied().unwrap_or(0)
    }

    /// Sets the number of `fault`.
    pub fn set(&mut self, fault: Fault, number: u64) {
        if let Some(slot) = self.0.get_mut(fault.index()) {
            *slot = number;
        }
    }

    /// Adds all numbers of `other`.
    pub fn add(&mut self, other: &Self) {
        for (slot, more) in self.0.iter_mut().zip(other.0) {
            *slot = slot.saturating_add(more);
        }
    }

    /// The kinds whose number is not 0.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> + '_ {
        Fault::ALL.into_iter().map(|fault| (fault, self.get(fault))).filter(|(_, it)| *it > 0)
    }
}
