//! A loss of power at any call of the sink of part files: what a checkpoint names is there, and
//! once an attempt has recovered and gone on, each row is in the output exactly once.
//!
//! The calls are pinned in `tests/golden/traces/part_files.txt`: `BLESS=1` writes it anew. Of a
//! moment with many images some are tried, and with `EVERY_IMAGE=1` all.

#![allow(clippy::print_stdout, reason = "the number of cases is a result")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use millpond_runtime::sink::{PartFileFormat, PartFileSink, PartFiles, Sink, SinkRecovery};
use millpond_state::{AttemptId, CheckpointId};
use millpond_storage::Disk;
use millpond_testkit::double::{CrashDisk, CrashMoment};

/// Neither this folder nor the one it is in is there at first.
const FOLDER: &str = "/data/out/rows";
const SUBTASKS: u32 = 2;

/// Most images of a moment, and of a moment of the recovery from such an image.
fn images_max() -> (usize, usize) {
    if std::env::var_os("EVERY_IMAGE").is_some() { (100_000, 6) } else { (12, 2) }
}

struct Lines;

impl PartFileFormat<u32> for Lines {
    fn extension(&self) -> &str {
        "csv"
    }

    fn header(&self) -> &[u8] {
        b"n\n"
    }

    fn append(&self, record: &u32, out: &mut Vec<u8>) -> millpond_runtime::Result<()> {
        out.extend_from_slice(format!("{record}\n").as_bytes());
        Ok(())
    }
}

fn files_on(disk: &CrashDisk) -> PartFiles<u32> {
    PartFiles::create_on(Arc::new(disk.clone()), FOLDER, Lines).unwrap()
}

/// What a checkpoint says of the output.
#[derive(Clone, Default)]
struct Checkpoint {
    committables: Vec<Vec<u8>>,
    /// The rows before it are those below this number.
    rows: u32,
}

/// An attempt of a job that writes the numbers from 0 on.
struct Attempt {
    disk: CrashDisk,
    sinks: Vec<PartFileSink<u32>>,
    rows: u32,
    checkpoints: BTreeMap<u64, Checkpoint>,
}

impl Attempt {
    /// Recovers to a checkpoint, or to the beginning, and goes on from there.
    fn start(
        disk: &CrashDisk,
        attempt: u64,
        (from, checkpoints): (Option<u64>, &BTreeMap<u64, Checkpoint>),
    ) -> Self {
        let files = files_on(disk);
        let restored = from.map(|id| checkpoints[&id].clone()).unwrap_or_default();
        files.recover(from.map(CheckpointId::new), &restored.committables).unwrap();
        let sinks = (0..SUBTASKS).map(|subtask| files.sink(AttemptId::new(attempt), subtask));
        let (disk, sinks) = (disk.clone(), sinks.collect());
        Self { disk, sinks, rows: restored.rows, checkpoints: checkpoints.clone() }
    }

    fn write(&mut self, rows: u32) {
        for row in self.rows..self.rows + rows {
            self.sinks[(row % SUBTASKS) as usize].write(&row).unwrap();
        }
        self.rows += rows;
    }

    fn prepare(&mut self, id: u64) -> Checkpoint {
        let rows = self.rows;
        let prepare = |sink: &mut PartFileSink<u32>| sink.pre_commit(CheckpointId::new(id));
        let parts: Vec<_> = self.sinks.iter_mut().map(|sink| prepare(sink).unwrap()).collect();
        let committables = parts.into_iter().flat_map(|part| part().unwrap()).collect();
        Checkpoint { committables, rows }
    }

    /// Prepares a checkpoint, and it exists from then on.
    fn complete(&mut self, id: u64) {
        let checkpoint = self.prepare(id);
        self.checkpoints.insert(id, checkpoint);
        self.disk.mark(format!("completed {id}"));
    }

    fn commit(&mut self, id: u64) {
        for sink in &mut self.sinks {
            sink.commit(CheckpointId::new(id)).unwrap();
        }
        self.disk.mark(format!("committed {id}"));
    }

    /// Goes, with what it has not prepared.
    fn end(self) -> BTreeMap<u64, Checkpoint> {
        self.checkpoints
    }
}

/// The rows that consumers see, in order, with the repeated.
fn visible(disk: &CrashDisk) -> Vec<u32> {
    let folder = Path::new(FOLDER);
    let mut rows = Vec::new();
    for name in disk.names(folder).unwrap_or_default() {
        if name.starts_with('.') {
            continue;
        }
        let file = disk.open_file(&folder.join(&name)).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.strip_prefix("n\n").unwrap_or_else(|| panic!("{name}: {text:?}"));
        rows.extend(lines.lines().map(|line| line.parse::<u32>().unwrap()));
    }
    rows.sort_unstable();
    rows
}

/// What a test was told before a moment.
#[derive(Default)]
struct Told {
    /// Checkpoints that exist, or did before the job went back.
    completed: Vec<u64>,
    ever_completed: Vec<u64>,
    committed: Option<u64>,
}

impl Told {
    fn before(moment: &CrashMoment) -> Self {
        let mut told = Self::default();
        for mark in moment.marks() {
            let (what, id) = mark.split_once(' ').unwrap();
            let id = id.parse().unwrap();
            match what {
                "completed" => {
                    told.completed.push(id);
                    told.ever_completed.push(id);
                }
                "committed" => told.committed = Some(id),
                "back" => {
                    told.completed.retain(|it| *it <= id);
                    told.committed = told.committed.filter(|it| *it <= id);
                }
                _ => panic!("{mark}"),
            }
        }
        told
    }
}

/// Attempts with checkpoints that are committed, given up, committed by the next attempt, and gone
/// back behind.
fn run(disk: &CrashDisk) -> BTreeMap<u64, Checkpoint> {
    let mut first = Attempt::start(disk, 1, (None, &BTreeMap::new()));
    first.write(4);
    first.complete(1);
    first.write(2);
    first.commit(1);
    // Given up: what was prepared for it goes with the next.
    first.prepare(2);
    first.write(1);
    first.complete(3);
    first.commit(3);
    first.write(3);
    first.complete(4);
    first.write(2);
    let checkpoints = first.end();
    let mut second = Attempt::start(disk, 2, (Some(4), &checkpoints));
    second.write(3);
    second.complete(5);
    second.commit(5);
    second.write(1);
    let checkpoints = second.end();
    disk.mark("back 3");
    let mut third = Attempt::start(disk, 3, (Some(3), &checkpoints));
    third.write(9);
    third.complete(6);
    third.commit(6);
    third.end()
}

/// Checks what consumers see before anybody has recovered: all that a commit was acknowledged of,
/// whole, nothing twice, nothing of a checkpoint that does not exist.
fn check_untouched(image: &CrashDisk, told: &Told, all: &BTreeMap<u64, Checkpoint>, case: &str) {
    let seen = visible(image);
    let committed = told.committed.map_or(0, |id| all[&id].rows);
    let completed = told.ever_completed.iter().map(|id| all[id].rows).max().unwrap_or(0);
    let beginning: Vec<u32> = (0..committed).collect();
    assert!(seen.starts_with(&beginning), "{case}: committed {committed} rows, there are {seen:?}");
    assert!(seen.last().is_none_or(|row| *row < completed), "{case}: {seen:?}");
    if told.completed == told.ever_completed {
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{case}: twice in {seen:?}");
    }
}

/// Recovers, and goes on to the end.
fn check_recovers(image: &CrashDisk, from: (Option<u64>, &BTreeMap<u64, Checkpoint>), case: &str) {
    let mut attempt = Attempt::start(image, 9, from);
    let expected: Vec<u32> = (0..attempt.rows).collect();
    assert_eq!(visible(image), expected, "{case}: recovered to {:?}", from.0);
    let names = image.names(Path::new(FOLDER)).unwrap();
    assert!(!names.iter().any(|name| name.ends_with(".pending")), "{case}: {names:?}");
    attempt.write(20 - attempt.rows);
    attempt.complete(9);
    attempt.commit(9);
    assert_eq!(visible(image), (0..20).collect::<Vec<u32>>(), "{case}: in the end");
}

/// Recovers from every image of a moment, and from images of every moment of that recovery; returns
/// how many there were.
fn check_moment(moment: &CrashMoment, (number, all): (usize, &BTreeMap<u64, Checkpoint>)) -> usize {
    let told = Told::before(moment);
    let case = format!("power lost after call {number}, {}", moment.after());
    let newest = told.completed.last().copied();
    // If the newest is damaged, or its existence was in doubt.
    let older = told.completed.iter().rev().nth(1).copied();
    let (images_max, images_of_recovery_max) = images_max();
    let mut images = 0;
    for from in [Some(newest), older.map(Some)].into_iter().flatten() {
        for image in moment.images(images_max, number as u64) {
            check_untouched(&image, &told, all, &case);
            check_recovers(&image, (from, all), &case);
            images += 1;
            for (at, again) in image.moments().iter().enumerate() {
                // What comes later is another attempt's checkpoint.
                if !again.marks().is_empty() {
                    break;
                }
                let case = format!("{case}, and again after call {at}, {}", again.after());
                for image in again.images(images_of_recovery_max, at as u64) {
                    check_recovers(&image, (from, all), &case);
                    images += 1;
                }
            }
        }
    }
    images
}

fn check_trace(disk: &CrashDisk) {
    let trace: String = disk.trace().iter().map(|line| format!("{line}\n")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../tests/golden/traces/part_files.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &trace).unwrap();
    }
    let pinned = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("BLESS=1 writes it"));
    assert!(pinned == trace, "the calls are others: compare, then BLESS=1\n{trace}");
}

#[test]
fn part_files_are_exactly_once_whatever_call_the_power_is_lost_after() {
    let disk = CrashDisk::new(Path::new("/data"));
    let all = run(&disk);
    assert_eq!(visible(&disk), (0..all[&6].rows).collect::<Vec<u32>>());
    check_trace(&disk);
    let moments = disk.moments();
    let images: usize =
        moments.iter().enumerate().map(|(number, it)| check_moment(it, (number, &all))).sum();
    assert!(images > 10 * moments.len(), "{images} images of {} moments", moments.len());
    println!("part files: {images} images of {} moments, every one recovered", moments.len());
}
