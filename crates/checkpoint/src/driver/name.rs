//! The names of folders and files of checkpoints: made here and nowhere else.

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

/// The file that makes a checkpoint exist.
pub(super) const METADATA: &str = "_metadata";

/// The file that says whose checkpoints these are.
pub(super) const OWNER: &str = "_job";

const FOLDER_PREFIX: &str = "chk-";

/// Longest part of a vertex's name that goes into a file name, in bytes.
const VERTEX_BYTES_MAX: usize = 100;

pub(super) fn folder(id: CheckpointId) -> String {
    format!("{FOLDER_PREFIX}{id}")
}

/// The number of a checkpoint's folder; `None` for other folders, also such as `chk-007`.
pub(super) fn parse_folder(name: &str) -> Option<CheckpointId> {
    let digits = name.strip_prefix(FOLDER_PREFIX)?;
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(CheckpointId::new(number))
}

/// The file with the keyed state of a subtask. A hash of the vertex's name keeps names apart that
/// are alike once escaped and cut.
pub(super) fn keyed_state(attempt: AttemptId, subtask: &SubtaskId) -> String {
    let hash = millpond_state::key_hash(subtask.vertex.as_bytes()) as u32;
    format!("{:016x}-{}-{hash:08x}-{}.full", attempt.get(), escape(&subtask.vertex), subtask.index)
}

/// Makes a vertex's name fit for a file name: for people to recognise, not to decode.
fn escape(vertex: &str) -> String {
    vertex
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(VERTEX_BYTES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_have_one_spelling() {
        assert_eq!(parse_folder(&folder(CheckpointId::new(42))), Some(CheckpointId::new(42)));
        for name in ["chk-", "chk-042", "chk--1", "chk-1x", "x", "chk-99999999999999999999"] {
            assert_eq!(parse_folder(name), None, "{name}");
        }
    }

    #[test]
    fn vertices_with_like_names_have_different_files() {
        let attempt = AttemptId::new(0xabc);
        let names: std::collections::BTreeSet<String> = ["a b", "a/b", "a-b", "\u{e9}"]
            .iter()
            .map(|vertex| keyed_state(attempt, &SubtaskId::new(*vertex, 3)))
            .collect();
        assert_eq!(names.len(), 4);
        assert!(names.iter().all(|name| name.ends_with("-3.full")));
    }
}
