//! New checkpoints made of old ones and of tables.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::full_disk::SmallDisk;
use crate::support::{Ended, Place, json, millpond, run};

/// A place where the flights job was stopped in the middle, and its checkpoint storage.
fn stopped(more: &[&str]) -> (Place, String) {
    let place = Place::new();
    place.flights(6_000);
    let args = [&["--rate", "5000", "--interval", "50ms"], more].concat();
    let mut job = place.start_flights(&args);
    job.wait_for("progress", |event| event["position"].as_u64() >= Some(2_000));
    job.wait_for("checkpoint_completed", |_| true);
    job.kill();
    let storage = place.text("out/checkpoints");
    (place, storage)
}

fn export(path: &str, operator: &str, state: &str, format: &str) -> String {
    let args = ["checkpoint", "export", path, "--operator", operator, "--state", state];
    run(&[&args[..], &["--format", format]].concat()).ok().stdout
}

fn import(place: &Place, file: &str, more: &[&str]) -> Ended {
    run(&[&["checkpoint", "import", file, &place.text("new")], more].concat())
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_job_goes_on_exactly_from_a_rekeyed_checkpoint() {
    let (place, storage) = stopped(&["--parallelism", "2"]);
    let rekeyed = place.text("rekeyed");
    let rekey = ["checkpoint", "rekey", &storage, "--max-parallelism", "96", &rekeyed, "--json"];
    let line = json(&run(&rekey).ok().stdout);
    assert_eq!(line["max_parallelism"], 96);
    assert_eq!(line["max_parallelism_before"], 128);
    let states = line["states"].as_array().unwrap();
    assert!(states.iter().any(|it| it["state"] == "totals" && it["entries"].as_u64() > Some(10)));
    run(&["checkpoint", "verify", &rekeyed]).ok();
    let totals = export(&rekeyed, "aircraft", "totals", "csv");
    assert_eq!(sorted(&totals), sorted(&export(&storage, "aircraft", "totals", "csv")));

    let slow = ["--rate", "5000", "--interval", "50ms", "--parallelism", "3"];
    let from = ["--restore", &rekeyed, "--max-parallelism", "96"];
    let mut job = place.start_flights(&[&slow[..], &from].concat());
    job.wait_for("progress", |event| event["position"].as_u64() >= Some(4_000));
    job.wait_for("checkpoint_completed", |_| true);
    job.kill();
    let ended = place.run_flights(&["--restore", "latest", "--json"]).ok();
    assert_eq!(ended.events("started")[0]["max_parallelism"], 96);
    let read = ended.events("finished")[0]["records"].as_u64().unwrap();
    assert!(read < 3_000, "it read {read} records again");
    place.assert_exact();
}

#[test]
fn a_state_that_is_exported_and_imported_is_the_same_and_the_job_goes_on_exactly() {
    for format in ["csv", "json"] {
        let (place, storage) = stopped(&[]);
        let table = export(&storage, "carrier_hours", "hours", format);
        let mut lines: Vec<&str> = table.lines().collect();
        assert!(lines.len() > 3, "{table}");
        let first = usize::from(format == "csv");
        lines[first..].reverse();
        let file = place.write("hours", &(lines.join("\n") + "\n"));
        let state = ["--operator", "carrier_hours", "--state", "hours", "--format", format];
        let done = import(&place, &file, &[&state[..], &["--from", &storage]].concat()).ok();
        let rows = format!("imported {} rows", lines.len() - first);
        assert!(done.stdout.contains(&rows), "{done:#?}");
        let new = place.text("new");
        assert_eq!(export(&new, "carrier_hours", "hours", format), table);
        place.run_flights(&["--restore", &new]).ok();
        place.assert_exact();
    }
}

#[test]
fn a_job_starts_with_counts_from_a_table() {
    let place = Place::new();
    let table = place.write("words.csv", "count,key\n40,pond\n2,mill\n");
    let text = place.write("text", "the mill by the pond\n");
    let state = ["--job", "wordcount", "--operator", "words", "--state", "counts"];
    let types = ["--kind", "reducing", "--key", "string", "--value", "record<count:u64>"];
    import(&place, &table, &[&state[..], &types].concat()).ok();
    let (new, out) = (place.text("new"), place.text("counted"));
    run(&["run", "wordcount", "--input", &text, "--output", &out, "--restore", &new]).ok();
    let rows = crate::support::rows(&place.path("counted/words"));
    assert_eq!(rows, ["by,1", "mill,3", "pond,41", "the,2"]);
}

#[test]
fn a_state_is_dropped_or_renamed_and_back() {
    let (place, storage) = stopped(&[]);
    let (dropped, renamed, back) =
        (place.text("dropped"), place.text("renamed"), place.text("back"));
    let state = ["--operator", "aircraft", "--state", "totals"];
    let done = run(&[&["checkpoint", "drop-state", &storage, &dropped], &state[..]].concat()).ok();
    assert!(done.stdout.contains("left out aircraft.totals"), "{done:#?}");
    run(&[&["checkpoint", "export", &dropped], &state[..]].concat()).fails(1, &["it has: "]);
    let hours = |path: &str| export(path, "carrier_hours", "hours", "csv");
    assert_eq!(hours(&dropped), hours(&storage));

    let rename = |path: &str, from: &str, to: &str, out: &str| {
        let names = ["--operator", "aircraft", "--from", from, "--to", to];
        run(&[&["checkpoint", "rename-state", path], &names[..], &[out]].concat())
    };
    rename(&storage, "totals", "sums", &renamed).ok();
    let totals = export(&storage, "aircraft", "totals", "csv");
    assert_eq!(export(&renamed, "aircraft", "sums", "csv"), totals);
    rename(&renamed, "sums", "totals", &back).ok();
    run(&["checkpoint", "verify", &back]).ok();
    place.run_flights(&["--restore", &back]).ok();
    place.assert_exact();
}

#[test]
fn states_of_every_kind_go_through_tables_and_back() {
    let cases: [(&str, &[&str], &str); 5] = [
        (
            "timer",
            &["--key", "string", "--namespace", "u64"],
            "key,namespace,time\na,1,-5\na,1,7\n\"b, c\",1,7\n",
        ),
        (
            "list",
            &["--key", "bool", "--value", "expiring<event,record<a:u8,b:option<string>>>"],
            "key,a,b,touched_ms\ntrue,1,,\ntrue,0,x,1500\nfalse,9,y,-3\n",
        ),
        (
            "map",
            &[
                "--key",
                "u32",
                "--user-key",
                "tuple<i8,string>",
                "--value",
                "expiring<processing,f64>",
            ],
            "key,user_key_0,user_key_1,value,touched_ms\n\
             1,-128,a,0.30000000000000004,7\n1,127,b,-inf,\n",
        ),
        (
            "aggregating",
            &["--key", "tuple<u64,u64>", "--value", "tuple<bytes,record<x:tuple<u8,string>>>"],
            "key_0,key_1,value_0,value_1\n1,2,00ff,\"{\"\"x\"\":[1,\"\"a\"\"]}\"\n",
        ),
        ("value", &["--key", "string", "--value", "void"], "key\n\"\"\nx\n"),
    ];
    for (kind, types, table) in cases {
        let place = Place::new();
        let file = place.write("table.csv", table);
        let state = ["--job", "any", "--operator", "op", "--state", "s", "--kind", kind];
        import(&place, &file, &[&state[..], types].concat()).ok();
        run(&["checkpoint", "verify", &place.text("new")]).ok();
        let csv = export(&place.text("new"), "op", "s", "csv");
        assert_eq!(sorted(&csv), sorted(table), "{kind}");
        let ndjson = export(&place.text("new"), "op", "s", "json");
        let file = place.write("table.json", &ndjson);
        std::fs::rename(place.path("new"), place.path("first")).unwrap();
        let json = ["--format", "json"];
        import(&place, &file, &[&state[..], types, &json].concat()).ok();
        assert_eq!(export(&place.text("new"), "op", "s", "csv"), csv, "{kind}");
    }
}

#[test]
fn elements_of_a_list_keep_their_order() {
    let place = Place::new();
    let file = place.write("t", "key,value\n1,30\n2,5\n1,10\n1,20\n");
    let state = ["--job", "any", "--operator", "op", "--state", "s", "--kind", "list"];
    import(&place, &file, &[&state[..], &["--key", "u8", "--value", "i64"]].concat()).ok();
    let csv = export(&place.text("new"), "op", "s", "csv");
    let ones: Vec<&str> = csv.lines().filter(|line| line.starts_with("1,")).collect();
    assert_eq!(ones, ["1,30", "1,10", "1,20"]);
}

#[test]
fn tables_that_do_not_fit_are_refused_with_line_and_column_and_leave_nothing() {
    let place = Place::new();
    let state = ["--job", "any", "--operator", "op", "--state", "s"];
    let types = ["--key", "u8", "--value", "record<a:i64,b:bool>"];
    for (format, table, words) in [
        ("csv", "key,a,b\n1,2,true\n3,x,true\n", &["line 3", "column a", "\"x\" is no i64"][..]),
        ("csv", "key,a,b\n\n1,2\n", &["cells, the header has 3"]),
        ("csv", "key,a\n1,2\n", &["must have the columns key,a,b", "has key,a"]),
        ("csv", "key,a,b,c\n", &["must have the columns"]),
        ("csv", "", &["must have a header"]),
        ("csv", "key,a,b\n1,2,true\n1,3,false\n", &["two entries for the key of bytes 01"]),
        (
            "json",
            "{\"key\":1,\"a\":2,\"b\":true}\n{\"key\":1}\n",
            &["line 2", "column a: is missing"],
        ),
        (
            "json",
            "{\"key\":1,\"a\":2,\"b\":true,\"c\":0}\n",
            &["unknown column \"c\"", "key, a, b"],
        ),
        ("json", "[1]\n", &["line 1", "no JSON object"]),
        ("json", "{\"key\":300,\"a\":2,\"b\":true}\n", &["column key", "\"300\" is no u8"]),
    ] {
        let file = place.write("table", table);
        let ended = import(&place, &file, &[&state[..], &types, &["--format", format]].concat());
        ended.fails(1, words);
        assert!(!place.path("new").exists(), "{table:?}");
    }
    let file = place.write("table", "key,value\n");
    import(&place, &file, &state).fails(2, &["--key is needed"]);
    let odd = [&state[..], &["--key", "u8", "--value", "u7"]].concat();
    import(&place, &file, &odd).fails(2, &["\"u7\" is no type"]);
    import(&place, &place.text("nowhere"), &[&state[..], &types].concat()).fails(1, &["nowhere"]);
}

#[test]
fn a_table_comes_through_standard_input() {
    let place = Place::new();
    let state = ["--job", "any", "--operator", "op", "--state", "s"];
    let types = ["--key", "u8", "--value", "u8"];
    let new = place.text("new");
    let args = [&["checkpoint", "import", "-", &new], &state[..], &types].concat();
    let mut child = millpond(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"key,value\n7,8\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(export(&new, "op", "s", "csv"), "key,value\n7,8\n");
}

#[test]
fn an_interrupted_import_leaves_nothing() {
    let place = Place::new();
    let new = place.text("new");
    let state = ["--job", "any", "--operator", "op", "--state", "s"];
    let types = ["--key", "u64", "--value", "u64", "--memory-mib", "1"];
    let args = [&["checkpoint", "import", "-", &new], &state[..], &types].concat();
    let mut command = millpond(&args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut rows = child.stdin.take().unwrap();
    writeln!(rows, "key,value").unwrap();
    let mut key = 0_u64;
    let mut row = || {
        key += 1;
        writeln!(rows, "{key},{key}")
    };
    (0..100_000).for_each(|_| row().unwrap());
    assert!(place.path("new").exists());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    // Rows that come after the signal are not waited for.
    while row().is_ok() {}
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(stderr.contains("interrupted"), "{stderr}");
    assert!(!place.path("new").exists());
}

#[test]
fn wrong_names_and_places_are_refused_and_say_what_there_is() {
    let (place, storage) = stopped(&["--parallelism", "2"]);
    let new = place.text("new");
    let drop = |operator: &str, state: &str, out: &str| {
        let names = ["--operator", operator, "--state", state];
        run(&[&["checkpoint", "drop-state", &storage, out], &names[..]].concat())
    };
    drop("plane", "totals", &new).fails(1, &["no operator \"plane\"", "aircraft, carrier_hours"]);
    drop("aircraft", "total", &new).fails(1, &["it has: totals"]);
    drop("aircraft", "totals", &place.text("out")).fails(1, &["is not empty", "give a folder"]);
    drop("aircraft", "totals", "memory://").fails(2, &["OUT must be a folder"]);
    let rekey = |groups: &str, out: &str| {
        run(&["checkpoint", "rekey", &storage, "--max-parallelism", groups, out])
    };
    rekey("128", &new).fails(1, &["128 already"]);
    rekey("1", &new).fails(1, &["ran at parallelism 2", "restore the job at 1 or less"]);
    assert_eq!(rekey("0", &new).status, Some(2));
    assert!(!place.path("new").exists());
    rekey("7", &new).ok();
    place.run_flights(&["--restore", &new, "--max-parallelism", "128"]).fails(1, &["which has 7"]);
}

#[test]
fn a_damaged_checkpoint_is_not_copied() {
    let (place, storage) = stopped(&[]);
    let list = run(&["checkpoint", "list", &storage, "--json"]).ok();
    let id = json(list.stdout.lines().last().unwrap())["id"].to_string();
    let folder = place.path(&format!("out/checkpoints/chk-{id}"));
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 8;
        std::fs::write(&path, bytes).unwrap();
        let new = place.text("new");
        let rekey = ["checkpoint", "rekey", &storage, "--max-parallelism", "96", &new];
        let name = path.file_name().unwrap().to_str().unwrap();
        run(&rekey).fails(1, &[name]);
        assert!(!place.path("new").exists(), "{name}");
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_disk_that_fills_up_leaves_nothing_under_the_name() {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(place.text("small")) else { return };
    // Values that do not get smaller, more of them than the disk has room for.
    let mut table = String::from("key,value\n");
    let mut word = 1u64;
    for key in 0..20_000 {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        table += &format!("{key},{word}\n");
    }
    let file = place.write("table", &table);
    let out = format!("{}/new", disk.path);
    let state = ["--job", "any", "--operator", "op", "--state", "s"];
    let types = ["--key", "u64", "--value", "u64"];
    let import =
        |out: &str| run(&[&["checkpoint", "import", &file, out], &state[..], &types].concat());
    import(&out).fails(1, &["cannot write", "free space"]);
    assert!(!std::path::Path::new(&out).exists());
    import(&place.text("new")).ok();
    let entries = json(&run(&["checkpoint", "show", &place.text("new"), "--json"]).ok().stdout);
    assert_eq!(entries["entries"], 20_000);
}

#[test]
fn every_command_has_an_example() {
    for command in ["export", "rekey", "import", "drop-state", "rename-state"] {
        let help = run(&["checkpoint", command, "--help"]).ok().stdout;
        assert!(help.contains(&format!("  millpond checkpoint {command} ")), "{help}");
    }
}
