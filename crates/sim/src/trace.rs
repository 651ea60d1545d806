//! The history of a schedule: a hash of all of it, and its text if asked for.

use core::fmt;

/// What happens is added to a hash, so that equal histories can be told from others.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(text: bool) -> Self {
        Self { lines: text.then(Vec::new), ..Self::default() }
    }

    /// Adds an event: a kind, and numbers that tell it from others of its kind.
    pub(crate) fn add(&mut self, now_us: u64, kind: u64, numbers: [u64; 3]) {
        self.events += 1;
        for number in [now_us, kind].into_iter().chain(numbers) {
            self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    pub(crate) fn say(&mut self, now_us: u64, text: fmt::Arguments<'_>) {
        let events = self.events;
        if let Some(lines) = &mut self.lines {
            let (ms, us) = (now_us / 1_000, now_us % 1_000);
            lines.push(format!("{events:>6} {ms:>5}.{us:03} ms  {text}"));
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}
