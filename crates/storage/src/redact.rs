//! Keeping credentials out of what people and files get to see.
//!
//! A storage URL may hold a password before its host, or a signature in its query. Errors, logs and
//! metadata show URLs: so everything that shows one goes through [`redact_url`] or, for text of
//! others that may have URLs in it, [`redact_text`].

/// What stands for a part that is not shown.
const HIDDEN: &str = "***";

/// Characters that end a URL within other text.
const ENDS: [char; 6] = ['"', '\'', '`', '<', '>', ')'];

/// `url` without the user and password before its host and without its query and fragment, each
/// replaced by `***`. What has no `://` in it is a path, and comes back as it is.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (place, secret) = rest.split_at(end);
    // A password may have a slash in it that nobody encoded: rather hide too much.
    let shown = match place.rsplit_once('@') {
        Some((user, host)) if !user.starts_with('/') => format!("{HIDDEN}@{host}"),
        _ => place.to_owned(),
    };
    let mark = secret.chars().next().map_or_else(String::new, |mark| format!("{mark}{HIDDEN}"));
    format!("{scheme}://{shown}{mark}")
}

/// `text` with every URL in it redacted, see [`redact_url`].
#[must_use]
pub fn redact_text(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| c.is_whitespace() || ENDS.contains(&c));
        let (url, after) = from.split_at(end.unwrap_or(from.len()));
        redacted.push_str(before);
        redacted.push_str(&redact_url(url));
        rest = after;
    }
    redacted.push_str(rest);
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_the_rest_is_shown() {
        for (url, shown) in [
            ("s3://bucket/job", "s3://bucket/job"),
            ("s3://key:secret@bucket/job", "s3://***@bucket/job"),
            ("s3://secret@bucket", "s3://***@bucket"),
            ("s3://key:sec/ret@bucket/a", "s3://***@bucket/a"),
            ("s3://k:se@cret@bucket/a", "s3://***@bucket/a"),
            ("https://host/a?X-Amz-Signature=secret&x=1", "https://host/a?***"),
            ("https://host/a#secret", "https://host/a#***"),
            ("https://u:secret@host/a?token=secret#secret", "https://***@host/a?***"),
            ("://key:secret@bucket", "://***@bucket"),
            ("file:///a/user@host/b", "file:///a/user@host/b"),
            ("/plain/folder@home?", "/plain/folder@home?"),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), shown, "{url}");
            assert_eq!(redact_text(url), shown, "{url}");
        }
    }

    #[test]
    fn urls_within_text_are_redacted_and_the_text_stays() {
        let text = "GET \"https://u:secret@h/x?sig=secret\" (see s3://secret@b): refused";
        let shown = "GET \"https://***@h/x?***\" (see s3://***@b): refused";
        assert_eq!(redact_text(text), shown);
        assert_eq!(redact_text("no url, a://"), "no url, a://");
    }
}
