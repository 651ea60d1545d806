//! Windows in cases small enough to be written down: when they are said, what is late, and
//! processing time.

use millpond_runtime::{
    Timestamp, WindowList, WindowOperator, WindowReduce, WindowResult, WindowState, WindowTime,
    Windows,
};

use crate::subtasks::Subtasks;

/// Key and time.
type Record = (u64, i64);

type Operator = WindowOperator<Record, u64, WindowList<u64, Record>>;

fn event(windows: Windows, lateness_ms: u32) -> Operator {
    let time = WindowTime::event(|record: &Record| Timestamp::from_ms(record.1));
    WindowOperator::new("w", windows, time, WindowList::new()).allow_lateness_ms(lateness_ms)
}

fn key(record: &Record) -> u64 {
    record.0
}

/// Start and end of each window said, and the times in it.
fn windows(said: Vec<WindowResult<u64, Vec<Record>>>) -> Vec<(i64, i64, Vec<i64>)> {
    let times = |records: Vec<Record>| records.into_iter().map(|record| record.1).collect();
    said.into_iter()
        .map(|it| (it.window.start().as_ms(), it.window.end().as_ms(), times(it.result)))
        .collect()
}

#[test]
fn a_window_is_said_when_the_watermark_reaches_its_last_millisecond() {
    let make = || event(Windows::tumbling(10).unwrap(), 0);
    let mut subtasks = Subtasks::open(1, make, key);
    subtasks.process([(1, 0), (1, 9), (1, 10), (1, -1)]);
    subtasks.advance_watermark(8);
    assert_eq!(windows(subtasks.take_output()), [(-10, 0, vec![-1])]);
    subtasks.advance_watermark(9);
    assert_eq!(windows(subtasks.take_output()), [(0, 10, vec![0, 9])]);
    subtasks.end();
    assert_eq!(windows(subtasks.take_output()), [(10, 20, vec![10])]);
}

#[test]
fn late_records_are_said_again_within_lateness_and_go_to_the_side_output_after() {
    let make = || event(Windows::tumbling(10).unwrap(), 5);
    let mut subtasks = Subtasks::open(1, make, key);
    subtasks.process([(1, 3)]);
    subtasks.advance_watermark(13);
    assert_eq!(windows(subtasks.take_output()), [(0, 10, vec![3])]);
    subtasks.process([(1, 4), (1, 5), (2, 6)]);
    let said = [(0, 10, vec![3, 4]), (0, 10, vec![3, 4, 5]), (0, 10, vec![6])];
    assert_eq!(windows(subtasks.take_output()), said);
    assert_eq!(subtasks.late_records(), 0);
    subtasks.advance_watermark(14);
    assert_eq!(subtasks.entries("w"), 0, "forgotten with the last millisecond of lateness");
    subtasks.process([(1, 7), (1, 10), (2, 8)]);
    assert_eq!(subtasks.take_side(), [(1, 7), (2, 8)]);
    assert_eq!(subtasks.late_records(), 2);
    subtasks.end();
    assert_eq!(windows(subtasks.take_output()), [(10, 20, vec![10])]);
}

#[test]
fn a_record_that_is_late_for_some_of_its_windows_is_not_late() {
    let make = || event(Windows::sliding(10, 5).unwrap(), 0);
    let mut subtasks = Subtasks::open(1, make, key);
    subtasks.advance_watermark(9);
    subtasks.process([(1, 7), (1, 4)]);
    assert_eq!(subtasks.take_side(), [(1, 4)]);
    subtasks.end();
    assert_eq!(windows(subtasks.take_output()), [(5, 15, vec![7])]);
}

#[test]
fn a_record_between_two_sessions_makes_one_of_them_and_leaves_one_timer() {
    let make = || event(Windows::session(10).unwrap(), 0);
    let mut subtasks = Subtasks::open(1, make, key);
    subtasks.process([(1, 0), (1, 18), (1, 36), (1, 37)]);
    assert_eq!((subtasks.entries("w"), subtasks.entries("timers:event")), (3, 3));
    subtasks.process([(1, 27), (1, 9)]);
    assert_eq!((subtasks.entries("w"), subtasks.entries("timers:event")), (1, 1));
    subtasks.advance_watermark(45);
    assert_eq!(windows(subtasks.take_output()), []);
    subtasks.advance_watermark(46);
    let mut said = windows(subtasks.take_output());
    said.iter_mut().for_each(|(_, _, times)| times.sort_unstable());
    assert_eq!(said, [(0, 47, vec![0, 9, 18, 27, 36, 37])]);
    assert_eq!((subtasks.entries("w:sessions"), subtasks.entries("timers:event")), (0, 0));
}

#[test]
fn records_the_gap_apart_are_two_sessions_whether_the_first_was_said_before_or_not() {
    for said_before in [false, true] {
        let make = || event(Windows::session(10).unwrap(), 0);
        let mut subtasks = Subtasks::open(1, make, key);
        subtasks.process([(1, 0)]);
        if said_before {
            subtasks.advance_watermark(9);
        }
        subtasks.process([(1, 10)]);
        subtasks.end();
        assert_eq!(windows(subtasks.take_output()), [(0, 10, vec![0]), (10, 20, vec![10])]);
    }
}

#[test]
fn a_late_record_reopens_a_session_within_lateness() {
    let make = || event(Windows::session(10).unwrap(), 100);
    let mut subtasks = Subtasks::open(1, make, key);
    subtasks.process([(1, 0)]);
    subtasks.advance_watermark(12);
    assert_eq!(windows(subtasks.take_output()), [(0, 10, vec![0])]);
    subtasks.process([(1, 1)]);
    assert_eq!(windows(subtasks.take_output()), [(0, 11, vec![0, 1])], "said at once");
    subtasks.process([(1, 9)]);
    assert_eq!(windows(subtasks.take_output()), [], "its end has not come yet");
    subtasks.advance_watermark(18);
    assert_eq!(windows(subtasks.take_output()), [(0, 19, vec![0, 1, 9])]);
    subtasks.advance_watermark(117);
    assert_eq!(subtasks.entries("w"), 1);
    subtasks.advance_watermark(118);
    assert_eq!((subtasks.entries("w"), subtasks.entries("w:sessions")), (0, 0));
}

fn said_again_after_a_restore<S: WindowState<u64, Record, Result: Clone>>(state: fn() -> S) {
    for windows in [Windows::tumbling(20).unwrap(), Windows::session(16).unwrap()] {
        let make = || {
            let time = WindowTime::event(|record: &Record| Timestamp::from_ms(record.1));
            WindowOperator::new("w", windows, time, state()).allow_lateness_ms(100)
        };
        let mut subtasks = Subtasks::open(1, make, key);
        subtasks.process([(1, 0)]);
        subtasks.advance_watermark(50);
        assert_eq!(subtasks.take_output().len(), 1);
        subtasks.rescale(2);
        subtasks.process([(1, 4)]);
        assert!(subtasks.take_output().is_empty(), "no watermark is known");
        subtasks.advance_watermark(50);
        let said = subtasks.take_output();
        let bounds = |it: &WindowResult<_, _>| (it.window.start().as_ms(), it.window.end().as_ms());
        assert_eq!(said.iter().map(bounds).collect::<Vec<_>>(), [(0, 20)], "{windows:?}");
    }
}

#[test]
fn a_record_before_the_first_watermark_after_a_restore_has_its_window_said_again() {
    said_again_after_a_restore(WindowList::new);
    said_again_after_a_restore(|| WindowReduce::new(|_: Record, last: Record| last));
}

fn processing(windows: Windows) -> Operator {
    WindowOperator::new("w", windows, WindowTime::processing(), WindowList::new())
}

#[test]
fn windows_of_processing_time_go_by_the_clock_and_know_no_late_records() {
    let make = || processing(Windows::tumbling(10).unwrap());
    let mut subtasks = Subtasks::open(1, make, key);
    subtasks.advance_processing_ms(1_005);
    subtasks.process([(1, 1)]);
    subtasks.advance_watermark(1_000_000);
    subtasks.advance_processing_ms(1_008);
    subtasks.process([(1, 2)]);
    assert_eq!(windows(subtasks.take_output()), []);
    subtasks.rescale(3);
    subtasks.advance_processing_ms(1_009);
    subtasks.process([(1, 3)]);
    assert_eq!(windows(subtasks.take_output()), []);
    subtasks.advance_processing_ms(1_010);
    assert_eq!(windows(subtasks.take_output()), [(1_000, 1_010, vec![1, 2, 3])]);
    subtasks.process([(1, 4)]);
    subtasks.end();
    assert_eq!(windows(subtasks.take_output()), [(1_010, 1_020, vec![4])], "said at the end");
    assert_eq!(subtasks.late_records(), 0);
}

#[test]
fn sessions_of_processing_time_end_when_nothing_comes_for_the_gap() {
    let make = || processing(Windows::session(10).unwrap());
    let mut subtasks = Subtasks::open(1, make, key);
    for now in [100, 105, 114] {
        subtasks.advance_processing_ms(now);
        subtasks.process([(1, now)]);
    }
    subtasks.advance_processing_ms(123);
    assert_eq!(windows(subtasks.take_output()), []);
    subtasks.advance_processing_ms(124);
    assert_eq!(windows(subtasks.take_output()), [(100, 124, vec![100, 105, 114])]);
    subtasks.advance_processing_ms(200);
    subtasks.process([(1, 200)]);
    subtasks.end();
    assert_eq!(windows(subtasks.take_output()), [(200, 210, vec![200])]);
    assert_eq!(subtasks.entries("timers:processing"), 0);
}
