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
use std::fmt;
use std::str::FromStr;

use quant_core::{ActivationScheme, Bits, QParams, Statistics, fit_activation};

use crate::arch::{Arch, Shortcut};
use crate::error::{Error, quoted};

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

impl ShortcutPolicy {
    /// Every policy.
    pub const ALL: [Self; 4] = [
        Self::Rescale,
        Self::Shared,
        Self::Float,
        Self::IdentityFloat,
    ];

    /// Its spelling in experiments and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rescale => "rescale",
            Self::Shared => "shared",
            Self::Float => "float",
            Self::IdentityFloat => "identity_float",
        }
    }

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
    /// Bits of the classifier's input and of the logits, where they differ.
    pub last_bits: Option<Bits>,
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

/// The sites of a network and how they hang together.
#[derive(Clone, Debug)]
pub struct Sites {
    /// In the order in which they are computed: the site's name and the node that makes its values in a float graph with
    /// separate epilogues (see [`crate::Epilogue::Separate`]).
    pub sites: Vec<(String, String)>,
    /// For each convolution and the classifier, the site of its input.
    pub(crate) inputs: BTreeMap<String, String>,
    /// For each addition, named by its last convolution: the shortcut's site, and the sum's.
    pub(crate) additions: BTreeMap<String, (String, String)>,
}

/// The site of the images.
pub(crate) const INPUT_SITE: &str = engine::INPUT;
/// The site of the pooled features.
pub(crate) const POOL_SITE: &str = "avgpool";

impl Sites {
    /// The sites of `arch`.
    pub fn new(arch: &Arch) -> Self {
        let layout = arch.layout();
        let mut all = Self {
            sites: vec![(INPUT_SITE.to_owned(), INPUT_SITE.to_owned())],
            inputs: BTreeMap::new(),
            additions: BTreeMap::new(),
        };
        let stem = &layout.stem.conv;
        all.read(stem, INPUT_SITE);
        all.site(stem, sum_node(stem));
        let mut x = stem.clone();
        for block in &layout.blocks {
            let mut y = x.clone();
            for (i, unit) in block.units.iter().enumerate() {
                all.read(&unit.conv, &y);
                let last = i + 1 == block.units.len();
                let node = if last {
                    unit.conv.clone()
                } else {
                    sum_node(&unit.conv)
                };
                all.site(&unit.conv, node);
                y = unit.conv.clone();
            }
            let shortcut = match &block.shortcut {
                Shortcut::Project(unit) => {
                    all.read(&unit.conv, &x);
                    all.site(&unit.conv, unit.conv.clone());
                    unit.conv.clone()
                }
                Shortcut::Identity | Shortcut::Pad { .. } => x,
            };
            let sum = format!("{}.add", block.name());
            all.site(&sum, sum_node(&y));
            all.additions.insert(y, (shortcut, sum.clone()));
            x = sum;
        }
        all.site(POOL_SITE, POOL_SITE.to_owned());
        all.read(&layout.classifier, POOL_SITE);
        all.site(&layout.classifier, layout.classifier.clone());
        all
    }

    fn site(&mut self, name: &str, node: String) {
        self.sites.push((name.to_owned(), node));
    }

    fn read(&mut self, layer: &str, site: &str) {
        self.inputs.insert(layer.to_owned(), site.to_owned());
    }

    /// Whether the policy leaves the values of `site` as they are: a summand, or a sum that no layer reads.
    pub(crate) fn is_unrounded(&self, site: &str, policy: ShortcutPolicy) -> bool {
        match policy {
            ShortcutPolicy::Rescale | ShortcutPolicy::Shared => false,
            ShortcutPolicy::Float => self.additions.contains_key(site),
            ShortcutPolicy::IdentityFloat => {
                let last = self.sites.last().map(|(name, _)| name.as_str());
                Some(site) != last && !self.inputs.values().any(|read| read == site)
            }
        }
    }

    /// Whether the policy hands the values of `site` on as they are to an addition, and rounded to the layers behind them.
    pub(crate) fn is_forked(&self, site: &str, policy: ShortcutPolicy) -> bool {
        let mut shortcuts = self.additions.values().map(|(shortcut, _)| shortcut);
        policy == ShortcutPolicy::IdentityFloat
            && shortcuts.any(|shortcut| shortcut == site)
            && !self.is_unrounded(site, policy)
    }

    /// The node that makes the values of `site` in a quantized graph with separate epilogues: there a ReLU without an
    /// addition is part of its convolution, and a value that an addition takes as it is ([`ShortcutPolicy::IdentityFloat`]) is
    /// rounded by a node of its own.
    pub fn quantized_node(&self, site: &str, policy: ShortcutPolicy) -> String {
        if self.is_forked(site, policy) {
            return rounding_node(site);
        }
        let made_by =
            |(conv, (_, sum)): (&String, &(String, String))| (sum == site).then(|| sum_node(conv));
        let sum = self.additions.iter().find_map(made_by);
        sum.unwrap_or_else(|| site.to_owned())
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
        for (site, _) in &self.sites {
            let scheme = self.scheme(site, how)?;
            let seen = self.seen(site, statistics, how.shortcut);
            let code = fit_activation(&seen, &scheme).map_err(|reason| Error::Site {
                site: site.clone(),
                reason,
            })?;
            codes.insert(site.clone(), code);
        }
        Ok(codes)
    }

    /// The sites that have no range of their own, since they and all that share their scale saw zeros alone: behind a branch
    /// that adds nothing. Zero is exact there with any scale.
    pub fn dead(&self, statistics: &SiteStatistics, shortcut: ShortcutPolicy) -> BTreeSet<String> {
        let names = self.sites.iter().map(|(site, _)| site);
        let dead = names.filter(|site| self.seen(site, statistics, shortcut).is_dead());
        dead.cloned().collect()
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

    /// A site's own scheme: the images and the classifier's two sites can have bits of their own.
    pub(crate) fn scheme(
        &self,
        site: &str,
        how: &ActivationQuantization,
    ) -> Result<ActivationScheme, Error> {
        let classifier = self.sites.last().map_or("", |(name, _)| name);
        let bits = match site {
            INPUT_SITE => how.first_bits,
            POOL_SITE => how.last_bits,
            name if name == classifier => how.last_bits,
            _ => None,
        };
        Ok(match bits {
            Some(bits) => how.scheme.with_bits(bits)?,
            None => how.scheme,
        })
    }

    /// The sites that share a scale with `site`. A site can be in one pair as a summand and make another as a shortcut; a
    /// chain of pairs shares one scale.
    pub(crate) fn partners(&self, site: &str, policy: ShortcutPolicy) -> Vec<String> {
        if policy != ShortcutPolicy::Shared {
            return Vec::new();
        }
        let mut group = vec![site.to_owned()];
        let mut next = 0;
        while let Some(member) = group.get(next).cloned() {
            for (summand, (shortcut, _)) in &self.additions {
                let other = match &member {
                    m if m == summand => shortcut,
                    m if m == shortcut => summand,
                    _ => continue,
                };
                if !group.contains(other) {
                    group.push(other.clone());
                }
            }
            next += 1;
        }
        group.remove(0);
        group
    }
}

/// The node that adds and cuts behind a convolution, where it is a node of its own.
pub(crate) fn sum_node(conv: &str) -> String {
    format!("{conv}.sum")
}

/// The node that rounds a site's values for the layers alone.
pub(crate) fn rounding_node(site: &str) -> String {
    format!("{site}.rounded")
}

impl fmt::Display for ShortcutPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ShortcutPolicy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or_else(|| Error::Setting {
                key: "shortcut",
                value: quoted(text),
                allowed: "rescale, shared, float, identity_float",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quant_core::{ActivationRange, CodeRange, Mapping, Rounding};

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
            shortcut,
        }
    }

    /// Every site saw -1 and its own number.
    fn seen(sites: &Sites) -> SiteStatistics {
        sites
            .sites
            .iter()
            .enumerate()
            .map(|(i, (site, _))| {
                let mut statistics = Statistics::new();
                statistics.add(site, 0, &[-1.0, i as f32 + 1.0]).unwrap();
                (site.clone(), statistics)
            })
            .collect()
    }

    #[test]
    fn every_convolution_addition_and_end_of_the_network_is_a_site() {
        let sites = Sites::new(&Arch::parse("cifar-resnet20").unwrap());
        let names: Vec<_> = sites.sites.iter().map(|(name, _)| name.as_str()).collect();
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
        let bottleneck = Sites::new(&Arch::parse("resnet50").unwrap());
        assert_eq!(bottleneck.sites.len(), 53 + 16 + 3);
    }

    #[test]
    fn summands_share_a_scale_or_have_their_own() {
        let sites = Sites::new(&Arch::parse("resnet18").unwrap());
        let statistics = seen(&sites);
        let shared = sites
            .fit(&statistics, &how(ShortcutPolicy::Shared))
            .unwrap();
        let own = sites
            .fit(&statistics, &how(ShortcutPolicy::Rescale))
            .unwrap();
        for (summand, (shortcut, _)) in &sites.additions {
            assert_eq!(shared[summand], shared[shortcut], "{summand}");
            assert_ne!(own[summand], own[shortcut], "{summand}");
        }
        assert_eq!(shared["layer1.0.conv1"], own["layer1.0.conv1"]);
    }

    #[test]
    fn with_a_float_identity_only_what_layers_read_is_rounded() {
        let policy = ShortcutPolicy::IdentityFloat;
        for name in ["cifar-resnet20", "resnet18", "resnet50"] {
            let sites = Sites::new(&Arch::parse(name).unwrap());
            let logits = &sites.sites.last().unwrap().0;
            for (site, _) in &sites.sites {
                let is_read = sites.inputs.values().any(|read| read == site);
                assert_eq!(
                    !sites.is_unrounded(site, policy),
                    is_read || site == logits,
                    "{name} {site}"
                );
                let is_added = sites
                    .additions
                    .values()
                    .any(|(shortcut, _)| shortcut == site);
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
        let sites = Sites::new(&Arch::parse("resnet18").unwrap());
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
        let sites = Sites::new(&Arch::parse("cifar-resnet20").unwrap());
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
        let sites = Sites::new(&Arch::parse("cifar-resnet20").unwrap());
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
        let sites = Sites::new(&Arch::parse("cifar-resnet20").unwrap());
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
