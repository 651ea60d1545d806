//! Which checkpoint uses which local copy: what may go. Pure.
//!
//! # Invariants
//! - A copy that the newest completed checkpoint or one under way uses is never handed out for
//!   deletion; any other is, at the next completion at the latest.
//! - Copies of at most [`ABORTED_MAX`] aborted checkpoints are kept: the next one may re-use what
//!   was uploaded for them.

use std::collections::{BTreeMap, BTreeSet};

use millpond_state::CheckpointId;

/// Of so many aborted checkpoints copies are kept until one completes.
const ABORTED_MAX: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    UnderWay,
    Aborted,
    Completed,
}

#[derive(Debug)]
struct Set {
    state: State,
    /// Whether nothing more is to be copied for it, since that failed.
    given_up: bool,
    files: BTreeSet<String>,
}

/// The copies that are there, by name, and who uses them.
#[derive(Debug, Default)]
pub(super) struct Sets {
    checkpoints: BTreeMap<CheckpointId, Set>,
    there: BTreeSet<String>,
}

impl Sets {
    /// The job starts from a checkpoint of which these copies are there, and nothing else is.
    pub(super) fn restart(&mut self, restored: Option<(CheckpointId, BTreeSet<String>)>) {
        *self = Self::default();
        if let Some((id, files)) = restored {
            self.there.clone_from(&files);
            let set = Set { state: State::Completed, given_up: false, files };
            self.checkpoints.insert(id, set);
        }
    }

    pub(super) fn begin(&mut self, id: CheckpointId) {
        let (state, given_up, files) = (State::UnderWay, false, BTreeSet::new());
        self.checkpoints.insert(id, Set { state, given_up, files });
    }

    /// Whether files of this checkpoint are to be copied.
    pub(super) fn wants(&self, id: CheckpointId) -> bool {
        self.checkpoints.get(&id).is_some_and(|set| set.state == State::UnderWay && !set.given_up)
    }

    pub(super) fn give_up(&mut self, id: CheckpointId) {
        if let Some(set) = self.checkpoints.get_mut(&id) {
            set.given_up = true;
        }
    }

    /// A new copy is there; `false`: nobody uses it, it is to be deleted.
    pub(super) fn add(&mut self, id: CheckpointId, file: String) -> bool {
        let Some(set) = self.checkpoints.get_mut(&id) else { return false };
        set.files.insert(file.clone());
        self.there.insert(file);
        true
    }

    /// The checkpoint re-uses a file: its copy stays, if there is one.
    pub(super) fn reuse(&mut self, id: CheckpointId, file: &str) {
        if let Some(set) = self.checkpoints.get_mut(&id)
            && self.there.contains(file)
        {
            set.files.insert(file.to_owned());
        }
    }

    /// The copy turned out to be of no use.
    pub(super) fn forget(&mut self, file: &str) {
        self.there.remove(file);
        for set in self.checkpoints.values_mut() {
            set.files.remove(file);
        }
    }

    /// Returns what is to be deleted.
    pub(super) fn complete(&mut self, id: CheckpointId) -> Vec<String> {
        let Some(set) = self.checkpoints.get_mut(&id) else { return Vec::new() };
        set.state = State::Completed;
        let newest = self.in_state(State::Completed).last();
        self.checkpoints.retain(|it, set| match set.state {
            State::UnderWay => true,
            State::Completed => Some(*it) == newest,
            State::Aborted => *it > id,
        });
        self.sweep()
    }

    /// Returns what is to be deleted.
    pub(super) fn abort(&mut self, id: CheckpointId) -> Vec<String> {
        if let Some(set) = self.checkpoints.get_mut(&id)
            && set.state == State::UnderWay
        {
            set.state = State::Aborted;
        }
        let aborted: Vec<CheckpointId> = self.in_state(State::Aborted).collect();
        let surplus = aborted.len().saturating_sub(ABORTED_MAX);
        for id in aborted.iter().take(surplus) {
            self.checkpoints.remove(id);
        }
        self.sweep()
    }

    fn in_state(&self, state: State) -> impl Iterator<Item = CheckpointId> {
        let of_state = move |(_, set): &(&CheckpointId, &Set)| set.state == state;
        self.checkpoints.iter().filter(of_state).map(|(id, _)| *id)
    }

    fn sweep(&mut self) -> Vec<String> {
        let used: BTreeSet<&String> =
            self.checkpoints.values().flat_map(|set| &set.files).collect();
        let unused: Vec<String> =
            self.there.iter().filter(|file| !used.contains(file)).cloned().collect();
        for file in &unused {
            self.there.remove(file);
        }
        unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u64) -> CheckpointId {
        CheckpointId::new(raw)
    }

    #[test]
    fn the_newest_completed_checkpoint_and_those_under_way_keep_their_copies() {
        let mut sets = Sets::default();
        sets.begin(id(1));
        assert!(sets.wants(id(1)) && sets.add(id(1), "a".into()) && sets.add(id(1), "b".into()));
        assert!(sets.complete(id(1)).is_empty());
        sets.begin(id(2));
        sets.begin(id(3));
        sets.reuse(id(2), "b");
        sets.reuse(id(2), "not there");
        sets.reuse(id(3), "b");
        assert!(sets.add(id(3), "c".into()));
        assert_eq!(sets.complete(id(2)), ["a"]);
        assert!(sets.complete(id(3)).is_empty());
        // What comes late is not wanted, and an older completion changes nothing.
        assert!(!sets.add(id(2), "d".into()));
        assert!(sets.complete(id(2)).is_empty());
        assert!(!sets.wants(id(3)) && !sets.wants(id(9)));
        sets.begin(id(4));
        assert_eq!(sets.complete(id(4)), ["b", "c"]);
    }

    #[test]
    fn copies_of_the_last_aborted_checkpoints_stay_until_one_completes() {
        let mut sets = Sets::default();
        for (number, file) in [(1, "a"), (2, "b"), (3, "c")] {
            sets.begin(id(number));
            assert!(sets.add(id(number), file.into()));
            let gone = sets.abort(id(number));
            assert_eq!(gone, if number == 3 { vec!["a"] } else { vec![] });
        }
        sets.begin(id(4));
        sets.reuse(id(4), "b");
        sets.give_up(id(4));
        assert!(!sets.wants(id(4)));
        assert_eq!(sets.complete(id(4)), ["c"]);
        sets.forget("b");
        sets.begin(id(5));
        sets.reuse(id(5), "b");
        assert!(sets.complete(id(5)).is_empty());
        sets.restart(Some((id(7), ["x".to_owned()].into())));
        sets.begin(id(8));
        assert_eq!(sets.complete(id(8)), ["x"]);
    }
}
