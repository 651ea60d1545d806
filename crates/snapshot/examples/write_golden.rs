//! Writes the golden files of the formats to `tests/golden`:
//! `cargo run -p millpond-snapshot --example write_golden`.
//!
//! Run it only to add files: what is committed for a version stays as it is, and a test compares.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a tool run by hand"
)]
#![allow(dead_code, unreachable_pub, reason = "the modules belong to the tests")]

use std::error::Error;
use std::fs;
use std::path::Path;

#[path = "../tests/it/golden_delta.rs"]
mod golden_delta;
#[path = "../tests/it/golden_input.rs"]
mod golden_input;
#[path = "../tests/it/golden_kinds.rs"]
mod golden_kinds;
#[path = "../tests/it/seal.rs"]
mod seal;
#[path = "../tests/it/support.rs"]
mod support;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    for file in golden_input::all() {
        write(&root.join(&file.path), &file.bytes)?;
    }
    let zstd = root.join(golden_input::ZSTD_PATH);
    if !zstd.exists() {
        write(&zstd, &golden_input::zstd())?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)?;
    println!("{} {} bytes", path.display(), bytes.len());
    Ok(())
}
