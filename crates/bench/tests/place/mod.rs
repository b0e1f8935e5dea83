//! A folder of its own for a sweep: a small network, an experiment, and what a sweep left there.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use resnet::Arch;
use tempfile::TempDir;

use crate::program::quantlab;

pub const EXPERIMENT: &str = "question = 'test'\nexpects = 'nothing: the weights are random'\n\
    [fixed]\nmodel.weights = 'model.safetensors'\ndataset = 'synthetic'\nimages = 96\n\
    [vary]\nmethod = ['linear', 'ptq']\nweights.bits = [32, 8, 4, 2]\n";

/// A folder with a model of random weights, an experiment and the registries.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let device = Device::flex();
        device.seed(3);
        let state = train::initial(&resnet::topology(&arch), &device).unwrap();
        std::fs::write(
            place.path("model.safetensors"),
            resnet::to_safetensors(&state, &BTreeMap::new()).unwrap(),
        )
        .unwrap();
        std::fs::write(place.path("e.toml"), EXPERIMENT).unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
        std::fs::create_dir(place.path("data")).unwrap();
        for registry in ["models.toml", "datasets.toml"] {
            std::fs::copy(data.join(registry), place.path("data").join(registry)).unwrap();
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, results: &str, arguments: &[&str]) -> Command {
        let mut command = quantlab("sweep");
        command
            .current_dir(self.0.path())
            .args(["e.toml", "--data", "data", "--results", results])
            .args(arguments)
            .env_remove("QUANTLAB_DATA")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, results: &str, arguments: &[&str]) -> Output {
        self.command(results, arguments).output().unwrap()
    }

    /// Everything a sweep left, by path, without what tells the time, the machine or the number of threads.
    pub fn contents(&self, results: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for folder in std::fs::read_dir(self.path(results).join("e")).unwrap() {
            let folder = folder.unwrap().path();
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            if name.starts_with('.') {
                continue;
            }
            if folder.is_file() {
                let text = std::fs::read_to_string(&folder).unwrap();
                let text = match name.as_str() {
                    "index.html" => without_provenance(&text),
                    _ => text,
                };
                found.insert(name, text);
                continue;
            }
            for file in std::fs::read_dir(&folder).unwrap() {
                let file = file.unwrap().path();
                let text = if file.file_name().unwrap() == "run.csv" {
                    lasting_columns(&file)
                } else {
                    std::fs::read_to_string(&file).unwrap()
                };
                let key = format!("{name}/{}", file.file_name().unwrap().to_str().unwrap());
                found.insert(key, text);
            }
        }
        found
    }

    pub fn finished_runs(&self, results: &str) -> usize {
        let Ok(folder) = std::fs::read_dir(self.path(results).join("e")) else {
            return 0;
        };
        folder
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.len() == 12 && !name.to_str().unwrap().starts_with('.')
            })
            .count()
    }

    /// Waits until `count` runs are there; fails after a minute.
    pub fn wait_for_runs(&self, results: &str, count: usize, child: &mut Child) {
        let start = Instant::now();
        while self.finished_runs(results) < count {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no run in a minute"
            );
            assert!(
                child.try_wait().unwrap().is_none(),
                "the sweep ended by itself"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Columns that tell when, where and how fast, and not what.
const VOLATILE: [&str; 5] = [
    "threads",
    "host",
    "started_at",
    "seconds",
    "images_per_second",
];

fn lasting_columns(file: &Path) -> String {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let headers = reader.headers().unwrap().clone();
    let record = reader.records().next().unwrap().unwrap();
    headers
        .iter()
        .zip(&record)
        .filter(|(name, _)| !VOLATILE.contains(name))
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect()
}

/// A page but for what it has of the same columns.
fn without_provenance(page: &str) -> String {
    let (before, rest) = page.split_once("\"provenance\":[").unwrap();
    let (own, after) = rest.split_once("],\"sets\":[").unwrap();
    assert!(own.contains("\"started_at\""), "{own}");
    format!("{before}{after}")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
