//! Ranges of activation sites by what their error does to the layers that read them: of the candidates q, which are the whole range
//! times k/40, the one with the least
//!
//! ```text
//! sum over layers |W (q(x) - x)|^2    [+ |q(x) - x|^2 where anything but a layer reads the site as well]          (1)
//! ```
//!
//! over all output pixels of 256 calibration images, which is some hundred thousand numbers for each range. x is what the float network makes of them, W a layer's folded float weights:
//! ranges are known before weights are rounded. Every second k is tried, then those beside the best; on a tie the larger range stays.
//! Additions, concatenations, pools and all else that is no layer count as the identity, once. What a max pool or another copy stands
//! between, a layer reads behind it. A site that no layer reads, shares its scale or never was anything but 0 has the range of least
//! squared error of its own values.
//!
//! Each group of images is summed by one thread, the groups in their order: the same bits for any number of threads.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Graph, Options, Program};
use network::Network;
use quant_core::{QParams, Rounding, shrunk_activation};
use rayon::prelude::*;

use crate::error::Error;
use crate::fold::fold;
use crate::layerwise::{Stream, held};
use crate::lower::{Epilogue, lower, one_layer};
use crate::sites::{ActivationQuantization, SiteCodes, SiteStatistics, Sites};

/// Candidates between nothing and the whole range.
const STEPS: i32 = 40;
/// Images that are run together.
const TOGETHER: usize = 8;
/// Of more images the first take part.
const IMAGES: usize = 256;

/// A layer by itself, without its bias, and what it reads.
struct Reader {
    layer: Program,
    /// `[n, c, h, w]`.
    input: Vec<f32>,
}

impl Reader {
    fn new(layer: Graph, input: Vec<f32>) -> Result<Self, Error> {
        let options = Options {
            group: TOGETHER,
            ..Options::default()
        };
        let layer = Program::new(layer, options)?;
        Ok(Self { layer, input })
    }

    /// Squares of what the layer makes of the error of `q`, and with `own` of the error itself.
    fn lost(&self, q: &QParams, rounding: Rounding, own: bool) -> Result<f64, Error> {
        let (from, to) = (self.layer.input().len(), self.layer.output().len());
        let parts = self.input.par_chunks(TOGETHER * from);
        let parts = parts.map_init(
            || self.layer.workspace(),
            |workspace, input| {
                let mut error = q.fake_quant_all(input, rounding);
                error.iter_mut().zip(input).for_each(|(y, x)| *y -= x);
                let mut made = vec![0.0; input.len() / from * to];
                self.layer.run(workspace, &error, &mut made)?;
                let own = if own { squares(&error) } else { 0.0 };
                Ok(squares(&made) + own)
            },
        );
        let parts = parts.collect::<Result<Vec<f64>, engine::Error>>()?;
        Ok(parts.iter().sum())
    }
}

/// The codes of every site of `network` by equation (1), where `statistics` are what its sites saw, and the sites that have them by
/// it. `images`, `[n, c, height, width]`, are as the network reads them.
///
/// # Errors
/// As [`Sites::fit`]; images too small for the network.
pub fn output_ranges(
    network: &Network,
    statistics: &SiteStatistics,
    how: &ActivationQuantization,
    (images, size): (&[f32], [usize; 2]),
) -> Result<(SiteCodes, BTreeSet<String>), Error> {
    let float = fold(network)?;
    let topology = float.topology().clone().at(size)?;
    let sites = Sites::new(&topology);
    let mut codes = sites.fit(statistics, how)?;
    let mut found = BTreeSet::new();
    let images = held(&topology, images);
    let images = &images[..images.len().min(IMAGES * topology.input().len())];
    let mut stream = Stream::new(lower(float.clone(), size, Epilogue::Separate)?, images)?;
    let mut unbiased = float.tensors().clone();
    for layer in topology.layers() {
        let bias = unbiased.get_mut(&format!("{}.bias", topology.node(layer).name));
        bias.into_iter().for_each(|bias| bias.data.fill(0.0));
    }
    let mut waiting: BTreeMap<&str, Vec<Reader>> = BTreeMap::new();
    for layer in topology.layers() {
        let name = &topology.node(layer).name;
        let site = sites.inputs[name].as_str();
        let Some(seen) = statistics.get(site).filter(|seen| !seen.is_dead()) else {
            continue;
        };
        if !sites.partners(site, how.shortcut).is_empty() {
            continue;
        }
        let readers = waiting.entry(site).or_default();
        let alone = one_layer(&topology, &unbiased, layer)?;
        readers.push(Reader::new(alone, stream.input_of(name)?)?);
        let all = sites.inputs.values().filter(|input| *input == site).count();
        if readers.len() < all {
            continue;
        }
        let readers = waiting.remove(site).unwrap_or_default();
        let is_added = sites.is_read_as_it_is(site, how.shortcut);
        let scheme = sites.scheme(site, how)?;
        let best = search(|k| {
            let factor = k as f32 / STEPS as f32;
            let Some(q) = shrunk_activation(seen, &scheme, factor) else {
                return Ok(None);
            };
            let mut error = 0.0;
            for (i, reader) in readers.iter().enumerate() {
                error += reader.lost(&q, scheme.rounding(), i == 0 && is_added)?;
            }
            Ok(Some((error, q)))
        })?;
        if let Some(best) = best {
            codes.insert(site.to_owned(), best);
            found.insert(site.to_owned());
        }
    }
    Ok((codes, found))
}

/// The candidate of least error, of which there are none where there is nothing to try.
fn search(
    lost: impl Fn(i32) -> Result<Option<(f64, QParams)>, Error>,
) -> Result<Option<QParams>, Error> {
    let mut best: Option<(f64, QParams, i32)> = None;
    let offer = |best: &mut Option<(f64, QParams, i32)>, k: i32| -> Result<(), Error> {
        if let Some((error, q)) = lost(k)?
            && best.is_none_or(|(least, ..)| error < least)
        {
            *best = Some((error, q, k));
        }
        Ok(())
    };
    for k in (1..=STEPS / 2).rev() {
        offer(&mut best, 2 * k)?;
    }
    let Some((_, _, coarse)) = best else {
        return Ok(None);
    };
    for k in [coarse + 1, coarse - 1] {
        if k <= STEPS {
            offer(&mut best, k)?;
        }
    }
    Ok(best.map(|(_, q, _)| q))
}

/// Their sum, in eight partial sums.
fn squares(values: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    for values in values.chunks(sums.len()) {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += f64::from(value).powi(2);
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
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
            bits_of: BTreeMap::new(),
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
}
