//! Deliberate mistakes, to show that the simulator finds them. All are made by the simulator around
//! the parts under test, which stay as they are.

use core::fmt;

/// A mistake in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Breakage {
    /// An acknowledgement counts for a subtask that has not sent any, too.
    AckCountsTwice,
    /// The files of a checkpoint are released when it completes.
    ReferenceDroppedEarly,
    /// An aborted checkpoint's files are deleted, also those that others share.
    AbortDeletesShared,
    /// Metadata and log entries replace what is there.
    OverwritesMetadata,
    /// A sink commits when it has taken its snapshot.
    CommitsEarly,
    /// Channels are not held back at a barrier.
    NotAligned,
    /// An acknowledgement for a checkpoint that was given up counts for the next.
    LateAckCounts,
    /// A coordinator that was superseded takes its checkpoint for complete.
    ZombieCompletes,
    /// A checkpoint whose publication is in doubt is deleted at once.
    DoubtDeleted,
    /// A start removes all files without metadata, whoever wrote them.
    StartRemovesAll,
    /// A start believes a listing of folders instead of the log.
    BelievesListing,
    /// A source notes its positions too late.
    PositionsLate,
    /// A start does not commit what was prepared.
    RecoveryForgets,
    /// A sink drops what it prepared for a checkpoint that was aborted.
    AbortDropsPrepared,
    /// A sink makes durable what it wrote for this checkpoint, not what it names beside.
    PreparesOwnOnly,
}

impl Breakage {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::AckCountsTwice,
        Self::ReferenceDroppedEarly,
        Self::AbortDeletesShared,
        Self::OverwritesMetadata,
        Self::CommitsEarly,
        Self::NotAligned,
        Self::LateAckCounts,
        Self::ZombieCompletes,
        Self::DoubtDeleted,
        Self::StartRemovesAll,
        Self::BelievesListing,
        Self::PositionsLate,
        Self::RecoveryForgets,
        Self::AbortDropsPrepared,
        Self::PreparesOwnOnly,
    ];
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AckCountsTwice => "ack-counts-twice",
            Self::ReferenceDroppedEarly => "reference-dropped-early",
            Self::AbortDeletesShared => "abort-deletes-shared",
            Self::OverwritesMetadata => "overwrites-metadata",
            Self::CommitsEarly => "commits-early",
            Self::NotAligned => "not-aligned",
            Self::LateAckCounts => "late-ack-counts",
            Self::ZombieCompletes => "zombie-completes",
            Self::DoubtDeleted => "doubt-deleted",
            Self::StartRemovesAll => "start-removes-all",
            Self::BelievesListing => "believes-listing",
            Self::PositionsLate => "positions-late",
            Self::RecoveryForgets => "recovery-forgets",
            Self::AbortDropsPrepared => "abort-drops-prepared",
            Self::PreparesOwnOnly => "prepares-own-only",
        })
    }
}
