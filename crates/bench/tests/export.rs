//! `export` of finished runs, and what a sweep exports.

#[path = "../../../testing/data.rs"]
mod data;
mod shipped;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use bench::calibration::collect;
use bench::export::peers::compare;
use bench::export::stored;
use bench::plan::{Ranges, plan_cell};
use bench::quantized::quantized;
use bench::registry::Registry;
use bench::settings::{Cell, Settings, parse_single};
use bench::sources::Sources;
use dataset::synthetic::Split;
use resnet::Form;
use results::{RunRow, Status, Store};
use tempfile::TempDir;

/// The committed runs that need no other test set than `set`.
fn committed(set: &str) -> Vec<RunRow> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/reference");
    let store = Store::existing(root).unwrap();
    let mut rows = Vec::new();
    for experiment in store.experiments().unwrap() {
        for run in store.runs(&experiment).unwrap() {
            let row = store.read_row(&experiment, &run).unwrap();
            if row.config.dataset == set && row.status == Status::Ok {
                rows.push(row);
            }
        }
    }
    assert!(rows.len() > 20, "{set}: {}", rows.len());
    rows
}

/// Plans each run again from its row alone.
fn planned_again(data: &Path, rows: &[RunRow]) {
    let registry = Registry {
        own: shipped::data(),
        ..Registry::open(&shipped::data()).unwrap()
    };
    let registry = Registry {
        data: data.to_owned(),
        ..registry
    };
    let cache = TempDir::new().unwrap();
    let quiet = Box::new(|_, _| {});
    let mut sources = Sources::new(registry.clone(), cache.path(), false, quiet);
    for row in rows {
        let settings = stored::settings(row, &registry, &Settings::new()).unwrap();
        let runs = plan_cell(&settings, &mut sources, "", Ranges::Images);
        let runs = runs.unwrap_or_else(|error| panic!("{}: {error:#}", row.run_id));
        stored::check(runs.last().unwrap(), row).unwrap();
    }
}

#[test]
fn every_committed_run_says_its_settings_itself() {
    planned_again(&shipped::data(), &committed("synthetic"));
    if let Some(data) = data::data(&["cifar10", "weights/resnet20-12fca82f.th"]) {
        let has_weights = |row: &RunRow| {
            let file = row.weights_file.as_deref().unwrap_or_default();
            data.join("weights").join(file).is_file()
        };
        let mut rows = committed("cifar10");
        rows.retain(has_weights);
        planned_again(&data, &rows);
    }
}

const EXPERIMENT: &str = "question = 'test'\nexpects = 'as measured'\n\
    [fixed]\nmodel.weights = 'net.safetensors'\ndataset = 'synthetic'\nimages = 32\nmethod = 'ptq'\nbn = 'folded'\n\
    weights.mapping = 'symmetric'\nactivations.bits = 8\ncalibration.images = 16\n[vary]\nweights.bits = [8, 4]\n";

/// A folder with the shipped model under another name, an experiment and the registries.
struct Place(TempDir);

impl Place {
    fn new(experiment: &str) -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program)
            .current_dir(self.0.path())
            .args(arguments)
            .env_remove("QUANTLAB_DATA")
            .output()
            .unwrap()
    }

    fn sweep(&self, arguments: &[&str]) -> Output {
        let done = self.run(
            env!("CARGO_BIN_EXE_sweep"),
            &[&["e.toml"], arguments].concat(),
        );
        assert!(done.status.success(), "{}", said(&done));
        done
    }

    fn export(&self, arguments: &[&str]) -> Output {
        let arguments = [&["net.onnx"], arguments].concat();
        self.run(env!("CARGO_BIN_EXE_export"), &arguments)
    }

    /// The one line that `export` refuses with.
    fn refused(&self, arguments: &[&str]) -> String {
        let done = self.export(arguments);
        assert!(!done.status.success(), "{}", said(&done));
        assert!(!self.path("net.onnx").exists());
        let line = said(&done);
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }

    /// The rows of the finished runs that quantize something.
    fn rows(&self) -> Vec<RunRow> {
        let store = Store::existing(self.path("results")).unwrap();
        let runs = store.runs("e").unwrap().into_iter();
        let rows = runs.map(|run| store.read_row("e", &run).unwrap());
        rows.filter(|row| !row.config.is_float()).collect()
    }

    fn hits(&self, run_id: &str) -> String {
        let run = Store::existing(self.path("results")).unwrap();
        let run = run.read("e", run_id).unwrap();
        let right = run.predictions.iter().filter(|p| p.label == p.top1);
        right.count().to_string()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether an ONNX file has an entry of that key and value among its metadata: key and value with tag and length before each.
fn tells(file: &Path, key: &str, value: &str) -> bool {
    let bytes = std::fs::read(file).unwrap();
    let mut entry = key.as_bytes().to_vec();
    entry.extend([0x12, value.len() as u8]);
    entry.extend(value.as_bytes());
    bytes.windows(entry.len()).any(|found| found == entry)
}

#[test]
fn a_finished_run_is_exported_by_its_id_alone_with_its_hits() {
    let place = Place::new(EXPERIMENT);
    place.sweep(&[]);
    let rows = place.rows();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        let done = place.export(&["--run", &row.run_id]);
        assert!(done.status.success(), "{}", said(&done));
        let file = place.path("net.onnx");
        assert!(tells(&file, "quantlab.run_id", &row.run_id));
        assert!(tells(&file, "quantlab.hits", &place.hits(&row.run_id)));
        assert!(tells(&file, "quantlab.images", "32"));
        let by_id = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        // The same settings, said: the same network, and the run is found by what they make.
        let bits = format!("weights.bits={}", row.config.weights_bits);
        let settings = [
            "model.weights=net.safetensors",
            "dataset=synthetic",
            "images=32",
            "method=ptq",
            "bn=folded",
            "weights.mapping=symmetric",
            "activations.bits=8",
            "calibration.images=16",
            &bits,
        ];
        let settings: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        let done = place.export(&settings);
        assert!(done.status.success(), "{}", said(&done));
        assert!(tells(&file, "quantlab.hits", &place.hits(&row.run_id)));
        assert_eq!(
            resnet::load(&file, None).unwrap().sha256,
            {
                std::fs::write(&file, by_id).unwrap();
                resnet::load(&file, None).unwrap().sha256
            },
            "{bits}"
        );
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_run_that_is_not_there_or_not_what_its_row_says_is_refused_in_one_line() {
    let place = Place::new(EXPERIMENT);
    place.sweep(&["--set", "weights.bits=8"]);
    let id = &place.rows()[0].run_id;
    let line = place.refused(&["--run", "0123456789ab"]);
    assert!(line.contains("there is no run 0123456789ab"), "{line}");
    let line = place.refused(&["--run", "last"]);
    assert!(line.contains("12 digits"), "{line}");
    let line = place.refused(&["--run", id, "--set", "weights.bits=4"]);
    assert!(line.contains("weights_bits = 8"), "{line}");
    let line = place.refused(&["--run", id, "--set", "images=31"]);
    assert!(line.contains("labels.class_list"), "{line}");
    // Moved: the path that was given leads nowhere, until it is given again.
    std::fs::rename(place.path("net.safetensors"), place.path("moved.st")).unwrap();
    let line = place.refused(&["--run", id]);
    assert!(line.contains("net.safetensors"), "{line}");
    std::fs::rename(place.path("moved.st"), place.path("data/net.safetensors")).unwrap();
    let given = ["--run", id, "--set", "model.weights=data/net.safetensors"];
    let done = place.export(&given);
    assert!(done.status.success(), "{}", said(&done));
}

/// A Python with onnx and onnxruntime, which no other test needs.
fn python() -> Option<PathBuf> {
    let found = std::env::var_os("QUANTLAB_PYTHON");
    if found.is_none() {
        eprintln!("skipped: QUANTLAB_PYTHON is not set");
    }
    found.map(PathBuf::from)
}

/// Where products of two summands cannot saturate, which is a matter of the processor or of a session's option.
#[test]
fn onnx_runtimes_integers_are_ours_with_its_arithmetic_code_for_code() {
    let Some(python) = python() else { return };
    let checkpoint = shipped::checkpoint();
    let images = shipped::images(Split::Test, 40);
    let running = AtomicBool::new(false);
    let seen = collect(&checkpoint.network, &images, 2, &running).unwrap();
    for bits in [8, 4] {
        let settings = [
            "model.name=resnet20-synthetic".to_owned(),
            "method=ptq".to_owned(),
            "weights.mapping=symmetric".to_owned(),
            "weights.granularity=channel".to_owned(),
            format!("weights.bits={bits}"),
            format!("activations.bits={bits}"),
        ];
        let settings = settings.iter().map(|said| parse_single(said).unwrap());
        let cell = Cell::new(&settings.collect()).unwrap();
        let net = quantized(&checkpoint, &cell.quantization.unwrap(), Some(&seen)).unwrap();
        let file = resnet::to_onnx(&net, Form::Qdq, &BTreeMap::new()).unwrap();
        let found = compare(&net, &file, &images, (&python, 2), &|_| {}).unwrap();
        let [_, precise, unfused] = &found.theirs[..] else {
            panic!("three modes")
        };
        assert_eq!(precise.integers, [30, 30]);
        assert_eq!(precise.predictions.top1, found.ours[0].top1);
        assert_eq!(precise.values.len(), 32);
        for value in &precise.values {
            assert_eq!(
                (value.differ, value.n > 0),
                (0, true),
                "{bits} bits, {}",
                value.node
            );
        }
        assert_eq!(unfused.integers[0], 0);
    }
}
