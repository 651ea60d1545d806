//! Any text as a saved sequence of operations: reading it must not panic, and what it reads prints
//! as text that reads alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_testkit::{ops, typed_ops};

fuzz_target!(|text: &str| {
    if let Ok(read) = ops::parse(text) {
        assert_eq!(ops::parse(&ops::print(&read)).expect("what was printed"), read);
    }
    if let Ok(read) = typed_ops::parse(text) {
        assert_eq!(typed_ops::parse(&typed_ops::print(&read)).expect("what was printed"), read);
    }
});
