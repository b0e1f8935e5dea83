//! Simulation and integers side by side over the shipped model and the synthetic set: one code that differs is a bug.

mod shipped;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bench::agreement::{Agreement, compare};
use bench::calibration::collect;
use dataset::Dataset;
use dataset::synthetic::Split;
use engine::{Execution, IntegerArithmetic, Requantize};
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme,
};
use quantize::{
    ActivationQuantization, BiasPolicy, BnMode, QuantizedNet, ShortcutPolicy, SiteStatistics,
    Sites, WeightQuantization, quantize,
};
use resnet::Checkpoint;

const IMAGES: usize = 200;
const THREADS: usize = 2;

/// The shipped model, calibrated on training images.
struct Shipped {
    checkpoint: Checkpoint,
    statistics: SiteStatistics,
    tested: Dataset,
}

impl Shipped {
    fn open() -> Self {
        let checkpoint = shipped::checkpoint();
        let training = shipped::images(Split::Train, 64);
        let statistics = collect(
            &checkpoint.network,
            &training,
            THREADS,
            &AtomicBool::new(false),
        );
        Self {
            statistics: statistics.unwrap(),
            tested: shipped::images(Split::Test, IMAGES),
            checkpoint,
        }
    }

    /// Weights and activations of `bits` bits.
    fn quantized(
        &self,
        bits: u32,
        granularity: Granularity,
        shortcut: ShortcutPolicy,
    ) -> QuantizedNet {
        let network = &self.checkpoint.network;
        let bits = Bits::new(bits).unwrap();
        let (mapping, codes, rounding) =
            (Mapping::Symmetric, CodeRange::Narrow, Rounding::HalfEven);
        let weights = Scheme::new(
            bits,
            mapping,
            codes,
            granularity,
            RangeMethod::MinMax,
            rounding,
        );
        let how = WeightQuantization {
            scheme: Some(weights.unwrap()),
            first_bits: None,
            last_bits: None,
            bits_of: Default::default(),
            bias: BiasPolicy::Int32,
            bn: BnMode::Folded,
        };
        let (mapping, range) = (Mapping::Affine, ActivationRange::MinMax);
        let activations = ActivationQuantization {
            scheme: ActivationScheme::new(bits, mapping, codes, range, rounding).unwrap(),
            first_bits: None,
            last_bits: None,
            bits_of: Default::default(),
            shortcut,
        };
        let codes = Sites::new(network.topology())
            .fit(&self.statistics, &activations)
            .unwrap();
        let mut net = quantize(network, &how).unwrap();
        net.quantize_activations(&how, codes, shortcut).unwrap();
        net
    }

    fn compared(&self, net: &QuantizedNet, arithmetic: IntegerArithmetic) -> Vec<Agreement> {
        let integers = Execution::Integer(arithmetic);
        let running = AtomicBool::new(false);
        let started = Instant::now();
        let found = compare(net, integers, &self.tested, THREADS, &running).unwrap();
        let rate = IMAGES as f64 / started.elapsed().as_secs_f64();
        eprintln!("{rate:.0} images/s");
        found
    }
}

#[test]
fn not_one_code_differs_whatever_bits_granularity_and_shortcut() {
    let shipped = Shipped::open();
    for bits in [8, 4] {
        for granularity in [Granularity::Tensor, Granularity::Channel] {
            for shortcut in [ShortcutPolicy::Shared, ShortcutPolicy::Rescale] {
                let net = shipped.quantized(bits, granularity, shortcut);
                let found = shipped.compared(&net, IntegerArithmetic::default());
                let case = format!("{bits} bits, {granularity}, {shortcut}");
                // 19 convolutions, 9 sums, 2 subsampled shortcuts, pool and classifier.
                assert_eq!(found.len(), 19 + 9 + 2 + 2, "{case}");
                for node in found {
                    let counts = (node.differ, node.largest);
                    assert_eq!(counts, (0, 0), "{case}: {}", node.node);
                    assert_eq!(node.n % IMAGES as u64, 0, "{case}: {}", node.node);
                    assert!(node.n > 0, "{case}: {}", node.node);
                }
            }
        }
    }
}

#[test]
fn rounding_down_is_seen_in_the_codes_and_where_it_begins() {
    let shipped = Shipped::open();
    let net = shipped.quantized(8, Granularity::Channel, ShortcutPolicy::Rescale);
    let floor = IntegerArithmetic {
        requantize: Requantize::Once(Rounding::Floor),
        ..IntegerArithmetic::default()
    };
    let found = shipped.compared(&net, floor);
    let first = &found[0];
    assert_eq!(first.node, "conv1");
    // Half of what is not cut off by the ReLU is rounded up by the simulation, and by one step.
    let share = first.differ as f64 / first.n as f64;
    assert!((0.1..0.6).contains(&share), "{share}");
    assert_eq!(first.largest, 1);
    assert!(found.iter().all(|node| node.differ > 0));
    assert!(found.iter().any(|node| node.largest > 1), "errors add up");
}
