//! `inspect` on the shipped model: what it says about activations, and calibrations that go to disk and back.

mod program;
mod shipped;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use bench::calibration::collect;
use bench::device::Target;
use bench::inspect::activations::{SiteInspection, Subject};
use bench::quantized::{Around, quantized};
use bench::settings::{Cell, Quantization, Settings};
use dataset::Dataset;
use dataset::synthetic::Split;
use engine::{Execution, IntegerArithmetic};
use program::quantlab;
use quantize::{QuantizedNet, SiteStatistics};
use resnet::Checkpoint;

/// The shipped model, calibrated.
struct Shipped {
    checkpoint: Checkpoint,
    statistics: SiteStatistics,
}

impl Shipped {
    fn open() -> Self {
        Self::calibrated_on(&shipped::images(Split::Train, 64))
    }

    fn calibrated_on(images: &Dataset) -> Self {
        let checkpoint = shipped::checkpoint();
        let running = std::sync::atomic::AtomicBool::new(false);
        let statistics = collect(&checkpoint.network, images, 2, &running).unwrap();
        Self {
            statistics,
            checkpoint,
        }
    }

    fn quantized(&self, settings: &[&str]) -> (Quantization, QuantizedNet) {
        let pairs = settings.iter().chain(&["model.name=m"]).map(|assignment| {
            let (key, mut values) = bench::settings::parse_assignment(assignment).unwrap();
            (key, values.remove(0))
        });
        let cell = Cell::new(&pairs.collect::<Settings>()).unwrap();
        let how = cell.quantization.unwrap();
        let statistics = Some(&self.statistics);
        let net = quantized(&self.checkpoint, &how, statistics, &Around::alone()).unwrap();
        (how, net)
    }

    fn inspect(
        &self,
        (how, net): &(Quantization, QuantizedNet),
        images: &Dataset,
        threads: usize,
        only: &[String],
    ) -> SiteInspection {
        let subject = Subject {
            float: &self.checkpoint.network,
            how: &how.weights,
            net,
            execution: how.execution,
            target: &Target::Engine,
            threads,
            only,
        };
        let told = std::sync::atomic::AtomicUsize::new(0);
        let progress = |n| {
            told.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        };
        let found = subject.inspect(images, &progress).unwrap();
        assert_eq!(told.into_inner(), subject.passes() * images.len());
        found
    }
}

fn tested(n: usize) -> Dataset {
    shipped::images(Split::Test, n)
}

#[test]
fn every_site_has_its_own_error_that_of_the_network_and_its_share_at_the_logits() {
    let shipped = Shipped::open();
    let net = shipped.quantized(&["activations.bits=6", "weights.bits=6"]);
    let found = shipped.inspect(&net, &tested(40), 2, &[]);
    assert_eq!((found.images, found.sites.len()), (40, 31));
    assert!(found.unchanged > 30, "{}", found.unchanged);
    for errors in &found.sites {
        let site = errors.site.as_str();
        let own = errors.own.unwrap().sqnr_db().unwrap();
        let network = errors.network.sqnr_db().unwrap();
        let logits = errors.logits.unwrap().sqnr_db().unwrap();
        assert!((10.0..60.0).contains(&own), "{site}: {own}");
        assert!(logits > 20.0, "{site}: {logits}");
        // Errors of all before it arrive where the network is quantized.
        match site {
            "input" => assert_eq!(errors.network, errors.own.unwrap()),
            _ => assert!(network < own, "{site}: {network} and {own}"),
        }
        let is_layer = !site.ends_with(".add") && !["input", "avgpool"].contains(&site);
        assert_eq!(errors.weights.is_some(), is_layer, "{site}");
    }
    // Logits that are rounded are the last site's values, rounded.
    let last = found.sites.last().unwrap();
    let [own, logits] = [last.own, last.logits].map(|error| error.unwrap().sqnr_db().unwrap());
    assert!((own - logits).abs() < 1e-3, "{own} and {logits}");
}

#[test]
fn the_number_of_threads_and_integers_in_place_of_simulation_change_no_bit() {
    let shipped = Shipped::open();
    let mut net = shipped.quantized(&["activations.bits=8", "weights.mapping=symmetric"]);
    let only = ["input", "conv1", "layer1.0.conv2", "layer2.0.add", "linear"].map(String::from);
    let images = tested(70);
    let one = shipped.inspect(&net, &images, 1, &only);
    for threads in [2, 3, 8] {
        assert_eq!(shipped.inspect(&net, &images, threads, &only), one);
    }
    net.0.execution = Execution::Integer(IntegerArithmetic::default());
    assert_eq!(shipped.inspect(&net, &images, 2, &only), one);
}

#[test]
fn weights_in_float_leave_the_activations_to_look_at() {
    // On the tested images themselves, so that no value passes the range.
    let shipped = Shipped::calibrated_on(&tested(8));
    let net = shipped.quantized(&["activations.bits=16", "weights.bits=32"]);
    let found = shipped.inspect(&net, &tested(8), 2, &[]);
    assert_eq!(found.unchanged, 8);
    for errors in &found.sites {
        assert!(errors.weights.is_none(), "{}", errors.site);
        for error in [errors.own.unwrap(), errors.network, errors.logits.unwrap()] {
            let db = error.sqnr_db().unwrap();
            assert!(db > 60.0, "{}: {db}", errors.site);
        }
    }
    let float = shipped.quantized(&["activations.bits=8", "weights.bits=32", "shortcut=float"]);
    let found = shipped.inspect(&float, &tested(8), 2, &[]);
    for errors in &found.sites {
        // The convolution in front of an addition.
        let real = errors.site.starts_with("layer") && errors.site.ends_with("conv2");
        assert_eq!(errors.code.is_none(), real, "{}", errors.site);
        assert_eq!(
            (errors.own.is_none(), errors.logits.is_none()),
            (real, real)
        );
        assert!(errors.network.n > 0);
    }
}

#[test]
fn more_images_than_are_looked_at_in_one_go_count_once_each() {
    let shipped = Shipped::open();
    let net = shipped.quantized(&["activations.bits=8", "weights.bits=8"]);
    let only = ["linear".to_owned()];
    let found = shipped.inspect(&net, &tested(1100), 2, &only);
    for errors in &found.sites {
        let chosen = errors.site == "linear";
        assert_eq!(errors.logits.is_some(), chosen);
        assert_eq!(errors.weights.is_some(), chosen);
        assert_eq!(errors.network.n % 1100, 0);
    }
    let last = found.sites.last().unwrap();
    assert_eq!(last.logits.unwrap().n, 1100 * 10);
    assert_eq!(last.weights.unwrap().n, 1100 * 10);
}

/// `inspect` in a folder of its own.
fn inspect(folder: &Path, arguments: &[&str]) -> Output {
    let few = ["--set", "images=8", "--set", "method=ptq"];
    let mut command = quantlab("inspect");
    command
        .current_dir(folder)
        .arg("--data")
        .arg(shipped::data());
    command.args(few).args(arguments).output().unwrap()
}

fn texts(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[test]
fn a_saved_calibration_gives_the_same_numbers_as_the_images_did() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let activations = ["--set", "activations.bits=4", "--set"];
    let with = |arguments: &[&str]| {
        let arguments = [&activations[..], &["calibration.method=mse"], arguments].concat();
        let output = inspect(folder, &arguments);
        let [stdout, stderr] = texts(&output);
        assert!(output.status.success(), "{stderr}");
        assert!(
            stdout.lines().all(|line| line.chars().count() <= 80),
            "{stdout}"
        );
        stdout
    };
    let gathered = with(&[
        "--save-calibration",
        "kept",
        "--csv",
        "a.csv",
        "--set",
        "seed=5",
    ]);
    assert!(
        gathered.contains("ranges from 512 images of synthetic"),
        "{gathered}"
    );
    let picture = ["--calibration-pictures", "sites.svg", "--threads", "1"];
    let arguments = [&["--calibration", "kept", "--csv", "b.csv"][..], &picture].concat();
    assert_eq!(with(&arguments), gathered);
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(text("a.csv"), text("b.csv"));
    // 20 layers in three parts and at the logits; 31 sites in three parts.
    assert_eq!(text("a.csv").lines().count(), 1 + 20 * 4 + 31 * 3);
    let svg = text("sites.svg");
    for site in ["input", "layer1.0.add", "linear"] {
        assert_eq!(svg.matches(&format!("\n{site}\n")).count(), 1, "{site}");
    }
}

/// The shipped network with one channel of a layer a thousand times as large, which its BatchNorm undoes: in float the same
/// function; with one scale for the layer's weights its other channels are lost.
#[test]
fn the_layer_that_ruins_the_network_comes_first_though_its_weights_are_near() {
    const LAYER: &str = "layer2.1.conv1";
    let folder = tempfile::tempdir().unwrap();
    let mut state = shipped::checkpoint().tensors().clone();
    for (name, channel, factor) in [
        ("layer2.1.conv1.weight", 32 * 9, 1000.0),
        ("layer2.1.bn1.running_mean", 1, 1000.0),
        ("layer2.1.bn1.running_var", 1, 1e6),
    ] {
        let values = &mut state.get_mut(name).unwrap().data[..channel];
        values.iter_mut().for_each(|v| *v *= factor);
    }
    let file = folder.path().join("ruined.safetensors");
    std::fs::write(
        &file,
        resnet::to_safetensors(&state, &BTreeMap::new()).unwrap(),
    )
    .unwrap();
    let model = [
        "--set",
        "model.weights=ruined.safetensors",
        "--set",
        "dataset=synthetic",
        "--csv",
        "a.csv",
    ];
    let db = |part: &str| -> f64 {
        let text = std::fs::read_to_string(folder.path().join("a.csv")).unwrap();
        let row = text
            .lines()
            .find(|row| row.starts_with(&format!("{LAYER},{part},")));
        row.unwrap().rsplit(',').next().unwrap().parse().unwrap()
    };
    // Folded, the channel would be as it was.
    let kept = ["activations.bits=8", "bn=kept", "bias=float"].map(|pair| ["--set", pair]);
    for activations in [&[][..], kept.as_flattened()] {
        let output = inspect(folder.path(), &[&model[..], activations].concat());
        let [stdout, stderr] = texts(&output);
        assert!(output.status.success(), "{stderr}");
        let heading = stdout.lines().position(|line| line.starts_with("layer "));
        let first = stdout.lines().nth(heading.unwrap() + 1).unwrap();
        assert!(first.starts_with(LAYER), "{stdout}");
        assert!(
            stdout.lines().all(|line| line.chars().count() <= 80),
            "{stdout}"
        );
        // Its weights look as good as those of any layer.
        assert!(
            db("weights") > 35.0 && db("layer_logits") < 15.0,
            "{stdout}"
        );
    }
}

#[test]
fn calibrations_that_do_not_fit_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let eight = [
        "--set",
        "activations.bits=8",
        "--set",
        "calibration.images=8",
    ];
    let kept = [
        &eight[..],
        &["--save-calibration", "kept", "--layer", "linear"],
    ]
    .concat();
    let output = inspect(folder, &kept);
    assert!(output.status.success(), "{:?}", texts(&output));
    let arch = resnet::Arch::parse("cifar-resnet20").unwrap();
    let state = train::initial(&resnet::topology(&arch), &burn::tensor::Device::flex()).unwrap();
    let other = folder.join("other.safetensors");
    std::fs::write(
        &other,
        resnet::to_safetensors(&state, &BTreeMap::new()).unwrap(),
    )
    .unwrap();
    let bits = ["--set", "activations.bits=8"];
    let another = [
        "--set",
        "model.weights=other.safetensors",
        "--set",
        "dataset=synthetic",
    ];
    let read = ["--calibration", "kept"];
    for (arguments, says) in [
        (vec![&kept[..]], "kept exists; name a new folder"),
        (vec![&eight, &read], "calibration.images does not apply"),
        (vec![&read], "activations.bits = 32"),
        (vec![&bits, &read, &another], "--save-calibration"),
        (
            vec![&bits, &read, &["--set", "input.normalization=half"]],
            "input.normalization = 0.44 / 0.22, not half",
        ),
        (
            vec![&bits, &["--calibration", "nowhere"]],
            "nowhere/source.csv",
        ),
        (vec![&bits, &["--layer", "layer9.add"]], "layer9.add"),
        (vec![&["--set", "weights.bits=32"]], "activations.bits"),
        (
            vec![&bits, &read, &["--calibration-pictures", "no/such.svg"]],
            "no/such.svg",
        ),
    ] {
        let output = inspect(folder, &arguments.concat());
        let [_, stderr] = texts(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{arguments:?}: {stderr}");
        assert!(
            lines[0].starts_with("error: ") && lines[0].contains(says),
            "{stderr}"
        );
    }
}
