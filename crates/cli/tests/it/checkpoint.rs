//! Looking into checkpoints.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Place, json, millpond, run};

/// A place where the flights job was stopped in the middle: its windows are open.
fn stopped() -> (Place, String) {
    let place = Place::new();
    place.flights(6_000);
    let mut job = place.start_flights(&["--rate", "5000", "--interval", "50ms"]);
    job.wait_for("progress", |event| event["position"].as_u64() >= Some(2_000));
    job.wait_for("checkpoint_completed", |_| true);
    job.kill();
    let storage = place.text("out/checkpoints");
    (place, storage)
}

#[test]
fn list_and_show_tell_people_and_machines_the_same() {
    let (_place, storage) = stopped();
    let list = run(&["checkpoint", "list", &storage]).ok();
    assert!(list.stdout.contains("flights") && list.stdout.contains("all there"), "{list:#?}");
    let lines = run(&["checkpoint", "list", &storage, "--json"]).ok();
    let newest = json(lines.stdout.lines().last().unwrap());
    assert_eq!(newest["job"], "flights");
    assert!(newest["damaged"].is_null());
    assert_eq!(list.stdout.lines().count(), lines.stdout.lines().count() + 1);

    let show = run(&["checkpoint", "show", &storage]).ok();
    for word in ["aircraft", "state totals: reducing", "source-positions (1)", "least / median"] {
        assert!(show.stdout.contains(word), "{word}: {}", show.stdout);
    }
    let show = json(&run(&["checkpoint", "show", &storage, "--json"]).ok().stdout);
    assert_eq!(show["id"], newest["id"]);
    let aircraft = show["vertices"].as_array().unwrap().iter().find(|it| it["name"] == "aircraft");
    let state = &aircraft.unwrap()["states"][0];
    assert_eq!(state["name"], "totals");
    assert!(state["entries"].as_u64() > Some(10));
    let id = newest["id"].to_string();
    let one = run(&["checkpoint", "list", &storage, "--json", "--id", &id]).ok();
    assert_eq!(one.stdout.lines().count(), 1);
    run(&["checkpoint", "show", &storage, "--id", "99999"]).fails(1, &["no checkpoint 99999"]);
}

#[test]
fn typed_state_comes_out_as_csv_and_json_with_its_field_names() {
    let (_place, storage) = stopped();
    let export = |operator: &str, state: &str, format: &str| {
        run(&[
            "checkpoint",
            "export",
            &storage,
            "--operator",
            operator,
            "--state",
            state,
            "--format",
            format,
        ])
    };
    let csv = export("aircraft", "totals", "csv").ok();
    let mut lines = csv.stdout.lines();
    let head = "key,flights,cancelled,dep_delay_minutes,distance_miles";
    assert_eq!(lines.next(), Some(head));
    let flights: u64 = lines.map(|it| it.split(',').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert!(flights >= 1_000, "{flights}");
    let ndjson = export("aircraft", "totals", "json").ok();
    let sum = |it: &str| json(it)["flights"].as_u64().unwrap();
    assert_eq!(ndjson.stdout.lines().map(sum).sum::<u64>(), flights);
    assert!(ndjson.stdout.lines().any(|it| it.starts_with("{\"key\":\"\",")), "no empty tailnum");

    let hours = export("carrier_hours", "hours", "csv").ok();
    assert!(hours.stdout.starts_with("key,namespace,flights,cancelled,dep_delay_minutes\n"));
    let start: i64 =
        hours.stdout.lines().nth(1).unwrap().split(',').nth(1).unwrap().parse().unwrap();
    assert_eq!(start % 3_600_000, 0);

    export("aircraft", "total", "csv").fails(1, &["it has: totals"]);
    export("plane", "totals", "csv").fails(1, &["aircraft, carrier_hours"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (_place, storage) = stopped();
    let mut child = millpond(&[
        "checkpoint",
        "export",
        &storage,
        "--operator",
        "aircraft",
        "--state",
        "totals",
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn verify_finds_a_flipped_bit_in_any_file_and_names_the_place() {
    let (place, storage) = stopped();
    run(&["checkpoint", "verify", &storage]).ok();
    let list = run(&["checkpoint", "list", &storage, "--json"]).ok();
    let id = json(list.stdout.lines().last().unwrap())["id"].to_string();
    let folder = place.path(&format!("out/checkpoints/chk-{id}"));
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        for at in [0, whole.len() / 3, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let ended = run(&["checkpoint", "verify", &storage]).fails(1, &["damaged", &id]);
            assert!(ended.stdout.contains(name) && ended.stdout.contains("offset"), "{ended:#?}");
            let ended = run(&["checkpoint", "verify", folder.to_str().unwrap(), "--json"]);
            assert_eq!(ended.status, Some(1));
            assert_eq!(json(&ended.stdout)["whole"], false);
        }
        std::fs::write(&path, &whole).unwrap();
    }
    run(&["checkpoint", "verify", &storage]).ok();
}

#[test]
fn a_place_without_checkpoints_is_an_error_that_says_where_they_are() {
    let place = Place::new();
    place.flights(10);
    place.run_flights(&[]).ok();
    for command in ["list", "show", "verify"] {
        run(&["checkpoint", command, &place.text("out")]).fails(1, &["DIR/checkpoints"]);
        run(&["checkpoint", command, &place.text("nowhere")]).fails(1, &["nowhere"]);
    }
}
