//! Results: one object for each measurement, in a form that other programs and the plots read.

use millpond_state::seam::Clock;
use serde::{Deserialize, Serialize};

use crate::error::{BenchError, Result};

/// One measurement. Fields that do not apply are left out of its JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// What was measured: `millpond`, or the name of a peer.
    pub system: String,
    /// The state backend.
    pub backend: String,
    /// The case, such as `value_get`, `snapshot_full`, `restore_full`, `latency_update`, `job`.
    pub bench: String,
    /// Number of keys there were.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: u64,
    /// Operations done in a round. The walks over a map count each user key.
    pub ops: u64,
    /// How long they took: the median of the rounds.
    pub seconds: f64,
    /// Operations a second: the median of the rounds.
    pub ops_per_s: f64,
    /// Operations a second in the slowest round.
    pub ops_per_s_min: f64,
    /// Operations a second in the fastest round.
    pub ops_per_s_max: f64,
    /// Number of rounds.
    pub rounds: u32,
    /// Which keys are used how often.
    pub distribution: String,
    /// What the work follows from.
    pub seed: u64,
    /// Most bytes that the process had in memory, the benchmark's own included and the floor's not.
    /// A process of its own measures each backend (and each case of `state`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// State: operations a second of the floor, the median of the same rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_ops_per_s: Option<f64>,
    /// State: the median of the rounds' ratios to their floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_raw: Option<f64>,
    /// Snapshots, restores and jobs: their figures.
    #[serde(flatten)]
    pub snapshot: SnapshotFigures,
    /// Restores.
    #[serde(flatten)]
    pub restore: RestoreFigures,
    /// Jobs.
    #[serde(flatten)]
    pub job: JobFigures,
    /// Latency over time.
    #[serde(flatten)]
    pub latency: LatencyFigures,
    /// Where it was measured: processor and number of cores.
    pub machine: String,
    /// When it was measured: a day, in UTC.
    pub date: String,
    /// Version of Millpond.
    pub version: String,
}

/// Figures of snapshots.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotFigures {
    /// Keys that were changed since the last checkpoint, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_percent: Option<f64>,
    /// Milliseconds for which the writer stood still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_ms: Option<f64>,
    /// Milliseconds until the snapshot was durable in its store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub async_ms: Option<f64>,
    /// Bytes of all files that the snapshot consists of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_total: Option<u64>,
    /// Bytes of those that were written for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_new: Option<u64>,
    /// Floor: milliseconds to compress (of a restore: decompress) as many bytes with zstd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zstd_ms: Option<f64>,
    /// Floor: milliseconds to write and sync (of a restore: read) as many bytes on the same disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_ms: Option<f64>,
    /// The slower of the two floors, of what it really took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_floor: Option<f64>,
}

/// Figures of restores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RestoreFigures {
    /// Parallelism that the state was written at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_parallelism: Option<u32>,
    /// Parallelism that it was restored at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_parallelism: Option<u32>,
    /// Milliseconds until all subtasks had their state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_ms: Option<f64>,
}

/// Figures of jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobFigures {
    /// Records a second from source to sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s: Option<f64>,
    /// Checkpoints completed, over all rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<u64>,
    /// Milliseconds from trigger to completion: the median checkpoint; 0 without checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_ms_p50: Option<f64>,
    /// The same of the slowest checkpoint in a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_ms_p99: Option<f64>,
    /// Subtasks of each vertex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Time from one checkpoint to the next; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// `aligned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barriers: Option<String>,
}

/// Latency of single operations, in slices of time with a checkpoint in the middle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyFigures {
    /// 99.9th percentile of the operations outside the checkpoint, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_us: Option<f64>,
    /// The same from the begin to the end of the checkpoint, its synchronous part included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_during_us: Option<f64>,
    /// When the checkpoint began and ended, in milliseconds from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_ms: Option<(f64, f64)>,
    /// When each slice ended, in milliseconds from the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slice_ms: Vec<f64>,
    /// Median of each slice in microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slice_p50_us: Vec<f64>,
    /// 99.9th percentile of each slice in microseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slice_p999_us: Vec<f64>,
}

impl Record {
    /// A measurement of `bench` on `backend`, here and now, without figures.
    #[must_use]
    pub fn new(backend: &str, bench: &str, clock: &dyn Clock) -> Self {
        Self {
            system: "millpond".to_owned(),
            backend: backend.to_owned(),
            bench: bench.to_owned(),
            distribution: "uniform".to_owned(),
            machine: machine(),
            date: date(clock.wall_ms()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Self::default()
        }
    }

    /// Sets how often `ops` operations were done, given the seconds of each round.
    pub fn set_rounds(&mut self, ops: u64, seconds: &[f64]) {
        let rates: Vec<f64> = seconds.iter().map(|seconds| per_second(ops, *seconds)).collect();
        self.ops = ops;
        self.seconds = crate::measure::median(seconds);
        self.ops_per_s = crate::measure::median(&rates);
        (self.ops_per_s_min, self.ops_per_s_max) = crate::measure::extremes(&rates);
        self.rounds = u32::try_from(seconds.len()).unwrap_or(u32::MAX);
    }

    /// The record as one line of JSON.
    ///
    /// # Errors
    /// None that can happen.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| BenchError::failed(error.to_string()))
    }

    /// Reads records from lines of JSON, such as `--json` writes; empty lines are passed over.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) naming the line that is no
    /// record.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(number, line)| {
                serde_json::from_str(line).map_err(|error| {
                    BenchError::invalid(format!("line {number} is no result: {error}"))
                })
            })
            .collect()
    }
}

/// Operations a second. Even no time at all counts as a nanosecond.
pub(crate) fn per_second(ops: u64, seconds: f64) -> f64 {
    ops as f64 / seconds.max(1e-9)
}

/// The processor's name and the number of cores, as far as the system tells.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{name}, {cores} cores")
}

fn date(wall_ms: u64) -> String {
    let at = i64::try_from(wall_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_state::seam::ManualClock;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut record = Record::new("memory", "value_get", &ManualClock::new());
        record.set_rounds(100, &[2.0, 1.0, 4.0]);
        record.snapshot.sync_ms = Some(0.5);
        record.latency.slice_ms = vec![1.0, 2.0];
        let lines = format!("{}\n\n{0}\n", record.to_json().unwrap());
        assert_eq!(Record::parse_lines(&lines).unwrap(), [record.clone(), record.clone()]);
        assert_eq!((record.seconds, record.ops_per_s), (2.0, 50.0));
        assert_eq!((record.ops_per_s_min, record.ops_per_s_max, record.rounds), (25.0, 100.0, 3));
        assert_eq!(record.date, "1970-01-01");
        assert!(!lines.contains("restore_ms") && !lines.contains("raw_ops_per_s"));
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let error = Record::parse_lines("\n{\"system\": 1}\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
