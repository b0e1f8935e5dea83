//! A network run on the same images with one layer or one site changed at a time. What lies before the change is computed once for
//! all changes, so that all layers of a network cost about half of as many full passes.
//!
//! ```text
//! for each group of images:
//!     for each value in execution order, the images first:
//!         make it; for each change there: a copy of all that is still read, with the change, goes on to the logits
//! ```
//!
//! What is held at once: two sets of values of one group of images for each thread, and the weights of all changes.

use engine::{Graph, Options, Program, Variant, WHOLE_GROUPS, Workspace};
use network::Network;
use quant_core::{QParams, Rounding};
use rayon::prelude::*;

use super::logits::LogitError;
use crate::error::Error;
use crate::lower::{Epilogue, lower};
use crate::sites::{SiteCodes, Sites};
use engine::INPUT;

/// A value of the program: the images, or what a node makes.
type Place = Option<usize>;

/// A network and the changes to it that are tried one at a time.
pub struct Probe {
    network: Network,
    size: [usize; 2],
    program: Program,
    names: Vec<String>,
    /// What each value is rounded to in the network itself, the images first.
    base: Vec<Option<QParams>>,
    changes: Vec<Change>,
}

struct Change {
    name: String,
    what: What,
}

enum What {
    /// A layer has other weights.
    Weights(Box<Variant>),
    /// A value is rounded otherwise, or not.
    Rounded(Place, Option<QParams>),
}

impl What {
    /// Where it happens: at a value, before or behind the node that makes it.
    fn place(&self) -> Place {
        match self {
            Self::Weights(variant) => Some(variant.node()),
            Self::Rounded(place, _) => *place,
        }
    }

    /// The number of that value, the images being 0.
    fn number(&self) -> usize {
        self.place().map_or(0, |node| node + 1)
    }
}

/// Told what gathers, which change, the number of the first image and the logits.
type Sum<'a, T> = &'a (dyn Fn(&mut T, Option<usize>, usize, &[f32]) + Sync);

/// What goes through a probe at once.
const GROUP: usize = 8;

impl Probe {
    /// `network` for images `[c, height, width]`, the values of the sites in `codes` rounded to those: in float32, each reader of a
    /// value getting the rounded one. No changes yet. `network` may have its weights rounded already.
    ///
    /// # Errors
    /// As [`lower`].
    pub fn new(network: Network, size: [usize; 2], codes: &SiteCodes) -> Result<Self, Error> {
        let network = crate::fold(&network)?;
        let options = Options {
            group: GROUP,
            large: WHOLE_GROUPS,
            ..Options::default()
        };
        let program = Program::new(graph(&network, size)?, options)?;
        let names: Vec<String> = program.nodes().map(|node| node.name.to_owned()).collect();
        let mut probe = Self {
            network,
            size,
            base: vec![None; names.len() + 1],
            program,
            names,
            changes: Vec::new(),
        };
        for (site, code) in codes {
            let place = probe.place(site)?;
            probe.base[place.map_or(0, |node| node + 1)] = Some(*code);
        }
        Ok(probe)
    }

    /// Adds a change for each layer of `other`, the same network with other weights or biases, that is `wanted` by its name; tells
    /// their names in the order of their numbers.
    ///
    /// # Errors
    /// Another network.
    pub fn weights(
        &mut self,
        other: &Network,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<String>, Error> {
        let graph = graph(&crate::fold(other)?, self.size)?;
        let names = &self.names;
        let variants = (self.program).variants(graph, &|node| wanted(&names[node]))?;
        let mut added = Vec::new();
        for variant in variants {
            let name = self.names[variant.node()].clone();
            added.push(name.clone());
            self.changes.push(Change {
                name,
                what: What::Weights(Box::new(variant)),
            });
        }
        Ok(added)
    }

    /// Adds a change: the values of `site` are rounded to `code`, or not at all.
    ///
    /// # Errors
    /// A site that the network has not.
    pub fn site(&mut self, site: &str, code: Option<QParams>) -> Result<(), Error> {
        let what = What::Rounded(self.place(site)?, code);
        self.changes.push(Change {
            name: site.to_owned(),
            what,
        });
        Ok(())
    }

    /// How many changes there are; they have numbers in the order in which they came.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    /// About what one image's values take in memory, in bytes, of which [`GROUP`] are held twice for each thread.
    pub fn bytes_of_image(&self) -> usize {
        let values = self.program.nodes().map(|node| node.shape.len());
        values.sum::<usize>() * size_of::<f32>()
    }

    /// The layer or site of a change.
    pub fn name(&self, change: usize) -> &str {
        &self.changes[change].name
    }

    /// Logits for one image.
    pub fn classes(&self) -> usize {
        self.program.output().len()
    }

    fn place(&self, site: &str) -> Result<Place, Error> {
        if site == INPUT {
            return Ok(None);
        }
        let sites = Sites::new(self.network.topology());
        let node = sites.node(site, true);
        let place = self.names.iter().position(|name| name == node);
        let place = place.ok_or_else(|| network::Error::missing(site))?;
        Ok(Some(place))
    }

    /// Runs `images`, `[n, c, h, w]`, through the network itself and through every change of it. `sum` makes one `T` for each group of
    /// images of what it is shown: which change (none: the network itself), the number of the group's first image, and the logits,
    /// `[n, classes]`, the changes in no order. The `T`s come back in the order of the images: for any number of threads the same.
    ///
    /// # Errors
    /// None for images of the network's size.
    pub fn run<T: Send>(
        &self,
        images: &[f32],
        fresh: &(dyn Fn() -> T + Sync),
        sum: Sum<'_, T>,
    ) -> Result<Vec<T>, Error> {
        self.run_each(images, fresh, sum, true)
    }

    /// The logits of the network itself, `[n, classes]`.
    ///
    /// # Errors
    /// As [`Probe::run`].
    pub fn logits(&self, images: &[f32]) -> Result<Vec<f32>, Error> {
        let each = self.program.input().len();
        let groups = images.par_chunks(GROUP * each);
        let logits = groups.map_init(
            || self.program.workspace(),
            |workspace, images| {
                let count = self.program.enter(workspace, images)?;
                self.rest(workspace, (0, count), None)
            },
        );
        Ok(logits.collect::<Result<Vec<_>, Error>>()?.concat())
    }

    /// How the logits of every change, and of the network itself, differ from `reference`, `[n, classes]`, on images with these labels.
    /// Sums are taken image by image within a group and then group by group: the same for any number of threads.
    ///
    /// # Errors
    /// As [`Probe::run`].
    pub fn errors(
        &self,
        (images, labels): (&[f32], &[u16]),
        reference: &[f32],
    ) -> Result<(Vec<LogitError>, LogitError), Error> {
        let (classes, changes) = (self.classes(), self.changes());
        let fresh = || vec![LogitError::default(); changes + 1];
        let sum = |sums: &mut Vec<LogitError>, change: Option<usize>, first, logits: &[f32]| {
            let sums = &mut sums[change.unwrap_or(changes)];
            for (i, logits) in logits.chunks_exact(classes).enumerate() {
                let own = &reference[(first + i) * classes..][..classes];
                sums.add(own, logits, labels[first + i]);
            }
        };
        let mut all = fresh();
        for group in self.run(images, &fresh, &sum)? {
            for (all, own) in all.iter_mut().zip(&group) {
                all.merge(own);
            }
        }
        let own = all.pop().unwrap_or_default();
        Ok((all, own))
    }

    /// [`Probe::run`], each change from the images on if nothing is `shared`.
    fn run_each<T: Send>(
        &self,
        images: &[f32],
        fresh: &(dyn Fn() -> T + Sync),
        sum: Sum<'_, T>,
        shared: bool,
    ) -> Result<Vec<T>, Error> {
        let each = self.program.input().len();
        let groups = images.par_chunks(GROUP * each).enumerate();
        let workspaces = || [self.program.workspace(), self.program.workspace()];
        let made = groups.map_init(workspaces, |[prefix, suffix], (group, images)| {
            let mut made = fresh();
            let mut show = |change: Option<usize>, logits: &[f32]| {
                sum(&mut made, change, group * GROUP, logits);
            };
            if shared {
                self.changed(images, [prefix, suffix], &mut show)?;
                return Ok(made);
            }
            for number in [None].into_iter().chain((0..self.changes.len()).map(Some)) {
                let count = self.program.enter(prefix, images)?;
                let what = number.map(|number| &self.changes[number].what);
                show(number, &self.rest(prefix, (0, count), what)?);
            }
            Ok(made)
        });
        made.collect()
    }

    /// Every change from where it happens on, then the network itself.
    fn changed(
        &self,
        images: &[f32],
        [prefix, suffix]: [&mut Workspace; 2],
        show: &mut dyn FnMut(Option<usize>, &[f32]),
    ) -> Result<(), Error> {
        let program = &self.program;
        let count = program.enter(prefix, images)?;
        let mut order: Vec<usize> = (0..self.changes.len()).collect();
        order.sort_by_key(|&number| self.shared(&self.changes[number].what));
        // The value of this number is made next.
        let mut next = 0;
        for number in order {
            let what = &self.changes[number].what;
            let shared = self.shared(what);
            while next < shared {
                self.make(prefix, (next, count), None)?;
                next += 1;
            }
            program.hand_over(prefix, suffix, (shared.saturating_sub(1), count))?;
            if let (What::Rounded(place, code), true) = (what, shared > what.number()) {
                self.round(suffix, (*place, count), *code)?;
            }
            let logits = self.rest(suffix, (shared, count), Some(what))?;
            show(Some(number), &logits);
        }
        show(None, &self.rest(prefix, (next, count), None)?);
        Ok(())
    }

    /// How many values, the images first, a change has in common with the network itself: those before its own, and that one, too, where
    /// the network does not round it and the change is what it is rounded to.
    fn shared(&self, what: &What) -> usize {
        let number = what.number();
        let is_made = matches!(what, What::Rounded(..)) && self.base[number].is_none();
        number + usize::from(is_made)
    }

    /// Makes all values from number `place` on, the images being number 0: the logits.
    fn rest(
        &self,
        workspace: &mut Workspace,
        (place, count): (usize, usize),
        change: Option<&What>,
    ) -> Result<Vec<f32>, Error> {
        for place in place..self.base.len() {
            self.make(workspace, (place, count), change)?;
        }
        Ok(self.program.result(workspace, count)?)
    }

    /// Makes value number `place`, the images being number 0, and rounds it.
    fn make(
        &self,
        workspace: &mut Workspace,
        (place, count): (usize, usize),
        change: Option<&What>,
    ) -> Result<(), Error> {
        let node = place.checked_sub(1);
        let here = change.filter(|what| what.place() == node);
        match (here, node) {
            (Some(What::Weights(variant)), _) => {
                self.program
                    .step_as(workspace, (variant, count), &mut |_| ())?;
            }
            (_, Some(node)) => self.program.step(workspace, (node, count), &mut |_| ())?,
            (_, None) => {}
        }
        let code = match here {
            Some(What::Rounded(_, code)) => *code,
            _ => self.base[place],
        };
        self.round(workspace, (node, count), code)
    }

    /// Rounds a value where it lies, if there is something to round it to.
    fn round(
        &self,
        workspace: &mut Workspace,
        value: (Place, usize),
        code: Option<QParams>,
    ) -> Result<(), Error> {
        if let Some(code) = code {
            self.program.revise(workspace, value, &mut |some| {
                some.copy_from_slice(&code.fake_quant_all(some, Rounding::HalfEven));
            })?;
        }
        Ok(())
    }
}

fn graph(network: &Network, size: [usize; 2]) -> Result<Graph, Error> {
    lower(network.clone(), size, Epilogue::Sites)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BiasPolicy, BnMode, WeightQuantization, quantize};
    use quant_core::{Bits, Scheme};
    use resnet::{Arch, random_state};

    /// A network, its weights in 3 bits, and codes for some sites.
    fn subject(name: &str) -> (Network, Network, SiteCodes) {
        let arch = Arch::parse(name).unwrap();
        let network = resnet::network(&arch, random_state(&arch, 3)).unwrap();
        let how = WeightQuantization {
            scheme: Some(Scheme::linear(Bits::new(3).unwrap())),
            bias: BiasPolicy::Float,
            bn: BnMode::Folded,
            first_bits: None,
            last_bits: None,
            bits_of: Default::default(),
        };
        let rounded = quantize(&network, &how).unwrap().network().unwrap();
        let code = QParams {
            scale: 0.25,
            zero_point: 7,
            quant_min: 0,
            quant_max: 15,
        };
        let sites = Sites::new(network.topology());
        let codes = sites.names().map(|site| (site.to_owned(), code)).collect();
        (network, rounded, codes)
    }

    fn images(n: usize) -> Vec<f32> {
        (0..n * 3 * 32 * 32)
            .map(|i| ((i * i) % 251) as f32 / 100.0 - 1.2)
            .collect()
    }

    /// Bits of all logits, by image group, change and image.
    fn logits(probe: &Probe, images: &[f32], shared: bool) -> Vec<Vec<(Option<usize>, Vec<u32>)>> {
        let keep = |kept: &mut Vec<_>, change, _, logits: &[f32]| {
            kept.push((change, logits.iter().map(|z| z.to_bits()).collect()));
        };
        let mut groups = probe.run_each(images, &Vec::new, &keep, shared).unwrap();
        groups.iter_mut().for_each(|group| group.sort());
        groups
    }

    #[test]
    fn what_is_shared_makes_the_bytes_of_full_passes() {
        for name in ["cifar-resnet20", "resnet18"] {
            let (network, rounded, codes) = subject(name);
            for base in [SiteCodes::new(), codes.clone()] {
                let mut probe = Probe::new(network.clone(), [32, 32], &base).unwrap();
                let layers = probe.weights(&rounded, &|_| true).unwrap();
                for (site, code) in &codes {
                    let code = Some(*code).filter(|_| base.is_empty());
                    probe.site(site, code).unwrap();
                }
                assert_eq!(probe.changes(), layers.len() + codes.len());
                let images = images(GROUP + 3);
                let shared = logits(&probe, &images, true);
                assert_eq!(shared.len(), 2);
                assert!(shared == logits(&probe, &images, false), "{name}");
                let own = &shared[0][0].1;
                let other = shared[0].iter().filter(|(_, logits)| logits != own);
                let is_moved = other.count() > probe.changes() / 2;
                assert!(is_moved || !base.is_empty(), "{name}");
                let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build();
                let three = threads.unwrap().install(|| logits(&probe, &images, true));
                assert!(three == shared, "{name}");
            }
        }
    }

    #[test]
    fn a_change_of_weights_is_the_network_with_those_weights() {
        let (network, rounded, _) = subject("cifar-resnet20");
        let none = SiteCodes::new();
        let mut probe = Probe::new(network.clone(), [32, 32], &none).unwrap();
        let wanted = "layer2.0.conv2";
        let added = probe.weights(&rounded, &|layer| layer == wanted).unwrap();
        assert_eq!((added, probe.name(0)), (vec![wanted.to_owned()], wanted));
        let (topology, mut tensors) = crate::fold(&network).unwrap().into_parts();
        let weight = format!("{wanted}.weight");
        let other = rounded.tensors().require(&weight).unwrap().clone();
        tensors.insert(&weight, other);
        let changed = Network::new(topology, tensors).unwrap();
        let changed = Probe::new(changed, [32, 32], &none).unwrap();
        let images = images(4);
        let found = logits(&probe, &images, true);
        let expected = logits(&changed, &images, true);
        assert!(found[0][1].1 == expected[0][0].1);
        assert!(found[0][0].1 != expected[0][0].1);
    }

    #[test]
    fn an_unknown_site_is_named() {
        let (network, ..) = subject("cifar-resnet20");
        let mut probe = Probe::new(network, [32, 32], &SiteCodes::new()).unwrap();
        let error = probe.site("layer9", None).unwrap_err().to_string();
        assert!(error.contains("layer9"), "{error}");
    }
}
