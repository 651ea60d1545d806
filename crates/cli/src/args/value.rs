//! Values of arguments.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use millpond_runtime::RestartStrategy;

use crate::error::{CliError, Result};

/// What to do with a record that does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnBadRecord {
    Fail,
    Skip,
    DeadLetter(PathBuf),
}

impl OnBadRecord {
    /// From one or two words.
    ///
    /// # Errors
    /// A usage error for others.
    pub(crate) fn parse(words: &[OsString]) -> Result<Self> {
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        match words.as_slice() {
            [word] if *word == "fail" => Ok(Self::Fail),
            [word] if *word == "skip" => Ok(Self::Skip),
            [word, file] if *word == "dead-letter" => Ok(Self::DeadLetter(PathBuf::from(file))),
            [word] if *word == "dead-letter" => {
                Err(CliError::Usage("--on-bad-record dead-letter needs a FILE".to_owned()))
            }
            _ => Err(CliError::Usage(
                "--on-bad-record takes fail, skip, or dead-letter FILE".to_owned(),
            )),
        }
    }
}

/// From which checkpoint to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RestoreFrom {
    Latest,
    /// A folder or URL.
    Path(String),
}

/// A restart strategy as an argument.
#[derive(Clone, Debug)]
pub(crate) struct RestartArg(pub(crate) RestartStrategy);

pub(super) fn restore_from(text: &str) -> Result<RestoreFrom, String> {
    match text {
        "" => Err("give latest or the folder of a checkpoint".to_owned()),
        "latest" => Ok(RestoreFrom::Latest),
        path => Ok(RestoreFrom::Path(path.to_owned())),
    }
}

/// A whole number and a unit: ms, s, m or h.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write it as 500ms, 1s, 2m or 1h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write it as 500ms, 1s, 2m or 1h".to_owned())?;
    let ms = number.checked_mul(unit_ms).ok_or_else(|| "that is too long".to_owned())?;
    Ok(Duration::from_millis(ms))
}

pub(super) fn restart(text: &str) -> Result<RestartArg, String> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is no number"));
    let ms = |text: &str| duration(text).map(|it| it.as_millis().try_into().unwrap_or(u64::MAX));
    let parts: Vec<&str> = text.split(':').collect();
    let strategy = match parts.as_slice() {
        ["never"] => RestartStrategy::Never,
        ["fixed-delay", times, pause] => {
            RestartStrategy::FixedDelay { attempts_max: number(times)?, delay_ms: ms(pause)? }
        }
        ["exponential", first, longest] => {
            let (delay_ms, delay_max_ms) = (ms(first)?, ms(longest)?);
            let reset_after_ms = delay_max_ms.saturating_mul(10);
            RestartStrategy::ExponentialDelay { delay_ms, delay_max_ms, factor: 2, reset_after_ms }
        }
        ["failure-rate", failures, interval, pause] => RestartStrategy::FailureRate {
            failures_max: number(failures)?,
            interval_ms: ms(interval)?,
            delay_ms: ms(pause)?,
        },
        _ => {
            return Err("write never, fixed-delay:3:1s, exponential:1s:1m or \
                        failure-rate:5:1m:1s"
                .to_owned());
        }
    };
    Ok(RestartArg(strategy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "1", "s", "1 s", "-1s", "1.5s", "1d", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("9999999999999999h").is_err());
    }

    #[test]
    fn restart_strategies_parse() {
        assert_eq!(restart("never").unwrap().0, RestartStrategy::Never);
        assert_eq!(restart("fixed-delay:3:1s").unwrap().0, RestartStrategy::default());
        assert!(restart("fixed-delay:x:1s").is_err());
        assert!(restart("sometimes").is_err());
    }

    #[test]
    fn bad_records_have_three_fates() {
        let parse = |words: &[&str]| {
            OnBadRecord::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert_eq!(parse(&["skip"]).unwrap(), OnBadRecord::Skip);
        assert_eq!(
            parse(&["dead-letter", "x"]).unwrap(),
            OnBadRecord::DeadLetter(PathBuf::from("x"))
        );
        for bad in [&["dead-letter"][..], &["skip", "x"], &["drop"]] {
            assert_eq!(parse(bad).unwrap_err().status(), 2, "{bad:?}");
        }
    }
}
