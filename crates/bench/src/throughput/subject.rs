//! A network to be timed, compiled.

use anyhow::Result;
use engine::{Algorithm, Execution, IntegerArithmetic, Isa, Options, Program, Shape};
use network::Network;
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Mapping, RangeMethod,
    Rounding, Scheme,
};
use quantize::{
    ActivationQuantization, BiasPolicy, BnMode, Epilogue, QuantizedNet, ShortcutPolicy,
    SiteStatistics, Sites, WeightQuantization,
};

use super::model::Model;

/// Seed of random weights and images. Speed does not depend on the values as long as they are ordinary numbers.
pub(super) const SEED: u64 = 1;

/// Element types that a network computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point throughout.
    Float32,
    /// The same, 3x3 convolutions by Winograd's algorithm.
    Float32Winograd,
    /// 8-bit integers, summed in 32 bits.
    Int8,
}

impl Precision {
    /// Those that are timed.
    pub const OURS: [Self; 3] = [Self::Float32, Self::Float32Winograd, Self::Int8];

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float32Winograd => "float32-winograd",
            Self::Int8 => "int8",
        }
    }
}

/// A compiled network.
pub struct Subject {
    /// What it computes with.
    pub precision: Precision,
    /// The network, ready to run.
    pub program: Program,
}

impl Subject {
    /// Compiles `model` for images of its own size. Int8: weights symmetric per channel, activations affine, the exact
    /// arithmetic.
    ///
    /// # Errors
    /// As [`Model::network`], [`quantize::lower`] and [`Program::new`]: the processor lacks the instructions, or the precision what
    /// the network computes.
    pub fn new(model: &Model, precision: Precision, isa: Isa) -> Result<Self> {
        let network = model.network()?;
        let size = [model.input.height, model.input.width];
        let graph = match precision {
            Precision::Float32 | Precision::Float32Winograd => {
                quantize::lower(network, size, Epilogue::Fused)?
            }
            Precision::Int8 => {
                let net = eight_bits(&network)?;
                quantize::lower_quantized(net, size, Epilogue::Fused)?
            }
        };
        let program = Program::new(
            graph,
            Options {
                isa,
                execution: Execution::Integer(IntegerArithmetic::default()),
                convolution: match precision {
                    Precision::Float32Winograd => Algorithm::Winograd,
                    Precision::Float32 | Precision::Int8 => Algorithm::Direct,
                },
                ..Options::default()
            },
        )?;
        Ok(Self { precision, program })
    }

    /// Whether the precision makes this network another program than those before it do: Winograd's algorithm may have nothing to do.
    pub fn is_of_its_own(&self) -> bool {
        let mut nodes = self.program.nodes();
        self.precision != Precision::Float32Winograd
            || nodes.any(|node| node.algorithm == Algorithm::Winograd)
    }

    /// Operations for one image, a multiply-add counted as two.
    pub fn operations(&self) -> u64 {
        self.program.nodes().map(|node| node.operations).sum()
    }
}

/// `network` with weights and activations of 8 bits. Every site's range is made up: speed does not depend on it.
fn eight_bits(network: &Network) -> Result<QuantizedNet> {
    let bits = Bits::new(8)?;
    let (codes, rounding) = (CodeRange::Narrow, Rounding::HalfEven);
    let weights = WeightQuantization {
        scheme: Some(Scheme::new(
            bits,
            Mapping::Symmetric,
            codes,
            Granularity::Channel,
            RangeMethod::MinMax,
            rounding,
        )?),
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
        bias: BiasPolicy::Int32,
        bn: BnMode::Folded,
    };
    let range = ActivationRange::MinMax;
    let activations = ActivationQuantization {
        scheme: ActivationScheme::new(bits, Mapping::Affine, codes, range, rounding)?,
        first_bits: None,
        last_bits: None,
        bits_of: Default::default(),
        shortcut: ShortcutPolicy::Rescale,
    };
    let sites = Sites::new(network.topology());
    let mut statistics = SiteStatistics::new();
    for site in sites.names() {
        let seen = statistics.entry(site.to_owned()).or_default();
        seen.add(site, 0, &[-3.0, 3.0])?;
    }
    let mut net = quantize::quantize(network, &weights)?;
    let codes = sites.fit(&statistics, &activations)?;
    net.quantize_activations(&weights, codes, activations.shortcut)?;
    Ok(net)
}

/// Images that a peer shall take at once, where the network leaves it the choice: enough to keep its threads busy, few enough for its
/// memory.
pub fn peer_batch(input: Shape) -> usize {
    match input.height * input.width {
        ..=1024 => 256,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_those_of_the_paper_and_every_precision_of_ours_compiles() {
        let model = Model::parse("cifar-resnet20").unwrap();
        for precision in Precision::OURS {
            let subject = Subject::new(&model, precision, Isa::Portable);
            let subject = subject.unwrap();
            assert_eq!(subject.precision, precision);
            // 41 million multiply-adds in He et al.'s ResNet-20.
            let millions = subject.operations() / 2_000_000;
            assert_eq!(millions, 40, "{}", subject.operations());
            assert!(subject.is_of_its_own());
        }
        let none = Model::parse("mobilenet_v2").unwrap();
        let winograd = Subject::new(&none, Precision::Float32Winograd, Isa::Portable);
        assert!(!winograd.unwrap().is_of_its_own());
        assert_eq!(peer_batch(model.input), 256);
        assert_eq!(peer_batch(Model::parse("resnet50").unwrap().input), 16);
    }
}
