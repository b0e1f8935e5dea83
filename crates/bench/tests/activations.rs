//! `sweep` with quantized activations: simulation and integers side by side, and what is refused.

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use burn::tensor::Device;
use network::StateDict;
use program::quantlab;
use resnet::Arch;
use tempfile::TempDir;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data")
}

/// A folder with an experiment on the shipped model and room for other models.
struct Place(TempDir);

impl Place {
    fn new(fixed: &str, vary: &str) -> Self {
        let place = Self(TempDir::new().unwrap());
        let experiment = format!(
            "question = 'test'\nexpects = 'nothing'\n[fixed]\ndataset = 'synthetic'\nimages = 64\n{fixed}\n[vary]\n{vary}\n"
        );
        std::fs::write(place.path("e.toml"), experiment).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = quantlab("sweep");
        command.current_dir(self.0.path()).arg("e.toml");
        command.arg("--data").arg(data()).args(arguments);
        command.output().unwrap()
    }

    /// Saves a network of random weights with some changed.
    fn model(&self, name: &str, change: &dyn Fn(&mut StateDict)) {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = train::initial(&resnet::topology(&arch), &Device::flex()).unwrap();
        change(&mut state);
        std::fs::write(
            self.path(name),
            resnet::to_safetensors(&state, &BTreeMap::new()).unwrap(),
        )
        .unwrap();
    }

    /// The folders of finished runs.
    fn runs(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.path("results/e")).unwrap();
        let folders = folders.map(|folder| folder.unwrap().path());
        folders
            .filter(|folder| folder.join("run.csv").is_file())
            .collect()
    }

    /// Metrics of the whole network, by execution.
    fn metrics(&self) -> BTreeMap<String, BTreeMap<String, f64>> {
        let mut found = BTreeMap::new();
        for folder in self.runs() {
            let run = rows(&folder.join("run.csv")).remove(0);
            if run["activations_bits"] != "8" {
                continue;
            }
            let metrics = rows(&folder.join("metrics.csv")).into_iter();
            let whole = metrics.filter(|row| row["layer"].is_empty());
            let values = whole.map(|row| (row["metric"].clone(), row["value"].parse().unwrap()));
            found.insert(run["execution"].clone(), values.collect());
        }
        found
    }
}

fn rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn integers_hit_what_the_simulation_hits_and_no_code_differs() {
    let fixed = "model.name = 'resnet20-synthetic'\nactivations.bits = 8\ncalibration.images = 32";
    let place = Place::new(fixed, "execution = ['simulate', 'integer']");
    let output = place.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found = place.metrics();
    let (simulated, integers) = (&found["simulate"], &found["integer"]);
    for metric in ["top1_correct", "top5_correct", "flips", "loss_sum"] {
        assert_eq!(simulated[metric], integers[metric], "{metric}");
    }
    assert!(simulated["top1_correct"] > 50.0);
    assert_eq!(integers["codes_differ"], 0.0);
    assert_eq!(integers["codes_max_difference"], 0.0);
    assert!(!simulated.contains_key("codes_differ"));
}

#[test]
fn a_run_that_leaves_the_choice_is_the_simulated_run_byte_for_byte_and_says_what_executed_it() {
    let fixed = "model.name = 'resnet20-synthetic'\ncalibration.images = 32\nweights.bits = 8";
    let vary = "'activations.bits, shortcut' = [[8, 'rescale'], [4, 'shared'], [12, 'rescale'], [8, 'float']]";
    let place = Place::new(fixed, vary);
    // By the run's folder: its files but `run.csv`, the configuration, and what it was executed in.
    let made = |arguments: &[&str]| {
        let output = place.run(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        let mut found = BTreeMap::new();
        for folder in place.runs() {
            let text = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
            let files = ["metrics.csv", "predictions.csv", "manifest.csv"].map(text);
            let run = rows(&folder.join("run.csv")).remove(0);
            let said = run["execution"].clone();
            let cell = [&run["activations_bits"], &run["shortcut"]].map(String::clone);
            let id = folder.file_name().unwrap().to_owned();
            found.insert(id, (files, said, (cell, run["executed"].clone())));
        }
        std::fs::remove_dir_all(place.path("results")).unwrap();
        found
    };
    let chosen = made(&[]);
    let simulated = made(&["--set", "execution=simulate"]);
    // Activations, shortcut, what executed it where that was left open, and where it was not.
    let cells = [
        ("32", "", "float", "float"),
        ("8", "rescale", "integer", "simulate"),
        ("4", "shared", "integer", "simulate"),
        ("12", "rescale", "simulate", "simulate"),
        ("8", "float", "simulate", "simulate"),
    ];
    assert_eq!((chosen.len(), simulated.len()), (cells.len(), cells.len()));
    for (runs, left_open) in [(&chosen, true), (&simulated, false)] {
        for (_, _, ([bits, shortcut], executed)) in runs.values() {
            let cell = cells
                .iter()
                .find(|cell| (cell.0, cell.1) == (bits, shortcut));
            let &(_, _, open, said) = cell.unwrap();
            assert_eq!(executed, if left_open { open } else { said });
        }
    }
    assert!(
        chosen.keys().eq(simulated.keys()),
        "the same runs, by their ids"
    );
    for (id, (files, said, _)) in &chosen {
        assert_eq!(said, "simulate");
        assert_eq!(files, &simulated[id].0, "{id:?}");
    }
}

#[test]
fn codes_chosen_by_what_images_make_of_them_are_integers_too_whatever_the_threads() {
    let fixed = "model.name = 'resnet20-synthetic'\nactivations.bits = 8\nweights.bits = 3\nweights.rounding = 'gram'\n\
                 weights.granularity = 'channel'\nequalize = 'cross_layer'\ncalibration.images = 48";
    let run = |threads: &str| {
        let place = Place::new(fixed, "execution = ['simulate', 'integer']");
        let output = place.run(&["--threads", threads]);
        assert!(output.status.success(), "{}", stderr(&output));
        place.metrics()
    };
    let found = run("1");
    let (simulated, integers) = (&found["simulate"], &found["integer"]);
    assert_eq!(simulated["loss_sum"], integers["loss_sum"]);
    assert_eq!(integers["codes_differ"], 0.0);
    // 90 % in float, 83 % with the nearest codes.
    assert!(simulated["top1_correct"] >= 55.0, "{simulated:?}");
    assert_eq!(run("3"), found);
}

#[test]
fn learned_codes_and_ranges_of_least_output_error_are_integers_too_and_tell_what_each_layer_loses()
{
    let fixed = "model.name = 'resnet20-synthetic'\nactivations.bits = 8\nweights.bits = 3\nexecution = 'integer'\n\
                 weights.granularity = 'channel'\nweights.range = 'output_mse'\ncalibration.images = 16\n\
                 adaround.iterations = 20\nadaround.rate = 0.2\nadaround.batch = 128\nseed = 3";
    let place = Place::new(fixed, "weights.rounding = ['half_even', 'adaround']");
    let output = place.run(&[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let (mut quantized, mut learned) = (0, 0);
    for folder in place.runs() {
        let [run] = <[_; 1]>::try_from(rows(&folder.join("run.csv"))).unwrap();
        let metrics = rows(&folder.join("metrics.csv"));
        let of = |name: &str| metrics.iter().filter(|row| row["metric"] == name).count();
        let is_learned = run["weights_rounding"] == "adaround";
        if run["method"] != "float" {
            assert_eq!(run["weights_range"], "output_mse");
            let layers = if is_learned { of("weight_mse") } else { 0 };
            assert_eq!(of("output_loss"), layers);
            assert_eq!(of("output_loss_predicted"), of("output_loss"));
            let differ = metrics.iter().find(|row| row["metric"] == "codes_differ");
            assert_eq!(differ.unwrap()["value"], "0");
            quantized += 1;
            learned += usize::from(is_learned);
        }
    }
    assert_eq!((quantized, learned), (2, 1));
}

#[test]
fn ranges_by_what_layers_make_of_a_site_are_integers_too_whatever_the_threads() {
    let fixed = "model.name = 'resnet20-synthetic'\nactivations.bits = 8\nweights.bits = 3\nweights.rounding = 'gram'\n\
                 weights.granularity = 'channel'\ncalibration.method = 'output_mse'\ncalibration.images = 16";
    let run = |threads: &str| {
        let place = Place::new(fixed, "execution = ['simulate', 'integer']");
        let output = place.run(&["--threads", threads]);
        assert!(output.status.success(), "{}", stderr(&output));
        let manifests = place
            .runs()
            .into_iter()
            .map(|run| rows(&run.join("manifest.csv")));
        let lines: Vec<_> = manifests.flatten().collect();
        let words = "range of least output error";
        let found = lines.iter().filter(|line| line["reason"].contains(words));
        // Of both runs: the images, what each of 19 other layers reads, and no site twice.
        assert_eq!(found.count(), 2 * 20);
        place.metrics()
    };
    let found = run("1");
    let (simulated, integers) = (&found["simulate"], &found["integer"]);
    assert_eq!(simulated["loss_sum"], integers["loss_sum"]);
    assert_eq!(integers["codes_differ"], 0.0);
    assert!(simulated["top1_correct"] >= 55.0, "{simulated:?}");
    assert_eq!(run("3"), found);
}

#[test]
fn what_cannot_be_calibrated_or_executed_is_refused_in_one_line() {
    let fixed = "model.name = 'resnet20-synthetic'\nactivations.bits = 8";
    let place = Place::new(fixed, "weights.bits = [8]");
    // CIFAR-10's layout, the same image to test on and to train on.
    std::fs::create_dir(place.path("both")).unwrap();
    let row: Vec<u8> = (0..3073).map(|i: u32| (i % 7) as u8).collect();
    for file in ["test_batch.bin", "data_batch_1.bin"] {
        std::fs::write(place.path("both").join(file), &row).unwrap();
    }
    let overlap = ["dataset=both", "images=0", "calibration.images=1"];
    let integer = "execution=integer";
    for (settings, says) in [
        (
            vec!["calibration.images=0"],
            ["calibration.images = 0", "at least one"],
        ),
        (
            vec!["calibration.images=9999999"],
            ["9999999", "ask for no more"],
        ),
        (
            vec!["calibration.dataset=nowhere"],
            ["nowhere", "calibration.dataset"],
        ),
        (
            overlap.to_vec(),
            ["is test image", "calibrate on images that are not tested"],
        ),
        (
            vec![integer, "activations.bits=9"],
            ["activations.bits = 9", "give 1 to 8"],
        ),
        (
            vec![integer, "activations.bits=16"],
            ["activations.bits = 16", "give 1 to 8"],
        ),
        (
            vec![integer, "weights.bits=16"],
            ["weights.bits = 16", "give 1 to 8"],
        ),
        (
            vec![integer, "activations.bits=32"],
            ["activations.bits = 32", "give 1 to 8"],
        ),
        (
            vec![integer, "shortcut=float"],
            ["shortcut = float", "rescale or shared"],
        ),
        (
            vec![integer, "bias=float"],
            ["bias = float", "set bias = int32"],
        ),
        (
            vec![integer, "device=flex"],
            ["device = flex", "set device = engine"],
        ),
    ] {
        let arguments: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        let output = place.run(&arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{settings:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{settings:?}: {text}");
        assert!(text.starts_with("error: "), "{text}");
        for says in says {
            assert!(text.contains(says), "{settings:?}: {text}");
        }
    }
}

#[test]
fn a_site_of_zeros_is_quantized_and_one_of_nan_fails_its_runs_in_a_line_that_names_it() {
    let place = Place::new(
        "activations.bits = 8\ncalibration.images = 8",
        "weights.bits = [8]",
    );
    place.model("zeros.safetensors", &|state| {
        for part in ["weight", "bias"] {
            state
                .get_mut(&format!("layer2.0.bn1.{part}"))
                .unwrap()
                .data
                .fill(0.0);
        }
    });
    place.model("huge.safetensors", &|state| {
        state
            .get_mut("layer1.1.conv1.weight")
            .unwrap()
            .data
            .fill(f32::MAX);
    });
    let run = |model: &str| {
        let weights = format!("model.weights={model}.safetensors");
        let output = place.run(&["--set", &weights, "--results", model]);
        let text = stderr(&output);
        assert!(!text.contains("panicked"), "{text}");
        (output.status.code(), text)
    };
    let (code, text) = run("zeros");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("2 runs made, 0 were there already, 0 failed"),
        "{text}"
    );
    let (code, text) = run("huge");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("0 runs made, 0 were there already, 2 failed"),
        "{text}"
    );
    let failed: Vec<_> = text
        .lines()
        .filter(|line| line.contains("FAILED"))
        .collect();
    assert_eq!(failed.len(), 2, "{text}");
    for says in ["layer1.1.conv1", "not finite", "BatchNorm statistics"] {
        assert!(failed[0].contains(says), "{text}");
    }
    assert!(failed[1].contains("its float run"), "{text}");
}
