//! Jobs that are killed, and go on.

use crate::support::{Ended, Place, run};

const SLOW: [&str; 4] = ["--rate", "5000", "--interval", "30ms"];

/// Runs the flights job until a checkpoint was completed after `position` records, then kills it.
fn kill_after(place: &Place, position: u64, more: &[&str]) {
    let mut job = place.start_flights(&[&SLOW[..], more].concat());
    job.wait_for("progress", |event| event["position"].as_u64() >= Some(position));
    job.wait_for("checkpoint_completed", |_| true);
    job.kill();
}

fn restore(place: &Place, more: &[&str]) -> Ended {
    place.run_flights(&[&["--restore", "latest", "--json"], more].concat())
}

#[test]
fn a_killed_job_goes_on_at_another_parallelism_and_loses_nothing() {
    let place = Place::new();
    place.flights(8_000);
    kill_after(&place, 2_000, &["--parallelism", "1"]);
    kill_after(&place, 4_000, &["--restore", "latest", "--parallelism", "4"]);
    let ended = restore(&place, &["--parallelism", "2"]).ok();
    assert!(ended.events("restored")[0]["checkpoint"].as_u64() > Some(1));
    let read = ended.events("finished")[0]["records"].as_u64().unwrap();
    assert!(read < 8_000, "it read all {read} records again");
    place.assert_exact();
}

#[test]
fn a_killed_job_with_incremental_checkpoints_goes_on_at_any_parallelism_and_loses_nothing() {
    let place = Place::new();
    place.flights(8_000);
    let incremental = ["--incremental", "true"];
    let more = |more: &[&'static str]| [&incremental[..], more].concat();
    kill_after(&place, 1_500, &more(&["--parallelism", "2"]));
    kill_after(&place, 3_000, &more(&["--restore", "latest", "--parallelism", "2"]));
    assert!(std::fs::read_dir(place.path("out/checkpoints/shared")).unwrap().next().is_some());
    kill_after(&place, 4_500, &more(&["--restore", "latest", "--parallelism", "3"]));
    kill_after(&place, 6_000, &["--restore", "latest", "--parallelism", "1"]);
    let ended = restore(&place, &more(&["--parallelism", "4"])).ok();
    let read = ended.events("finished")[0]["records"].as_u64().unwrap();
    assert!(read < 8_000, "it read all {read} records again");
    place.assert_exact();
    run(&["checkpoint", "verify", &place.text("out/checkpoints")]).ok();
}

#[test]
fn a_killed_job_restores_from_the_local_disk_what_is_whole_there() {
    for incremental in ["false", "true"] {
        let place = Place::new();
        place.flights(8_000);
        let local = place.text("local");
        let args = ["--incremental", incremental, "--local-recovery", &local];
        let more = |more: &[&'static str]| -> Vec<String> {
            args.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
        };
        let kill = |position, args: Vec<String>| {
            kill_after(&place, position, &args.iter().map(String::as_str).collect::<Vec<_>>());
        };
        kill(1_500, more(&["--parallelism", "2"]));
        kill(3_000, more(&["--restore", "latest", "--parallelism", "2"]));
        kill(4_500, more(&["--restore", "latest", "--parallelism", "3"]));
        // Whatever moment it was killed at, the newest checkpoint has all its copies.
        let mut job = place.start_flights(&[&SLOW[..], &["--restore", "latest"], &args].concat());
        let restored = job.wait_for("restored", |_| true);
        assert!(restored["local_bytes"].as_u64() > Some(0), "{restored}");
        assert_eq!(restored["storage_bytes"], 0, "{restored}");
        job.wait_for("checkpoint_completed", |_| true);
        job.kill();
        // Damage on the local disk costs a look into storage.
        let mut damaged = 0;
        let mut pending = vec![place.path("local")];
        while let Some(folder) = pending.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                } else if path.to_str().unwrap().contains('@') {
                    std::fs::write(&path, "not what it was").unwrap();
                    damaged += 1;
                }
            }
        }
        assert!(damaged > 0);
        let restore = ["--restore", "latest", "--json", "--parallelism", "1"];
        let ended = place.run_flights(&[&restore[..], &args].concat()).ok();
        let restored = &ended.events("restored")[0];
        assert_eq!(restored["local_bytes"], 0, "{restored}");
        assert!(!ended.events("local_copy_damaged").is_empty());
        place.assert_exact();
    }
}

#[test]
fn an_older_incremental_checkpoint_is_restored_by_name_with_and_without_claim() {
    for mode in ["claim", "no-claim"] {
        let place = Place::new();
        place.flights(8_000);
        kill_after(&place, 4_000, &["--retain", "3", "--incremental", "true"]);
        let list = run(&["checkpoint", "list", &place.text("out/checkpoints"), "--json"]).ok();
        let oldest = crate::support::json(list.stdout.lines().next().unwrap());
        let folder = place.text(&format!("out/checkpoints/chk-{}", oldest["id"]));
        let args = ["--restore", &folder, "--restore-mode", mode, "--retain", "1"];
        let ended =
            place.run_flights(&[&args[..], &["--incremental", "true", "--json"]].concat()).ok();
        assert_eq!(ended.events("restored")[0]["checkpoint"], oldest["id"]);
        place.assert_exact();
        let stays = std::path::Path::new(&folder).exists();
        assert_eq!(stays, mode == "no-claim", "{mode}");
        run(&["checkpoint", "verify", &place.text("out/checkpoints")]).ok();
    }
}

#[test]
fn an_incremental_checkpoint_names_again_what_earlier_ones_wrote() {
    let place = Place::new();
    let text: String = (0..4_000).map(|number| format!("word{number}\n")).collect();
    place.write("words.txt", &text);
    let (input, output) = (place.text("words.txt"), place.text("out"));
    let args = ["run", "wordcount", "--input", &input, "--output", &output];
    let pace = ["--incremental", "true", "--rate", "4000", "--interval", "30ms", "--retain", "50"];
    run(&[&args[..], &pace].concat()).ok();
    let checkpoints = place.text("out/checkpoints");
    let list = run(&["checkpoint", "list", &checkpoints, "--json"]).ok();
    let mut reusing = 0;
    for line in list.stdout.lines() {
        let id = crate::support::json(line)["id"].to_string();
        let show = ["checkpoint", "show", &checkpoints, "--id", &id];
        let text = run(&show).ok();
        assert!(text.stdout.contains(" re-used"), "{}", text.stdout);
        let json = crate::support::json(&run(&[&show[..], &["--json"]].concat()).ok().stdout);
        let bytes = |name: &str| json[name].as_u64().unwrap();
        assert_eq!(bytes("reused_bytes") + bytes("new_bytes"), bytes("shared_bytes"));
        let listed = crate::support::json(line);
        for name in ["shared_bytes", "exclusive_bytes", "new_bytes", "reused_bytes"] {
            assert_eq!(listed[name], json[name], "{name}");
        }
        reusing += u32::from(bytes("reused_bytes") > bytes("new_bytes"));
    }
    assert!(reusing > 0, "{}", list.stdout);
    run(&["checkpoint", "verify", &checkpoints]).ok();
    let state = ["--operator", "words", "--state", "counts"];
    let export = run(&[&["checkpoint", "export", &checkpoints][..], &state].concat()).ok();
    assert_eq!(export.stdout.lines().count(), 4_001);
}

#[test]
fn incremental_checkpoints_are_shown_verified_exported_and_copied_like_full_ones() {
    let rows = |place: &Place, checkpoint: &str| {
        let args = ["--operator", "aircraft", "--state", "totals"];
        let path = place.text(checkpoint);
        let export = run(&[&["checkpoint", "export", &path][..], &args].concat()).ok();
        let mut rows: Vec<String> = export.stdout.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    let show = |place: &Place| {
        let show = run(&["checkpoint", "show", &place.text("out/checkpoints"), "--json"]).ok();
        crate::support::json(&show.stdout)
    };
    let [full, incremental] = ["false", "true"].map(|incremental| {
        let place = Place::new();
        place.flights(3_000);
        let args = ["--incremental", incremental, "--rate", "5000", "--interval", "30ms"];
        place.run_flights(&args).ok();
        run(&["checkpoint", "verify", &place.text("out/checkpoints")]).ok();
        place
    });
    let expected = rows(&full, "out/checkpoints");
    assert!(expected.len() > 10);
    assert_eq!(rows(&incremental, "out/checkpoints"), expected);
    let (of_full, of_incremental) = (show(&full), show(&incremental));
    assert_eq!(of_full["reused_bytes"], 0);
    assert_eq!(of_full["shared_bytes"], 0);
    assert!(of_incremental["shared_bytes"].as_u64() > Some(0));
    assert_eq!(of_incremental["exclusive_bytes"], 0);
    assert_eq!(of_incremental["vertices"][1]["states"], of_full["vertices"][1]["states"]);
    // A copy is self-contained and full.
    let path = incremental.text("out/checkpoints");
    let copy = incremental.text("copy");
    run(&["checkpoint", "rekey", &path, "--max-parallelism", "96", &copy]).ok();
    assert_eq!(rows(&incremental, "copy"), expected);
    // Damage is found wherever it is.
    let shared = incremental.path("out/checkpoints/shared");
    for file in std::fs::read_dir(shared).unwrap() {
        let file = file.unwrap().path();
        let whole = std::fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let verify = run(&["checkpoint", "verify", &path]).fails(1, &["damaged"]);
        assert!(verify.stdout.contains(name), "{}", verify.stdout);
        std::fs::write(&file, whole).unwrap();
    }
}

#[test]
fn garbage_of_killed_jobs_is_listed_and_deleted_when_told_to_and_nothing_else() {
    let place = Place::new();
    place.flights(8_000);
    kill_after(&place, 2_000, &["--incremental", "true"]);
    let checkpoints = place.text("out/checkpoints");
    // An upload that no metadata names, and a file of somebody else.
    let orphan = "shared/00000000000000aa-1-aircraft-f76f4797-0-0";
    place.write(&format!("out/checkpoints/{orphan}"), "upload");
    place.write("out/checkpoints/notes", "mine");
    let gc = |more: &[&str]| run(&[&["checkpoint", "gc", &checkpoints][..], more].concat());
    let young = gc(&[]).ok();
    assert!(young.stdout.contains("too young") && young.stdout.contains("no orphans"));
    let listed = gc(&["--older-than", "0ms", "--json"]).ok();
    let last = crate::support::json(listed.stdout.lines().last().unwrap());
    let orphans = last["orphans"].as_u64().unwrap();
    assert!(orphans >= 1 && last["deleted"] == 0, "{last}");
    assert!(listed.stdout.contains(orphan) && listed.stdout.contains("unknown name"));
    assert!(place.path(&format!("out/checkpoints/{orphan}")).exists(), "it was a dry run");
    let deleted = gc(&["--older-than", "0ms", "--delete"]).ok();
    assert!(deleted.stdout.contains(&format!("{orphans} orphans deleted")), "{deleted:#?}");
    assert!(!place.path(&format!("out/checkpoints/{orphan}")).exists());
    assert!(place.path("out/checkpoints/notes").exists());
    assert!(gc(&["--older-than", "0ms"]).ok().stdout.contains("no orphans"));
    run(&["checkpoint", "verify", &checkpoints]).ok();
    // What cannot be read may refer to anything.
    place.write(&format!("out/checkpoints/{orphan}"), "upload");
    let list = run(&["checkpoint", "list", &checkpoints, "--json"]).ok();
    let newest = crate::support::json(list.stdout.lines().last().unwrap())["id"].to_string();
    let metadata = place.path(&format!("out/checkpoints/chk-{newest}/_metadata"));
    let whole = std::fs::read(&metadata).unwrap();
    std::fs::write(&metadata, &whole[..whole.len() - 1]).unwrap();
    gc(&["--older-than", "0ms", "--delete"]).fails(1, &["nothing was deleted", &newest]);
    std::fs::write(&metadata, whole).unwrap();
    let mut job = place.start_flights(&["--restore", "latest", "--rate", "5000"]);
    job.wait_for("running", |_| true);
    gc(&["--older-than", "0ms", "--delete"]).fails(1, &["stop the job"]);
    job.kill();
    restore(&place, &["--incremental", "true"]).ok();
    place.assert_exact();
}

#[test]
fn kills_in_the_midst_of_uploads_leave_nothing_that_gc_does_not_find() {
    let place = Place::new();
    place.flights(20_000);
    let checkpoints = place.text("out/checkpoints");
    let files = || {
        let shared = std::fs::read_dir(place.path("out/checkpoints/shared")).unwrap();
        shared.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let mut orphans = 0;
    for round in 0..8_u64 {
        // Checkpoints follow one another, so that a kill most likely hits one under way.
        let pace = ["--rate", "20000", "--interval", "1ms", "--incremental", "true"];
        let restore: &[&str] = if round == 0 { &[] } else { &["--restore", "latest"] };
        let parallelism = (round % 3 + 1).to_string();
        let more = [&pace[..], restore, &["--parallelism", &parallelism]].concat();
        let mut job = place.start_flights(&more);
        job.wait_for("progress", |event| event["records"].as_u64() > Some(200));
        job.wait_for("checkpoint_completed", |_| true);
        std::thread::sleep(std::time::Duration::from_millis(round * 3));
        job.kill();
        let gc = ["checkpoint", "gc", &checkpoints, "--older-than", "0ms", "--delete", "--json"];
        let said = run(&gc).ok().stdout;
        let sum = crate::support::json(said.lines().last().unwrap());
        orphans += sum["deleted"].as_u64().unwrap();
        let again = run(&gc).ok().stdout;
        assert_eq!(crate::support::json(again.lines().last().unwrap())["deleted"], 0);
        run(&["checkpoint", "verify", &checkpoints]).ok();
        // What is left is named by the checkpoints that are left.
        let list = run(&["checkpoint", "list", &checkpoints, "--json"]).ok();
        let mut named = std::collections::BTreeSet::new();
        for line in list.stdout.lines() {
            let id = crate::support::json(line)["id"].to_string();
            let show = run(&["checkpoint", "show", &checkpoints, "--id", &id, "--json"]).ok();
            let show = crate::support::json(&show.stdout);
            for vertex in show["vertices"].as_array().unwrap() {
                let subtasks = vertex["subtasks"].as_array().unwrap().iter();
                let files = subtasks.flat_map(|it| it["files"].as_array().unwrap());
                named.extend(files.map(|file| file["name"].as_str().unwrap().to_owned()));
            }
        }
        for file in files().iter().filter(|name| !name.starts_with('.')) {
            assert!(named.contains(&format!("shared/{file}")), "{file} stays for nothing");
        }
    }
    assert!(orphans > 0, "no kill hit an upload");
    restore(&place, &["--incremental", "true"]).ok();
    place.assert_exact();
}

#[test]
fn an_older_checkpoint_restored_by_name_takes_the_newer_output_back() {
    let place = Place::new();
    place.flights(8_000);
    kill_after(&place, 4_000, &["--retain", "3"]);
    let list = run(&["checkpoint", "list", &place.text("out/checkpoints"), "--json"]).ok();
    let oldest = crate::support::json(list.stdout.lines().next().unwrap());
    let folder = place.text(&format!("out/checkpoints/chk-{}", oldest["id"]));
    let ended = place.run_flights(&["--restore", &folder, "--json"]).ok();
    assert_eq!(ended.events("restored")[0]["checkpoint"], oldest["id"]);
    place.assert_exact();
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over_and_named() {
    let place = Place::new();
    place.flights(8_000);
    kill_after(&place, 4_000, &[]);
    let list = run(&["checkpoint", "list", &place.text("out/checkpoints"), "--json"]).ok();
    let newest = crate::support::json(list.stdout.lines().last().unwrap());
    let folder = place.path(&format!("out/checkpoints/chk-{}", newest["id"]));
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains("aircraft"))
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, bytes).unwrap();
    let ended = restore(&place, &[]).ok();
    let skipped = &ended.events("skipped_damaged")[0];
    assert_eq!(skipped["checkpoint"], newest["id"]);
    let reason = skipped["reason"].as_str().unwrap();
    assert!(reason.contains("aircraft") && reason.contains("offset"), "{reason}");
    assert!(ended.events("restored")[0]["checkpoint"].as_u64() < newest["id"].as_u64());
    place.assert_exact();
}

#[test]
fn a_missing_file_of_the_newest_checkpoint_is_passed_over_and_named() {
    let place = Place::new();
    place.flights(8_000);
    kill_after(&place, 4_000, &[]);
    let list = run(&["checkpoint", "list", &place.text("out/checkpoints"), "--json"]).ok();
    let newest = crate::support::json(list.stdout.lines().last().unwrap());
    let folder = place.path(&format!("out/checkpoints/chk-{}", newest["id"]));
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.into_iter().find(|it| it.extension().is_some_and(|it| it == "full")).unwrap();
    std::fs::remove_file(file).unwrap();
    let by_name = place.run_flights(&["--restore", folder.to_str().unwrap()]);
    by_name.fails(1, &["is missing"]);
    let ended = restore(&place, &[]).ok();
    assert_eq!(ended.events("skipped_damaged")[0]["checkpoint"], newest["id"]);
    place.assert_exact();
}

#[test]
fn dead_letters_are_written_exactly_once_over_a_kill() {
    let place = Place::new();
    let good = crate::support::flights(8_000);
    let mut text = String::new();
    let mut bad = Vec::new();
    for (at, line) in good.lines().enumerate() {
        text += line;
        text.push('\n');
        if at > 0 && at % 50 == 0 {
            text += "2013-01-01T00:00,AA,x,N1,JFK,SFO,0,,,100\n";
            bad.push(text.lines().count());
        }
    }
    place.write("flights.csv", &text);
    let dead = place.text("bad.csv");
    let dead_letter = ["--on-bad-record", "dead-letter", &dead];
    kill_after(&place, 3_000, &dead_letter);
    assert!(std::fs::read_to_string(&dead).unwrap().lines().count() > 10);
    place.run_flights(&["--restore", "latest"]).fails(1, &["dead-letter FILE"]);
    restore(&place, &dead_letter).ok();
    let written = std::fs::read_to_string(&dead).unwrap();
    let mut lines = written.lines();
    assert_eq!(lines.next(), Some("line,column,reason,row"));
    let mut numbers: Vec<usize> = lines
        .map(|line| {
            assert!(line.contains(",flight,\"\"\"x\"\" is not a flight number\","), "{line}");
            line.split(',').next().unwrap().parse().unwrap()
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, bad);
    place.write("flights.csv", &good);
    place.assert_exact();
}
