//! Operations as text, one a line: words separated by spaces. Empty lines and what follows a `#`
//! are skipped.
//!
//! ```text
//! open 2 v1 eager never            two subtasks, codec version 1, nothing expires
//! at 3 1 list-add 5 6              key 3, namespace 1
//! at 3 1 merge reducing 0 2        namespaces 0 and 2 into 1
//! pass event 250
//! restore 1 3 v2 lazy event/100/read/exact   snapshot 1, three subtasks, codec version 2
//! ```

use core::fmt;
use core::str::{FromStr, SplitWhitespace};

use millpond_state::TimeDomain;

use super::op::{Access, Expiring, Kind, Op, Place, Program};
use crate::ops::ParseOpError;

/// The operations as text.
#[must_use]
pub fn print(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("{op}\n")).collect()
}

/// Reads operations from text.
///
/// # Errors
/// The first line that is no operation.
pub fn parse(text: &str) -> Result<Vec<Op>, ParseOpError> {
    crate::ops::parse_lines(text, parse_op)
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
            Self::Reducing => "reducing",
            Self::Aggregating => "aggregating",
            Self::Timers => "timers",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{} {} ", self.version, if self.lazy { "lazy" } else { "eager" })?;
        match self.ttl {
            None => f.write_str("never"),
            Some(Expiring { domain, duration_ms, on_read, relaxed }) => {
                let refresh = if on_read { "read" } else { "write" };
                let visibility = if relaxed { "relaxed" } else { "exact" };
                write!(f, "{domain}/{duration_ms}/{refresh}/{visibility}")
            }
        }
    }
}

fn numbers<T: fmt::Display>(f: &mut fmt::Formatter<'_>, numbers: &[T]) -> fmt::Result {
    numbers.iter().try_for_each(|number| write!(f, " {number}"))
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(number) => write!(f, "put {number}"),
            Self::Get => f.write_str("get"),
            Self::Update(number) => write!(f, "update {number}"),
            Self::Clear(kind) => write!(f, "clear {}", kind.word()),
            Self::ListAdd(elements) => {
                f.write_str("list-add")?;
                numbers(f, elements)
            }
            Self::ListReplace(elements) => {
                f.write_str("list-replace")?;
                numbers(f, elements)
            }
            Self::ListGet => f.write_str("list-get"),
            Self::MapPut(user_key, number) => write!(f, "map-put {user_key} {number}"),
            Self::MapRemove(user_key) => write!(f, "map-remove {user_key}"),
            Self::MapGet(user_key) => write!(f, "map-get {user_key}"),
            Self::MapContains(user_key) => write!(f, "map-contains {user_key}"),
            Self::MapEntries => f.write_str("map-entries"),
            Self::MapIsEmpty => f.write_str("map-is-empty"),
            Self::MapUpdateEach(number) => write!(f, "map-update-each {number}"),
            Self::Reduce(number) => write!(f, "reduce {number}"),
            Self::Reduced => f.write_str("reduced"),
            Self::Aggregate(number) => write!(f, "aggregate {number}"),
            Self::Aggregated => f.write_str("aggregated"),
            Self::Merge(kind, sources) => {
                write!(f, "merge {}", kind.word())?;
                numbers(f, sources)
            }
            Self::TimerAdd(time) => write!(f, "timer-add {time}"),
            Self::TimerDelete(time) => write!(f, "timer-delete {time}"),
            Self::TimerTimes => f.write_str("timer-times"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(parallelism, program) => write!(f, "open {parallelism} {program}"),
            Self::At(Place { key, window }, access) => write!(f, "at {key} {window} {access}"),
            Self::Walk(kind) => write!(f, "walk {}", kind.word()),
            Self::Count(kind) => write!(f, "count {}", kind.word()),
            Self::Check => f.write_str("check"),
            Self::Fire(now) => write!(f, "fire {now}"),
            Self::Pass(domain, millis) => write!(f, "pass {domain} {millis}"),
            Self::Sweep(steps) => write!(f, "sweep {steps}"),
            Self::SweepAll => f.write_str("sweep-all"),
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::Finish(id) => write!(f, "finish {id}"),
            Self::Drop(id) => write!(f, "drop {id}"),
            Self::Restore(id, parallelism, program) => {
                write!(f, "restore {id} {parallelism} {program}")
            }
        }
    }
}

/// The words of a line that are still to be read.
struct Words<'a>(SplitWhitespace<'a>);

impl Words<'_> {
    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn numbers<T: FromStr>(&mut self) -> Option<Vec<T>> {
        self.0.by_ref().map(|word| word.parse().ok()).collect()
    }

    fn kind(&mut self) -> Option<Kind> {
        let word = self.0.next()?;
        super::op::KINDS.into_iter().find(|kind| kind.word() == word)
    }

    fn program(&mut self) -> Option<Program> {
        let version = self.0.next()?.strip_prefix('v')?.parse().ok()?;
        let lazy = match self.0.next()? {
            "lazy" => true,
            "eager" => false,
            _ => return None,
        };
        let known = (1..=3).contains(&version);
        let ttl = match self.0.next()? {
            "never" => None,
            word => Some(expiring(word)?),
        };
        known.then_some(Program { version, lazy, ttl })
    }
}

fn expiring(word: &str) -> Option<Expiring> {
    let mut parts = word.split('/');
    let domain = TimeDomain::from_name(parts.next()?)?;
    let duration_ms = parts.next()?.parse().ok().filter(|duration| *duration > 0)?;
    let on_read = match parts.next()? {
        "read" => true,
        "write" => false,
        _ => return None,
    };
    let relaxed = match parts.next()? {
        "relaxed" => true,
        "exact" => false,
        _ => return None,
    };
    let expiring = Expiring { domain, duration_ms, on_read, relaxed };
    parts.next().is_none().then_some(expiring)
}

fn parse_op(line: &str) -> Option<Op> {
    let mut words = Words(line.split_whitespace());
    let op = match words.0.next()? {
        "open" => Op::Open(words.number()?, words.program()?),
        "at" => {
            let place = Place { key: words.number()?, window: words.number()? };
            Op::At(place, parse_access(&mut words)?)
        }
        "walk" => Op::Walk(words.kind()?),
        "count" => Op::Count(words.kind()?),
        "check" => Op::Check,
        "fire" => Op::Fire(words.number()?),
        "pass" => Op::Pass(TimeDomain::from_name(words.0.next()?)?, words.number()?),
        "sweep" => Op::Sweep(words.number()?),
        "sweep-all" => Op::SweepAll,
        "snapshot" => Op::Snapshot(words.number()?),
        "finish" => Op::Finish(words.number()?),
        "drop" => Op::Drop(words.number()?),
        "restore" => Op::Restore(words.number()?, words.number()?, words.program()?),
        _ => return None,
    };
    words.0.next().is_none().then_some(op)
}

fn parse_access(words: &mut Words<'_>) -> Option<Access> {
    Some(match words.0.next()? {
        "put" => Access::Put(words.number()?),
        "get" => Access::Get,
        "update" => Access::Update(words.number()?),
        "clear" => Access::Clear(words.kind()?),
        "list-add" => Access::ListAdd(words.numbers()?),
        "list-replace" => Access::ListReplace(words.numbers()?),
        "list-get" => Access::ListGet,
        "map-put" => Access::MapPut(words.number()?, words.number()?),
        "map-remove" => Access::MapRemove(words.number()?),
        "map-get" => Access::MapGet(words.number()?),
        "map-contains" => Access::MapContains(words.number()?),
        "map-entries" => Access::MapEntries,
        "map-is-empty" => Access::MapIsEmpty,
        "map-update-each" => Access::MapUpdateEach(words.number()?),
        "reduce" => Access::Reduce(words.number()?),
        "reduced" => Access::Reduced,
        "aggregate" => Access::Aggregate(words.number()?),
        "aggregated" => Access::Aggregated,
        "merge" => Access::Merge(words.kind()?, words.numbers()?),
        "timer-add" => Access::TimerAdd(words.number()?),
        "timer-delete" => Access::TimerDelete(words.number()?),
        "timer-times" => Access::TimerTimes,
        _ => return None,
    })
}
