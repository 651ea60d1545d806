//! A disk that is full.

use std::process::Command;

use crate::support::{Place, run};

/// A small file system, unmounted when dropped. `None` where mounting is not allowed.
pub(crate) struct SmallDisk {
    pub(crate) path: String,
}

impl SmallDisk {
    pub(crate) fn mount(path: String) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128k", "none", &path]);
        mount.output().is_ok_and(|it| it.status.success()).then_some(Self { path })
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
    let Some(disk) = SmallDisk::mount(place.text("small")) else {
        #[expect(clippy::print_stdout, reason = "a skipped test says why")]
        {
            println!("skipped: no file system can be mounted here");
        }
        return;
    };
    let local = format!("{}/local", disk.path);
    std::fs::create_dir(&local).unwrap();
    // Room for folders and little else.
    std::fs::write(format!("{}/filler", disk.path), vec![1; 116 << 10]).unwrap();
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
    let place = Place::new();
    place.flights(20_000);
    let Some(disk) = SmallDisk::mount(place.text("small")) else {
        #[expect(clippy::print_stdout, reason = "a skipped test says why")]
        {
            println!("skipped: no file system can be mounted here");
        }
        return;
    };
    let storage = format!("{}/checkpoints", disk.path);
    let args = ["--checkpoint-storage", &storage, "--rate", "20000", "--interval", "20ms"];
    // Room for the owner's text and little else.
    let filler = format!("{}/filler", disk.path);
    std::fs::create_dir(&storage).unwrap();
    std::fs::write(&filler, vec![1; 110 << 10]).unwrap();
    let full = place.run_flights(&[&args[..], &["--restart", "never"]].concat());
    full.fails(1, &["free space", "--restore latest"]);
    std::fs::remove_file(&filler).unwrap();
    place.run_flights(&[&args[..], &["--restore", "latest", "--retain", "1"]].concat()).ok();
    place.assert_exact();
    run(&["checkpoint", "verify", &storage]).ok();
}
