//! A checkpoint folder that goes away, or that nobody may write to any more, while a job runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{BACKENDS, Place, Running, run, skipped};

const PACE: [&str; 6] = ["--rate", "10000", "--interval", "20ms", "--restart", "never"];

/// Restores the newest checkpoint and compares the output.
fn goes_on_exactly(place: &Place, backend: &[&str]) {
    place.run_flights(&[backend, &["--restore", "latest"]].concat()).ok();
    place.assert_exact();
    run(&["checkpoint", "verify", &place.text("out/checkpoints")]).ok();
}

#[test]
fn a_checkpoint_folder_that_vanishes_fails_the_job_and_what_was_in_it_is_gone_on_from() {
    for backend in BACKENDS {
        let place = Place::new();
        place.flights(100_000);
        let mut job = place.start_flights(&[&PACE[..], backend].concat());
        job.wait_for("checkpoint_completed", |it| it["checkpoint"].as_u64() > Some(2));
        fs::rename(place.path("out/checkpoints"), place.path("elsewhere")).unwrap();
        job.end().fails(1, &["checkpoints"]);
        // Nothing was made in its place that a restore would take for an empty storage.
        assert!(!place.path("out/checkpoints").exists());
        fs::rename(place.path("elsewhere"), place.path("out/checkpoints")).unwrap();
        goes_on_exactly(&place, backend);
    }
}

/// The folders at and below `path`.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        // Those of checkpoints come and go while the job runs.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found
}

fn set_mode(path: &Path, mode: u32) -> bool {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).is_ok()
}

/// The command as a user for whom permissions count; `None`, and a line that says so, if there is
/// no way to be one.
fn as_nobody(command: &Command) -> Option<Command> {
    let arguments: Vec<_> = command.get_args().collect();
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|it| it.stdout == b"0\n");
    let mut ordinary = if is_root {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        setpriv
    } else {
        Command::new("env")
    };
    let mut probe = Command::new(ordinary.get_program());
    probe.args(ordinary.get_args()).arg(command.get_program()).arg("--version");
    let able = probe.stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    ordinary.arg(command.get_program()).args(arguments).stdin(Stdio::null());
    if !able {
        skipped("permissions do not count for this user, and no other user can be had");
    }
    able.then_some(ordinary)
}

#[test]
fn a_checkpoint_folder_that_becomes_read_only_fails_the_job_and_loses_nothing() {
    for backend in BACKENDS {
        let place = Place::new();
        place.flights(100_000);
        assert!(set_mode(&place.path("."), 0o777));
        let mut command = place.flights_command(&PACE);
        command.args(backend).args(["--json", "--progress-interval", "5ms"]);
        let Some(command) = as_nobody(&command) else { return };
        let mut job = Running::start(command);
        job.wait_for("checkpoint_completed", |it| it["checkpoint"].as_u64() > Some(2));
        let storage = place.path("out/checkpoints");
        // Outer folders first: below them no new ones appear from then on.
        assert!(set_mode(&storage, 0o555));
        let closed: Vec<_> =
            folders(&storage).into_iter().filter(|folder| set_mode(folder, 0o555)).collect();
        job.end().fails(1, &["checkpoint", "denied"]);
        for folder in closed {
            set_mode(&folder, 0o777);
        }
        goes_on_exactly(&place, backend);
    }
}
