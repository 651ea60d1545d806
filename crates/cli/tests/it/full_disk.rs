//! A disk that is full.

use std::process::Command;

use crate::support::{BACKENDS, Place, run, skipped};

/// A small file system, unmounted when dropped.
pub(crate) struct SmallDisk {
    pub(crate) path: String,
}

impl SmallDisk {
    /// `None`, and a line that says so, where mounting is not allowed.
    pub(crate) fn mount(path: String) -> Option<Self> {
        Self::mount_with(path, "128k")
    }

    fn mount_with(path: String, size: &str) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none", &path]);
        let mounted = mount.output().is_ok_and(|it| it.status.success());
        if !mounted {
            skipped("no file system can be mounted here");
        }
        mounted.then_some(Self { path })
    }

    /// Leaves so little room.
    fn fill_up_to(&self, bytes: u64) {
        let df = Command::new("df").args(["--output=avail", "-B1", &self.path]).output().unwrap();
        let text = String::from_utf8(df.stdout).unwrap();
        let free: u64 = text.lines().last().unwrap().trim().parse().unwrap();
        let filler = vec![1; usize::try_from(free.saturating_sub(bytes)).unwrap()];
        std::fs::write(format!("{}/filler", self.path), filler).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(format!("{}/filler", self.path)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

#[test]
fn a_full_local_disk_costs_the_local_copies_and_nothing_else() {
    let place = Place::new();
    place.flights(20_000);
    let Some(disk) = SmallDisk::mount_with(place.text("small"), "1m") else { return };
    let local = format!("{}/local", disk.path);
    std::fs::create_dir(&local).unwrap();
    // Room for folders and little else.
    std::fs::write(format!("{}/filler", disk.path), vec![1; (1 << 20) - (12 << 10)]).unwrap();
    for incremental in ["false", "true"] {
        let args = ["--local-recovery", &local, "--incremental", incremental];
        let pace = ["--rate", "20000", "--interval", "20ms", "--json"];
        let ended = place.run_flights(&[&args[..], &pace].concat()).ok();
        assert_eq!(ended.events("no_local_copies").len(), 1, "{ended:#?}");
        assert!(ended.events("checkpoint_aborted").is_empty());
        place.assert_exact();
        std::fs::remove_dir_all(place.path("out")).unwrap();
    }
}

#[test]
fn a_full_checkpoint_storage_fails_the_job_and_loses_nothing() {
    for backend in BACKENDS {
        let place = Place::new();
        place.flights(20_000);
        let Some(disk) = SmallDisk::mount_with(place.text("small"), "8m") else { return };
        let storage = format!("{}/checkpoints", disk.path);
        let args = ["--checkpoint-storage", &storage, "--rate", "20000", "--interval", "20ms"];
        let args = [&args[..], backend].concat();
        // Room for the owner's text and little else.
        let filler = format!("{}/filler", disk.path);
        std::fs::create_dir(&storage).unwrap();
        std::fs::write(&filler, vec![1; (8 << 20) - (18 << 10)]).unwrap();
        let full = place.run_flights(&[&args[..], &["--restart", "never"]].concat());
        full.fails(1, &["free space", "--restore latest"]);
        std::fs::remove_file(&filler).unwrap();
        place.run_flights(&[&args[..], &["--restore", "latest", "--retain", "1"]].concat()).ok();
        place.assert_exact();
        run(&["checkpoint", "verify", &storage]).ok();
    }
}

#[test]
fn a_full_output_disk_fails_the_job_and_loses_nothing() {
    let place = Place::new();
    place.flights(20_000);
    let Some(disk) = SmallDisk::mount_with(place.text("out"), "4m") else { return };
    let storage = place.text("checkpoints");
    let args = ["--checkpoint-storage", &storage, "--rate", "20000", "--interval", "20ms"];
    disk.fill_up_to(64 << 10);
    let full = place.run_flights(&[&args[..], &["--restart", "never"]].concat());
    full.fails(1, &["part", "No space left"]);
    disk.make_room();
    place.run_flights(&[&args[..], &["--restore", "latest"]].concat()).ok();
    place.assert_exact();
}

#[cfg(feature = "rocksdb")]
#[test]
fn a_full_state_disk_fails_the_job_and_loses_nothing() {
    let place = Place::new();
    place.flights(20_000);
    let Some(disk) = SmallDisk::mount_with(place.text("small"), "64m") else { return };
    let state = format!("{}/state", disk.path);
    let backend = ["--state-backend", "rocksdb", "--state-dir", &state];
    let args = ["--rate", "20000", "--interval", "20ms", "--restore", "latest"];
    let args = [&backend[..], &args].concat();
    // State of this size stays in memory: what opening it takes is what there is no room for.
    disk.fill_up_to(0);
    let full = place.run_flights(&[&args[..], &["--restart", "never"]].concat());
    full.fails(1, &["space"]);
    disk.make_room();
    place.run_flights(&args).ok();
    place.assert_exact();
}
