//! The tags of metadata fields. A tag is never removed or re-used; `docs/formats.md` lists them.

/// A reader that does not know a tag with this bit refuses the file.
pub(super) const MUST: u16 = 0x8000;

pub(super) mod checkpoint {
    use super::MUST;
    pub(in super::super) const JOB_NAME: u16 = MUST | 1;
    pub(in super::super) const JOB_KIND: u16 = MUST | 2;
    pub(in super::super) const ATTEMPT: u16 = MUST | 3;
    pub(in super::super) const CHECKPOINT: u16 = MUST | 4;
    pub(in super::super) const KIND: u16 = MUST | 5;
    pub(in super::super) const TRIGGERED_AT_MS: u16 = 6;
    pub(in super::super) const COMPLETED_AT_MS: u16 = 7;
    pub(in super::super) const DURATION_MS: u16 = 8;
    pub(in super::super) const MODE: u16 = MUST | 9;
    pub(in super::super) const STATE_BACKEND: u16 = 10;
    pub(in super::super) const MAX_PARALLELISM: u16 = MUST | 11;
    pub(in super::super) const VERTEX: u16 = MUST | 12;
}

pub(super) mod vertex {
    use super::MUST;
    pub(in super::super) const NAME: u16 = MUST | 1;
    pub(in super::super) const PARALLELISM: u16 = MUST | 2;
    pub(in super::super) const MAX_PARALLELISM: u16 = MUST | 3;
    pub(in super::super) const FINISHED: u16 = MUST | 4;
    pub(in super::super) const STATE: u16 = MUST | 5;
    pub(in super::super) const SUBTASK: u16 = MUST | 6;
}

pub(super) mod subtask {
    use super::MUST;
    pub(in super::super) const INDEX: u16 = MUST | 1;
    pub(in super::super) const KEY_GROUPS: u16 = MUST | 2;
    pub(in super::super) const KEYED_STATE: u16 = MUST | 3;
    pub(in super::super) const OPERATOR_STATE: u16 = MUST | 4;
    pub(in super::super) const FINISHED: u16 = MUST | 5;
    pub(in super::super) const SYNC_US: u16 = 6;
    pub(in super::super) const ASYNC_MS: u16 = 7;
    pub(in super::super) const ALIGNMENT_MS: u16 = 8;
    pub(in super::super) const ENTRIES: u16 = 9;
    pub(in super::super) const ENTRIES_CHANGED: u16 = 10;
    pub(in super::super) const BYTES: u16 = 11;
}

/// A keyed state handle has exactly one field: what kind it is.
pub(super) mod keyed_state {
    use super::MUST;
    pub(in super::super) const FULL: u16 = MUST | 1;
    // 2 stands in a golden file for a kind that no version knows: never give it out.
    pub(in super::super) const INCREMENTAL: u16 = MUST | 3;
}

pub(super) mod incremental {
    use super::MUST;
    pub(in super::super) const BACKEND: u16 = MUST | 1;
    pub(in super::super) const KEY_GROUPS: u16 = MUST | 2;
    pub(in super::super) const STATE: u16 = MUST | 3;
    pub(in super::super) const OBJECT: u16 = MUST | 4;
    pub(in super::super) const LOGICAL_FILE: u16 = MUST | 5;
    pub(in super::super) const MANIFEST: u16 = MUST | 6;
}

pub(super) mod full {
    use super::MUST;
    pub(in super::super) const FILE: u16 = MUST | 1;
    pub(in super::super) const KEY_GROUPS: u16 = MUST | 2;
    pub(in super::super) const RAW_BYTES: u16 = 3;
    pub(in super::super) const ENTRIES: u16 = 4;
    pub(in super::super) const STATE_ENTRIES: u16 = 5;
    pub(in super::super) const SIZES: u16 = 6;
}

pub(super) mod file {
    use super::MUST;
    pub(in super::super) const NAME: u16 = MUST | 1;
    pub(in super::super) const BYTES: u16 = MUST | 2;
    pub(in super::super) const CRC32: u16 = MUST | 3;
    pub(in super::super) const SCOPE: u16 = MUST | 4;
}

pub(super) mod operator_state {
    use super::MUST;
    pub(in super::super) const NAME: u16 = MUST | 1;
    pub(in super::super) const REDISTRIBUTION: u16 = MUST | 2;
    pub(in super::super) const ITEM: u16 = MUST | 3;
    pub(in super::super) const KEY_CODEC: u16 = 4;
    pub(in super::super) const VALUE_CODEC: u16 = 5;
}
