//! Opening a store by its URL, and writing a folder as one.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Effect, ErrorKind, Result, StorageError};
use crate::local::LocalStore;
use crate::memory::MemoryStore;
use crate::redact::redact_url;
use crate::store::Store;

const SUPPORTED: &str = "use file:///absolute/folder, a plain folder, or memory://";

/// Opens the store that `url` names.
///
/// - `file:///folder` (percent-encoded) or a plain path, absolute or relative to the current
///   folder: a [`LocalStore`]. With `create`, a folder that is missing is made; without, it must be
///   there.
/// - `memory://`: a new, empty [`MemoryStore`], shared with nobody, whatever `create` says.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for another scheme (the message names the supported ones),
/// [`ErrorKind::InvalidName`] for a URL that does not parse, and what [`LocalStore::open`] or
/// [`LocalStore::create`] fail with.
pub fn open_url(url: &str, create: bool) -> Result<Arc<dyn Store>> {
    let folder = match url.split_once("://") {
        None if url.is_empty() => return Err(invalid(url, "it is empty")),
        None => PathBuf::from(url),
        Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
            "file" => folder_of(url, rest)?,
            "memory" if rest.is_empty() => return Ok(Arc::new(MemoryStore::new())),
            "memory" => return Err(invalid(url, "a memory store has no name")),
            _ => return Err(unsupported(scheme, url)),
        },
    };
    let store = if create { LocalStore::create(&folder)? } else { LocalStore::open(&folder)? };
    Ok(Arc::new(store))
}

/// The folder as a `file://` URL that [`open_url`] takes back.
pub(crate) fn file_url(folder: &Path) -> String {
    let mut url = String::from("file://");
    for &byte in folder.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~=+,@".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}

fn folder_of(url: &str, rest: &str) -> Result<PathBuf> {
    if !rest.starts_with('/') {
        return Err(invalid(url, "file:// must be followed by an absolute folder"));
    }
    let bytes = percent_decode(rest)
        .ok_or_else(|| invalid(url, "a % is not followed by two hexadecimal digits"))?;
    if bytes.contains(&0) {
        return Err(invalid(url, "it has a zero byte"));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    Some(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn invalid(url: &str, defect: &str) -> StorageError {
    let url = redact_url(url);
    let message = format!("{url:?} is no storage URL: {defect}; {SUPPORTED}");
    StorageError::new(ErrorKind::InvalidName, Effect::DidNotHappen, message)
}

fn unsupported(scheme: &str, url: &str) -> StorageError {
    // Only the scheme: the rest may hold a password.
    let message = if scheme.is_empty() {
        format!("{:?} has no scheme; {SUPPORTED}", redact_url(url))
    } else {
        format!("there is no store for {scheme}:// URLs; {SUPPORTED}")
    };
    StorageError::new(ErrorKind::Unsupported, Effect::DidNotHappen, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_survives_the_way_through_its_url() {
        for bytes in [b"/a/b".as_slice(), b"/with space/50%/\xff\n#?", b"/"] {
            let folder = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            let url = file_url(&folder);
            assert!(url.bytes().all(|b| b.is_ascii_graphic()), "{url}");
            assert_eq!(folder_of(&url, url.strip_prefix("file://").unwrap()).unwrap(), folder);
        }
    }

    #[test]
    fn urls_that_do_not_parse_are_refused() {
        for url in [
            "",
            "file://",
            "file://host/x",
            "file:///%",
            "file:///%4",
            "file:///%zz",
            "file:///a%00",
            "memory://name",
        ] {
            assert_eq!(open_url(url, true).unwrap_err().kind(), ErrorKind::InvalidName, "{url}");
        }
    }

    #[test]
    fn an_unknown_scheme_names_the_supported_ones_and_hides_the_rest() {
        let error = open_url("s3://user:secret@bucket/x", true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let line = error.to_string();
        assert!(line.contains("s3://") && line.contains("file://") && line.contains("memory://"));
        assert!(!line.contains("secret"), "{line}");
    }

    #[test]
    fn no_refusal_of_a_url_shows_the_credentials_in_it() {
        for url in [
            "://user:secret@bucket/x",
            "s3://user:secret@bucket/x?token=secret",
            "file://user:secret@host/x",
            "memory://user:secret@name?token=secret",
            "FILE://x/?token=secret",
        ] {
            let error = open_url(url, true).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
