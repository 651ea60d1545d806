//! A folder to work in, flights to read, and the command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const HEADER: &str =
    "scheduled_departure,carrier,flight,tailnum,origin,dest,dep_delay,arr_delay,air_time,distance";

/// Says that a test was not made, and why.
#[expect(clippy::print_stdout, reason = "a skipped test says why")]
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Sends a signal.
pub(crate) fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The arguments for each state backend and form of checkpoint.
pub(crate) const BACKENDS: &[[&str; 4]] = &[
    ["--state-backend", "memory", "--incremental", "false"],
    ["--state-backend", "memory", "--incremental", "true"],
    ["--state-backend", "fs", "--incremental", "true"],
    #[cfg(feature = "rocksdb")]
    ["--state-backend", "rocksdb", "--incremental", "true"],
];

/// A folder of a test, removed with it.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:#?}");
        self
    }

    /// Asserts a failure with `status`, no panic, and one line of error with all `words` in it.
    #[track_caller]
    pub(crate) fn fails(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        let line = self.stderr.lines().find(|it| it.starts_with("millpond: "));
        let line = line.unwrap_or_else(|| panic!("no error line: {self:#?}"));
        for word in words {
            assert!(line.contains(word), "{word:?} is not in {line:?}");
        }
        self
    }

    /// The events of `--json` called `name`.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        self.stdout.lines().map(json).filter(|it| it["event"] == name).collect()
    }
}

/// The command with these arguments.
pub(crate) fn millpond(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millpond"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Ended {
    Ended::of(millpond(args).output().unwrap())
}

pub(crate) fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    /// Writes `records` flights to `flights.csv`.
    pub(crate) fn flights(&self, records: usize) -> String {
        self.write("flights.csv", &flights(records))
    }

    /// Runs the flights job over `flights.csv` into `out`.
    pub(crate) fn run_flights(&self, more: &[&str]) -> Ended {
        Ended::of(self.flights_command(more).output().unwrap())
    }

    pub(crate) fn flights_command(&self, more: &[&str]) -> Command {
        let (input, output) = (self.text("flights.csv"), self.text("out"));
        let mut args = vec!["run", "flights", "--input", &input, "--output", &output];
        args.extend(more);
        millpond(&args)
    }

    /// Starts the flights job with `--json`.
    pub(crate) fn start_flights(&self, more: &[&str]) -> Running {
        let mut command = self.flights_command(more);
        command.args(["--json", "--progress-interval", "5ms"]);
        Running::start(command)
    }

    /// The rows of all committed part files of a sink, sorted.
    pub(crate) fn rows(&self, sink: &str) -> Vec<String> {
        rows(&self.path("out").join(sink))
    }

    /// Asserts that the output is what a plain pass over `flights.csv` gives.
    #[track_caller]
    pub(crate) fn assert_exact(&self) {
        let (aircraft, hours) =
            plain_pass(&std::fs::read_to_string(self.path("flights.csv")).unwrap());
        assert_eq!(self.rows("aircraft"), aircraft);
        assert_eq!(self.rows("carrier_hours"), hours);
    }
}

pub(crate) fn rows(folder: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("part-") && name.ends_with(".csv") {
            let text = std::fs::read_to_string(folder.join(name)).unwrap();
            assert!(text.ends_with('\n'), "{text}");
            rows.extend(text.lines().skip(1).map(str::to_owned));
        }
    }
    rows.sort();
    rows
}

/// A job that runs with `--json`.
pub(crate) struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// How many events of each name were taken.
    taken: BTreeMap<String, usize>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, taken: BTreeMap::new() }
    }

    /// Waits for an event that `is` accepts.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        for line in &mut self.lines {
            let event = json(&line.unwrap());
            *self.taken.entry(event["event"].as_str().unwrap().to_owned()).or_default() += 1;
            if event["event"] == name && is(&event) {
                return event;
            }
        }
        panic!("the job ended before {name}");
    }

    /// How many events called `name` were met while waiting.
    pub(crate) fn taken(&self, name: &str) -> usize {
        self.taken.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; the events not yet taken are in standard output.
    pub(crate) fn end(mut self) -> Ended {
        let stdout = self.lines.by_ref().map(|line| line.unwrap() + "\n").collect();
        let mut stderr = String::new();
        std::io::Read::read_to_string(self.child.stderr.as_mut().unwrap(), &mut stderr).unwrap();
        Ended { status: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

/// Flights in scheduled order: several carriers and aircraft, some cancelled, some without a tail
/// number, one tail number that must be quoted.
pub(crate) fn flights(records: usize) -> String {
    let mut text = format!("{HEADER}\n");
    for at in 0..records {
        let minute = at * 3;
        let (day, hour, minute) = (minute / 1_440, minute / 60 % 24, minute % 60);
        let (month, day) = (day / 28 % 12 + 1, day % 28 + 1);
        let carrier = ["AA", "B6", "UA", "\u{d6}S"][at % 4];
        let tail = if at % 7 == 3 { String::new() } else { format!("N{}", at * at % 31) };
        let delay = if at % 11 == 5 { String::new() } else { (at as i64 % 40 - 9).to_string() };
        let distance = 100 + at % 900;
        writeln!(
            text,
            "2013-{month:02}-{day:02}T{hour:02}:{minute:02},{carrier},{at},{tail},JFK,SFO,\
             {delay},,,{distance}"
        )
        .unwrap();
    }
    text
}

/// What the job must give, computed plainly: rows of aircraft and of carrier hours, sorted.
pub(crate) fn plain_pass(text: &str) -> (Vec<String>, Vec<String>) {
    let mut aircraft: BTreeMap<String, [i64; 4]> = BTreeMap::new();
    let mut hours: BTreeMap<String, [i64; 4]> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let hour = format!("{}:00,{}", &fields[0][..13], fields[1]);
        let tail = aircraft.entry(fields[3].to_owned()).or_default();
        for sums in [tail, hours.entry(hour).or_default()] {
            sums[0] += 1;
            match fields[6] {
                "" => sums[1] += 1,
                delay => sums[2] += delay.parse::<i64>().unwrap(),
            }
            sums[3] += fields[9].parse::<i64>().unwrap();
        }
    }
    let mut of_aircraft: Vec<String> =
        aircraft.iter().map(|(k, [a, b, c, d])| format!("{k},{a},{b},{c},{d}")).collect();
    let mut of_hours: Vec<String> =
        hours.iter().map(|(k, [a, b, c, _])| format!("{k},{a},{b},{c}")).collect();
    of_aircraft.sort();
    of_hours.sort();
    (of_aircraft, of_hours)
}
