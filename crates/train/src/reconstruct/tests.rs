use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Device;
use network::{Network, StateDict};
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme, Statistics, uniform,
};
use quantize::{
    ActivationQuantization, BiasPolicy, BnMode, Epilogue, Extent, QuantizedNet, ShortcutPolicy,
    SiteCodes, SiteStatistics, Sites, WeightQuantization, fold, lower, quantize,
};

use super::{At, Course, Reconstruction, reconstruct};
use crate::Error;

const SIDE: usize = 16;
const IMAGES: usize = 6;
const BITS: u32 = 3;

fn images() -> Vec<f32> {
    (0..IMAGES * 3 * SIDE * SIDE)
        .map(|i| 4.0 * uniform(9, i as u64) - 2.0)
        .collect()
}

fn random() -> Network {
    let arch = resnet::Arch::parse("cifar-resnet20-b").unwrap();
    resnet::network(&arch, resnet::random_state(&arch, 11)).unwrap()
}

fn weights(granularity: Granularity) -> WeightQuantization {
    let scheme = Scheme::new(
        Bits::new(BITS).unwrap(),
        Mapping::Affine,
        CodeRange::Narrow,
        granularity,
        RangeMethod::MinMax,
        Rounding::HalfEven,
    );
    WeightQuantization {
        scheme: Some(scheme.unwrap()),
        first_bits: None,
        last_bits: None,
        bits_of: BTreeMap::new(),
        bias: BiasPolicy::Float,
        bn: BnMode::Folded,
    }
}

/// What every site is rounded to, by what the float network makes of the images.
fn codes(network: &Network, shortcut: ShortcutPolicy) -> SiteCodes {
    let graph = lower(network.clone(), [SIDE; 2], Epilogue::Separate).unwrap();
    let program = engine::Program::new(graph, engine::Options::default()).unwrap();
    let nodes: Vec<_> = program.nodes().map(|node| node.name.to_owned()).collect();
    let sites = Sites::new(network.topology());
    let mut statistics = SiteStatistics::new();
    let mut see = |node: &str, values: &[f32]| {
        for site in sites.sites.iter().filter(|site| site.node == node) {
            let seen: &mut Statistics = statistics.entry(site.name.clone()).or_default();
            seen.add(&site.name, 0, values).unwrap();
        }
    };
    see(engine::INPUT, &images());
    let mut logits = vec![0.0; IMAGES * program.output().len()];
    program
        .run_observed(
            &mut program.workspace(),
            &images(),
            &mut logits,
            &mut |seen| {
                see(&nodes[seen.node], &seen.to_planar());
            },
        )
        .unwrap();
    let scheme = ActivationScheme::new(
        Bits::new(4).unwrap(),
        Mapping::Affine,
        CodeRange::Narrow,
        ActivationRange::MinMax,
        Rounding::HalfEven,
    );
    let how = ActivationQuantization {
        scheme: scheme.unwrap(),
        first_bits: None,
        last_bits: None,
        bits_of: BTreeMap::new(),
        shortcut,
    };
    sites.fit(&statistics, &how).unwrap()
}

/// Keeps what is finished, and stops after so many iterations.
#[derive(Default)]
struct Kept {
    pieces: Mutex<BTreeMap<String, StateDict>>,
    iterations: AtomicUsize,
    most: Option<usize>,
}

impl Course for Kept {
    fn found(&self, name: &str) -> Option<StateDict> {
        self.pieces.lock().unwrap().get(name).cloned()
    }

    fn finished(&self, name: &str, tensors: &StateDict) -> Result<(), String> {
        let mut pieces = self.pieces.lock().unwrap();
        pieces.insert(name.to_owned(), tensors.clone());
        Ok(())
    }

    fn iteration(&self, _: &At) {
        self.iterations.fetch_add(1, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        let made = self.iterations.load(Ordering::Relaxed);
        self.most.is_some_and(|most| made >= most)
    }
}

fn how(extent: Extent) -> Reconstruction {
    Reconstruction {
        extent,
        iterations: 12,
        batch: 4,
        ..Reconstruction::default()
    }
}

fn made(
    extent: Extent,
    granularity: Granularity,
    shortcut: Option<ShortcutPolicy>,
    threads: usize,
    course: &Kept,
) -> Result<(QuantizedNet, Option<SiteCodes>), Error> {
    let network = random();
    let weights = weights(granularity);
    let start = quantize(&network, &weights).unwrap();
    let codes = shortcut.map(|shortcut| (codes(&network, shortcut), shortcut));
    reconstruct(
        (&network, start),
        (&weights, &how(extent)),
        codes,
        (&images(), [SIDE; 2]),
        (&Device::flex(), threads),
        course,
    )
}

/// The errors of every piece, before and after.
fn errors(course: &Kept) -> Vec<[f32; 2]> {
    let pieces = course.pieces.lock().unwrap();
    let errors = pieces
        .values()
        .map(|piece| &piece.get("errors").unwrap().data);
    errors.map(|errors| [errors[0], errors[1]]).collect()
}

#[test]
fn no_piece_is_worse_and_most_are_better_in_every_way_that_activations_are_rounded() {
    let ways = [None]
        .into_iter()
        .chain(ShortcutPolicy::ALL.map(Some))
        .map(|shortcut| (Extent::Block, shortcut))
        .chain([
            (Extent::Layer, Some(ShortcutPolicy::Rescale)),
            (Extent::Layer, None),
        ]);
    for (extent, shortcut) in ways {
        let course = Kept::default();
        made(extent, Granularity::Channel, shortcut, 2, &course).unwrap();
        let errors = errors(&course);
        let pieces = if extent == Extent::Block { 11 } else { 22 };
        assert_eq!(errors.len(), pieces, "{extent:?} {shortcut:?}");
        assert!(errors.iter().all(|[before, after]| after <= before));
        let better = errors.iter().filter(|[before, after]| after < before);
        assert!(
            2 * better.count() > pieces,
            "{extent:?} {shortcut:?}: {errors:?}"
        );
    }
}

#[test]
fn weights_end_on_as_many_levels_as_their_bits_have_and_as_the_codes_that_are_said() {
    for granularity in [
        Granularity::Tensor,
        Granularity::Channel,
        Granularity::named("group", Some(9)).unwrap(),
    ] {
        let (net, _) = made(Extent::Block, granularity, None, 2, &Kept::default()).unwrap();
        let float = fold(&random()).unwrap();
        for id in net.topology.layers() {
            let layer = &net.topology.node(id).name;
            let weight = net.state.get(&format!("{layer}.weight")).unwrap();
            let layout = quant_core::Layout::new(&weight.shape, granularity);
            for group in layout.groups() {
                let levels: BTreeSet<u32> =
                    weight.data[group].iter().map(|w| w.to_bits()).collect();
                assert!(levels.len() <= 1 << BITS, "{layer}");
            }
            if let Some(codes) = net.codes.get(layer) {
                let each = weight.len() / codes.scale.len();
                let said = codes.codes.iter().enumerate();
                let said: Vec<f32> = said
                    .map(|(i, &q)| codes.scale[i / each] * q as f32)
                    .collect();
                assert_eq!(said, weight.data, "{layer}");
            }
            let original = float.tensors().get(&format!("{layer}.weight")).unwrap();
            assert_ne!(original.data, weight.data);
        }
    }
}

#[test]
fn sites_that_share_a_scale_end_with_one() {
    let shortcut = ShortcutPolicy::Shared;
    let made = made(
        Extent::Block,
        Granularity::Channel,
        Some(shortcut),
        2,
        &Kept::default(),
    );
    let (net, codes) = made.unwrap();
    let (sites, codes) = (Sites::new(&net.topology), codes.unwrap());
    let before = super::tests::codes(&random(), shortcut);
    assert!(
        before
            .iter()
            .any(|(site, code)| codes[site].scale != code.scale)
    );
    for site in sites.names() {
        for partner in sites.partners(site, shortcut) {
            assert_eq!(codes[site].scale, codes[&partner].scale, "{site} {partner}");
        }
    }
}

fn same(a: &(QuantizedNet, Option<SiteCodes>), b: &(QuantizedNet, Option<SiteCodes>)) -> bool {
    let tensors = |net: &QuantizedNet| net.state.sha256();
    tensors(&a.0) == tensors(&b.0) && a.0.codes == b.0.codes && a.1 == b.1
}

#[test]
fn any_number_of_threads_and_a_stop_in_between_give_the_same_bytes() {
    let run = |threads: usize, course: &Kept| {
        let shortcut = Some(ShortcutPolicy::Rescale);
        made(
            Extent::Block,
            Granularity::Channel,
            shortcut,
            threads,
            course,
        )
    };
    let one = run(1, &Kept::default()).unwrap();
    for threads in [2, 3] {
        assert!(
            same(&one, &run(threads, &Kept::default()).unwrap()),
            "{threads} threads"
        );
    }
    let mut course = Kept {
        most: Some(12 * 4 + 5),
        ..Kept::default()
    };
    assert!(matches!(run(2, &course), Err(Error::Stopped)));
    assert_eq!(course.pieces.lock().unwrap().len(), 4);
    course.most = None;
    assert!(same(&one, &run(2, &course).unwrap()));
}
