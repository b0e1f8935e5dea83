//! Where activations are quantized: the images; behind every convolution and its ReLU; both summands and the sum of every
//! residual addition; the pooled features; the logits. Never between an addition and its ReLU, which are one step.
//!
//! A max pool and an option A shortcut only copy numbers, so their values keep the codes of what they read.
//!
//! An addition's two summands have codes of their own ([`ShortcutPolicy::Rescale`]: both are multiplied to the sum's
//! scale, Jacob et al. 2018, section A.2), or one scale between them ([`ShortcutPolicy::Shared`]: codes can be added as
//! they are; the range is that of both sites together), or the convolution's result is not rounded before it is added
//! ([`ShortcutPolicy::Float`]), or nothing on the way from addition to addition is ([`ShortcutPolicy::IdentityFloat`]): sums go
//! on in float along the shortcuts, and only what a convolution or the classifier reads is rounded, which is what most papers
//! about few bits do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use quant_core::{ActivationScheme, Bits, QParams, Statistics, fit_activation};

use engine::INPUT;
use network::{NodeId, Op, Topology, Value};

use crate::error::Error;
use crate::units::Units;

/// How the two summands of a residual addition get their scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShortcutPolicy {
    /// One for both.
    Shared,
    /// One for each.
    Rescale,
    /// The shortcut's alone; the convolution's result is added as it is.
    Float,
    /// Neither: the path from sum to sum stays in float, and inputs of layers alone are rounded.
    IdentityFloat,
}

quant_core::words!(
    ShortcutPolicy, "shortcut":
    Shared = "shared", Rescale = "rescale", Float = "float", IdentityFloat = "identity_float",
);

impl ShortcutPolicy {
    /// Whether both summands of every addition have codes, as integers need them.
    pub fn adds_codes(self) -> bool {
        matches!(self, Self::Rescale | Self::Shared)
    }
}

/// How to quantize activations.
#[derive(Clone, Debug)]
pub struct ActivationQuantization {
    /// Applied to each site.
    pub scheme: ActivationScheme,
    /// Bits of the images, where they differ.
    pub first_bits: Option<Bits>,
    /// Bits of the last layer's input and of all that is made of it, where they differ.
    pub last_bits: Option<Bits>,
    /// Bits of sites by name, before all others.
    pub bits_of: BTreeMap<String, Bits>,
    /// The additions.
    pub shortcut: ShortcutPolicy,
}

/// What a site's values are rounded to, by the site's name.
pub type SiteCodes = BTreeMap<String, QParams>;

/// What happens to a site's values on the way through the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiteRounding {
    /// What they are rounded to.
    pub code: QParams,
    /// Whether an addition takes them as they are all the same ([`ShortcutPolicy::IdentityFloat`]).
    pub is_forked: bool,
}

/// What was seen at each site, by its name.
pub type SiteStatistics = BTreeMap<String, Statistics>;

/// A value that is rounded where activations are quantized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// That of the step which makes it.
    pub name: String,
    /// Its value in the network.
    pub value: Value,
    /// The node that makes it in a float graph with separate epilogues (see [`crate::Epilogue::Separate`]).
    pub node: String,
    /// The node that makes it in a graph with codes where it is not rounded by one of its own.
    coded: String,
    /// Whether a layer reads it.
    layers: bool,
    /// Whether anything but layers reads it.
    others: bool,
}

/// Two values that are added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addition {
    pub sum: String,
    pub summands: [String; 2],
    /// The one that is computed together with the sum.
    pub fused: Option<String>,
}

/// The sites of a network and how they hang together.
#[derive(Clone, Debug)]
pub struct Sites {
    /// In the order in which they are computed.
    pub sites: Vec<Site>,
    /// For each layer, the site of its input.
    pub(crate) inputs: BTreeMap<String, String>,
    /// In execution order.
    pub(crate) additions: Vec<Addition>,
    /// The last layer's input, its value and what comes behind it.
    last: BTreeSet<String>,
    /// That of the result.
    output: String,
}

impl Sites {
    /// The sites of `topology`.
    pub fn new(topology: &Topology) -> Self {
        let units = Units::new(topology);
        let last_layer = topology.layers().next_back();
        let site = |name: &str, [node, coded]: [&str; 2], value: Value| {
            let (layers, others) = readers(topology, value);
            Site {
                name: name.to_owned(),
                value,
                node: node.to_owned(),
                coded: coded.to_owned(),
                layers,
                others,
            }
        };
        let mut all = Self {
            sites: vec![site(INPUT, [INPUT; 2], Value::Input)],
            inputs: BTreeMap::new(),
            additions: Vec::new(),
            last: BTreeSet::new(),
            output: units
                .site(topology, Value::Node(topology.output()))
                .to_owned(),
        };
        for unit in units.iter() {
            let node = topology.node(unit.head);
            if node.op.is_copy() {
                continue;
            }
            let is_layer = node.op.is_layer();
            let name = |id: Option<NodeId>| id.map_or(&node.name, |id| &topology.node(id).name);
            let each = unit.each(topology);
            let made_by = [unit.clip.filter(|_| is_layer).or(each), each].map(|id| &name(id)[..]);
            all.sites
                .push(site(&node.name, made_by, Value::Node(unit.tail())));
            let read = |value| units.site(topology, value).to_owned();
            if is_layer {
                let input = read(node.inputs[0]);
                if last_layer == Some(unit.head) {
                    all.last.insert(input.clone());
                }
                all.inputs.insert(node.name.clone(), input);
            }
            if last_layer.is_none_or(|layer| unit.head >= layer) {
                all.last.insert(node.name.clone());
            }
            if node.op == Op::Add {
                let fused = units.fused(topology, unit.head);
                all.additions.push(Addition {
                    sum: node.name.clone(),
                    summands: [read(node.inputs[0]), read(node.inputs[1])],
                    fused: fused.map(|unit| topology.node(unit.head).name.clone()),
                });
            }
        }
        all
    }

    /// The sites' names, in the order in which they are computed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sites.iter().map(|site| site.name.as_str())
    }

    fn get(&self, name: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.name == name)
    }

    /// The node that makes the values of `site`, rounded for nobody but those that add them: in a float graph with separate
    /// epilogues, or in a quantized one.
    pub fn node(&self, site: &str, is_quantized: bool) -> &str {
        let site = self.get(site);
        site.map_or("", |site| match is_quantized {
            true => &site.coded,
            false => &site.node,
        })
    }

    /// Whether the policy leaves the values of `site` as they are: a summand, or a sum that no layer reads.
    pub fn is_unrounded(&self, site: &str, policy: ShortcutPolicy) -> bool {
        match policy {
            ShortcutPolicy::Rescale | ShortcutPolicy::Shared => false,
            ShortcutPolicy::Float => {
                let mut fused = self.additions.iter().filter_map(|sum| sum.fused.as_deref());
                fused.any(|summand| summand == site)
            }
            ShortcutPolicy::IdentityFloat => {
                site != self.output && self.get(site).is_some_and(|site| !site.layers)
            }
        }
    }

    /// Whether a site is the last layer's input or comes behind it.
    pub fn is_last(&self, site: &str) -> bool {
        self.last.contains(site)
    }

    /// What the values of `site` are rounded to; none where they stay as they are.
    pub(crate) fn code(
        &self,
        site: &str,
        codes: &SiteCodes,
        policy: ShortcutPolicy,
    ) -> Option<QParams> {
        let code = codes.get(site).copied();
        code.filter(|_| !self.is_unrounded(site, policy))
    }

    /// Whether the policy hands the values of `site` on as they are to an addition, and rounded to the layers behind them.
    pub fn is_forked(&self, site: &str, policy: ShortcutPolicy) -> bool {
        policy == ShortcutPolicy::IdentityFloat
            && self
                .get(site)
                .is_some_and(|site| site.layers && site.others)
    }

    /// Whether anything but layers reads the values of `site` as they are rounded.
    pub(crate) fn is_read_as_it_is(&self, site: &str, policy: ShortcutPolicy) -> bool {
        let others = self.get(site).is_some_and(|site| site.others);
        others && !self.is_forked(site, policy)
    }

    /// The node that makes the values of `site` in a quantized graph with separate epilogues: there a ReLU is part of its step,
    /// and a value that an addition takes as it is ([`ShortcutPolicy::IdentityFloat`]) is rounded by a node of its own.
    pub fn quantized_node(&self, site: &str, policy: ShortcutPolicy) -> String {
        match self.is_forked(site, policy) {
            true => rounding_node(site),
            false => self.get(site).map_or(site, |site| &site.coded).to_owned(),
        }
    }

    /// The codes of every site from what was seen there. A site that saw zeros alone is quantized too (see [`Sites::dead`]).
    ///
    /// # Errors
    /// [`Error::Site`] for a site that cannot be quantized, such as one that saw nothing.
    pub fn fit(
        &self,
        statistics: &SiteStatistics,
        how: &ActivationQuantization,
    ) -> Result<SiteCodes, Error> {
        let mut codes = SiteCodes::new();
        for site in self.names() {
            let scheme = self.scheme(site, how)?;
            let seen = self.seen(site, statistics, how.shortcut);
            let code = fit_activation(&seen, &scheme).map_err(|reason| Error::Site {
                site: site.to_owned(),
                reason,
            })?;
            codes.insert(site.to_owned(), code);
        }
        Ok(codes)
    }

    /// The sites that have no range of their own, since they and all that share their scale saw zeros alone: behind a branch
    /// that adds nothing. Zero is exact there with any scale.
    pub fn dead(&self, statistics: &SiteStatistics, shortcut: ShortcutPolicy) -> BTreeSet<String> {
        let dead = |site: &&str| self.seen(site, statistics, shortcut).is_dead();
        self.names().filter(dead).map(str::to_owned).collect()
    }

    /// What was seen at a site, together with the sites that share its scale.
    fn seen<'a>(
        &self,
        site: &str,
        statistics: &'a SiteStatistics,
        shortcut: ShortcutPolicy,
    ) -> Cow<'a, Statistics> {
        let own = match statistics.get(site) {
            Some(own) => Cow::Borrowed(own),
            None => Cow::Owned(Statistics::new()),
        };
        let partners = self.partners(site, shortcut);
        partners.iter().fold(own, |mut all, partner| {
            if let Some(other) = statistics.get(partner) {
                all.to_mut().merge(other);
            }
            all
        })
    }

    /// A site's own scheme: the images, and the last layer's input and what is made of it, can have bits of their own.
    pub fn scheme(
        &self,
        site: &str,
        how: &ActivationQuantization,
    ) -> Result<ActivationScheme, Error> {
        let bits = match site {
            name if how.bits_of.contains_key(name) => how.bits_of.get(name).copied(),
            INPUT => how.first_bits,
            name if self.is_last(name) => how.last_bits,
            _ => None,
        };
        Ok(match bits {
            Some(bits) => how.scheme.with_bits(bits)?,
            None => how.scheme,
        })
    }

    /// The sites that share a scale with `site`. A site can be in one pair as a summand and make another as a shortcut; a
    /// chain of pairs shares one scale.
    pub fn partners(&self, site: &str, policy: ShortcutPolicy) -> Vec<String> {
        if policy != ShortcutPolicy::Shared {
            return Vec::new();
        }
        let mut group = vec![site.to_owned()];
        let mut next = 0;
        while let Some(member) = group.get(next).cloned() {
            for Addition { summands, .. } in &self.additions {
                if !summands.contains(&member) {
                    continue;
                }
                for other in summands {
                    if !group.contains(other) {
                        group.push(other.clone());
                    }
                }
            }
            next += 1;
        }
        group.remove(0);
        group
    }
}

/// Whether layers read a value, and whether anything else does, through all that copies it.
pub(crate) fn readers(topology: &Topology, value: Value) -> (bool, bool) {
    let each = topology.readers(value).iter().map(|&reader| {
        let op = &topology.node(reader).op;
        match op.is_copy() {
            true => readers(topology, Value::Node(reader)),
            false => (op.is_layer(), !op.is_layer()),
        }
    });
    each.fold((false, false), |all, one| (all.0 || one.0, all.1 || one.1))
}

/// The node that rounds a site's values for the layers alone.
pub(crate) fn rounding_node(site: &str) -> String {
    format!("{site}.rounded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quant_core::{ActivationRange, CodeRange, Mapping, Rounding};
    use resnet::Arch;

    fn topology(name: &str) -> Topology {
        resnet::topology(&Arch::parse(name).unwrap())
    }

    fn how(shortcut: ShortcutPolicy) -> ActivationQuantization {
        ActivationQuantization {
            scheme: ActivationScheme::new(
                Bits::new(4).unwrap(),
                Mapping::Affine,
                CodeRange::Narrow,
                ActivationRange::MinMax,
                Rounding::HalfEven,
            )
            .unwrap(),
            first_bits: Some(Bits::new(8).unwrap()),
            last_bits: Some(Bits::new(6).unwrap()),
            bits_of: BTreeMap::new(),
            shortcut,
        }
    }

    /// Every site saw -1 and its own number.
    fn seen(sites: &Sites) -> SiteStatistics {
        sites
            .sites
            .iter()
            .enumerate()
            .map(|(i, site)| {
                let mut statistics = Statistics::new();
                let values = [-1.0, i as f32 + 1.0];
                statistics.add(&site.name, 0, &values).unwrap();
                (site.name.clone(), statistics)
            })
            .collect()
    }

    #[test]
    fn every_convolution_addition_and_end_of_the_network_is_a_site() {
        let sites = Sites::new(&topology("cifar-resnet20"));
        let names: Vec<_> = sites.names().collect();
        assert_eq!(
            names[..5],
            [
                "input",
                "conv1",
                "layer1.0.conv1",
                "layer1.0.conv2",
                "layer1.0.add"
            ]
        );
        assert_eq!(names[names.len() - 2..], ["avgpool", "linear"]);
        // 19 convolutions, 9 additions, images, pool, logits.
        assert_eq!(names.len(), 19 + 9 + 3);
        let bottleneck = Sites::new(&topology("resnet50"));
        assert_eq!(bottleneck.sites.len(), 53 + 16 + 3);
    }

    #[test]
    fn summands_share_a_scale_or_have_their_own() {
        let sites = Sites::new(&topology("resnet18"));
        let statistics = seen(&sites);
        let shared = sites
            .fit(&statistics, &how(ShortcutPolicy::Shared))
            .unwrap();
        let own = sites
            .fit(&statistics, &how(ShortcutPolicy::Rescale))
            .unwrap();
        for Addition { summands, .. } in &sites.additions {
            let [summand, shortcut] = summands;
            assert_eq!(shared[summand], shared[shortcut], "{summand}");
            assert_ne!(own[summand], own[shortcut], "{summand}");
        }
        assert_eq!(shared["layer1.0.conv1"], own["layer1.0.conv1"]);
    }

    #[test]
    fn with_a_float_identity_only_what_layers_read_is_rounded() {
        let policy = ShortcutPolicy::IdentityFloat;
        for name in ["cifar-resnet20", "resnet18", "resnet50"] {
            let sites = Sites::new(&topology(name));
            let logits = sites.names().last().unwrap();
            for site in sites.names() {
                let is_read = sites.inputs.values().any(|read| read == site);
                assert_eq!(
                    !sites.is_unrounded(site, policy),
                    is_read || site == logits,
                    "{name} {site}"
                );
                let mut summands = sites.additions.iter().flat_map(|sum| &sum.summands);
                let is_added = summands.any(|summand| summand == site);
                assert_eq!(
                    sites.is_forked(site, policy),
                    is_read && is_added,
                    "{name} {site}"
                );
                for other in [
                    ShortcutPolicy::Rescale,
                    ShortcutPolicy::Shared,
                    ShortcutPolicy::Float,
                ] {
                    assert!(!sites.is_forked(site, other));
                }
            }
        }
        let sites = Sites::new(&topology("resnet18"));
        // Before a projection a sum is read, not added; the last sum goes to the pool.
        let all = ["conv1", "layer1.0.add", "layer1.1.add", "layer4.1.add"];
        assert_eq!(
            all.map(|site| sites.is_forked(site, policy)),
            [true, true, false, false]
        );
        assert!(
            sites.is_unrounded("layer4.1.add", policy)
                && sites.is_unrounded("layer2.0.downsample.0", policy)
        );
    }

    #[test]
    fn images_and_classifier_have_bits_of_their_own() {
        let sites = Sites::new(&topology("cifar-resnet20"));
        let codes = sites
            .fit(&seen(&sites), &how(ShortcutPolicy::Rescale))
            .unwrap();
        let top = |site: &str| codes[site].quant_max;
        assert_eq!(
            [top("input"), top("conv1"), top("avgpool"), top("linear")],
            [255, 15, 63, 63]
        );
    }

    #[test]
    fn a_site_that_saw_nothing_is_named() {
        let sites = Sites::new(&topology("cifar-resnet20"));
        let mut statistics = seen(&sites);
        statistics.remove("conv1");
        let error = sites.fit(&statistics, &how(ShortcutPolicy::Rescale));
        let unseen = error.unwrap_err().to_string();
        assert!(
            unseen.contains("conv1") && unseen.contains("no value"),
            "{unseen}"
        );
    }

    #[test]
    fn a_site_that_saw_only_zeros_is_dead_unless_it_shares_a_scale_with_one_that_lives() {
        let sites = Sites::new(&topology("cifar-resnet20"));
        let mut statistics = seen(&sites);
        for site in ["layer2.0.conv1", "layer2.0.conv2"] {
            let mut zeros = Statistics::new();
            zeros.add(site, 0, &[0.0; 8]).unwrap();
            statistics.insert(site.into(), zeros);
        }
        for (shortcut, expected) in [
            (
                ShortcutPolicy::Rescale,
                &["layer2.0.conv1", "layer2.0.conv2"][..],
            ),
            (ShortcutPolicy::Shared, &["layer2.0.conv1"]),
        ] {
            let dead = sites.dead(&statistics, shortcut);
            assert!(dead.iter().eq(expected), "{shortcut}: {dead:?}");
            let codes = sites.fit(&statistics, &how(shortcut)).unwrap();
            for site in expected {
                let code = codes[*site];
                assert_eq!((code.scale, code.zero_point), (1.0, 0), "{site}");
                assert_eq!((code.quant_min, code.quant_max), (0, 15), "{site}");
            }
            assert_ne!(codes["conv1"].scale, 1.0);
        }
    }
}
