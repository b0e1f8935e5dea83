//! A folder to sweep and export in.

use std::path::{Path, PathBuf};
use std::process::Output;

use results::{RunRow, Store};
use tempfile::TempDir;

use crate::shipped;

use crate::program::quantlab;

pub const EXPERIMENT: &str = "question = 'test'\nexpects = 'as measured'\n\
    [fixed]\nmodel.weights = 'net.safetensors'\ndataset = 'synthetic'\nimages = 32\nmethod = 'ptq'\nbn = 'folded'\n\
    weights.mapping = 'symmetric'\nactivations.bits = 8\ncalibration.images = 16\n[vary]\nweights.bits = [8, 4]\n";

/// A folder with the shipped model under another name, an experiment and the registries.
pub struct Place(TempDir);

impl Place {
    pub fn new(experiment: &str) -> Self {
        let place = Self(TempDir::new().unwrap());
        let data = shipped::data();
        std::fs::create_dir(place.path("data")).unwrap();
        for (from, to) in [
            ("models.toml", "data/models.toml"),
            ("datasets.toml", "data/datasets.toml"),
            ("resnet20-synthetic.safetensors", "net.safetensors"),
        ] {
            std::fs::copy(data.join(from), place.path(to)).unwrap();
        }
        std::fs::write(place.path("e.toml"), experiment).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn run(&self, command: &str, arguments: &[&str]) -> Output {
        quantlab(command)
            .current_dir(self.0.path())
            .args(arguments)
            .env_remove("QUANTLAB_DATA")
            .output()
            .unwrap()
    }

    pub fn sweep(&self, arguments: &[&str]) -> Output {
        let done = self.run("sweep", &[&["e.toml"], arguments].concat());
        assert!(done.status.success(), "{}", said(&done));
        done
    }

    pub fn export(&self, arguments: &[&str]) -> Output {
        let arguments = [&["net.onnx"], arguments].concat();
        self.run("export", &arguments)
    }

    /// The one line that `export` refuses with.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let done = self.export(arguments);
        assert!(!done.status.success(), "{}", said(&done));
        assert!(!self.path("net.onnx").exists());
        // Assumptions about the images may stand before it.
        let said = said(&done);
        let errors: Vec<&str> = said
            .lines()
            .filter(|l| !l.starts_with("assumed: "))
            .collect();
        assert_eq!(errors.len(), 1, "{said}");
        errors[0].to_owned()
    }

    /// The rows of the finished runs that quantize something.
    pub fn rows(&self) -> Vec<RunRow> {
        let store = Store::existing(self.path("results")).unwrap();
        let runs = store.runs("e").unwrap().into_iter();
        let rows = runs.map(|run| store.read_row("e", &run).unwrap());
        rows.filter(|row| !row.config.is_float()).collect()
    }

    pub fn hits(&self, run_id: &str) -> String {
        let run = Store::existing(self.path("results")).unwrap();
        let run = run.read("e", run_id).unwrap();
        let right = run.predictions.iter().filter(|p| p.label == p.top1);
        right.count().to_string()
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether an ONNX file has an entry of that key and value among its metadata: key and value with tag and length before each.
pub fn tells(file: &Path, key: &str, value: &str) -> bool {
    let bytes = std::fs::read(file).unwrap();
    let mut entry = key.as_bytes().to_vec();
    entry.extend([0x12, value.len() as u8]);
    entry.extend(value.as_bytes());
    bytes.windows(entry.len()).any(|found| found == entry)
}
