//! The rules of the house that no other tool checks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Table;

/// The most lines that a file of code may have.
const LINES_MAX: usize = 600;

/// The crate that may hold unsafe code.
const UNSAFE_CRATE: &str = "hatchery-os";

/// Each crate, and what of this workspace it may depend on: what is below it.
const ARROWS: [(&str, &[&str]); 5] = [
    ("hatchery-os", &[]),
    ("hatchery-macros", &[]),
    ("hatchery-process", &["hatchery-os", "hatchery-macros"]),
    (
        "hatchery",
        &["hatchery-process", "hatchery-os", "hatchery-macros"],
    ),
    (
        "hatchery-cli",
        &["hatchery", "hatchery-process", "hatchery-macros"],
    ),
];

/// The crates that know nothing of tokio.
const WITHOUT_TOKIO: [&str; 2] = ["hatchery-os", "hatchery-process"];

/// What no line says: the work is done, or it is not here.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// The ways to wait for a time instead of an event.
const SLEEPS: [&str; 3] = [
    concat!("thread::", "sleep"),
    concat!("time::", "sleep"),
    concat!("thread::", "park_timeout"),
];

/// The folders in which each file is a program of its own.
const PROGRAMS: [&str; 3] = ["tests/fixtures", "examples", "benches"];

/// A file of code, with its path from the root of the workspace.
struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Tells whether it is the root of a crate, or a program of its own.
    fn is_root(&self) -> bool {
        let file = self.path.file_name().and_then(|name| name.to_str());
        let folder = self.path.parent().and_then(Path::to_str);
        match file {
            Some("lib.rs" | "main.rs") => true,
            Some(_) => folder.is_some_and(|folder| PROGRAMS.contains(&folder)),
            None => false,
        }
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// Lists where a line has one of `words`, as `path:line: word`.
    fn places_of(&self, words: &[&str]) -> Vec<String> {
        let lines = self.text.lines().enumerate();
        lines
            .flat_map(|(index, line)| {
                let found = words.iter().filter(|&&word| line.contains(word));
                found.map(move |word| format!("{}:{}: {word}", self.path.display(), index + 1))
            })
            .collect()
    }
}

fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the tests are in the workspace").to_owned()
}

/// Reads every file of code in the workspace.
fn sources() -> Vec<Source> {
    let root = workspace();
    let mut found = Vec::new();
    for folder in ["crates", "examples", "tests", "benches"] {
        collect(&root, &root.join(folder), &mut found);
    }
    assert!(found.len() > 20, "the workspace has more files than these");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace can be listed") {
        let path = entry.expect("a folder can be read to its end").path();
        if path.is_dir() {
            let is_output = path.file_name().is_some_and(|name| name == "target");
            if !is_output {
                collect(root, &path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            let path = path.strip_prefix(root).expect("it is below the root");
            let path = path.to_owned();
            found.push(Source { path, text });
        }
    }
}

/// Reads the manifest of each crate, by the crate's name.
fn manifests() -> BTreeMap<String, Table> {
    let crates = workspace().join("crates");
    let folders = fs::read_dir(crates).expect("there is a folder of crates");
    folders
        .map(|folder| folder.expect("the folder can be read").path())
        .filter(|folder| folder.is_dir())
        .map(|folder| {
            let name = folder.file_name().unwrap_or_default();
            let text = fs::read_to_string(folder.join("Cargo.toml"));
            let text = text.expect("each crate has a manifest");
            let manifest = text.parse().expect("a manifest is TOML");
            (name.to_string_lossy().into_owned(), manifest)
        })
        .collect()
}

/// Lists what a crate is built from; what its tests alone use does not count.
fn dependencies(manifest: &Table) -> Vec<String> {
    let everywhere = manifest.get("dependencies").into_iter();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let on_some = targets.into_iter().flat_map(Table::values);
    let on_some = on_some.filter_map(|target| target.get("dependencies"));
    everywhere
        .chain(on_some)
        .filter_map(toml::Value::as_table)
        .flat_map(|table| table.iter())
        .map(|(name, how)| {
            let package = how.get("package").and_then(toml::Value::as_str);
            package.unwrap_or(name).to_owned()
        })
        .collect()
}

#[track_caller]
fn assert_none(rule: &str, offenders: &[String]) {
    let list = offenders.join("\n  ");
    assert!(offenders.is_empty(), "{rule}; against it:\n  {list}");
}

#[test]
fn crates_depend_only_on_those_below_them() {
    let manifests = manifests();

    let mut offenders = Vec::new();
    for (name, manifest) in &manifests {
        let Some((_, below)) = ARROWS.iter().find(|(known, _)| known == name) else {
            offenders.push(format!(
                "crates/{name}: no place in ARROWS of tests/it/tidy.rs"
            ));
            continue;
        };
        for dependency in dependencies(manifest) {
            let is_ours = manifests.contains_key(&dependency);
            if is_ours && !below.contains(&dependency.as_str()) {
                offenders.push(format!("crates/{name}/Cargo.toml: {dependency}"));
            }
        }
    }

    assert_none("arrows go down only", &offenders);
}

#[test]
fn every_crate_says_what_a_registry_asks_for() {
    let crates = workspace().join("crates");

    let mut offenders = Vec::new();
    for (name, manifest) in manifests() {
        let package = &manifest["package"];
        for key in ["description", "license", "documentation", "readme"] {
            if package.get(key).is_none() {
                offenders.push(format!("crates/{name}/Cargo.toml: {key}"));
            }
        }
        let readme = package.get("readme").and_then(toml::Value::as_str);
        let files = [readme.unwrap_or_default(), "LICENSE-MIT", "LICENSE-APACHE"];
        let missing = files
            .into_iter()
            .filter(|file| !crates.join(&name).join(file).is_file());
        offenders.extend(missing.map(|file| format!("crates/{name}/{file}")));
    }

    assert_none(
        "a crate is described, licensed and has a readme",
        &offenders,
    );
}

#[test]
fn the_lower_crates_know_nothing_of_tokio() {
    let manifests = manifests();

    let mut offenders = Vec::new();
    for name in WITHOUT_TOKIO {
        let dependencies = dependencies(&manifests[name]);
        let tokio = dependencies.iter().filter(|name| name.starts_with("tokio"));
        offenders.extend(tokio.map(|tokio| format!("crates/{name}/Cargo.toml: {tokio}")));
    }

    assert_none(
        "hatchery-process and hatchery-os are without tokio",
        &offenders,
    );
}

#[test]
fn every_crate_but_one_forbids_unsafe_code() {
    let offenders: Vec<String> = sources()
        .iter()
        .filter(|source| source.is_root())
        .filter(|source| !source.is_in(&format!("crates/{UNSAFE_CRATE}")))
        .filter(|source| !source.text.contains("#![forbid(unsafe_code)]"))
        .map(|source| source.path.display().to_string())
        .collect();

    assert_none("a crate root says #![forbid(unsafe_code)]", &offenders);
}

#[test]
fn unsafe_code_is_opened_per_module_with_a_reason() {
    let mut offenders = Vec::new();
    for source in sources() {
        let opened = source.text.split("\n#![expect(").skip(1);
        let mut opened = opened.filter(|rest| rest.trim_start().starts_with("unsafe_code"));
        let is_opened = opened.clone().next().is_some();
        let has_reason = opened.all(|rest| {
            let attribute = rest.split(")]").next().unwrap_or_default();
            attribute.contains("reason = \"")
        });
        let may_open = source.is_in(&format!("crates/{UNSAFE_CRATE}/src")) && !source.is_root();
        let otherwise = ["#[expect(", "#[allow(", "#![allow("].map(|way| format!("{way}unsafe"));
        let otherwise = otherwise.iter().any(|way| source.text.contains(way));
        if (is_opened && !may_open) || !has_reason || otherwise {
            offenders.push(source.path.display().to_string());
        }
    }

    let rule = "a module of hatchery-os opens unsafe code by \
                #![expect(unsafe_code, reason = \"…\")], and nothing else does";
    assert_none(rule, &offenders);
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let offenders: Vec<String> = sources()
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|&(_, lines)| lines > LINES_MAX)
        .map(|(source, lines)| format!("{}: {lines} lines", source.path.display()))
        .collect();

    assert_none("a file is one idea and at most 600 lines", &offenders);
}

#[test]
fn no_work_is_left_for_later() {
    let sources = sources();
    let offenders: Vec<String> = sources
        .iter()
        .flat_map(|source| source.places_of(&UNFINISHED))
        .collect();

    assert_none("what is not done is not in the code", &offenders);
}

#[test]
fn no_test_sleeps() {
    let sources = sources();
    let offenders: Vec<String> = sources
        .iter()
        .filter(|source| source.is_in("tests"))
        .flat_map(|source| source.places_of(&SLEEPS))
        .collect();

    assert_none("a test waits for an event, under a deadline", &offenders);
}

#[test]
fn every_file_is_named_for_what_it_holds() {
    let vague = ["utils", "util", "misc", "helpers", "common"];
    let offenders: Vec<String> = sources()
        .iter()
        .filter(|source| {
            let mut names = source.path.components();
            names.any(|name| {
                let name = name.as_os_str().to_string_lossy();
                vague.contains(&name.trim_end_matches(".rs"))
            })
        })
        .map(|source| source.path.display().to_string())
        .collect();

    assert_none("a helper lives with what it helps", &offenders);
}

#[test]
fn every_crate_root_says_what_it_is() {
    let offenders: Vec<String> = sources()
        .iter()
        .filter(|source| source.is_root() && !source.text.starts_with("//! "))
        .map(|source| source.path.display().to_string())
        .collect();

    assert_none("a crate root starts with //!", &offenders);
}
