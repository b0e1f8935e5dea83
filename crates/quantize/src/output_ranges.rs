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

#[cfg(test)]
mod tests;

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
