//! The names of folders and files of checkpoints: made here and nowhere else.

use millpond_state::{AttemptId, CheckpointId, SubtaskId};

/// The file that makes a checkpoint exist.
pub(crate) const METADATA: &str = "_metadata";

/// The file that says whose checkpoints these are.
pub(crate) const OWNER: &str = "_job";

/// In a checkpoint's folder: a job was restored from it without claim, so it is nobody's to delete.
pub(crate) const KEPT: &str = "_kept";

const FOLDER_PREFIX: &str = "chk-";

/// The folder of objects that checkpoints share.
pub(crate) const SHARED_FOLDER: &str = "shared";

/// The folder of the checkpoint log.
pub(crate) const LOG_FOLDER: &str = "log";

/// Digits of a log entry's number, so that names sort as numbers do.
const LOG_DIGITS: usize = 20;

/// Longest part of a vertex's name that goes into a file name, in bytes.
const VERTEX_BYTES_MAX: usize = 100;

pub(crate) fn folder(id: CheckpointId) -> String {
    format!("{FOLDER_PREFIX}{id}")
}

/// The number of a checkpoint's folder; `None` for other folders, also such as `chk-007`.
pub(crate) fn parse_folder(name: &str) -> Option<CheckpointId> {
    parse_number(name.strip_prefix(FOLDER_PREFIX)?)
}

/// The file with the keyed state of a subtask.
pub(crate) fn keyed_state(attempt: AttemptId, subtask: &SubtaskId) -> String {
    format!("{:016x}-{}.full", attempt.get(), subtask_part(subtask))
}

/// The name of object `index` that `subtask` writes for `checkpoint` and later checkpoints may
/// share, relative to the root of the checkpoint storage. No other attempt, checkpoint or subtask
/// ever has the name, so a late writer cannot overwrite and a late deletion cannot hit what is in
/// use.
#[must_use]
pub fn shared_object_name(
    attempt: AttemptId,
    checkpoint: CheckpointId,
    subtask: &SubtaskId,
    index: u32,
) -> String {
    let part = subtask_part(subtask);
    format!("{SHARED_FOLDER}/{:016x}-{checkpoint}-{part}-{index}", attempt.get())
}

/// The folder of the local copies of the files of a job's checkpoints, which are at the URL
/// `storage`.
pub(crate) fn job_folder(job: &str, storage: &str) -> String {
    let hash = millpond_state::key_hash(format!("{job}\n{storage}").as_bytes());
    format!("{}-{hash:016x}", escape(job))
}

/// An entry of the checkpoint log.
pub(crate) fn log_entry(sequence: u64) -> String {
    format!("{LOG_FOLDER}/{sequence:0LOG_DIGITS$}")
}

/// The number of a log entry by its name within the log's folder.
pub(crate) fn parse_log_entry(name: &str) -> Option<u64> {
    let sequence = name.parse().ok()?;
    (format!("{sequence:0LOG_DIGITS$}") == name).then_some(sequence)
}

/// A hash of the vertex's name keeps names apart that are alike once escaped and cut.
fn subtask_part(subtask: &SubtaskId) -> String {
    let hash = millpond_state::key_hash(subtask.vertex.as_bytes()) as u32;
    format!("{}-{hash:08x}-{}", escape(&subtask.vertex), subtask.index)
}

/// What an object of a checkpoint storage is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    /// It says whose checkpoints these are, which exist, or that one is nobody's.
    Owner,
    /// Metadata of a checkpoint.
    Metadata(CheckpointId),
    /// Data written for a checkpoint.
    Data(CheckpointId),
}

impl ObjectKind {
    /// `None` for names that are not given here.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let Some((folder, file)) = name.split_once('/') else {
            return (name == OWNER).then_some(Self::Owner);
        };
        if folder == LOG_FOLDER {
            return parse_log_entry(file).map(|_| Self::Owner);
        }
        if folder == SHARED_FOLDER {
            let (checkpoint, rest) = after_attempt(file)?.split_once('-')?;
            let ends_in_numbers = rest.rsplitn(3, '-').take(2).all(is_number);
            return ends_in_numbers.then_some(Self::Data(parse_number(checkpoint)?));
        }
        let checkpoint = parse_folder(folder)?;
        match file {
            METADATA => Some(Self::Metadata(checkpoint)),
            KEPT => Some(Self::Owner),
            _ => after_attempt(file).map(|_| Self::Data(checkpoint)),
        }
    }
}

/// Whether an object of this name is one that checkpoints share.
pub(crate) fn is_shared_object(name: &str) -> bool {
    let in_folder = name.split_once('/').is_some_and(|(folder, _)| folder == SHARED_FOLDER);
    in_folder && matches!(ObjectKind::of(name), Some(ObjectKind::Data(_)))
}

/// The rest of a file's name after its attempt. `None` if it has none or lies deeper.
fn after_attempt(file: &str) -> Option<&str> {
    let (attempt, rest) = file.split_at_checked(16)?;
    let hex = attempt.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    rest.strip_prefix('-').filter(|rest| hex && !rest.is_empty() && !rest.contains('/'))
}

fn is_number(text: &str) -> bool {
    parse_number(text).is_some()
}

/// A number in its one spelling.
fn parse_number(digits: &str) -> Option<CheckpointId> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(CheckpointId::new(number))
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
    fn names_given_here_are_known_again_and_others_are_not() {
        let (attempt, checkpoint) = (AttemptId::new(0xabc), CheckpointId::new(7));
        for vertex in ["sum", "a-7", "x/y", "-"] {
            let subtask = SubtaskId::new(vertex, 3);
            let shared = shared_object_name(attempt, checkpoint, &subtask, 0);
            assert_eq!(ObjectKind::of(&shared), Some(ObjectKind::Data(checkpoint)), "{shared}");
            let full = format!("{}/{}", folder(checkpoint), keyed_state(attempt, &subtask));
            assert_eq!(ObjectKind::of(&full), Some(ObjectKind::Data(checkpoint)), "{full}");
            assert!(is_shared_object(&shared) && !is_shared_object(&full), "{full}");
        }
        for owner in ["_job", "chk-7/_kept", &log_entry(12)] {
            assert_eq!(ObjectKind::of(owner), Some(ObjectKind::Owner), "{owner}");
        }
        for other in ["_job", "chk-7/_metadata", "chk-7/_kept", "shared/notes"] {
            assert!(!is_shared_object(other), "{other}");
        }
        assert_eq!(ObjectKind::of("chk-7/_metadata"), Some(ObjectKind::Metadata(checkpoint)));
        for name in [
            "",
            "notes.txt",
            "shared",
            "shared/notes",
            "log/12",
            "log/x",
            "shared/0000000000000abc-7",
            "shared/0000000000000abc-07-sum-00000000-3-0",
            "shared/0000000000000abc-7-sum",
            "shared/0000000000000abc-7-sum-0-0/x",
            "shared/0000000000000ABC-7-sum-00000000-3-0",
            "chk-7/notes.txt",
            "chk-7/0000000000000abc",
            "chk-7/0000000000000abc-",
            "chk-07/0000000000000abc-sum-00000000-3.full",
            "chk-7/deep/_metadata",
            "chk-7/0000000000000ab\u{e9}-x",
            "other/0000000000000abc-sum",
        ] {
            assert_eq!(ObjectKind::of(name), None, "{name:?}");
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
