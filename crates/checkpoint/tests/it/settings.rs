//! Settings: their ranges, their text form, and their change at run time.

use millpond_checkpoint::{CoordinatorSettings, ErrorKind, Event};

use crate::engine::{Engine, settings};

fn change(engine: &mut Engine, settings: CoordinatorSettings) -> Vec<String> {
    engine.handle(Event::SettingsChanged(settings.validate().expect("valid")))
}

#[test]
fn a_setting_out_of_its_range_is_named() {
    let good = CoordinatorSettings::default();
    assert!(good.clone().validate().is_ok());
    for (name, bad) in [
        ("interval_ms", CoordinatorSettings { interval_ms: Some(0), ..good.clone() }),
        ("timeout_ms", CoordinatorSettings { timeout_ms: 0, ..good.clone() }),
        ("min_pause_ms", CoordinatorSettings { min_pause_ms: u64::MAX, ..good.clone() }),
        ("max_concurrent", CoordinatorSettings { max_concurrent: 0, ..good.clone() }),
        ("max_concurrent", CoordinatorSettings { max_concurrent: 65, ..good.clone() }),
        ("retained_max", CoordinatorSettings { retained_max: 0, ..good.clone() }),
        ("queued_requests_max", CoordinatorSettings { queued_requests_max: 0, ..good.clone() }),
        ("final_retry_pause_ms", CoordinatorSettings { final_retry_pause_ms: 0, ..good.clone() }),
        ("history_max", CoordinatorSettings { history_max: u32::MAX, ..good.clone() }),
    ] {
        let error = bad.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn settings_read_back_as_written_and_unknown_ones_are_refused() {
    let settings = CoordinatorSettings { interval_ms: None, ..CoordinatorSettings::default() };
    let text = serde_json::to_string(&settings).unwrap();
    assert!(text.contains("\"mode\":\"exactly-once\""), "{text}");
    assert_eq!(serde_json::from_str::<CoordinatorSettings>(&text).unwrap(), settings);
    let partial: CoordinatorSettings = serde_json::from_str(r#"{"timeout_ms": 5}"#).unwrap();
    assert_eq!(partial, CoordinatorSettings { timeout_ms: 5, ..CoordinatorSettings::default() });
    assert!(serde_json::from_str::<CoordinatorSettings>(r#"{"time_out_ms": 5}"#).is_err());
}

#[test]
fn a_new_interval_counts_from_the_last_trigger() {
    let mut engine =
        Engine::pipeline(CoordinatorSettings { interval_ms: Some(1_000), ..settings() });
    engine.until(1_000);
    engine.complete(1);
    engine.until(1_200);
    assert!(
        change(&mut engine, CoordinatorSettings { interval_ms: Some(500), ..settings() })
            .is_empty()
    );
    assert!(engine.until(1_499).is_empty());
    assert_eq!(engine.until(1_500), ["barriers 2 periodic -> src[0]"]);
    engine.complete(2);
    change(&mut engine, settings());
    assert!(engine.until(100_000).is_empty(), "switched off");
}

#[test]
fn a_new_timeout_holds_for_checkpoints_triggered_from_then_on() {
    let mut engine = Engine::pipeline(CoordinatorSettings { max_concurrent: 2, ..settings() });
    engine.manual(1);
    let longer = CoordinatorSettings {
        timeout_ms: 5_000,
        max_concurrent: 2,
        tolerable_consecutive_failures: None,
        ..settings()
    };
    change(&mut engine, longer);
    engine.manual(2);
    assert_eq!(
        engine.until(4_999)[0],
        "abort 1: timed out before every subtask acknowledged (latest none)"
    );
    assert_eq!(
        engine.until(5_000)[0],
        "abort 2: timed out before every subtask acknowledged (latest none)"
    );
}

#[test]
fn lower_bounds_take_effect_at_once_where_that_harms_nothing_in_flight() {
    let wide = CoordinatorSettings { retained_max: 3, max_concurrent: 3, ..settings() };
    let mut engine = Engine::pipeline(wide.clone());
    for _ in 0..3 {
        engine.take_checkpoint();
    }
    for request in 1..=5 {
        engine.manual(request);
    }
    let narrow =
        CoordinatorSettings { retained_max: 1, max_concurrent: 1, queued_requests_max: 1, ..wide };
    assert_eq!(
        change(&mut engine, narrow),
        [
            "request 5: refused QueueFull",
            "discard completed 1 (Subsumed)",
            "discard completed 2 (Subsumed)",
        ]
    );
    assert_eq!(engine.coordinator.in_flight().count(), 3, "what is in flight goes on");
}

#[test]
fn a_higher_limit_lets_those_that_wait_start_at_once() {
    let mut engine = Engine::pipeline(settings());
    engine.manual(1);
    engine.manual(2);
    let wider = CoordinatorSettings { max_concurrent: 2, ..settings() };
    assert_eq!(change(&mut engine, wider), ["barriers 2 manual -> src[0]"]);
}
