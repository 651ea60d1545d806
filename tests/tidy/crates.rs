//! Rules about crates: their names, and who may depend on whom.

use crate::tree::{File, files};
use crate::{Violation, assert_none};

/// A crate of ours: its folder below `crates/`, and the ones it may depend on.
struct Layer {
    folder: &'static str,
    may_use: &'static [&'static str],
    /// In tests, beside `may_use`.
    may_test_with: &'static [&'static str],
}

/// Dependencies point downwards only. Backends know nothing of each other; the runtime names none;
/// the kit knows no backend, and is itself a dependency of tests only.
const LAYERS: [Layer; 14] = [
    Layer { folder: "state", may_use: &[], may_test_with: &["testkit"] },
    Layer { folder: "storage", may_use: &["state"], may_test_with: &["testkit"] },
    Layer { folder: "state-folder", may_use: &["state"], may_test_with: &[] },
    Layer { folder: "snapshot", may_use: &["state"], may_test_with: &["testkit"] },
    Layer {
        folder: "memory",
        may_use: &["state", "snapshot", "storage"],
        may_test_with: &["testkit"],
    },
    Layer {
        folder: "fs",
        may_use: &["state", "state-folder", "snapshot", "storage"],
        may_test_with: &["testkit"],
    },
    Layer {
        folder: "rocksdb",
        may_use: &["state", "state-folder", "snapshot", "storage"],
        may_test_with: &["testkit"],
    },
    Layer {
        folder: "checkpoint",
        may_use: &["state", "snapshot", "storage"],
        may_test_with: &["testkit", "memory"],
    },
    Layer {
        folder: "runtime",
        may_use: &["state", "snapshot", "storage", "checkpoint"],
        may_test_with: &["testkit", "memory"],
    },
    Layer {
        folder: "testkit",
        may_use: &["state", "snapshot", "storage", "checkpoint"],
        may_test_with: &[],
    },
    Layer {
        folder: "sim",
        may_use: &["state", "snapshot", "storage", "checkpoint", "memory", "runtime"],
        may_test_with: &[],
    },
    Layer {
        folder: "millpond",
        may_use: &["state", "snapshot", "storage", "checkpoint", "memory", "fs", "runtime"],
        may_test_with: &[],
    },
    Layer {
        folder: "bench",
        may_use: &[
            "state",
            "snapshot",
            "storage",
            "checkpoint",
            "runtime",
            "memory",
            "fs",
            "rocksdb",
        ],
        may_test_with: &[],
    },
    Layer {
        folder: "cli",
        may_use: &[
            "state",
            "snapshot",
            "storage",
            "checkpoint",
            "runtime",
            "memory",
            "fs",
            "rocksdb",
            "bench",
            "sim",
        ],
        may_test_with: &["testkit"],
    },
];

/// A line of a manifest that asks for a package.
struct Dependency {
    line: usize,
    name: String,
    for_tests: bool,
    text: String,
}

fn dependencies(manifest: &File) -> Vec<Dependency> {
    let mut section = String::new();
    let mut found = Vec::new();
    let mut add = |line, section: &str, name: &str, text: &str| {
        let (name, text) = (name.trim_matches('"').to_owned(), text.to_owned());
        found.push(Dependency { line, name, for_tests: section.starts_with("dev-"), text });
    };
    for (line, text) in manifest.lines() {
        let text = text.trim();
        if let Some(header) = text.strip_prefix('[') {
            section =
                header.trim_end_matches(']').rsplit("target.").next().unwrap_or("").to_owned();
            // [target.'cfg(unix)'.dependencies] and [dependencies.name]
            if let Some(at) = ["dev-dependencies", "build-dependencies", "dependencies"]
                .iter()
                .find_map(|table| section.find(table))
            {
                section.drain(..at);
            }
            if let Some((table, name)) = section.clone().split_once("dependencies.") {
                add(line, table, name, text);
            }
        } else if section.ends_with("dependencies")
            && !text.starts_with('#')
            && let Some((name, _)) = text.split_once(['.', '=', ' '])
        {
            add(line, &section, name, text);
        }
    }
    found
}

fn package_name(manifest: &File) -> Option<(usize, &str)> {
    let line = manifest.lines().find(|(_, line)| line.starts_with("name = "))?;
    Some((line.0, line.1.strip_prefix("name = ")?.trim_matches('"')))
}

/// The folder below `crates/` that a manifest is of.
fn folder_of(manifest: &File) -> Option<&str> {
    let folder = manifest.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
    (!folder.contains('/')).then_some(folder)
}

/// The folder of the package of ours that is called `name`.
fn ours(name: &str) -> Option<&str> {
    if name == "millpond" { Some(name) } else { name.strip_prefix("millpond-") }
}

fn wrong_directions(manifest: &File) -> Vec<Violation> {
    let Some(folder) = folder_of(manifest) else { return Vec::new() };
    let Some(layer) = LAYERS.iter().find(|layer| layer.folder == folder) else {
        let what = "the crate is in no layer: give it one here and in docs/architecture.md";
        return vec![Violation::new(manifest, 0, what)];
    };
    let mut found = Vec::new();
    for dependency in dependencies(manifest) {
        let Some(used) = ours(&dependency.name) else { continue };
        let allowed = layer.may_use.contains(&used)
            || (dependency.for_tests && layer.may_test_with.contains(&used));
        if !allowed {
            let what = format!(
                "{folder} must not depend on {used}: dependencies point downwards only, move the \
                 code or turn the dependency round"
            );
            found.push(Violation::new(manifest, dependency.line, what));
        }
    }
    found
}

/// The kit depends on what it tests: only a dependency by path alone keeps packages publishable.
fn versioned_kits(manifest: &File) -> Vec<Violation> {
    let Some(_) = folder_of(manifest) else { return Vec::new() };
    dependencies(manifest)
        .into_iter()
        .filter(|it| it.name == "millpond-testkit" && !it.text.contains("path = "))
        .map(|it| {
            let what = "the kit is a dependency by path alone: { path = \"../testkit\" }";
            Violation::new(manifest, it.line, what)
        })
        .collect()
}

fn wrong_names(manifest: &File) -> Vec<Violation> {
    let Some(folder) = folder_of(manifest) else { return Vec::new() };
    let (line, name) = package_name(manifest).unwrap_or((0, ""));
    if ours(name) == Some(folder) {
        return Vec::new();
    }
    let what = format!("the package in {folder} must be called millpond-{folder}");
    vec![Violation::new(manifest, line, what)]
}

/// The C++ build of RocksDB stays out of every light package.
fn heavy_dependencies(manifest: &File) -> Vec<Violation> {
    let may = ["crates/rocksdb/", "crates/bench/", "crates/cli/", "tests/", "benches/"];
    if !manifest.path.ends_with("Cargo.toml")
        || manifest.path == "Cargo.toml"
        || may.iter().any(|path| manifest.path.starts_with(path))
    {
        return Vec::new();
    }
    dependencies(manifest)
        .into_iter()
        .filter(|it| matches!(it.name.as_str(), "rocksdb" | "millpond-rocksdb"))
        .map(|it| {
            let what =
                "RocksDB belongs into crates/rocksdb and features of bench, cli, tests and benches";
            Violation::new(manifest, it.line, what)
        })
        .collect()
}

/// The packages that have lints of their own, since one module of each has unsafe code, which the
/// workspace forbids.
const OWN_LINTS: [&str; 2] = ["crates/fs/Cargo.toml", "crates/rocksdb/Cargo.toml"];

/// Lints and versions are said once, at the top.
fn own_settings(manifest: &File) -> Vec<Violation> {
    let Some(_) = folder_of(manifest) else { return Vec::new() };
    let own = OWN_LINTS.contains(&manifest.path.as_str());
    let lints = if own { "[lints." } else { "[lints]" };
    let wanted = ["version.workspace", "edition.workspace", "rust-version.workspace", lints];
    wanted
        .iter()
        .filter(|wanted| !manifest.text.lines().any(|line| line.starts_with(**wanted)))
        .map(|wanted| {
            let what = format!("lacks {wanted}: take it from the workspace");
            Violation::new(manifest, 0, what)
        })
        .collect()
}

/// The lines of all tables that begin with `prefix`, which is left out.
fn lint_lines(manifest: &File, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.text.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.starts_with(prefix);
            if inside {
                found.push(table[prefix.len()..].to_owned());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            found.push(line.to_owned());
        }
    }
    found
}

fn assert_manifests(rule: fn(&File) -> Vec<Violation>) {
    let files = files();
    let manifests: Vec<&File> =
        files.iter().filter(|file| file.path.ends_with("Cargo.toml")).collect();
    assert!(manifests.len() > 10, "only {} manifests found", manifests.len());
    let violations: Vec<Violation> = manifests.into_iter().flat_map(rule).collect();
    assert_none(&violations);
}

fn lines(folder: &str, text: &str, rule: fn(&File) -> Vec<Violation>) -> Vec<usize> {
    crate::lines_found(&format!("crates/{folder}/Cargo.toml"), text, rule)
}

#[test]
fn dependencies_between_crates_point_downwards() {
    assert_manifests(wrong_directions);
}

#[test]
fn a_dependency_upwards_or_sideways_is_found() {
    let upwards = "[dependencies]\nserde = \"1\"\nmillpond-runtime.workspace = true\n";
    assert_eq!(lines("checkpoint", upwards, wrong_directions), [3]);
    let sideways = "[dependencies.millpond-memory]\npath = \"../memory\"\n";
    assert_eq!(lines("fs", sideways, wrong_directions), [1]);
    let backend = "[target.'cfg(unix)'.dependencies]\nmillpond-memory = { path = \"../memory\" }\n";
    assert_eq!(lines("runtime", backend, wrong_directions), [2]);
    let in_tests = "[dev-dependencies]\nmillpond-memory = { path = \"../memory\" }\n";
    assert_eq!(lines("runtime", in_tests, wrong_directions), []);
    assert_eq!(lines("state", in_tests, wrong_directions), [2]);
    let kit = "[dependencies]\nmillpond-testkit = { path = \"../testkit\" }\n";
    assert_eq!(lines("memory", kit, wrong_directions), [2]);
    assert_eq!(lines("unheard-of", "[dependencies]\n", wrong_directions), [0]);
}

#[test]
fn the_layers_have_no_cycle() {
    for layer in &LAYERS {
        for used in layer.may_use {
            let below = LAYERS.iter().find(|it| it.folder == *used).unwrap();
            assert!(!below.may_use.contains(&layer.folder), "{} and {used}", layer.folder);
        }
    }
}

#[test]
fn the_kit_is_a_dependency_by_path_alone() {
    assert_manifests(versioned_kits);
}

#[test]
fn a_kit_with_a_version_is_found() {
    let text = "[dev-dependencies]\nmillpond-testkit.workspace = true\n";
    assert_eq!(lines("memory", text, versioned_kits), [2]);
}

#[test]
fn packages_are_named_after_their_folder() {
    assert_manifests(wrong_names);
}

#[test]
fn a_package_without_the_prefix_is_found() {
    assert_eq!(lines("memory", "[package]\nname = \"memory\"\n", wrong_names), [2]);
    assert_eq!(lines("memory", "[package]\nname = \"millpond-memory\"\n", wrong_names), []);
    assert_eq!(lines("millpond", "[package]\nname = \"millpond\"\n", wrong_names), []);
}

#[test]
fn only_heavy_packages_pull_in_rocksdb() {
    assert_manifests(heavy_dependencies);
}

#[test]
fn rocksdb_in_a_light_package_is_found() {
    let text = "[dependencies]\nrocksdb = \"0.24\"\n";
    assert_eq!(lines("memory", text, heavy_dependencies), [2]);
    assert_eq!(lines("rocksdb", text, heavy_dependencies), []);
}

#[test]
fn lints_and_versions_come_from_the_workspace() {
    assert_manifests(own_settings);
}

#[test]
fn lints_of_its_own_differ_from_the_workspace_in_unsafe_code_only() {
    let files = files();
    let manifest = |path: &str| files.iter().find(|file| file.path == path).unwrap();
    let mut expected = lint_lines(manifest("Cargo.toml"), "workspace.lints.");
    assert!(expected.len() > 15, "only {expected:?} found");
    for line in &mut expected {
        *line = line.replace("unsafe_code = \"forbid\"", "unsafe_code = \"deny\"");
    }
    for own in OWN_LINTS {
        assert_eq!(lint_lines(manifest(own), "lints."), expected, "{own}");
    }
}

#[test]
fn a_package_with_settings_of_its_own_is_found() {
    assert_eq!(lines("memory", "[package]\nversion = \"1.0.0\"\n", own_settings), [0; 4]);
}
