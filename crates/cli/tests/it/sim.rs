//! The simulator as a command.

use crate::support::run;

#[test]
fn schedules_that_hold_are_counted() {
    let ended = run(&["sim", "--seed", "7", "--schedules", "40", "--threads", "2"]).ok();
    let first = ended.stdout.lines().next().unwrap();
    assert!(first.starts_with("40 schedules of profile mixed from seed 7 to 46 in "), "{first}");
    for line in ["checkpoints completed", "restores", "fault: process crash"] {
        assert!(ended.stdout.contains(line), "{ended:#?}");
    }
}

#[test]
fn a_history_is_the_same_each_time() {
    let history = |_: u32| {
        let ended = run(&["sim", "--seed", "11", "--trace"]).ok();
        let lines: Vec<String> = ended
            .stdout
            .lines()
            .take_while(|it| !it.contains("schedules of"))
            .map(Into::into)
            .collect();
        assert!(lines[0].starts_with("seed 11: ") && lines.len() > 20, "{lines:#?}");
        assert!(lines.last().unwrap().starts_with("hash of the history: "));
        lines
    };
    assert_eq!(history(1), history(2));
}

#[test]
fn a_schedule_that_fails_is_made_small_and_says_how_to_run_it_again() {
    let mistake = ["--mistake", "commits-early", "--profile", "zombies"];
    let ended = run(&[&["sim", "--schedules", "50"][..], &mistake].concat());
    let again = "run it again with: millpond sim --seed ";
    let ended =
        ended.fails(1, &["twice", again, "--profile zombies --trace --mistake commits-early"]);
    assert!(ended.stdout.contains("The smallest schedule found that fails:"), "{ended:#?}");
    assert!(ended.stdout.contains("VIOLATION: "), "{ended:#?}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    run(&["sim", "--trace", "--schedules", "2"]).fails(2, &["--schedules 1"]);
    let unknown = run(&["sim", "--mistake", "all"]);
    assert_eq!(unknown.status, Some(2));
    assert!(unknown.stderr.contains("not-aligned"), "{unknown:#?}");
}
