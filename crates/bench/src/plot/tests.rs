//! Every plot is drawn, well formed, and follows from the results alone.

use millpond_state::seam::ManualClock;

use super::*;

fn record(backend: &str, bench: &str) -> Record {
    let mut record = Record::new(backend, bench, &ManualClock::new());
    record.keys = 1_000;
    record.value_bytes = 8;
    record.set_rounds(1_000, &[0.001, 0.002]);
    record
}

fn samples() -> Vec<Record> {
    let mut records = Vec::new();
    for backend in ["memory", "fs", "<other> & \"more\""] {
        for bench in ["value_get", "map_iterator_ttl"] {
            records.push(Record { raw_ops_per_s: Some(2e6), ..record(backend, bench) });
        }
        for (percent, form) in [(0.0, "full"), (10.0, "full"), (10.0, "incremental")] {
            let mut it = record(backend, &format!("snapshot_{form}"));
            it.snapshot.changed_percent = Some(percent);
            it.snapshot.sync_ms = Some(0.1);
            it.snapshot.async_ms = Some(12.0);
            it.snapshot.bytes_new = Some(0);
            records.push(it);
        }
        let mut it = record(backend, "restore_full");
        it.restore.restore_ms = Some(5.0);
        records.push(it);
        let mut it = record(backend, "latency_get");
        it.latency.slice_ms = vec![1.0, 2.0];
        it.latency.slice_p50_us = vec![0.5, 0.6];
        it.latency.slice_p999_us = vec![5.0, 60.0];
        it.latency.checkpoint_ms = Some((1.0, 1.5));
        records.push(it);
        let mut it = record(backend, "job");
        it.job.interval_ms = Some(1_000);
        records.push(it);
    }
    records
}

/// Checks that tags nest and that text has no bare marks: what SVG needs of XML.
fn assert_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("unclosed tag: {part}"));
        assert!(!text.contains('>'), "{text}");
        for entity in text.split('&').chain(tag.split('&')).filter(|_| part.contains('&')).skip(1) {
            let known = ["amp;", "lt;", "gt;", "quot;"];
            let is_known = known.iter().any(|it| entity.starts_with(it));
            assert!(is_known || !part.contains(&format!("&{entity}")), "{part}");
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn all_plots_are_drawn_and_well_formed() {
    let plots = draw(&samples());
    let names: Vec<&str> = plots.iter().map(|plot| plot.file_name.as_str()).collect();
    assert_eq!(names, ["state.svg", "latency.svg", "checkpoints.svg", "restore.svg", "job.svg"]);
    for plot in &plots {
        assert_well_formed(&plot.svg);
        assert!(!plot.svg.contains("NaN") && !plot.svg.contains("inf"), "{}", plot.file_name);
        assert!(plot.svg.contains("&lt;other&gt;"), "{}", plot.file_name);
    }
    let [state, ..] = plots.as_slice() else { panic!("{plots:?}") };
    assert!(state.svg.contains("1970-01-01") && state.svg.contains("its floor"), "{}", state.svg);
}

#[test]
fn equal_results_make_equal_plots_and_none_make_none() {
    assert_eq!(draw(&samples()), draw(&samples()));
    assert!(draw(&[]).is_empty());
}

#[test]
fn what_was_measured_again_is_drawn_once() {
    let mut again = samples();
    again.extend(samples());
    assert_eq!(draw(&again), draw(&samples()));
}
