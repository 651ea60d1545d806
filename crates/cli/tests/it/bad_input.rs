//! Input that cannot be read or does not parse.

use crate::support::{HEADER, Place, flights, run};

#[test]
fn a_missing_file_is_named_and_nothing_is_made() {
    let place = Place::new();
    place.run_flights(&[]).fails(1, &["flights.csv", "--input"]);
    assert!(!place.path("out").exists());
    std::fs::create_dir(place.path("flights.csv")).unwrap();
    place.run_flights(&[]).fails(1, &["flights.csv", "directory"]);
}

#[test]
fn another_header_is_refused_with_what_was_expected() {
    let place = Place::new();
    place.write("flights.csv", "year,month,day\n2013,1,1\n");
    place.run_flights(&[]).fails(1, &["scheduled_departure,carrier", "year,month,day"]);
    place.write("flights.csv", "");
    place.run_flights(&[]).fails(1, &["header"]);
    assert!(!place.path("out").exists());
}

#[test]
fn a_header_without_rows_gives_no_output() {
    let place = Place::new();
    place.write("flights.csv", &format!("{HEADER}\n"));
    place.run_flights(&[]).ok();
    assert!(place.rows("aircraft").is_empty() && place.rows("carrier_hours").is_empty());
}

#[test]
fn a_row_that_does_not_parse_fails_the_job_at_once_with_line_column_and_value() {
    let place = Place::new();
    let bad = "2013-01-01T05:15,UA,1545,N14228,EWR,IAH,soon,11,227,1400\n";
    place.write("flights.csv", &(flights(40) + bad));
    let ended = place.run_flights(&[]);
    let ended = ended.fails(1, &["line 42", "column dep_delay", "\"soon\"", "--on-bad-record"]);
    assert!(!ended.stderr.contains("restarts"), "{ended:#?}");
    let ended = place.run_flights(&["--json", "--restore", "latest"]);
    assert!(ended.events("failed")[0]["error"].as_str().unwrap().contains("line 42"));
}

#[test]
fn bad_rows_can_be_skipped_and_are_counted() {
    let place = Place::new();
    let good = flights(100);
    let bad = "2013-99-01T05:15,UA,1,N1,EWR,IAH,0,0,0,1\nnonsense\n\n";
    place.write("flights.csv", &(good.clone() + bad));
    let ended = place.run_flights(&["--on-bad-record", "skip"]).ok();
    assert!(ended.stdout.contains("2 bad records skipped"), "{ended:#?}");
    place.write("flights.csv", &good);
    place.assert_exact();
}

#[test]
fn a_dead_letter_file_that_holds_something_else_is_left_alone() {
    let place = Place::new();
    place.flights(10);
    let precious = place.write("precious", "thesis\n");
    place
        .run_flights(&["--on-bad-record", "dead-letter", &precious])
        .fails(1, &["precious", "holds something else"]);
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "thesis\n");
}

#[test]
fn a_damaged_compressed_file_is_an_error_not_a_panic() {
    let place = Place::new();
    let plain = flights(20_000);
    let mut packed = zstd::encode_all(plain.as_bytes(), 3).unwrap();
    packed.truncate(packed.len() / 2);
    let input = place.text("cut.csv.zst");
    std::fs::write(&input, packed).unwrap();
    run(&["run", "flights", "--input", &input, "--output", &place.text("out")])
        .fails(1, &["cut.csv.zst", "cannot read the input"]);
}
