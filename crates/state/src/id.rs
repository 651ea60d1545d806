//! Identifiers. Every id is a type of its own, so that a checkpoint number can never be passed
//! where a subtask index is meant.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a raw number.
            #[must_use]
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id! {
    /// A checkpoint's number: starts at 1 in a job's life and only grows, also over restarts.
    CheckpointId(u64), ""
}

id! {
    /// One execution attempt of a job: unique among all attempts that ever wrote to one
    /// checkpoint folder, so that a file name made from it is never used twice.
    AttemptId(u64), ""
}

id! {
    /// A registered state of one backend instance: an index into its registry. Valid only for the
    /// instance that handed it out; snapshots name states, they do not store this number.
    StateId(u16), "state "
}

id! {
    /// Index of a subtask among the parallel subtasks of its vertex, from 0.
    SubtaskIndex(u32), ""
}

impl CheckpointId {
    /// The number of the checkpoint after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl StateId {
    /// The id as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One subtask of a job graph: the vertex by its stable name, and the index within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubtaskId {
    /// Stable, user-visible name of the vertex (operator) in the job graph.
    pub vertex: String,
    /// Index within the vertex.
    pub index: SubtaskIndex,
}

impl SubtaskId {
    /// Names subtask `index` of `vertex`.
    #[must_use]
    pub fn new(vertex: impl Into<String>, index: u32) -> Self {
        Self { vertex: vertex.into(), index: SubtaskIndex::new(index) }
    }
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.vertex, self.index)
    }
}
