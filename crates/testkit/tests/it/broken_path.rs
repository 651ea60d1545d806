//! Ways of operator state through a checkpoint that are broken on purpose, each in one way.

use millpond_state::{
    CancelFlag, OperatorState, OperatorStatePart, OperatorStateSnapshot, Redistribution, Result,
};
use millpond_testkit::conformance::backend::{OperatorStatePath, PlannedPath};

use crate::broken::in_words;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathFault {
    SplitItemsAreLost,
    SplitItemsGoToAll,
    SplitItemsGoToTheFirst,
    UnionItemsStayWithTheirSubtask,
    BroadcastIsGivenByEach,
    BroadcastGoesToTheFirst,
    SnapshotIsTakenLate,
    CancelIgnored,
    CodecsAreForgotten,
}

impl PathFault {
    /// The fault in words.
    pub(crate) fn words(self) -> String {
        in_words(&format!("{self:?}"))
    }
}

/// The planned path with one fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrokenPath(pub(crate) PathFault);

impl OperatorStatePath for BrokenPath {
    fn write_out(
        &self,
        store: &OperatorState,
        snapshot: OperatorStateSnapshot,
        cancel: &CancelFlag,
    ) -> Result<Vec<OperatorStatePart>> {
        match self.0 {
            PathFault::SnapshotIsTakenLate => store.snapshot().run(cancel),
            PathFault::CancelIgnored => snapshot.run(&CancelFlag::new()),
            PathFault::CodecsAreForgotten => {
                let mut parts = snapshot.run(cancel)?;
                parts.iter_mut().for_each(|part| part.codecs = None);
                Ok(parts)
            }
            _ => PlannedPath.write_out(store, snapshot, cancel),
        }
    }

    fn redistribute(
        &self,
        old: &[Vec<OperatorStatePart>],
        parallelism: u32,
    ) -> Result<Vec<Vec<OperatorStatePart>>> {
        let mut new = PlannedPath.redistribute(old, parallelism)?;
        let all = |part: &OperatorStatePart| -> Vec<Vec<u8>> {
            let same = old.iter().flatten().filter(|other| other.name == part.name);
            same.flat_map(|other| other.items.clone()).collect()
        };
        for (index, parts) in new.iter_mut().enumerate() {
            for part in parts {
                let own = old
                    .get(index)
                    .and_then(|parts| parts.iter().find(|other| other.name == part.name));
                match (self.0, part.redistribution) {
                    (PathFault::SplitItemsAreLost, Redistribution::Split) => {
                        part.items.pop();
                    }
                    (PathFault::SplitItemsGoToAll, Redistribution::Split)
                    | (PathFault::BroadcastIsGivenByEach, Redistribution::Broadcast) => {
                        part.items = all(part);
                    }
                    (PathFault::SplitItemsGoToTheFirst, Redistribution::Split) => {
                        part.items = if index == 0 { all(part) } else { Vec::new() };
                    }
                    (PathFault::UnionItemsStayWithTheirSubtask, Redistribution::Union) => {
                        part.items = own.map(|own| own.items.clone()).unwrap_or_default();
                    }
                    (PathFault::BroadcastGoesToTheFirst, Redistribution::Broadcast)
                        if index > 0 =>
                    {
                        part.items.clear();
                    }
                    _ => {}
                }
            }
        }
        Ok(new)
    }
}
