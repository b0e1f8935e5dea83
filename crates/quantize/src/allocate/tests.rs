//! Allocations of a small network.

use std::collections::BTreeMap;

use network::Network;
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme, Statistics,
};
use resnet::{Arch, random_state};

use super::*;
use crate::{
    ActivationQuantization, BiasPolicy, BnMode, ShortcutPolicy, SiteStatistics, Sites,
    WeightQuantization, quantize,
};

const SIZE: [usize; 2] = [32, 32];
const WIDTHS: [u32; 4] = [2, 3, 4, 8];

fn bits(bits: u32) -> Bits {
    Bits::new(bits).unwrap()
}

fn float() -> Network {
    let arch = Arch::parse("cifar-resnet20").unwrap();
    let network = resnet::network(&arch, random_state(&arch, 3)).unwrap();
    crate::fold(&network).unwrap()
}

fn images(n: usize) -> (Vec<f32>, Vec<u16>) {
    let pixels = (0..n * 3 * 32 * 32).map(|i| ((i * i) % 251) as f32 / 100.0 - 1.2);
    (pixels.collect(), (0..n).map(|i| (i % 10) as u16).collect())
}

/// The choices of `network`, `of` which are open; the first layer and the images have 8 bits.
fn knobs(network: &Network, of: Of) -> Knobs {
    let topology = network.topology().clone().at(SIZE).unwrap();
    let open = |is_open: bool| match is_open {
        true => WIDTHS.to_vec(),
        false => vec![8],
    };
    Knobs::new(
        &topology,
        ShortcutPolicy::Rescale,
        &|layer| open(of != Of::Activations && layer != "conv1"),
        &|site| open(of != Of::Weights && site != "input"),
    )
}

fn allocation(method: Method, of: Of, cost: Cost, budget: f64) -> Allocation {
    Allocation {
        method,
        of,
        cost,
        budget,
        bits: WIDTHS.map(bits).to_vec(),
        images: 4,
        seed: 7,
        latencies: None,
    }
}

/// The network at every width, and what is seen at its sites.
fn rounded(network: &Network, statistics: &SiteStatistics) -> Rounded {
    let scheme = |bits| {
        let codes = CodeRange::Narrow;
        let channel = Granularity::Channel;
        Scheme::new(
            bits,
            Mapping::Symmetric,
            codes,
            channel,
            RangeMethod::MinMax,
            Rounding::HalfEven,
        )
        .unwrap()
    };
    let weights = |width: u32| {
        let how = WeightQuantization {
            scheme: Some(scheme(bits(width))),
            bias: BiasPolicy::Float,
            bn: BnMode::Folded,
            first_bits: None,
            last_bits: None,
            bits_of: BTreeMap::new(),
        };
        (width, quantize(network, &how).unwrap().network().unwrap())
    };
    let sites = Sites::new(network.topology());
    let codes = |width: u32| {
        let (mapping, codes) = (Mapping::Affine, CodeRange::Narrow);
        let range = ActivationRange::MinMax;
        let how = ActivationQuantization {
            scheme: ActivationScheme::new(bits(width), mapping, codes, range, Rounding::HalfEven)
                .unwrap(),
            first_bits: None,
            last_bits: None,
            bits_of: BTreeMap::new(),
            shortcut: ShortcutPolicy::Rescale,
        };
        (width, sites.fit(statistics, &how).unwrap())
    };
    Rounded {
        weights: WIDTHS.map(weights).to_vec(),
        codes: WIDTHS.map(codes).to_vec(),
    }
}

fn subject<'a>(
    (network, rounded): (&'a Network, &'a Rounded),
    statistics: &'a SiteStatistics,
    knobs: &Knobs,
) -> Subject<'a> {
    Subject {
        float: network,
        rounded,
        statistics: Some(statistics),
        tried: (knobs.all())
            .map(|(kind, name, bits)| (kind, name.to_owned(), bits.to_vec()))
            .collect(),
    }
}

/// Every site saw the numbers from -2 to 6.
fn seen(network: &Network) -> SiteStatistics {
    let sites = Sites::new(network.topology());
    let one = |site: &str| {
        let mut statistics = Statistics::new();
        let values: Vec<f32> = (0..801).map(|i| i as f32 / 100.0 - 2.0).collect();
        statistics.add(site, 0, &values).unwrap();
        (site.to_owned(), statistics)
    };
    sites.names().map(one).collect()
}

#[test]
fn the_same_bits_everywhere_cost_those_bits() {
    let network = float();
    for of in [Of::Weights, Of::Activations, Of::Both] {
        let knobs = knobs(&network, of);
        for cost in [Cost::Size, Cost::BitOperations] {
            let all = knobs.part(of);
            let fixed = knobs.fixed();
            // What is not open has 8 bits in any case.
            let found = all.average(cost, &all.all_at(8), &fixed);
            assert!((found - 8.0).abs() < 1e-9, "{of} {cost}: {found}");
            assert_eq!(
                all.budget(cost, 8.0, &fixed),
                all.cost(cost, &all.all_at(8), &fixed)
            );
        }
    }
}

#[test]
fn an_allocation_keeps_its_budget_harms_less_than_uniform_bits_and_more_budget_harms_less() {
    let network = float();
    let statistics = seen(&network);
    let rounded = rounded(&network, &statistics);
    let (pixels, labels) = images(4);
    for of in [Of::Weights, Of::Activations, Of::Both] {
        let knobs = knobs(&network, of);
        let subject = subject((&network, &rounded), &statistics, &knobs);
        let measured = measure(&subject, (&pixels, &labels, SIZE)).unwrap();
        for cost in [Cost::Size, Cost::BitOperations] {
            for predictor in [Predictor::Sqnr, Predictor::Sensitivity] {
                let method = predictor.to_string().parse::<Method>().unwrap();
                let harm = |method: Method, budget: f64| {
                    let allocation = allocation(method, of, cost, budget);
                    let found = allocation.choose(&knobs, &measured).unwrap();
                    let complete = knobs.complete(&found);
                    for part in allocation.parts() {
                        let part = knobs.part(part);
                        let average = part.average(cost, &complete, &complete);
                        assert!(average <= budget + 1e-9, "{of} {cost} {method}: {average}");
                    }
                    let each = complete
                        .iter()
                        .map(|((kind, name), &bits)| measured.harm(predictor, *kind, name, bits));
                    each.sum::<f64>()
                };
                let (own, more) = (harm(method, 4.1), harm(method, 5.0));
                assert!(
                    own <= harm(Method::Uniform, 4.1) && more < own,
                    "{of} {cost} {method}"
                );
                assert!(own < harm(Method::Random, 4.1), "{of} {cost} {method}");
            }
        }
    }
}

#[test]
fn summands_have_the_same_bits() {
    let network = float();
    let statistics = seen(&network);
    let rounded = rounded(&network, &statistics);
    let (pixels, labels) = images(4);
    let knobs = knobs(&network, Of::Activations);
    let subject = subject((&network, &rounded), &statistics, &knobs);
    let measured = measure(&subject, (&pixels, &labels, SIZE)).unwrap();
    let mut differ = 0;
    for budget in [2.5, 3.0, 3.5, 4.5] {
        let allocation = allocation(Method::Sensitivity, Of::Activations, Cost::Size, budget);
        let found = allocation.choose(&knobs, &measured).unwrap().activations;
        for addition in &Sites::new(network.topology()).additions {
            let [one, other] = &addition.summands;
            assert_eq!(found[one], found[other], "{one}");
        }
        differ += usize::from(found["layer1.0.conv1"] != found["layer3.0.conv1"]);
    }
    assert!(differ > 0);
}

#[test]
fn a_budget_for_the_most_bits_gives_them_by_every_method_and_one_below_the_fewest_is_refused() {
    let network = float();
    let statistics = seen(&network);
    let rounded = rounded(&network, &statistics);
    let (pixels, labels) = images(4);
    let knobs = knobs(&network, Of::Both);
    let subject = subject((&network, &rounded), &statistics, &knobs);
    let measured = measure(&subject, (&pixels, &labels, SIZE)).unwrap();
    for method in ["uniform", "random", "sqnr", "sensitivity", "greedy"] {
        let method: Method = method.parse().unwrap();
        for cost in [Cost::Size, Cost::BitOperations] {
            let choose = |budget: f64| {
                let allocation = allocation(method, Of::Both, cost, budget);
                match method {
                    Method::Greedy => {
                        let images = (&pixels[..], &labels[..], SIZE);
                        greedy(&allocation, &knobs, &subject, images, &Steps::default())
                    }
                    _ => allocation.choose(&knobs, &measured),
                }
            };
            for budget in [8.0, 9.5] {
                let found = choose(budget).unwrap();
                let all = found.weights.values().chain(found.activations.values());
                assert!(all.clone().all(|own| own.get() == 8), "{method} {cost}");
                assert_eq!(
                    all.count(),
                    knobs
                        .free()
                        .iter()
                        .map(|&k| knobs.names(k).1.len())
                        .sum::<usize>()
                );
            }
            let error = choose(1.9).unwrap_err().to_string();
            assert!(
                error.contains("allocate.budget = 1.9") && error.contains("2."),
                "{error}"
            );
        }
    }
}

#[test]
fn greedy_steps_meet_the_budget_and_harm_less_than_drawn_ones() {
    let network = float();
    let statistics = seen(&network);
    let rounded = rounded(&network, &statistics);
    let (pixels, labels) = images(8);
    let knobs = knobs(&network, Of::Weights);
    let subject = subject((&network, &rounded), &statistics, &knobs);
    let images = (&pixels[..], &labels[..], SIZE);
    let own = allocation(Method::Greedy, Of::Weights, Cost::Size, 3.5);
    let found = greedy(&own, &knobs, &subject, images, &Steps::default()).unwrap();
    let complete = knobs.complete(&found);
    let [average, ..] = knobs.totals(&complete);
    assert!((3.0..=3.5).contains(&average.unwrap()), "{average:?}");
    let measured = measure(&subject, images).unwrap();
    let drawn = Allocation {
        method: Method::Random,
        ..own
    };
    let drawn = drawn.choose(&knobs, &measured).unwrap();
    let kl = |bits: &Allocated| {
        let (network, codes) = subject.at(&knobs.complete(bits)).unwrap();
        let probe = |network: Network, codes| {
            let probe = crate::Probe::new(network, SIZE, codes).unwrap();
            probe.logits(&pixels).unwrap()
        };
        let own = probe(network, &codes);
        let reference = probe(float(), &crate::SiteCodes::new());
        let mut error = crate::LogitError::default();
        for (own, reference) in own.chunks(10).zip(reference.chunks(10)) {
            error.add(reference, own, 0);
        }
        error.kl
    };
    assert!(kl(&found) < kl(&drawn));
}

#[test]
fn what_was_measured_for_one_budget_serves_the_others_and_changes_none() {
    let network = float();
    let statistics = seen(&network);
    let rounded = rounded(&network, &statistics);
    let (pixels, labels) = images(4);
    let images = (&pixels[..], &labels[..], SIZE);
    for of in [Of::Weights, Of::Both] {
        let knobs = knobs(&network, of);
        let subject = subject((&network, &rounded), &statistics, &knobs);
        let common = Steps::default();
        for (cost, budget) in [
            (Cost::Size, 6.5),
            (Cost::Size, 7.5),
            (Cost::BitOperations, 7.0),
            (Cost::Size, 6.0),
        ] {
            let own = allocation(Method::Greedy, of, cost, budget);
            let alone = greedy(&own, &knobs, &subject, images, &Steps::default()).unwrap();
            let found = greedy(&own, &knobs, &subject, images, &common).unwrap();
            assert_eq!(found.weights, alone.weights, "{of} {cost} {budget}");
            assert_eq!(found.activations, alone.activations, "{of} {cost} {budget}");
            // All of it is known now: other labels and images are not looked at.
            let blank = vec![0.0; pixels.len()];
            let images = (&blank[..], &labels[..], SIZE);
            let again = greedy(&own, &knobs, &subject, images, &common).unwrap();
            assert_eq!(again.weights, alone.weights, "{of} {cost} {budget}");
        }
    }
}

#[test]
fn curvature_predicts_what_a_small_step_does() {
    let network = float();
    let statistics = seen(&network);
    let rounded = rounded(&network, &statistics);
    let (pixels, labels) = images(8);
    let knobs = knobs(&network, Of::Weights);
    let subject = subject((&network, &rounded), &statistics, &knobs);
    let measured = measure(&subject, (&pixels, &labels, SIZE)).unwrap();
    let mut near = 0;
    let eight: Vec<&Row> = measured.rows.iter().filter(|row| row.bits == 8).collect();
    for row in eight.iter().filter(|row| row.kind == Kind::Weights) {
        let divergence = row.logits.kl / row.logits.images as f64;
        let ratio = row.fisher.unwrap() / divergence;
        near += usize::from((0.2..5.0).contains(&ratio));
    }
    assert!(near > 14, "{near} of 20 layers");
}

/// A bit less halves the error of everything, and halves it exactly.
fn measured_alike(knobs: &Knobs) -> Measured {
    let rows = knobs.all().flat_map(|(kind, name, bits)| {
        let row = |&bits: &u32| Row {
            kind,
            name: name.to_owned(),
            bits,
            own_noise: 0.25_f64.powi(bits as i32),
            logits: Default::default(),
            hessian: None,
            fisher: None,
        };
        bits.iter().map(row).collect::<Vec<_>>()
    });
    Measured {
        rows: rows.collect(),
        signal: 1.0,
        doubt: 0.5,
    }
}

#[test]
fn layers_of_one_distribution_get_a_bit_less_for_four_times_the_weights() {
    let network = float();
    let open: Vec<u32> = (1..=16).collect();
    let topology = network.topology().clone().at(SIZE).unwrap();
    let policy = ShortcutPolicy::Rescale;
    let knobs = Knobs::new(&topology, policy, &|_| open.clone(), &|_| Vec::new());
    let measured = measured_alike(&knobs);
    let found = kappa(&measured, Kind::Weights).unwrap();
    assert!((found - 10.0 * 4_f64.log10()).abs() < 1e-9, "{found}");
    assert_eq!(kappa(&measured, Kind::Activations), None);
    let how = allocation(Method::Lin, Of::Weights, Cost::Size, 6.0);
    let bits = how.choose(&knobs, &measured).unwrap().weights;
    // 16, 32 and 64 channels: each stage has four times the weights of the one before.
    let [first, second, third] =
        ["layer1.2.conv2", "layer2.2.conv2", "layer3.2.conv2"].map(|layer| bits[layer].get());
    assert_eq!((first - second, second - third), (1, 1));
    let spent = knobs.average(
        Cost::Size,
        &knobs.complete(&Allocated {
            weights: bits,
            ..Allocated::default()
        }),
        &Assignment::new(),
    );
    assert!((5.0..=6.0).contains(&spent), "{spent}");
}

#[test]
fn time_is_spent_on_the_layers_that_need_their_bits_most() {
    let network = float();
    let plain = knobs(&network, Of::Weights);
    let mut latencies = Latencies::default();
    let layers: Vec<String> = (plain.all())
        .filter(|(kind, ..)| *kind == Kind::Weights)
        .map(|(_, name, _)| name.to_owned())
        .collect();
    for layer in &layers {
        // 2 and 3 bits run on the kernel for 4, the reader's 8 bits of activations on that for 8.
        assert!(latencies.insert(layer, 4, 8, 1_000));
        assert!(latencies.insert(layer, 32, 32, 3_000));
    }
    assert!(!latencies.insert(&layers[0], 4, 8, 1));
    let mut short = Latencies::default();
    short.insert(&layers[1], 8, 8, 1);
    let refused = plain.clone().with_latencies(short).unwrap_err();
    assert!(
        refused.to_string().contains("conv1 has no time for 8 bits"),
        "{refused}"
    );

    let knobs = plain.with_latencies(latencies).unwrap();
    let measured = measured_alike(&knobs);
    // Halfway between everything at 4 bits and everything at 8; the first layer has 8 bits in any case.
    let how = allocation(Method::Sqnr, Of::Weights, Cost::Latency, 6.0);
    let found = how.choose(&knobs, &measured).unwrap();
    let slow = found
        .weights
        .values()
        .filter(|bits| bits.get() == 8)
        .count();
    let open = found.weights.len();
    assert_eq!(slow, open / 2, "{:?}", found.weights);
    // What costs no more time is not saved.
    assert!(found.weights.values().all(|bits| bits.get() >= 4));
    let complete = knobs.complete(&found);
    let time = (open - slow) as u64 * 1_000 + (slow + 1) as u64 * 3_000;
    assert_eq!(knobs.latency(&complete), Some(time));
    // Everything at 4 bits takes no longer than everything at 2, so that a budget for 2 bits gives 4.
    let least = allocation(Method::Uniform, Of::Weights, Cost::Latency, 2.0);
    let found = least.choose(&knobs, &measured).unwrap();
    assert!(found.weights.values().all(|bits| bits.get() == 4));
}
