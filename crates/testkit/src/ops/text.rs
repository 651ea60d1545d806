//! Operations as text, one a line: words separated by spaces. Empty lines and what follows a `#`
//! are skipped.
//!
//! ```text
//! put value k3 n0 v7x20         key 3, void namespace, 20 bytes of seed 7
//! update-many list k1:n0=d k2:n1=rv3x4 k1:n0=k k9:n0=f
//! map-visit k1 n0 k d rv1x1 b   keep, delete, replace, delete and break; f fails
//! visit map 0 15 n2
//! restore 4 3                   snapshot 4 at parallelism 3
//! ```

use core::fmt;
use core::str::FromStr;

use super::op::{Action, Address, Op, Payload, StateChoice};

/// A line that is no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseOpError {
    line: usize,
    text: String,
}

impl fmt::Display for ParseOpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?} is no operation", self.line, self.text)
    }
}

impl core::error::Error for ParseOpError {}

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
    parse_lines(text, parse_op)
}

/// Reads one operation from each line that has one.
pub(crate) fn parse_lines<T>(
    text: &str,
    parse_line: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, ParseOpError> {
    let mut ops = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let bad = || ParseOpError { line: index + 1, text: line.to_owned() };
        ops.push(parse_line(line).ok_or_else(bad)?);
    }
    Ok(ops)
}

impl fmt::Display for StateChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "value",
            Self::List => "list",
            Self::Map => "map",
        })
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}x{}", self.seed, self.len)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("k"),
            Self::Replace(payload) => write!(f, "r{payload}"),
            Self::Remove => f.write_str("d"),
            Self::Break => f.write_str("b"),
            Self::Fail => f.write_str("f"),
        }
    }
}

/// An address as one word, for batches.
struct Joined<'a>(&'a Address);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{}:n{}", self.0.key, self.0.namespace)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k{} n{}", self.key, self.namespace)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(parallelism) => write!(f, "open {parallelism}"),
            Self::Get(state, at) => write!(f, "get {state} {at}"),
            Self::Put(state, at, payload) => write!(f, "put {state} {at} {payload}"),
            Self::Append(state, at, payload) => write!(f, "append {state} {at} {payload}"),
            Self::Delete(state, at) => write!(f, "delete {state} {at}"),
            Self::GetMany(state, batch) => {
                write!(f, "get-many {state}")?;
                batch.iter().try_for_each(|at| write!(f, " {}", Joined(at)))
            }
            Self::PutMany(state, batch) => {
                write!(f, "put-many {state}")?;
                batch.iter().try_for_each(|(at, value)| write!(f, " {}={value}", Joined(at)))
            }
            Self::UpdateMany(state, batch) => {
                write!(f, "update-many {state}")?;
                batch.iter().try_for_each(|(at, action)| write!(f, " {}={action}", Joined(at)))
            }
            Self::MapGet(at, user_key) => write!(f, "map-get {at} u{user_key}"),
            Self::MapPut(at, user_key, value) => write!(f, "map-put {at} u{user_key} {value}"),
            Self::MapRemove(at, user_key) => write!(f, "map-remove {at} u{user_key}"),
            Self::MapVisit(at, actions) => {
                write!(f, "map-visit {at}")?;
                actions.iter().try_for_each(|action| write!(f, " {action}"))
            }
            Self::Visit(state, first, last, namespace) => {
                write!(f, "visit {state} {first} {last}")?;
                namespace.iter().try_for_each(|namespace| write!(f, " n{namespace}"))
            }
            Self::Count(state) => write!(f, "count {state}"),
            Self::Snapshot(id) => write!(f, "snapshot {id}"),
            Self::Finish(id) => write!(f, "finish {id}"),
            Self::Cancel(id) => write!(f, "cancel {id}"),
            Self::Drop(id) => write!(f, "drop {id}"),
            Self::Completed(id) => write!(f, "completed {id}"),
            Self::Aborted(id) => write!(f, "aborted {id}"),
            Self::Restore(id, parallelism) => write!(f, "restore {id} {parallelism}"),
        }
    }
}

/// The words of a line that are still to be read.
struct Words<'a>(core::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.word()?.parse().ok()
    }

    fn state(&mut self) -> Option<StateChoice> {
        Some(match self.word()? {
            "value" => StateChoice::Value,
            "list" => StateChoice::List,
            "map" => StateChoice::Map,
            _ => return None,
        })
    }

    fn address(&mut self) -> Option<Address> {
        let (key, namespace) = (self.word()?, self.word()?);
        Some(Address { key: prefixed(key, 'k')?, namespace: prefixed(namespace, 'n')? })
    }

    fn user_key(&mut self) -> Option<u16> {
        prefixed(self.word()?, 'u')
    }

    fn payload(&mut self) -> Option<Payload> {
        payload(self.word()?)
    }

    fn rest<T>(self, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        self.0.map(read).collect()
    }
}

fn parse_op(line: &str) -> Option<Op> {
    let mut words = Words(line.split_whitespace());
    let name = words.word()?;
    // Operations with a list of words to the end of the line.
    match name {
        "get-many" => return Some(Op::GetMany(words.state()?, words.rest(joined)?)),
        "put-many" => return Some(Op::PutMany(words.state()?, words.rest(assigned(payload))?)),
        "update-many" => {
            return Some(Op::UpdateMany(words.state()?, words.rest(assigned(action))?));
        }
        "map-visit" => return Some(Op::MapVisit(words.address()?, words.rest(action)?)),
        _ => {}
    }
    let op = parse_fixed(name, &mut words)?;
    words.word().is_none().then_some(op)
}

/// Reads the operations that have a fixed number of words.
fn parse_fixed(name: &str, words: &mut Words<'_>) -> Option<Op> {
    Some(match name {
        "open" => Op::Open(words.number()?),
        "get" => Op::Get(words.state()?, words.address()?),
        "put" => Op::Put(words.state()?, words.address()?, words.payload()?),
        "append" => Op::Append(words.state()?, words.address()?, words.payload()?),
        "delete" => Op::Delete(words.state()?, words.address()?),
        "map-get" => Op::MapGet(words.address()?, words.user_key()?),
        "map-put" => Op::MapPut(words.address()?, words.user_key()?, words.payload()?),
        "map-remove" => Op::MapRemove(words.address()?, words.user_key()?),
        "visit" => {
            let (state, first, last) = (words.state()?, words.number()?, words.number()?);
            let namespace = match words.word() {
                Some(word) => Some(prefixed(word, 'n')?),
                None => None,
            };
            Op::Visit(state, first, last, namespace)
        }
        "count" => Op::Count(words.state()?),
        "snapshot" => Op::Snapshot(words.number()?),
        "finish" => Op::Finish(words.number()?),
        "cancel" => Op::Cancel(words.number()?),
        "drop" => Op::Drop(words.number()?),
        "completed" => Op::Completed(words.number()?),
        "aborted" => Op::Aborted(words.number()?),
        "restore" => Op::Restore(words.number()?, words.number()?),
        _ => return None,
    })
}

fn prefixed<T: FromStr>(word: &str, prefix: char) -> Option<T> {
    word.strip_prefix(prefix)?.parse().ok()
}

fn payload(word: &str) -> Option<Payload> {
    let (seed, len) = word.strip_prefix('v')?.split_once('x')?;
    Some(Payload { seed: seed.parse().ok()?, len: len.parse().ok()? })
}

fn action(word: &str) -> Option<Action> {
    Some(match word {
        "k" => Action::Keep,
        "d" => Action::Remove,
        "b" => Action::Break,
        "f" => Action::Fail,
        _ => Action::Replace(payload(word.strip_prefix('r')?)?),
    })
}

fn joined(word: &str) -> Option<Address> {
    let (key, namespace) = word.split_once(':')?;
    Some(Address { key: prefixed(key, 'k')?, namespace: prefixed(namespace, 'n')? })
}

fn assigned<T>(read: impl Fn(&str) -> Option<T>) -> impl Fn(&str) -> Option<(Address, T)> {
    move |word| {
        let (address, value) = word.split_once('=')?;
        Some((joined(address)?, read(value)?))
    }
}
