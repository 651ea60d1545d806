//! Windows of every kind against a plain computation, over random records, watermarks and restores.

use std::collections::BTreeMap;

use millpond_runtime::{
    KeyedOperator, Timestamp, WindowAggregate, WindowList, WindowOperator, WindowReduce,
    WindowResult, WindowState, WindowTime, Windows,
};
use millpond_state::Aggregate;

use crate::subtasks::{Random, Subtasks};

/// Key, time, amount.
type Record = (u64, i64, u64);

/// Key, start, end, sum of the amounts.
type Said = (u64, i64, i64, u64);

#[derive(Clone, Copy, Debug)]
enum Shape {
    Sliding { size: i64, slide: i64 },
    Session { gap: i64 },
}

impl Shape {
    fn windows(self) -> Windows {
        match self {
            Self::Sliding { size, slide } if size == slide => Windows::tumbling(size),
            Self::Sliding { size, slide } => Windows::sliding(size, slide),
            Self::Session { gap } => Windows::session(gap),
        }
        .unwrap()
    }
}

/// The plain computation: all windows in a list, looked through each time.
struct Plain {
    shape: Shape,
    lateness: i64,
    watermark: i64,
    open: Vec<Said>,
    said: Vec<Said>,
    late: Vec<Record>,
}

impl Plain {
    fn new(shape: Shape, lateness: i64) -> Self {
        let (open, said, late) = (Vec::new(), Vec::new(), Vec::new());
        Self { shape, lateness, watermark: i64::MIN, open, said, late }
    }

    fn is_forgotten(&self, end: i64) -> bool {
        end - 1 + self.lateness <= self.watermark
    }

    fn add(&mut self, (key, at, amount): Record) {
        let grown = match self.shape {
            Shape::Sliding { size, slide } => {
                let first = (at - size).div_euclid(slide) * slide;
                let starts = (0..).map(|step| first + step * slide);
                let starts = starts.take_while(|start| *start <= at);
                starts
                    .filter(|start| at < *start + size)
                    .map(|start| (start, start + size))
                    .collect()
            }
            Shape::Session { gap } => {
                let meets = |it: &Said| it.0 == key && it.1 < at + gap && it.2 > at;
                let met = self.open.iter().filter(|it| meets(it));
                let merged =
                    met.fold((at, at + gap), |(start, end), it| (start.min(it.1), end.max(it.2)));
                vec![merged]
            }
        };
        let kept: Vec<_> = grown.iter().copied().filter(|it| !self.is_forgotten(it.1)).collect();
        if kept.is_empty() && !grown.is_empty() {
            self.late.push((key, at, amount));
        }
        for (start, end) in kept {
            let inside = |it: &Said| it.0 == key && start <= it.1 && it.2 <= end;
            let inside = match self.shape {
                Shape::Session { .. } => self.open.extract_if(.., |it| inside(it)).collect(),
                Shape::Sliding { .. } => {
                    let same = |it: &mut Said| it.0 == key && it.1 == start;
                    self.open.extract_if(.., same).collect::<Vec<_>>()
                }
            };
            let sum = inside.iter().map(|it| it.3).sum::<u64>() + amount;
            self.open.push((key, start, end, sum));
            if end - 1 <= self.watermark {
                self.said.push((key, start, end, sum));
            }
        }
    }

    fn advance(&mut self, watermark: i64) {
        let before = std::mem::replace(&mut self.watermark, watermark);
        self.open.sort_unstable_by_key(|it| (it.2, it.0, it.1));
        let complete = |it: &&Said| before < it.2 - 1 && it.2 - 1 <= watermark;
        self.said.extend(self.open.iter().filter(complete));
        let lateness = self.lateness;
        self.open.retain(|it| watermark < it.2 - 1 + lateness);
    }
}

/// What was said of each key and window, in order.
fn by_window(said: &[Said]) -> BTreeMap<(u64, i64), Vec<(i64, u64)>> {
    let mut windows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, start, end, sum) in said {
        windows.entry((*key, *start)).or_default().push((*end, *sum));
    }
    windows
}

struct Sum;

impl Aggregate for Sum {
    type Input = Record;
    type Accumulator = (u32, u64);
    type Output = u64;

    fn create(&self) -> (u32, u64) {
        (0, 0)
    }

    fn add(&self, accumulator: &mut (u32, u64), record: &Record) {
        accumulator.0 += 1;
        accumulator.1 += record.2;
    }

    fn merge(&self, accumulator: &mut (u32, u64), other: (u32, u64)) {
        accumulator.0 += other.0;
        accumulator.1 += other.1;
    }

    fn result(&self, accumulator: &(u32, u64)) -> u64 {
        accumulator.1
    }
}

fn at(record: &Record) -> Timestamp {
    Timestamp::from_ms(record.1)
}

/// Runs one random history through windows over `state` and through the plain computation.
fn compare<S>(seed: u64, shape: Shape, lateness: u32, state: fn() -> S, sum: fn(S::Result) -> u64)
where
    S: WindowState<u64, Record, Result: Clone>,
{
    let make = move || {
        WindowOperator::new("windows", shape.windows(), WindowTime::event(at), state())
            .allow_lateness_ms(lateness)
    };
    let mut subtasks = Subtasks::open(2, make, |record: &Record| record.0);
    let mut plain = Plain::new(shape, lateness.into());
    let mut random = Random::new(seed);
    let mut said = Vec::new();
    let (mut now, mut watermark) = (0, i64::MIN);
    for _ in 0..60 {
        now += random.below(12) as i64;
        match random.below(10) {
            0 => {
                subtasks.rescale(1 + random.below(5) as u32);
                subtasks.advance_watermark(watermark);
            }
            1 | 2 => {
                watermark = watermark.max(now - random.below(25) as i64);
                subtasks.advance_watermark(watermark);
                plain.advance(watermark);
            }
            _ => {
                let mut record = || {
                    let at = now - random.below(60) as i64;
                    (random.below(3), at, 1 + random.below(1_000))
                };
                let records: Vec<Record> = (0..5).map(|_| record()).collect();
                records.iter().for_each(|record| plain.add(*record));
                subtasks.process(records);
            }
        }
        said.extend(take_said(&mut subtasks, sum));
    }
    subtasks.advance_watermark(i64::MAX);
    plain.advance(i64::MAX);
    said.extend(take_said(&mut subtasks, sum));
    let context = format!("seed {seed}, {shape:?}, lateness {lateness}");
    assert_eq!(by_window(&said), by_window(&plain.said), "{context}");
    let mut late = subtasks.take_side();
    assert_eq!(subtasks.late_records(), plain.late.len() as u64, "{context}");
    let mut expected = plain.late;
    late.sort_unstable();
    expected.sort_unstable();
    // What went to the side output before a restore was taken with the subtasks.
    assert!(late.iter().all(|record| expected.contains(record)), "{context}");
    for state in ["windows", "windows:sessions", "timers:event"] {
        assert_eq!(subtasks.entries(state), 0, "{state}: {context}");
    }
}

fn take_said<Op, M, F, R>(subtasks: &mut Subtasks<Op, M, F>, sum: fn(R) -> u64) -> Vec<Said>
where
    Op: KeyedOperator<Out = WindowResult<u64, R>, Side: Clone>,
    R: Clone,
    M: Fn() -> Op,
    F: Fn(&Op::In) -> Op::Key + Clone,
{
    let one = |it: WindowResult<u64, R>| {
        (it.key, it.window.start().as_ms(), it.window.end().as_ms(), sum(it.result))
    };
    subtasks.take_output().into_iter().map(one).collect()
}

fn add(a: Record, b: Record) -> Record {
    (a.0, a.1.max(b.1), a.2 + b.2)
}

fn compare_all(shape: Shape) {
    for seed in 0..40 {
        let lateness = [0, 1, 15, 1_000][seed as usize % 4];
        compare(seed, shape, lateness, || WindowAggregate::new(Sum), |sum| sum);
        compare(seed, shape, lateness, || WindowReduce::new(add), |record| record.2);
        let sum = |records: Vec<Record>| records.iter().map(|record| record.2).sum();
        compare(seed, shape, lateness, WindowList::new, sum);
    }
}

#[test]
fn tumbling_windows_are_as_computed_plainly() {
    compare_all(Shape::Sliding { size: 10, slide: 10 });
    compare_all(Shape::Sliding { size: 1, slide: 1 });
}

#[test]
fn sliding_windows_are_as_computed_plainly() {
    compare_all(Shape::Sliding { size: 20, slide: 5 });
    compare_all(Shape::Sliding { size: 10, slide: 7 });
    compare_all(Shape::Sliding { size: 5, slide: 12 });
}

#[test]
fn session_windows_are_as_computed_plainly() {
    compare_all(Shape::Session { gap: 10 });
    compare_all(Shape::Session { gap: 3 });
    compare_all(Shape::Session { gap: 1 });
}

#[test]
fn sessions_are_the_same_in_whatever_order_their_records_come() {
    let mut random = Random::new(3);
    for round in 0..60 {
        let record = |random: &mut Random| {
            (random.below(3), random.below(200) as i64, 1 << random.below(40))
        };
        let mut records: Vec<Record> = (0..30).map(|_| record(&mut random)).collect();
        let mut expected: Vec<Said> = Vec::new();
        records.sort_unstable();
        for (key, at, amount) in &records {
            match expected.last_mut() {
                Some(last) if last.0 == *key && *at < last.2 => {
                    last.2 = at + 8;
                    last.3 += amount;
                }
                _ => expected.push((*key, *at, at + 8, *amount)),
            }
        }
        for _ in 0..5 {
            random.shuffle(&mut records);
            let make = || {
                let windows = Windows::session(8).unwrap();
                let state = WindowAggregate::new(Sum);
                WindowOperator::new("sessions", windows, WindowTime::event(at), state)
            };
            let mut subtasks = Subtasks::open(2, make, |record: &Record| record.0);
            let (first, second) = records.split_at(random.below(31) as usize);
            subtasks.process(first.to_vec());
            subtasks.rescale(3);
            subtasks.process(second.to_vec());
            assert_eq!(subtasks.entries("windows"), 0);
            subtasks.end();
            let mut said = take_said(&mut subtasks, |sum| sum);
            said.sort_unstable();
            assert_eq!(said, expected, "round {round}");
            assert_eq!(subtasks.entries("sessions"), 0);
        }
    }
}
