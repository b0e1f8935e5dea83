//! Which ResNet it is, and everything that follows from that: layers in execution order, their names and their shapes.
//!
//! Two families (He et al. 2016, arXiv 1512.03385):
//! - ImageNet (section 4.1), as torchvision builds it: 7x7 stem, max pool, four stages, stride on the 3x3 convolution of
//!   a bottleneck ("v1.5"; `-v1` behind the name: on its first 1x1, as in the paper), projection shortcuts where the shape changes; names `conv1`, `layer1.0.conv1`, `fc`.
//! - CIFAR (section 4.2), `6n + 2` layers: 3x3 stem, three stages of 16, 32 and 64 channels; shortcuts are option A
//!   (every second pixel, zero channels padded evenly on both sides) or option B (a projection); names as in
//!   akamaster/pytorch_resnet_cifar10: `conv1`, `layer1.0.conv1`, `layer2.0.shortcut.0`, `linear`.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, quoted};

/// BatchNorm's epsilon; both families use PyTorch's default.
pub const BN_EPSILON: f64 = 1e-5;

/// Which of the two families a network belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Stages of basic blocks behind a 7x7 stem with max pool (depth 18 and 34).
    ImageNetBasic,
    /// Stages of bottleneck blocks behind the same stem (depth 50, 101 and 152).
    ImageNetBottleneck,
    /// The same with the stride of a bottleneck on its first 1x1 convolution, as in the paper: same tensors, other sums.
    ImageNetBottleneckV1,
    /// CIFAR network with parameter-free shortcuts (option A).
    CifarA,
    /// CIFAR network with projection shortcuts (option B).
    CifarB,
}

/// A network: family, depth, and the number of classes. Spelled `resnet50`, `resnet50-v1`,
/// `cifar-resnet20`, `cifar-resnet20-b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arch {
    family: Family,
    depth: usize,
    classes: usize,
}

/// A convolution and the BatchNorm that follows it, by their PyTorch names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvUnit {
    /// Name of the convolution; its weight is `{conv}.weight`, `[out, in, kernel, kernel]`.
    pub conv: String,
    /// Name of the BatchNorm; its tensors are `[out]`.
    pub bn: String,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Stride, the same in both directions.
    pub stride: usize,
}

impl ConvUnit {
    /// Zero padding on every side: "same" for odd kernels.
    pub fn padding(&self) -> usize {
        self.kernel / 2
    }
}

/// What the second branch of a residual block does to its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Nothing.
    Identity,
    /// Option A: every second pixel; `pad` zero channels before and `pad` behind.
    Pad {
        /// Zero channels on each side.
        pad: usize,
    },
    /// Option B: 1x1 convolution and BatchNorm.
    Project(ConvUnit),
}

/// One residual block: `relu(bn(conv(.. relu(bn(conv(x))) ..)) + shortcut(x))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// Stage, from 1, as in `layer1`.
    pub stage: usize,
    /// The main branch: two units for a basic block, three for a bottleneck. No ReLU after the last.
    pub units: Vec<ConvUnit>,
    /// The other branch.
    pub shortcut: Shortcut,
}

impl BlockSpec {
    /// What its layers' names start with, as in `layer1.0`.
    pub(crate) fn name(&self) -> &str {
        let first = &self.units[0].conv;
        first.rsplit_once('.').map_or(first, |(block, _)| block)
    }
}

/// A whole network, flat and in execution order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The first convolution.
    pub stem: ConvUnit,
    /// Whether a 3x3 max pool of stride 2 (padding 1) follows the stem.
    pub max_pool: bool,
    /// Residual blocks.
    pub blocks: Vec<BlockSpec>,
    /// Name of the classifier; `{classifier}.weight` is `[classes, features]`.
    pub classifier: String,
    /// Channels that the global average pool hands to the classifier.
    pub features: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Layout {
    /// All convolution units in the order in which they run (a block's shortcut comes after its main branch).
    pub fn units(&self) -> Vec<&ConvUnit> {
        let mut units = vec![&self.stem];
        for block in &self.blocks {
            units.extend(&block.units);
            if let Shortcut::Project(unit) = &block.shortcut {
                units.push(unit);
            }
        }
        units
    }

    /// The names of all layers in that order, the classifier last.
    pub fn layers(&self) -> impl Iterator<Item = &str> {
        let units = self.units().into_iter().map(|unit| unit.conv.as_str());
        units.chain([self.classifier.as_str()])
    }
}

const IMAGENET: [(usize, Family, [usize; 4]); 5] = [
    (18, Family::ImageNetBasic, [2, 2, 2, 2]),
    (34, Family::ImageNetBasic, [3, 4, 6, 3]),
    (50, Family::ImageNetBottleneck, [3, 4, 6, 3]),
    (101, Family::ImageNetBottleneck, [3, 4, 23, 3]),
    (152, Family::ImageNetBottleneck, [3, 8, 36, 3]),
];
const CIFAR_DEPTHS: [usize; 5] = [20, 32, 44, 56, 110];

impl Arch {
    /// Reads `resnet18` ... `resnet152`, `resnet50-v1` ... (1000 classes), `cifar-resnet20` ... `cifar-resnet110` (option A shortcuts; `-b`
    /// behind it for option B; 10 classes). Fails for any other name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let known = || Self::all().into_iter().chain(Self::v1());
        known()
            .find(|arch| arch.name() == name)
            .ok_or_else(|| Error::UnknownArch {
                name: quoted(name),
                known: known()
                    .map(|arch| arch.name())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// The bottleneck networks with the paper's stride. Their tensors are those of networks in [`Arch::all`].
    pub fn v1() -> impl Iterator<Item = Self> {
        let all = Self::all().into_iter();
        let bottlenecks = all.filter(|arch| arch.family == Family::ImageNetBottleneck);
        bottlenecks.map(|arch| Self {
            family: Family::ImageNetBottleneckV1,
            ..arch
        })
    }

    /// The network of [`Arch::all`] with the same tensors.
    pub(crate) fn recognised(self) -> Self {
        match self.family {
            Family::ImageNetBottleneckV1 => Self {
                family: Family::ImageNetBottleneck,
                ..self
            },
            _ => self,
        }
    }

    /// Every network that its tensors tell apart from the others, with its family's usual class count.
    pub fn all() -> Vec<Self> {
        let imagenet = IMAGENET.iter().map(|&(depth, family, _)| Self {
            family,
            depth,
            classes: 1000,
        });
        let cifar = [Family::CifarA, Family::CifarB]
            .into_iter()
            .flat_map(|family| {
                CIFAR_DEPTHS.iter().map(move |&depth| Self {
                    family,
                    depth,
                    classes: 10,
                })
            });
        imagenet.chain(cifar).collect()
    }

    /// The same network with another number of classes.
    pub fn with_classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }

    /// The spelling that [`Arch::parse`] reads.
    pub fn name(&self) -> String {
        match self.family {
            Family::ImageNetBasic | Family::ImageNetBottleneck => format!("resnet{}", self.depth),
            Family::ImageNetBottleneckV1 => format!("resnet{}-v1", self.depth),
            Family::CifarA => format!("cifar-resnet{}", self.depth),
            Family::CifarB => format!("cifar-resnet{}-b", self.depth),
        }
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The side, in pixels, of the square images the family is meant for.
    pub fn image_size(&self) -> usize {
        match self.family {
            Family::CifarA | Family::CifarB => 32,
            _ => 224,
        }
    }

    /// Layers, names and shapes.
    pub fn layout(&self) -> Layout {
        match self.family {
            Family::CifarA | Family::CifarB => self.cifar_layout(),
            _ => self.imagenet_layout(),
        }
    }

    /// Name and shape of every tensor a PyTorch checkpoint of this network holds, without `num_batches_tracked`.
    pub fn expected(&self) -> Vec<(String, Vec<usize>)> {
        let layout = self.layout();
        let mut tensors = Vec::new();
        for unit in layout.units() {
            tensors.push(Self::conv_weight(unit));
            for part in ["weight", "bias", "running_mean", "running_var"] {
                tensors.push((format!("{}.{part}", unit.bn), vec![unit.output]));
            }
        }
        Self::push_classifier(&layout, &mut tensors);
        tensors
    }

    /// The same after BatchNorm folding: every convolution has a bias, no BatchNorm is left.
    pub fn expected_folded(&self) -> Vec<(String, Vec<usize>)> {
        let layout = self.layout();
        let mut tensors = Vec::new();
        for unit in layout.units() {
            tensors.push(Self::conv_weight(unit));
            tensors.push((format!("{}.bias", unit.conv), vec![unit.output]));
        }
        Self::push_classifier(&layout, &mut tensors);
        tensors
    }

    /// The network whose convolutions have exactly the names and shapes given (a checkpoint's tensors, kept or folded);
    /// the class count is read off the classifier. Fails when none fits, saying how near the nearest one comes.
    pub fn recognise(shapes: &BTreeMap<String, Vec<usize>>) -> Result<Self, Error> {
        let weights = |tensors: &[(String, Vec<usize>)]| {
            tensors
                .iter()
                .filter(|(_, shape)| shape.len() == 4)
                .cloned()
                .collect::<BTreeMap<_, _>>()
        };
        let given: BTreeMap<_, _> = shapes
            .iter()
            .filter(|(_, shape)| shape.len() == 4)
            .map(|(name, shape)| (name.clone(), shape.clone()))
            .collect();
        let mut nearest: Option<(usize, Self)> = None;
        for arch in Self::all() {
            let wanted = weights(&arch.expected());
            if wanted == given {
                let classifier = format!("{}.weight", arch.layout().classifier);
                return match shapes.get(&classifier).map(Vec::as_slice) {
                    Some(&[classes, _]) => Ok(arch.with_classes(classes)),
                    _ => Ok(arch),
                };
            }
            let common = wanted
                .iter()
                .filter(|(name, shape)| given.get(*name) == Some(shape))
                .count();
            let difference = wanted.len() + given.len() - 2 * common;
            if common > 0 && nearest.is_none_or(|(least, _)| difference < least) {
                nearest = Some((difference, arch));
            }
        }
        Err(Error::Unrecognised {
            reason: match nearest {
                Some((difference, arch)) => {
                    format!("nearest is {arch}, but {difference} convolutions differ")
                }
                None => format!(
                    "no convolution among {} tensors has a known name and shape",
                    shapes.len()
                ),
            },
        })
    }

    fn conv_weight(unit: &ConvUnit) -> (String, Vec<usize>) {
        (
            format!("{}.weight", unit.conv),
            vec![unit.output, unit.input, unit.kernel, unit.kernel],
        )
    }

    fn push_classifier(layout: &Layout, tensors: &mut Vec<(String, Vec<usize>)>) {
        tensors.push((
            format!("{}.weight", layout.classifier),
            vec![layout.classes, layout.features],
        ));
        tensors.push((format!("{}.bias", layout.classifier), vec![layout.classes]));
    }

    fn imagenet_layout(&self) -> Layout {
        let counts = IMAGENET
            .iter()
            .find(|(depth, ..)| *depth == self.depth)
            .map(|&(_, _, counts)| counts)
            .expect("an Arch is only made from the table");
        let bottleneck = self.family != Family::ImageNetBasic;
        let v1 = self.family == Family::ImageNetBottleneckV1;
        let expansion = if bottleneck { 4 } else { 1 };
        let mut blocks = Vec::new();
        let mut channels = 64;
        for (s, &count) in counts.iter().enumerate() {
            let (stage, width) = (s + 1, 64 << s);
            for i in 0..count {
                let prefix = format!("layer{stage}.{i}");
                let stride = if i == 0 && stage > 1 { 2 } else { 1 };
                let output = width * expansion;
                let unit = |j: usize, input, output, kernel, stride| ConvUnit {
                    conv: format!("{prefix}.conv{j}"),
                    bn: format!("{prefix}.bn{j}"),
                    input,
                    output,
                    kernel,
                    stride,
                };
                let units = if bottleneck {
                    let strides = if v1 { [stride, 1] } else { [1, stride] };
                    vec![
                        unit(1, channels, width, 1, strides[0]),
                        unit(2, width, width, 3, strides[1]),
                        unit(3, width, output, 1, 1),
                    ]
                } else {
                    vec![
                        unit(1, channels, width, 3, stride),
                        unit(2, width, width, 3, 1),
                    ]
                };
                let shortcut = if stride != 1 || channels != output {
                    Self::projection(&format!("{prefix}.downsample"), channels, output, stride)
                } else {
                    Shortcut::Identity
                };
                blocks.push(BlockSpec {
                    stage,
                    units,
                    shortcut,
                });
                channels = output;
            }
        }
        Layout {
            stem: ConvUnit {
                conv: "conv1".to_owned(),
                bn: "bn1".to_owned(),
                input: 3,
                output: 64,
                kernel: 7,
                stride: 2,
            },
            max_pool: true,
            blocks,
            classifier: "fc".to_owned(),
            features: channels,
            classes: self.classes,
        }
    }

    fn cifar_layout(&self) -> Layout {
        let count = (self.depth - 2) / 6;
        let mut blocks = Vec::new();
        let mut channels = 16;
        for (s, width) in [16, 32, 64].into_iter().enumerate() {
            let stage = s + 1;
            for i in 0..count {
                let prefix = format!("layer{stage}.{i}");
                let stride = if i == 0 && stage > 1 { 2 } else { 1 };
                let unit = |j: usize, input, stride| ConvUnit {
                    conv: format!("{prefix}.conv{j}"),
                    bn: format!("{prefix}.bn{j}"),
                    input,
                    output: width,
                    kernel: 3,
                    stride,
                };
                let shortcut = match self.family {
                    _ if channels == width => Shortcut::Identity,
                    Family::CifarB => {
                        Self::projection(&format!("{prefix}.shortcut"), channels, width, stride)
                    }
                    _ => Shortcut::Pad {
                        pad: (width - channels) / 2,
                    },
                };
                blocks.push(BlockSpec {
                    stage,
                    units: vec![unit(1, channels, stride), unit(2, width, 1)],
                    shortcut,
                });
                channels = width;
            }
        }
        Layout {
            stem: ConvUnit {
                conv: "conv1".to_owned(),
                bn: "bn1".to_owned(),
                input: 3,
                output: 16,
                kernel: 3,
                stride: 1,
            },
            max_pool: false,
            blocks,
            classifier: "linear".to_owned(),
            features: 64,
            classes: self.classes,
        }
    }

    fn projection(prefix: &str, input: usize, output: usize, stride: usize) -> Shortcut {
        Shortcut::Project(ConvUnit {
            conv: format!("{prefix}.0"),
            bn: format!("{prefix}.1"),
            input,
            output,
            kernel: 1,
            stride,
        })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(arch: &Arch) -> usize {
        let is_parameter = |name: &str| !name.contains("running");
        arch.expected()
            .iter()
            .filter(|(name, _)| is_parameter(name))
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        for (name, count) in [
            ("resnet18", 11_689_512),
            ("resnet34", 21_797_672),
            ("resnet50", 25_557_032),
            ("resnet101", 44_549_160),
            ("resnet152", 60_192_808),
            ("cifar-resnet20", 269_722),
            ("cifar-resnet110", 1_727_962),
        ] {
            assert_eq!(parameters(&Arch::parse(name).unwrap()), count, "{name}");
        }
    }

    #[test]
    fn every_network_is_recognised_from_its_own_tensors_kept_and_folded() {
        for arch in Arch::all() {
            let arch = arch.with_classes(7);
            for tensors in [arch.expected(), arch.expected_folded()] {
                assert_eq!(
                    Arch::recognise(&tensors.into_iter().collect()).unwrap(),
                    arch
                );
            }
        }
    }

    #[test]
    fn the_papers_stride_is_another_network_of_the_same_tensors() {
        for v1 in Arch::v1() {
            let v15 = v1.recognised();
            assert_eq!(v1.expected(), v15.expected());
            assert_eq!(Arch::parse(&v1.name()).unwrap(), v1);
            assert_eq!(v1.name(), format!("{v15}-v1"));
            let strides = |arch: &Arch| -> Vec<usize> {
                let layout = arch.layout();
                layout.units().iter().map(|unit| unit.stride).collect()
            };
            assert_ne!(strides(&v1), strides(&v15));
            let product = |arch: &Arch| strides(arch).iter().product::<usize>();
            assert_eq!(product(&v1), product(&v15));
        }
    }

    #[test]
    fn a_network_with_one_layer_less_is_refused_and_the_nearest_is_named() {
        let mut tensors: BTreeMap<_, _> = Arch::parse("resnet18")
            .unwrap()
            .expected()
            .into_iter()
            .collect();
        tensors.remove("layer4.1.conv2.weight");
        let error = Arch::recognise(&tensors).unwrap_err().to_string();
        assert!(error.contains("resnet18"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_that_exist() {
        let error = Arch::parse("resnet19").unwrap_err().to_string();
        assert!(
            error.contains("resnet19") && error.contains("cifar-resnet56-b"),
            "{error}"
        );
    }
}
