//! The shipped model and the shipped images, as `data/datasets.toml` has them.

// Every test file includes all of it and uses what it needs.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use bench::registry::Registry;
use dataset::Dataset;
use dataset::synthetic::{self, Split};
use resnet::Checkpoint;

/// The repository's own data folder.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data")
}

/// The first `n` images of the set that the committed results are about.
pub fn images(split: Split, n: usize) -> Dataset {
    let registry = Registry::open(&data()).unwrap();
    synthetic::generate(registry.datasets["synthetic"].seed, split, n)
}

/// The model that they are about.
pub fn checkpoint() -> Checkpoint {
    resnet::load(&data().join("resnet20-synthetic.safetensors"), None).unwrap()
}
