//! What rounding does to the activations of a network, site by site, and what each site costs at the logits. Errors are
//! differences to the float network:
//!
//! - `own`: the float network's values at the site, rounded to the site's codes. What the codes alone lose;
//! - `network`: the site's values in the network with everything quantized, where all errors before it arrive too;
//! - `logits`: the logits of a network in which this site is rounded and everything else is float. Who is to blame;
//! - `weights`: the logits of a network in which this site's layer has quantized weights and bias, and the rest is float.
//!
//! A network with one code sums in float64 where the float network sums in float32, which is a noise of its own, some
//! 130 dB below the signal; 16 bits lie at 90.
//!
//! The sums are those of a group of images, added in the order of the images: the number of threads changes no bit.
//! Memory: every site's values of one group for each worker, and some numbers for each of [`TILE`] images, however many
//! images there are.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, ensure};
use dataset::Dataset;
use engine::{Execution, Options, Program, WHOLE_GROUPS};
use network::Network;
use quant_core::{Comparison, QParams, Rounding, compare};
use quantize::{
    BiasPolicy, Epilogue, QuantizedNet, ShortcutPolicy, Site, Sites, WeightQuantization,
    lower_quantized,
};

use crate::device::Target;
use crate::evaluate::logits;
use crate::executable::Executable;
use crate::inspect::Error;
use crate::observe::{cut, observe};
use quantize::first_largest;

/// One activation site's errors; the module's header says what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteErrors {
    /// The site.
    pub site: String,
    /// Its codes; none where it stays in float.
    pub code: Option<QParams>,
    /// At the site, it alone being rounded.
    pub own: Option<Error>,
    /// At the site, everything being quantized.
    pub network: Error,
    /// At the logits, the site alone being rounded.
    pub logits: Option<Error>,
    /// At the logits, its layer alone being quantized; none where it has none, or not in codes.
    pub weights: Option<Error>,
}

/// The errors of every site, and how many of the images keep their predicted class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SiteInspection {
    /// In execution order, the images first and the logits last.
    pub sites: Vec<SiteErrors>,
    /// Images looked at.
    pub images: usize,
    /// Images whose top-1 class is that of the float network, everything being quantized.
    pub unchanged: usize,
}

/// A network with quantized activations, to be looked at.
pub struct Subject<'a> {
    /// The float network.
    pub float: &'a Network,
    /// How `net` was made of it.
    pub how: &'a WeightQuantization,
    /// The quantized network.
    pub net: &'a QuantizedNet,
    /// What `net` runs in.
    pub execution: Execution,
    /// Where logits are computed; the sites are looked at on the engine.
    pub target: &'a Target,
    /// Worker threads.
    pub threads: usize,
    /// The sites to measure at the logits, one run of all images each; all where empty.
    pub only: &'a [String],
}

/// Images that are looked at in one go.
const TILE: usize = 1024;
/// Pixels in memory at once for a worker: as many values as a network of 50 layers makes of them, some 300 for each.
const PIXELS: usize = 1 << 16;
/// Nobody interrupts an inspection but by ending the process.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// What one group of images shows: of each site its own error and that inside the network, and the classes kept.
struct Seen {
    sites: Vec<(Option<Comparison>, Comparison)>,
    unchanged: usize,
}

impl Subject<'_> {
    /// How often all images run through a network: what `progress` of [`Subject::inspect`] adds up to, in images.
    pub fn passes(&self) -> usize {
        let probes = self.fresh();
        let logits = probes.iter().filter(|site| site.logits.is_some()).count();
        let weights = probes.iter().filter(|site| site.weights.is_some()).count();
        2 + 1 + logits + weights
    }

    /// Runs `data` through the float network, the quantized one, and those with one site or one layer quantized.
    ///
    /// # Errors
    /// As [`Executable::quantized`]; activations that are not quantized.
    pub fn inspect(
        &self,
        data: &Dataset,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<SiteInspection> {
        ensure!(
            self.net.activations.is_some(),
            "activations stay in float, so there is nothing to compare"
        );
        let mut all = SiteInspection {
            sites: self.fresh(),
            images: data.len(),
            unchanged: 0,
        };
        // Nothing is quantized, but BatchNorm is where `net` has it.
        let nothing = WeightQuantization {
            scheme: None,
            bias: BiasPolicy::Float,
            ..self.how.clone()
        };
        let float = quantize::quantize(self.float, &nothing)?;
        let watch = Watch::new(self, &float, data)?;
        for start in (0..data.len()).step_by(TILE) {
            let tile: Vec<usize> = (start..data.len().min(start + TILE)).collect();
            let tile = data.select(&tile);
            for seen in watch.run(&tile, self.threads, progress)? {
                for (errors, (own, network)) in all.sites.iter_mut().zip(&seen.sites) {
                    if let (Some(errors), Some(own)) = (&mut errors.own, own) {
                        errors.add(own);
                    }
                    errors.network.add(network);
                }
                all.unchanged += seen.unchanged;
            }
            let expected = self.logits(float.clone(), &tile, progress)?;
            for errors in &mut all.sites {
                if let Some(sum) = &mut errors.logits {
                    let one = self.one_site(&float, &errors.site, errors.code);
                    sum.add(&compare(&expected, &self.logits(one, &tile, progress)?));
                }
                if let Some(sum) = &mut errors.weights {
                    let one = self.one_layer(&float, &errors.site)?;
                    sum.add(&compare(&expected, &self.logits(one, &tile, progress)?));
                }
            }
        }
        Ok(all)
    }

    /// The sites with their codes and with zeros where something is to be measured.
    fn fresh(&self) -> Vec<SiteErrors> {
        let sites = Sites::new(&self.net.topology).sites.into_iter();
        let codes = self.net.site_codes();
        let errors = |(site, code): (Site, Option<QParams>)| {
            let site = site.name;
            let wanted = self.only.is_empty() || self.only.contains(&site);
            let layer = self.net.layers.iter().any(|report| report.layer == site);
            SiteErrors {
                code,
                own: code.map(|_| Error::default()),
                logits: code.filter(|_| wanted).map(|_| Error::default()),
                weights: (layer && wanted).then(Error::default),
                site,
                ..SiteErrors::default()
            }
        };
        sites.zip(codes).map(errors).collect()
    }

    /// The float network with one site rounded.
    fn one_site(&self, float: &QuantizedNet, site: &str, code: Option<QParams>) -> QuantizedNet {
        let codes = code.map(|code| (site.to_owned(), code)).into_iter();
        let shortcut = self.net.activations.as_ref().map(|(_, shortcut)| *shortcut);
        QuantizedNet {
            activations: shortcut.map(|shortcut| (codes.collect(), shortcut)),
            ..float.clone()
        }
    }

    /// The float network with one layer's tensors quantized.
    fn one_layer(&self, float: &QuantizedNet, layer: &str) -> Result<QuantizedNet> {
        let mut one = float.clone();
        for part in ["weight", "bias"] {
            let name = format!("{layer}.{part}");
            if self.net.state.contains(&name) {
                let tensor = self.net.state.require(&name)?.clone();
                one.state.insert(&name, tensor);
            }
        }
        Ok(one)
    }

    fn logits(
        &self,
        net: QuantizedNet,
        data: &Dataset,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<f32>> {
        let size = [data.height(), data.width()];
        let net = Executable::quantized(self.target, net, size, Execution::Auto)?;
        Ok(logits(&net, data, self.threads, progress, &RUNNING)?)
    }
}

/// The float network and the quantized one side by side.
struct Watch {
    float: Program,
    quantized: Program,
    /// For each node of either, the site whose values it makes.
    float_sites: Vec<Option<usize>>,
    quantized_sites: Vec<Option<usize>>,
    codes: Vec<Option<QParams>>,
}

impl Watch {
    fn new(subject: &Subject<'_>, float: &QuantizedNet, data: &Dataset) -> Result<Self> {
        let size = [data.height(), data.width()];
        let program = |net: QuantizedNet, execution| -> Result<Program> {
            let graph = lower_quantized(net, size, Epilogue::Separate)?;
            let options = Options {
                // Each site is shown the whole group.
                large: WHOLE_GROUPS,
                group: (PIXELS / (size[0] * size[1])).clamp(1, 16),
                execution,
                ..Options::default()
            };
            Ok(Program::new(graph, options)?)
        };
        let (float, quantized) = (
            program(float.clone(), Execution::Simulate)?,
            program(subject.net.clone(), subject.execution)?,
        );
        let sites = Sites::new(&subject.net.topology);
        let policy = subject.net.activations.as_ref();
        let policy = policy.map_or(ShortcutPolicy::Rescale, |(_, policy)| *policy);
        let made_by = |program: &Program, node_of: &dyn Fn(&Site) -> String| {
            let nodes: Vec<String> = sites.sites.iter().map(node_of).collect();
            let site = |node: &str| nodes.iter().position(|made_by| made_by == node);
            program.nodes().map(|node| site(node.name)).collect()
        };
        Ok(Self {
            float_sites: made_by(&float, &|site| site.node.clone()),
            quantized_sites: made_by(&quantized, &|site| sites.quantized_node(&site.name, policy)),
            codes: subject.net.site_codes(),
            float,
            quantized,
        })
    }

    /// What each group of images shows, in their order.
    fn run(
        &self,
        data: &Dataset,
        threads: usize,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Seen>> {
        let groups: Vec<_> = cut(0..data.len(), self.float.group()).collect();
        let worker = || Ok((self.float.workspace(), self.quantized.workspace()));
        let look = |workspaces: &mut _, images: Range<usize>, pixels: &[f32]| -> Result<_> {
            let seen = self.look(workspaces, pixels, images.len())?;
            progress(2 * images.len());
            Ok(seen)
        };
        let all = observe(data, &groups, (threads, &RUNNING), worker, look)?;
        Ok(all.batches)
    }

    /// `n` images through both.
    fn look(
        &self,
        (one, other): &mut (engine::Workspace, engine::Workspace),
        pixels: &[f32],
        n: usize,
    ) -> Result<Seen> {
        let classes = self.float.output().len();
        let mut results = [vec![0.0; n * classes], vec![0.0; n * classes]];
        let [expected, found] = &mut results;
        let rounded = |site: usize, values: &[f32]| -> Option<Comparison> {
            let code = self.codes[site]?;
            let round = |&x: &f32| code.fake_quant(x, Rounding::HalfEven, 0);
            let rounded: Vec<f32> = values.iter().map(round).collect();
            Some(compare(values, &rounded))
        };
        let nothing = compare(&[], &[]);
        let mut sites = vec![(None, nothing); self.codes.len()];
        // The images are the first site, and no node makes them.
        let images = rounded(0, pixels);
        sites[0] = (images, images.unwrap_or_else(|| compare(pixels, pixels)));
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); sites.len()];
        self.float
            .run_observed(one, pixels, expected, &mut |node| {
                if let Some(site) = self.float_sites[node.node] {
                    values[site] = node.to_planar();
                    sites[site].0 = rounded(site, &values[site]);
                }
            })?;
        self.quantized
            .run_observed(other, pixels, found, &mut |node| {
                if let Some(site) = self.quantized_sites[node.node] {
                    let expected = std::mem::take(&mut values[site]);
                    sites[site].1 = compare(&expected, &node.to_planar());
                }
            })?;
        let classes = (expected.chunks_exact(classes)).zip(found.chunks_exact(classes));
        Ok(Seen {
            sites,
            unchanged: classes
                .filter(|(a, b)| first_largest(a) == first_largest(b))
                .count(),
        })
    }
}
