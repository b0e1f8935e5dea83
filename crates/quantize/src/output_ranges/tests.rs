use engine::INPUT;
use network::Topology;
use quant_core::{ActivationRange, ActivationScheme, Bits, CodeRange, Mapping, uniform};
use resnet::{Arch, network, random_state};

use super::*;
use crate::lower::lower_layer;
use crate::sites::ShortcutPolicy;

const SIZE: [usize; 2] = [12, 12];
const COUNT: usize = 11;

fn images() -> Vec<f32> {
    let values = (0..COUNT * 3 * SIZE[0] * SIZE[1]).map(|i| 4.0 * uniform(9, i as u64) - 2.0);
    values.collect()
}

fn random() -> Network {
    let arch = Arch::parse("cifar-resnet20-b").unwrap();
    fold(&network(&arch, random_state(&arch, 11)).unwrap()).unwrap()
}

fn how(mapping: Mapping, shortcut: ShortcutPolicy) -> ActivationQuantization {
    let (bits, codes, range) = (
        Bits::new(3).unwrap(),
        CodeRange::Narrow,
        ActivationRange::OutputMse,
    );
    ActivationQuantization {
        scheme: ActivationScheme::new(bits, mapping, codes, range, Rounding::HalfEven).unwrap(),
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
        shortcut,
    }
}

fn stream(network: &Network) -> Stream {
    let graph = lower(network.clone(), SIZE, Epilogue::Separate).unwrap();
    Stream::new(graph, &images()).unwrap()
}

/// What every site sees.
fn seen(network: &Network) -> SiteStatistics {
    let mut stream = stream(network);
    let mut all = SiteStatistics::new();
    for site in Sites::new(network.topology()).sites {
        let values = match site.name.as_str() {
            INPUT => images(),
            _ => stream.value_of(&site.node).unwrap(),
        };
        let seen = all.entry(site.name.clone()).or_default();
        seen.add(&site.name, 0, &values).unwrap();
    }
    all
}

/// Equation (1) for all candidates by the letter: each layer runs on the values and on their codes.
fn plain(network: &Network, site: &str, how: &ActivationQuantization) -> Vec<(QParams, f64)> {
    let topology: Topology = network.topology().clone().at(SIZE).unwrap();
    let at_size = Network::new(topology.clone(), network.tensors().clone()).unwrap();
    let sites = Sites::new(&topology);
    let seen = seen(network);
    let readers = topology.layers().filter(|&layer| {
        let name = &topology.node(layer).name;
        sites.inputs[name] == site
    });
    let mut inputs: Vec<(Program, Vec<f32>)> = Vec::new();
    for layer in readers {
        let graph = lower_layer(&at_size, layer).unwrap();
        let program = Program::new(graph, Options::default()).unwrap();
        let input = stream(network)
            .input_of(&topology.node(layer).name)
            .unwrap();
        inputs.push((program, input));
    }
    let run = |program: &Program, values: &[f32]| -> Vec<f32> {
        let mut workspace = program.workspace();
        let images = values.chunks(program.input().len());
        let each = images.flat_map(|image| {
            let mut made = vec![0.0; program.output().len()];
            program.run(&mut workspace, image, &mut made).unwrap();
            made
        });
        each.collect()
    };
    let distance = |a: &[f32], b: &[f32]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    let is_added = sites.is_read_as_it_is(site, how.shortcut);
    let candidates = (1..=STEPS).filter_map(|k| {
        let factor = k as f32 / STEPS as f32;
        shrunk_activation(&seen[site], &how.scheme, factor)
    });
    let lost = |q: &QParams| -> f64 {
        let each = inputs.iter().map(|(program, input)| {
            let rounded = input
                .iter()
                .map(|&x| q.fake_quant(x, Rounding::HalfEven, 0));
            let rounded: Vec<f32> = rounded.collect();
            distance(&run(program, &rounded), &run(program, input))
        });
        let own = inputs
            .first()
            .filter(|_| is_added)
            .map_or(0.0, |(_, input)| {
                let rounded = input
                    .iter()
                    .map(|&x| q.fake_quant(x, Rounding::HalfEven, 0));
                distance(&rounded.collect::<Vec<_>>(), input)
            });
        each.sum::<f64>() + own
    };
    candidates.map(|q| (q, lost(&q))).collect()
}

#[test]
fn a_site_has_the_candidate_that_changes_what_reads_it_the_least() {
    let network = random();
    let seen = seen(&network);
    for (mapping, shortcut) in [
        (Mapping::Affine, ShortcutPolicy::Rescale),
        (Mapping::Symmetric, ShortcutPolicy::IdentityFloat),
        (Mapping::PowerOfTwo, ShortcutPolicy::Rescale),
    ] {
        let how = how(mapping, shortcut);
        let (codes, found) = output_ranges(&network, &seen, &how, (&images(), SIZE)).unwrap();
        let own = Sites::new(network.topology()).fit(&seen, &how).unwrap();
        let mut moved = 0;
        // One layer; a layer and an addition; two layers.
        for site in ["layer1.0.conv1", "layer1.0.add", "layer1.2.add"] {
            assert!(found.contains(site));
            let all = plain(&network, site, &how);
            let least = all
                .iter()
                .map(|(_, lost)| *lost)
                .fold(f64::INFINITY, f64::min);
            let chosen = all.iter().find(|(q, _)| *q == codes[site]);
            let (_, lost) = chosen.expect("a candidate");
            assert!(*lost <= 1.001 * least, "{mapping} {site}: {lost} {least}");
            moved += usize::from(own[site] != codes[site]);
        }
        assert!(moved > 0 || mapping == Mapping::PowerOfTwo);
    }
}

#[test]
fn any_number_of_threads_finds_the_same_ranges() {
    let network = random();
    let (seen, how) = (
        seen(&network),
        how(Mapping::Affine, ShortcutPolicy::Rescale),
    );
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let made = || output_ranges(&network, &seen, &how, (&images(), SIZE)).unwrap();
        pool.build().unwrap().install(made)
    };
    let one = on(1);
    assert!([2, 5].into_iter().all(|threads| on(threads) == one));
}

#[test]
fn sites_that_share_a_scale_or_are_read_by_no_layer_or_are_dead_have_their_own_least_error() {
    let network = random();
    let mut seen = seen(&network);
    let how = how(Mapping::Affine, ShortcutPolicy::Shared);
    let dead = "layer2.0.conv1";
    *seen.get_mut(dead).unwrap() = quant_core::Statistics::new();
    seen.get_mut(dead).unwrap().add(dead, 0, &[0.0; 4]).unwrap();
    let (codes, found) = output_ranges(&network, &seen, &how, (&images(), SIZE)).unwrap();
    let sites = Sites::new(network.topology());
    let own = sites.fit(&seen, &how).unwrap();
    for site in ["layer1.0.add", "layer1.0.conv2", "linear", dead] {
        assert!(!found.contains(site));
        assert_eq!(codes[site], own[site], "{site}");
    }
    assert!(found.contains("layer1.0.conv1") && found.contains(INPUT));
    assert_eq!(codes.len(), sites.sites.len());
}
