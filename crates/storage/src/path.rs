//! Names of objects. [`StorePath`] is the only maker of names, so that no name from outside can
//! leave a store's folder, hide in it, or be too long for any store.

use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

use crate::error::{Effect, ErrorKind, Result, StorageError};

/// Longest segment of a [`StorePath`], in bytes: fits every common file system with room to spare.
pub const SEGMENT_BYTES_MAX: usize = 200;

/// Longest [`StorePath`], in bytes: fits object stores' 1,024-byte keys below a prefix.
pub const PATH_BYTES_MAX: usize = 800;

/// The name of an object, or of a folder of objects, relative to its store.
///
/// One or more segments joined by `/`. A segment has 1 to [`SEGMENT_BYTES_MAX`] characters of
/// `A-Z a-z 0-9 . _ = -` and does not start with a dot (those names are the stores' own), which
/// also rules out `.` and `..`. The whole is at most [`PATH_BYTES_MAX`] long. Ordered by its
/// bytes. Call sites must not give one name to both an object and a folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(String);

impl StorePath {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] if it breaks the rules above.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        match defect(&name) {
            None => Ok(Self(name)),
            Some(defect) => Err(invalid(&name, defect)),
        }
    }

    /// The path of `name` (one or more segments) below this one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`] if `name` breaks the rules, or the whole gets too long.
    pub fn join(&self, name: &str) -> Result<Self> {
        // Checked on its own first: an empty or absolute `name` is to be named as such.
        match defect(name) {
            None => Self::new(format!("{}/{name}", self.0)),
            Some(defect) => Err(invalid(name, defect)),
        }
    }

    /// The path of segment `name` in `folder`, or at the top of the store.
    pub(crate) fn child(folder: Option<&Self>, name: &str) -> Result<Self> {
        match folder {
            Some(folder) => folder.join(name),
            None => Self::new(name),
        }
    }

    /// The folder this is in; `None` at the top of the store.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The last segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, outermost first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The rest of this path below `folder`, as text; `None` if it is not below it.
    #[must_use]
    pub fn below(&self, folder: &Self) -> Option<&str> {
        self.0.strip_prefix(&folder.0)?.strip_prefix('/')
    }

    /// Whether this path is `folder` itself or below it.
    #[must_use]
    pub fn starts_with(&self, folder: &Self) -> bool {
        self == folder || self.below(folder).is_some()
    }

    /// All folders this is in, outermost first, and then the path itself.
    pub(crate) fn with_ancestors(&self) -> impl Iterator<Item = Self> {
        let cuts = self.0.match_indices('/').map(|(at, _)| at);
        cuts.chain([self.0.len()]).filter_map(|at| self.0.get(..at)).map(|s| Self(s.to_owned()))
    }
}

/// The first rule that `name` breaks.
fn defect(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > PATH_BYTES_MAX {
        return Some("it is longer than 800 bytes");
    }
    if name.starts_with('/') {
        return Some("it is absolute");
    }
    name.split('/').find_map(segment_defect)
}

pub(crate) fn segment_defect(segment: &str) -> Option<&'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._=-".contains(&b);
    if segment.is_empty() {
        Some("it has an empty segment")
    } else if segment.starts_with('.') {
        Some("it has a segment that starts with a dot")
    } else if segment.len() > SEGMENT_BYTES_MAX {
        Some("it has a segment longer than 200 bytes")
    } else if !segment.bytes().all(allowed) {
        Some("it has a character other than A-Z a-z 0-9 . _ = -")
    } else {
        None
    }
}

fn invalid(name: &str, defect: &str) -> StorageError {
    // Names may come from outside: quoted, so that the message stays one line, and cut.
    let shown: String = name.chars().take(80).collect();
    let message = format!("{shown:?} cannot name an object: {defect}");
    StorageError::new(ErrorKind::InvalidName, Effect::DidNotHappen, message)
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePath({})", self.0)
    }
}

impl FromStr for StorePath {
    type Err = StorageError;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl AsRef<str> for StorePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for StorePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> StorePath {
        StorePath::new(name).unwrap()
    }

    #[test]
    fn names_that_could_leave_or_hide_in_the_store_are_refused() {
        let long_segment = "a".repeat(SEGMENT_BYTES_MAX + 1);
        let long_path = ["a"; PATH_BYTES_MAX].join("/");
        let refused = [
            "",
            "/",
            "/etc",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/..",
            "a/../b",
            ".tmp-1",
            "a/.b",
            "a b",
            "a\\b",
            "a\nb",
            "a:b",
            "a%2e",
            "\u{e9}",
            "a\0",
            &long_segment,
            &long_path,
        ];
        for name in refused {
            let error = StorePath::new(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{name:?}");
            assert!(!error.to_string().contains('\n'));
            assert!(path("x").join(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_of_the_allowed_characters_and_lengths_are_taken() {
        let longest = "a".repeat(SEGMENT_BYTES_MAX);
        for name in ["a", "chk-7/metadata", "A_b=1/c..d/-", &longest] {
            assert_eq!(path(name).as_str(), name);
        }
        let full = [&longest[..199], &longest[..], &longest[..], &longest[..198]].join("/");
        assert_eq!(full.len(), PATH_BYTES_MAX);
        assert!(path(&full).join("b").is_err());
    }

    #[test]
    fn parent_name_and_join_take_a_path_apart_and_together() {
        let p = path("a/b/c");
        assert_eq!((p.parent(), p.name()), (Some(path("a/b")), "c"));
        assert_eq!(path("a").parent(), None);
        assert_eq!(path("a").join("b/c").unwrap(), p);
        assert_eq!(p.segments().collect::<Vec<_>>(), ["a", "b", "c"]);
        let all: Vec<String> = p.with_ancestors().map(|p| p.to_string()).collect();
        assert_eq!(all, ["a", "a/b", "a/b/c"]);
    }

    #[test]
    fn below_compares_whole_segments() {
        assert_eq!(path("chk-1/x/y").below(&path("chk-1")), Some("x/y"));
        assert_eq!(path("chk-10/x").below(&path("chk-1")), None);
        assert!(path("chk-1").starts_with(&path("chk-1")));
        assert_eq!(path("chk-1").below(&path("chk-1")), None);
    }
}
