//! Bits under a budget on the shipped model: an allocation is an ordinary quantized network.

mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use bench::agreement::compare;
use bench::allocated::{Known, allocated};
use bench::calibration::collect;
use bench::quantized::{Around, quantized};
use bench::settings::{Cell, Quantization, Settings, parse_assignment};
use dataset::Dataset;
use dataset::synthetic::Split;
use quantize::{Form, QuantizedNet, SiteStatistics};
use resnet::Checkpoint;

const THREADS: usize = 2;

struct Shipped {
    checkpoint: Checkpoint,
    training: Dataset,
    statistics: SiteStatistics,
    known: Known,
}

impl Shipped {
    fn open() -> Self {
        let checkpoint = shipped::checkpoint();
        let training = shipped::images(Split::Train, 48);
        let running = AtomicBool::new(false);
        let statistics = collect(&checkpoint.network, &training, THREADS, &running).unwrap();
        Self {
            checkpoint,
            training,
            statistics,
            known: Known::default(),
        }
    }

    fn around(&self, threads: usize) -> Around<'_> {
        Around {
            images: Some(&self.training),
            threads,
            known: Some(&self.known),
            ..Around::alone()
        }
    }

    fn quantized(&self, how: &Quantization) -> QuantizedNet {
        let statistics = Some(&self.statistics);
        quantized(&self.checkpoint, how, statistics, &self.around(THREADS)).unwrap()
    }
}

fn how(assignments: &[&str]) -> Quantization {
    let always = [
        "model.name=m",
        "weights.mapping=symmetric",
        "weights.granularity=channel",
    ];
    let pairs = always.iter().chain(assignments).map(|assignment| {
        let (key, mut values) = parse_assignment(assignment).unwrap();
        (key, values.remove(0))
    });
    let cell = Cell::new(&pairs.collect::<Settings>());
    cell.unwrap_or_else(|e| panic!("{e:#}"))
        .quantization
        .unwrap()
}

/// The numbers of bits in the manifest, of weights or activations.
fn widths(net: &QuantizedNet, kind: &str) -> BTreeSet<u32> {
    let own = net
        .manifest
        .iter()
        .filter(|line| line.kind == kind && line.quantized);
    own.map(|line| line.bits).collect()
}

#[test]
fn a_budget_for_8_bits_gives_the_codes_of_8_bits_everywhere() {
    let shipped = Shipped::open();
    for method in ["sensitivity", "sqnr", "greedy", "uniform"] {
        for of in ["weights", "activations", "both"] {
            let same = ["activations.bits=8", "shortcut=shared"];
            let plain = shipped.quantized(&how(&same));
            let method = format!("allocate.method={method}");
            let of = format!("allocate.of={of}");
            let own = [&method[..], &of, "allocate.budget=9", "allocate.images=16"];
            let found = shipped.quantized(&how(&[&same[..], &own].concat()));
            assert_eq!(found.codes, plain.codes, "{method} {of}");
            assert_eq!(found.activations, plain.activations, "{method} {of}");
            assert_eq!(found.manifest, plain.manifest, "{method} {of}");
        }
    }
}

#[test]
fn allocated_bits_stand_in_the_manifest_run_in_integers_and_are_exported() {
    let shipped = Shipped::open();
    let tested = shipped::images(Split::Test, 60);
    for rounding in [&["weights.range=mse"][..], &["weights.rounding=gram"]] {
        let own = [
            "activations.bits=8",
            "allocate.method=sensitivity",
            "allocate.of=both",
            "allocate.cost=bit_operations",
            "allocate.budget=4",
            "allocate.images=16",
            "last.bits=8",
            "execution=integer",
        ];
        let how = how(&[rounding, &own].concat());
        let net = shipped.quantized(&how);
        let (weights, activations) = (widths(&net, "weight"), widths(&net, "activation"));
        assert!(
            weights.len() > 1 && activations.len() > 1,
            "{weights:?} {activations:?}"
        );
        let last = net
            .manifest
            .iter()
            .find(|line| line.tensor == "linear.weight");
        assert_eq!(last.map(|line| line.bits), Some(8));
        let running = AtomicBool::new(false);
        let agreement = compare(&net, how.execution, &tested, THREADS, &running).unwrap();
        assert_eq!(agreement.iter().map(|node| node.differ).sum::<u64>(), 0);
        quantize::to_onnx(&net, Form::Qdq, &BTreeMap::new()).unwrap();
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_and_what_is_known_is_not_measured_again() {
    let shipped = Shipped::open();
    for method in ["sensitivity", "hessian", "greedy"] {
        let method = format!("allocate.method={method}");
        let how = how(&[&method, "allocate.budget=3", "allocate.images=24"]);
        let bits = |known: Option<&Known>, threads: usize| {
            let around = Around {
                known,
                ..shipped.around(threads)
            };
            let (own, outcome) = allocated(&shipped.checkpoint, &how, None, &around).unwrap();
            let measured = outcome.unwrap().measured().clone();
            (own.weights.bits_of.clone(), measured)
        };
        let one = bits(None, 1);
        assert_eq!(one, bits(None, 3), "{method}");
        assert_eq!(one, bits(Some(&shipped.known), 2), "{method}");
        assert_eq!(one, bits(Some(&shipped.known), 2), "{method}");
        let layers = one.0.len();
        let distinct: BTreeSet<u32> = one.0.values().map(|bits| bits.get()).collect();
        assert!(layers == 20 && distinct.len() > 1, "{method}: {distinct:?}");
    }
}
