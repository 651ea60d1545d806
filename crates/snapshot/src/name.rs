//! Names of data files in metadata: relative, so that a checkpoint folder can be moved, and safe,
//! so that damaged or hostile metadata never leads outside that folder.

use crate::error::{Result, SnapshotError};

/// Longest relative name, in bytes.
pub const RELATIVE_NAME_BYTES_MAX: usize = 1_024;

/// Checks that `name` is a relative name: one or more segments joined by `/`, each of 1 to 255 of
/// the characters `A-Z a-z 0-9 . _ = -`, none of them `.` or `..`.
///
/// # Errors
/// [`InvalidArgument`](crate::SnapshotErrorKind::InvalidArgument) naming the name.
pub fn check_relative_name(name: &str) -> Result<()> {
    let usable = name.len() <= RELATIVE_NAME_BYTES_MAX && name.split('/').all(is_segment);
    if usable {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(SnapshotError::invalid(format!(
        "{shown:?} is not a relative file name: it must have at most {RELATIVE_NAME_BYTES_MAX} \
         bytes, in segments of A-Z a-z 0-9 . _ = - joined by /, none of them . or .."
    )))
}

fn is_segment(segment: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'=' | b'-');
    (1..=255).contains(&segment.len())
        && segment != "."
        && segment != ".."
        && segment.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for good in ["a", "chk-1/3-agg-0-0.full", "_metadata", "a=b/..c", "..."] {
            assert!(check_relative_name(good).is_ok(), "{good}");
        }
        let long = "a/".repeat(600) + "a";
        let wide = "a".repeat(256);
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\\b", "C:", "a b",
            "a\0", "\u{e9}", "%2e%2e", &long, &wide,
        ] {
            assert!(check_relative_name(bad).is_err(), "{bad}");
        }
    }
}
