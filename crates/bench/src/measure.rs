//! Time, medians and memory.

use std::time::Duration;

use millpond_state::seam::Clock;

/// Does `work` and tells how long it took.
///
/// # Errors
/// What `work` returns.
pub fn timed<T, E>(
    clock: &dyn Clock,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<(Duration, T), E> {
    let start = clock.monotonic();
    let done = work()?;
    Ok((clock.monotonic().saturating_sub(start), done))
}

/// The middle of some figures; of an even number, the mean of the two in the middle; 0 of none.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => at(count / 2),
        count => f64::midpoint(at(count / 2 - 1), at(count / 2)),
    }
}

/// The least and the greatest of some figures; 0 of none.
#[must_use]
pub fn extremes(figures: &[f64]) -> (f64, f64) {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if figures.is_empty() { (0.0, 0.0) } else { (least, greatest) }
}

/// The smallest of some ascending figures that at least `part` (0 to 1) of them do not pass.
#[must_use]
pub fn percentile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).saturating_sub(1)).copied().unwrap_or_default()
}

/// Milliseconds of a duration.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Most bytes that this process had in memory at once, as Linux tells (`VmHWM`), since it was
/// started or since [`reset_peak_rss`]. `None` where the system does not tell.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Makes the peak start anew from what the process has in memory now. Where the system does not
/// let it, the peak goes on from the start of the process.
pub fn reset_peak_rss() {
    // "5" stands for the peak of resident memory, see proc(5).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_extremes_and_percentiles() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(extremes(&[2.0, 1.0, 3.0]), (1.0, 3.0));
        assert_eq!(extremes(&[]), (0.0, 0.0));
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 0.5), 50.0);
        assert_eq!(percentile(&sorted, 0.99), 99.0);
        assert_eq!(percentile(&sorted, 1.0), 100.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_of_memory_sees_what_was_freed_again() {
        // Far more than all other tests take at the same time.
        let bytes = 256 << 20;
        let sees = || {
            let block = vec![1u8; bytes];
            assert!(std::hint::black_box(&block).iter().all(|byte| *byte == 1));
            drop(block);
            peak_rss_bytes().unwrap() >= bytes as u64
        };
        // Another test may just then make the peak start anew.
        assert!((0..50).any(|_| sees()));
    }
}
