//! The shipped model trained with its quantizers for a handful of steps: what comes out is one network, whoever runs it.

mod shipped;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bench::agreement::compare;
use bench::allocated::allocated;
use bench::calibration::collect;
use bench::device::Target;
use bench::evaluate::{evaluate, logits};
use bench::executable::Executable;
use bench::experiment::Scalar;
use bench::qat::{Job, Trained};
use bench::quantized::{Around, quantized};
use bench::settings::{Cell, Quantization, Settings, Source, Training};
use bench::train::qat::QatNet;
use bench::train::step::Gradients;
use bench::train::{Batch, Learner, Observer, QatConfig, Row, StepReport};
use burn::tensor::Device;
use dataset::Dataset;
use dataset::synthetic::Split;
use engine::{Execution, IntegerArithmetic, Options};
use network::StateDict;
use quantize::{Kind, SiteStatistics};
use resnet::Checkpoint;
use train::qat::Qat;

const THREADS: usize = 2;

struct Shipped {
    checkpoint: Checkpoint,
    statistics: SiteStatistics,
    images: Dataset,
    tested: Dataset,
}

impl Shipped {
    fn open(images: usize) -> Self {
        let checkpoint = shipped::checkpoint();
        let images = shipped::images(Split::Train, images);
        let running = AtomicBool::new(false);
        let network = &checkpoint.network;
        Self {
            statistics: collect(network, &images, THREADS, &running).unwrap(),
            tested: shipped::images(Split::Test, 200),
            images,
            checkpoint,
        }
    }

    /// What a training with these settings quantizes.
    fn how(settings: &[(&str, Scalar)]) -> anyhow::Result<Quantization> {
        let defaults = [
            ("method", text("qat")),
            ("weights.mapping", text("symmetric")),
            ("weights.granularity", text("channel")),
            ("weights.bits", Scalar::Integer(4)),
            ("activations.bits", Scalar::Integer(4)),
            ("first.bits", Scalar::Integer(8)),
            ("last.bits", Scalar::Integer(8)),
            ("qat.batch", Scalar::Integer(16)),
            ("qat.epochs", Scalar::Integer(2)),
        ];
        // Of two values of a key the later one holds.
        how(&[&defaults, settings].concat())
    }

    /// Trains in `folder`, until `stop_after` steps are made (0: to the end).
    fn train(
        &self,
        folder: &Path,
        settings: &[(&str, Scalar)],
        stop_after: usize,
    ) -> anyhow::Result<Trained> {
        self.train_as(&Self::how(settings)?, folder, stop_after)
    }

    fn train_as(
        &self,
        how: &Quantization,
        folder: &Path,
        stop_after: usize,
    ) -> anyhow::Result<Trained> {
        let job = Job {
            checkpoint: &self.checkpoint,
            how,
            training: training(how),
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

fn training(how: &Quantization) -> &Training {
    match &how.source {
        Source::Training(training) => training,
        _ => panic!("not a training"),
    }
}

/// What a cell with these settings quantizes.
fn how(settings: &[(&str, Scalar)]) -> anyhow::Result<Quantization> {
    let mut all: Settings = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    all.insert("model.name".to_owned(), text("m"));
    Ok(Cell::new(&all)?.quantization.unwrap())
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
        for node in compare(&trained.net, integers, tested, THREADS, &running).unwrap() {
            assert_eq!(node.differ, 0, "{method} {bn}: {}", node.node);
        }
        let size = [tested.height(), tested.width()];
        let hits = |net: &quantize::QuantizedNet, execution| {
            let net = Executable::quantized(&Target::Engine, net.clone(), size, execution);
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
        let how = how(&[("method", text("stored"))]).unwrap();
        let stored = quantized(&loaded, &how, None, &Around::alone()).unwrap();
        let all = |net: &quantize::QuantizedNet| {
            let execution = Execution::Simulate;
            let net = Executable::quantized(&Target::Engine, net.clone(), size, execution);
            logits(&net.unwrap(), tested, THREADS, &|_| {}, &running).unwrap()
        };
        assert_eq!(all(&stored), all(&trained.net), "{method} {bn}");
    }
}

#[test]
fn a_training_keeps_the_bits_that_were_allocated() {
    let shipped = Shipped::open(48);
    let settings = [
        ("allocate.method", text("sqnr")),
        ("allocate.budget", Scalar::Integer(3)),
        ("qat.epochs", Scalar::Integer(1)),
    ];
    let how = Shipped::how(&settings).unwrap();
    let around = Around {
        images: Some(&shipped.images),
        threads: THREADS,
        ..Around::alone()
    };
    let statistics = Some(&shipped.statistics);
    let (how, outcome) = allocated(&shipped.checkpoint, &how, statistics, &around).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trained = shipped.train_as(&how, folder.path(), 0).unwrap();
    let outcome = outcome.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for line in trained.net.manifest.iter().filter(|l| l.kind == "weight") {
        let layer = line.tensor.strip_suffix(".weight").unwrap();
        let bits = outcome.bits[&(Kind::Weights, layer.to_owned())];
        assert_eq!(line.bits, bits, "{layer}");
        seen.insert(bits);
    }
    assert!(seen.len() > 2, "{seen:?}");
    let running = AtomicBool::new(false);
    let integers = Execution::Integer(IntegerArithmetic::default());
    for node in compare(&trained.net, integers, &shipped.tested, THREADS, &running).unwrap() {
        assert_eq!(node.differ, 0, "{}", node.node);
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
        let made = quantized(
            &shipped.checkpoint,
            &how(settings).unwrap(),
            None,
            &Around::alone(),
        );
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

/// The GPU that the tests are told to use, by the name that `device` has: a build for one does not mean that one is there.
fn gpu() -> Option<(String, Device)> {
    let Ok(name) = std::env::var("QUANTLAB_GPU") else {
        eprintln!(
            "skipped: QUANTLAB_GPU is not set (to cuda or vulkan, in a build with that feature)"
        );
        return None;
    };
    let device = bench::device::open_burn(&name).unwrap();
    Some((name, device))
}

/// The distance of two states over the length of the second, of each kind of tensor, all of its tensors as one vector. One step
/// alone would not do: its gradient is a sum of large terms that cancel.
fn distance(found: &StateDict, expected: &StateDict) -> BTreeMap<&'static str, f64> {
    assert_eq!(found.shapes(), expected.shapes());
    let mut squares: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (name, expected) in expected {
        let kind = match name.starts_with("quantizer.") {
            true => "quantizers",
            false if expected.shape.len() > 1 => "weights",
            false => "others",
        };
        let (between, all) = squares.entry(kind).or_default();
        for (&a, &b) in found.get(name).unwrap().data.iter().zip(&expected.data) {
            *between += f64::from(a - b).powi(2);
            *all += f64::from(b).powi(2);
        }
    }
    let ratio = |(between, all): (f64, f64)| (between / all.max(1e-12)).sqrt();
    squares
        .into_iter()
        .map(|(kind, s)| (kind, ratio(s)))
        .collect()
}

/// Compares one step of a training on `device`, called `name`, with the same by the operations of `train::ops` on the CPU.
///
/// With activations in float the two differ by the order of their sums alone; `bound` is for the distance of their gradients. With
/// quantized ones a sum of another order moves a value over the edge between two codes now and then, which moves others after
/// it: two exact implementations are as far apart as quantization is coarse (half a percent of the loss at 8 bits). The bounds there
/// are wide, and far below what a wrong gradient would be (the distance of two unrelated ones is 1.4).
fn compare_gradients(name: &str, device: &Device, bound: f64) {
    let shipped = Shipped::open(64);
    let network = &shipped.checkpoint.network;
    let images = &shipped.images;
    let mut pixels = vec![0.0; 64 * 3 * 32 * 32];
    images.write_batch(0..64, &mut pixels);
    let labels: Vec<u16> = (0..64).map(|i| images.label(i)).collect();
    let batch = Batch {
        images: &pixels,
        labels: &labels,
        side: [32, 32],
        step: 0,
    };
    for (method, bn, bits) in [
        ("lsq", "folded", 32),
        ("minmax", "kept", 32),
        ("pact", "static", 32),
        ("lsq", "folded", 8),
        ("lsq_plus", "kept", 8),
        ("minmax", "folded", 8),
        ("pact", "static", 8),
    ] {
        let settings = [
            ("qat.method", text(method)),
            ("qat.bn", text(bn)),
            ("qat.distillation", Scalar::Float(0.5)),
            ("weights.bits", Scalar::Integer(8)),
            ("activations.bits", Scalar::Integer(bits)),
        ];
        let how = Shipped::how(&settings).unwrap();
        let training = training(&how);
        let spec = training.of(&how).unwrap();
        let qat = Qat::new(shipped.checkpoint.network.topology(), spec).unwrap();
        let begin = qat.begin(network, &shipped.statistics, training.start);
        let begin = begin.unwrap();
        let config = QatConfig {
            distillation: 0.5,
            temperature: 2.0,
            freeze: 1.0,
            ..QatConfig::default()
        };
        let learner = QatNet::new(qat, &config, 1, network).unwrap();
        let on = |device: &Device| -> Gradients { learner.shard(&begin, &batch, device).unwrap() };
        let (found, expected) = (on(device), on(&Device::flex().autodiff()));
        let loss = (found.loss_sum - expected.loss_sum).abs() / expected.loss_sum;
        let gradients = distance(&found.gradients, &expected.gradients);
        let running = distance(&found.running, &expected.running);
        let what = format!("{name} {method} {bn} W8A{bits}");
        eprintln!("{what}: loss {loss:.1e}, gradients {gradients:?}, running {running:?}");
        // NaN is not within.
        let within = |all: &BTreeMap<_, f64>, bound: f64| all.values().all(|&d| d < bound);
        let bounds = match bits {
            32 => [bound, bound, bound],
            _ => [1e-2, 0.3, 1e-2],
        };
        assert!(loss < bounds[0], "{what}: loss {loss}");
        assert!(within(&gradients, bounds[1]), "{what}: {gradients:?}");
        assert!(within(&running, bounds[2]), "{what}: {running:?}");
    }
}

#[test]
fn burns_own_operations_have_the_gradients_of_ours() {
    // Under checkpointing the operations are burn's own, as they are on a GPU.
    let device = Device::flex().autodiff().gradient_checkpointing();
    compare_gradients("burn's own", &device, 1e-4);
}

// Some GPUs multiply float32 matrices in TF32, whose 11 bits would show in gradients of activations in float (1e-3), and nowhere else.
#[test]
fn a_gpu_has_the_gradients_of_the_cpu() {
    let Some((name, gpu)) = gpu() else { return };
    compare_gradients(&name, &gpu.autodiff(), 1e-2);
}

#[test]
fn a_gpu_sees_what_the_cpu_sees() {
    let Some((name, gpu)) = gpu() else { return };
    let shipped = Shipped::open(64);
    let tested = &shipped.tested;
    let settings = [
        ("method", text("ptq")),
        ("weights.bits", Scalar::Integer(6)),
        ("weights.mapping", text("symmetric")),
        ("activations.bits", Scalar::Integer(6)),
    ];
    let how = how(&settings).unwrap();
    let net = quantized(
        &shipped.checkpoint,
        &how,
        Some(&shipped.statistics),
        &Around::alone(),
    )
    .unwrap();
    let running = AtomicBool::new(false);
    let size = [tested.height(), tested.width()];
    let top1 = |target: &Target, quantized: bool| -> Vec<u16> {
        let made = match quantized {
            true => Executable::quantized(target, net.clone(), size, Execution::Simulate),
            false => Executable::new(
                target,
                shipped.checkpoint.network.clone(),
                size,
                Options::default(),
            ),
        };
        let found = evaluate(&made.unwrap(), tested, THREADS, &|_, _| {}, &running);
        found.unwrap().iter().map(|o| o.top1).collect()
    };
    let gpu = Target::Burn(gpu);
    for quantized in [false, true] {
        let found = top1(&gpu, quantized);
        let expected = top1(&Target::Engine, quantized);
        let pairs = found.iter().zip(&expected);
        let other = pairs.filter(|(a, b)| a != b).count();
        eprintln!(
            "{name}, quantized {quantized}: {other} of {} differ",
            found.len()
        );
        assert!(other <= usize::from(quantized) * 4, "{name}: {other}");
    }
}
