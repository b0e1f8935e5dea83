//! The import rules of ARCHITECTURE.md, held against the Cargo.toml files and the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which of our crates each crate may use, and which heavy dependencies it may name.
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("quant-core", &[], &["burn"]),
    ("engine", &["quant-core"], &[]),
    ("message", &[], &[]),
    ("network", &["engine", "message"], &["prost"]),
    (
        "quantize",
        &["quant-core", "engine", "network"],
        &["safetensors"],
    ),
    (
        "train",
        &["quant-core", "engine", "network", "quantize"],
        &["burn"],
    ),
    (
        "resnet",
        &["quant-core", "engine", "message", "network", "quantize"],
        &["burn", "safetensors"],
    ),
    ("dataset", &["message"], &["mozjpeg", "png"]),
    ("results", &["message"], &["csv"]),
    ("report", &["results"], &["polars", "plotters"]),
    (
        "bench",
        &[
            "quant-core",
            "engine",
            "message",
            "network",
            "quantize",
            "train",
            "resnet",
            "dataset",
            "results",
            "report",
        ],
        &["burn", "clap", "indicatif", "safetensors"],
    ),
    (
        "fuzz",
        &[
            "quant-core",
            "engine",
            "network",
            "quantize",
            "resnet",
            "dataset",
            "results",
            "report",
            "bench",
        ],
        &["clap"],
    ),
];

/// Dependencies that only the crates named above may have.
const HEAVY: &[&str] = &[
    "burn",
    "burn-store",
    "prost",
    "pytorch-reader",
    "safetensors",
    "polars",
    "plotters",
    "clap",
    "indicatif",
    "mozjpeg",
    "png",
    "csv",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn dependencies(name: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(crates().join(name).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    ["dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}

#[test]
fn every_crate_has_a_rule_and_every_rule_a_crate() {
    let ours: BTreeSet<String> = std::fs::read_dir(crates())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let ruled: BTreeSet<String> = RULES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(ours, ruled);
}

#[test]
fn no_crate_imports_more_than_the_map_allows() {
    let names: BTreeSet<&str> = RULES.iter().map(|(name, ..)| *name).collect();
    for (name, ours, heavy) in RULES {
        for dependency in dependencies(name) {
            let dependency = dependency.as_str();
            if names.contains(dependency) {
                assert!(
                    ours.contains(&dependency),
                    "{name} must not import {dependency}"
                );
            }
            if HEAVY.contains(&dependency) {
                assert!(
                    heavy.contains(&dependency),
                    "{name} must not depend on {dependency}"
                );
            }
        }
    }
}

#[test]
fn burn_is_used_in_quant_core_only_below_tensor_and_qat() {
    for (path, text) in sources(&crates().join("quant-core/src")) {
        let inside = path
            .components()
            .any(|part| part.as_os_str() == "tensor" || part.as_os_str() == "qat")
            || path.file_stem().is_some_and(|stem| stem == "tensor");
        assert!(
            inside || !text.contains("burn::"),
            "{} uses burn",
            path.display()
        );
    }
}

#[test]
fn quant_core_reads_no_file_no_clock_and_no_environment() {
    for (path, text) in sources(&crates().join("quant-core/src")) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for forbidden in ["std::fs", "std::time", "std::env", "std::io", "rand::"] {
            assert!(
                !code.contains(forbidden),
                "{} uses {forbidden}",
                path.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_allowed_in_the_memory_map_and_the_kernels_alone() {
    let allowed: Vec<PathBuf> = sources(&crates())
        .into_iter()
        .filter(|(_, text)| text.contains(concat!("allow(", "unsafe_code)")))
        .map(|(path, _)| path.strip_prefix(crates()).unwrap().to_owned())
        .collect();
    assert_eq!(
        BTreeSet::from_iter(allowed),
        BTreeSet::from(["dataset/src/mmap.rs", "engine/src/kernel/mod.rs"].map(PathBuf::from))
    );
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
        }
    }
    found
}
