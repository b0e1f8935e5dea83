//! The shipped model trained with its quantizers for a handful of steps: what comes out is one network, whoever runs it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bench::agreement::compare;
use bench::calibration::collect;
use bench::device::Target;
use bench::evaluate::{evaluate, logits};
use bench::experiment::Scalar;
use bench::network::Network;
use bench::qat::{Job, Trained};
use bench::quantized::quantized;
use bench::settings::{Cell, Quantization, Settings, Source};
use bench::train::{Observer, Row, StepReport};
use dataset::Dataset;
use dataset::synthetic::{self, Split};
use engine::{Execution, IntegerArithmetic};
use resnet::{Checkpoint, SiteStatistics};

/// The seed of the shipped set in `data/datasets.toml`.
const SEED: u64 = 2024;
const THREADS: usize = 2;

struct Shipped {
    checkpoint: Checkpoint,
    statistics: SiteStatistics,
    images: Dataset,
    tested: Dataset,
}

impl Shipped {
    fn open(images: usize) -> Self {
        let file = "../../data/resnet20-synthetic.safetensors";
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let checkpoint = resnet::load(&file, None).unwrap();
        let images = synthetic::generate(SEED, Split::Train, images);
        let running = AtomicBool::new(false);
        let (arch, state) = (&checkpoint.arch, &checkpoint.state);
        Self {
            statistics: collect(arch, state, &images, THREADS, &running).unwrap(),
            tested: synthetic::generate(SEED, Split::Test, 200),
            images,
            checkpoint,
        }
    }

    /// Trains in `folder`, until `stop_after` steps are made (0: to the end).
    fn train(
        &self,
        folder: &Path,
        settings: &[(&str, Scalar)],
        stop_after: usize,
    ) -> anyhow::Result<Trained> {
        let mut all: Settings = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        for (key, value) in [
            ("model.name", text("m")),
            ("method", text("qat")),
            ("weights.mapping", text("symmetric")),
            ("weights.granularity", text("channel")),
            ("weights.bits", Scalar::Integer(4)),
            ("activations.bits", Scalar::Integer(4)),
            ("first.bits", Scalar::Integer(8)),
            ("last.bits", Scalar::Integer(8)),
            ("qat.batch", Scalar::Integer(16)),
            ("qat.epochs", Scalar::Integer(2)),
        ] {
            all.entry(key.to_owned()).or_insert(value);
        }
        let cell = Cell::new(&all)?;
        let how = cell.quantization.unwrap();
        let Source::Training(training) = &how.source else {
            panic!("not a training");
        };
        let job = Job {
            checkpoint: &self.checkpoint,
            how: &how,
            training,
            statistics: &self.statistics,
            images: (&self.images, "synthetic"),
            test: None,
            device: "engine",
            threads: THREADS,
        };
        let watch = Watch {
            stop_after,
            ..Watch::default()
        };
        job.run(folder, 0, &watch, &watch.stop)
    }
}

/// What a cell with these settings quantizes.
fn how(settings: &[(&str, Scalar)]) -> Quantization {
    let mut all: Settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    all.insert("model.name".to_owned(), text("m"));
    Cell::new(&all).unwrap().quantization.unwrap()
}

fn text(word: &str) -> Scalar {
    Scalar::Text(word.to_owned())
}

/// Raises `stop` after a number of steps.
#[derive(Default)]
struct Watch {
    steps: AtomicUsize,
    stop_after: usize,
    stop: AtomicBool,
}

impl Observer for Watch {
    fn step(&self, _: &StepReport) {
        if self.steps.fetch_add(1, Ordering::Relaxed) + 1 == self.stop_after {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn tested(&self, _: usize, _: usize) {}
    fn epoch(&self, _: &Row, _: usize) {}
}

fn file_bytes(trained: &Trained) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    trained.save(&path, Default::default()).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn simulation_integers_and_the_stored_file_of_a_trained_network_agree() {
    let shipped = Shipped::open(48);
    let arch = &shipped.checkpoint.arch;
    for (method, bn, shortcut) in [
        ("lsq", "folded", "rescale"),
        ("minmax", "static", "shared"),
        ("pact", "kept", "rescale"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let settings = [
            ("qat.method", text(method)),
            ("qat.bn", text(bn)),
            ("shortcut", text(shortcut)),
            ("qat.epochs", Scalar::Integer(1)),
        ];
        let trained = shipped.train(folder.path(), &settings, 0).unwrap();
        let running = AtomicBool::new(false);
        let integers = Execution::Integer(IntegerArithmetic::default());
        let tested = &shipped.tested;
        for node in compare(arch, &trained.net, integers, tested, THREADS, &running).unwrap() {
            assert_eq!(node.differ, 0, "{method} {bn}: {}", node.node);
        }
        let size = [tested.height(), tested.width()];
        let hits = |net: &resnet::QuantizedNet, execution| {
            let net = Network::quantized(&Target::Engine, arch, net.clone(), size, execution);
            let found = evaluate(&net.unwrap(), tested, THREADS, &|_, _| {}, &running).unwrap();
            let right = found.iter().enumerate();
            right.filter(|(i, o)| o.top1 == tested.label(*i)).count()
        };
        let simulated = hits(&trained.net, Execution::Simulate);
        assert_eq!(simulated, hits(&trained.net, integers), "{method} {bn}");
        // It has not forgotten what it knew: chance is 20.
        assert!(simulated > 100, "{method} {bn}: {simulated} of 200");

        let path = folder.path().join("net.safetensors");
        trained.save(&path, Default::default()).unwrap();
        let loaded = resnet::load(&path, None).unwrap();
        assert!(loaded.folded);
        let how = how(&[("method", text("stored"))]);
        let stored = quantized(&loaded, &how, None).unwrap();
        let all = |net: &resnet::QuantizedNet| {
            let execution = Execution::Simulate;
            let net = Network::quantized(&Target::Engine, arch, net.clone(), size, execution);
            logits(&net.unwrap(), tested, THREADS, &|_| {}, &running).unwrap()
        };
        assert_eq!(all(&stored), all(&trained.net), "{method} {bn}");
    }
}

#[test]
fn stopping_and_going_on_gives_the_file_of_never_having_stopped() {
    let shipped = Shipped::open(48);
    let whole = tempfile::tempdir().unwrap();
    // Three steps an epoch; distillation, and BatchNorm frozen on the way.
    let settings = [("qat.distillation", Scalar::Float(0.5))];
    let whole = shipped.train(whole.path(), &settings, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = match shipped.train(folder.path(), &settings, 4) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was stopped"),
    };
    assert!(error.contains("1 epochs are kept"), "{error}");
    let resumed = shipped.train(folder.path(), &settings, 0).unwrap();
    assert_eq!(file_bytes(&resumed), file_bytes(&whole));
    // What is finished makes no step.
    let again = shipped.train(folder.path(), &settings, 1).unwrap();
    assert_eq!(file_bytes(&again), file_bytes(&whole));
    let other = [("qat.lr", Scalar::Float(0.5))];
    let error = match shipped.train(folder.path(), &other, 0) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("other settings went on"),
    };
    assert!(error.contains("lr: 0.01, not 0.5"), "{error}");
}

#[test]
fn looking_at_a_network_trains_none_and_stored_quantizers_must_be_there() {
    let shipped = Shipped::open(4);
    let error = |settings: &[(&str, Scalar)]| {
        let made = quantized(&shipped.checkpoint, &how(settings), None);
        made.unwrap_err().to_string()
    };
    let bits = ("weights.bits", Scalar::Integer(4));
    let trained = error(&[("method", text("qat")), bits]);
    assert!(trained.contains("train --qat"), "{trained}");
    let stored = error(&[("method", text("stored"))]);
    assert!(stored.contains("quantizer.weight.conv1.scale"), "{stored}");
}

#[test]
fn a_training_that_runs_away_names_what_is_not_finite() {
    let shipped = Shipped::open(48);
    let folder = tempfile::tempdir().unwrap();
    let settings = [("qat.lr", Scalar::Float(1e30))];
    let error = match shipped.train(folder.path(), &settings, 0) {
        Err(error) => format!("{error:#}"),
        Ok(_) => panic!("it went on"),
    };
    assert!(
        error.contains("epoch 1") || error.contains("tensor"),
        "{error}"
    );
    let named = ["conv", "bn", "linear", "downsample"];
    assert!(named.iter().any(|name| error.contains(name)), "{error}");
}
