//! How much of the shared objects is still of use, and which to give up for the rest's sake.

use std::collections::BTreeSet;

/// What shared objects take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceStats {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Logical files that a checkpoint refers to or that are kept for re-use.
    pub logical_files: u64,
    /// Their bytes: what of `object_bytes` is of use.
    pub live_bytes: u64,
}

impl SpaceStats {
    /// Bytes of objects for 100 bytes in use; 100 if there is nothing.
    #[must_use]
    pub fn amplification_percent(&self) -> u64 {
        if self.live_bytes == 0 {
            return if self.object_bytes == 0 { 100 } else { u64::MAX };
        }
        let percent = u128::from(self.object_bytes) * 100 / u128::from(self.live_bytes);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// An object's share in the space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: u64,
    pub(super) live_bytes: u64,
}

/// The objects whose files should be written again rather than re-used, emptiest first, until the
/// others and the bytes written again take at most `max_percent` of the bytes in use.
pub(super) fn plan_withheld(mut usages: Vec<Usage<'_>>, max_percent: u32) -> BTreeSet<String> {
    let sum = |of: fn(&Usage<'_>) -> u64| usages.iter().map(|it| u128::from(of(it))).sum::<u128>();
    let mut total = sum(|it| it.bytes);
    let allowed = sum(|it| it.live_bytes).saturating_mul(u128::from(max_percent));
    usages.sort_by(|a, b| {
        let (left, right) = (
            u128::from(a.live_bytes) * u128::from(b.bytes),
            u128::from(b.live_bytes) * u128::from(a.bytes),
        );
        left.cmp(&right).then_with(|| a.name.cmp(b.name))
    });
    let mut withheld = BTreeSet::new();
    for usage in usages {
        if total.saturating_mul(100) <= allowed || usage.live_bytes >= usage.bytes {
            break;
        }
        total -= u128::from(usage.bytes - usage.live_bytes);
        withheld.insert(usage.name.to_owned());
    }
    withheld
}
