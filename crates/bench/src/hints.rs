//! What is allowed and seldom meant: told once before a sweep or a training, each with the setting that changes it.

use quant_core::RangeMethod;
use quantize::{BiasPolicy, Of};
use train::qat::Start;

use crate::assumptions::each_once;
use crate::plan::PlannedRun;
use crate::settings::{Cell, Quantization, Source, Training};

/// Bits from which on it matters little where a learned step begins.
const ENOUGH_BITS: u32 = 4;

/// Bits of both factors of a product, above which biases on the products' scale seldom fit 32 bits.
const WIDE_PRODUCT: u32 = 26;

/// Prints what there is to say of `runs` on stderr, each sentence once, in their order.
pub fn tell(runs: &[PlannedRun]) {
    for sentence in each_once(runs.iter().flat_map(|run| of(&run.cell))) {
        eprintln!("hint: {sentence}");
    }
}

/// What there is to say of one cell.
fn of(cell: &Cell) -> Vec<String> {
    let how = cell.quantization.as_ref();
    let each = [poor_start, wide_biases];
    each.iter().filter_map(|hint| hint(how?)).collect()
}

/// Learned steps that begin where most weights are 0.
fn poor_start(how: &Quantization) -> Option<String> {
    let (Source::Training(training), Some(scheme)) = (&how.source, how.weights.scheme) else {
        return None;
    };
    let Training { method, start, .. } = **training;
    let bits = scheme.bits().get();
    let begins_poorly = method.learns_weight_steps()
        && start == Start::Ptq
        && scheme.range() == RangeMethod::MinMax
        && bits < ENOUGH_BITS;
    begins_poorly.then(|| {
        format!(
            "qat.method = {method} begins at minimum and maximum (weights.range = minmax), where {bits} bits leave most \
             weights 0; leave weights.range out, which takes mse, or set qat.start = float"
        )
    })
}

/// Biases that 32 bits do not hold, since their scale is that of weights times activations.
fn wide_biases(how: &Quantization) -> Option<String> {
    let (scheme, activations) = (how.weights.scheme?, how.activations.as_ref()?);
    let own = [scheme.bits(), activations.how.scheme.bits()].map(|bits| bits.get());
    let allocated = how.allocation.iter().flat_map(|(how, _)| {
        let most = how.bits.iter().map(|bits| bits.get()).max();
        most.map(|most| match how.of {
            Of::Weights => [most, own[1]],
            Of::Activations => [own[0], most],
            Of::Both => [most, most],
        })
    });
    let [weights, activations] = allocated.fold(own, |_, most| most);
    let is_wide = weights + activations > WIDE_PRODUCT;
    (is_wide && how.weights.bias == BiasPolicy::Int32).then(|| {
        format!(
            "bias = int32: on the scale of {weights} bits times {activations}, most biases exceed 32 bits and are cut; set \
             bias = float"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Scalar;
    use crate::settings::Settings;

    fn hint(bits: i64, settings: &[(&str, &str)]) -> Vec<String> {
        let numbers = [("weights.bits", bits), ("activations.bits", bits)];
        let numbers = numbers.map(|(key, bits)| (key.to_owned(), Scalar::Integer(bits)));
        let words = [("model.name", "m"), ("method", "qat")];
        let words = words.iter().chain(settings);
        let words = words.map(|(key, word)| ((*key).to_owned(), Scalar::Text((*word).to_owned())));
        let all: Settings = numbers.into_iter().chain(words).collect();
        of(&Cell::new(&all).unwrap())
    }

    #[test]
    fn learned_steps_that_begin_at_minimum_and_maximum_get_one_below_four_bits() {
        let minmax = ("weights.range", "minmax");
        let told = hint(2, &[minmax]).concat();
        assert!(
            told.contains("2 bits") && told.contains("qat.start = float"),
            "{told}"
        );
        assert_eq!(hint(3, &[minmax, ("qat.method", "lsq_plus")]).len(), 1);
        for (bits, settings) in [
            (4, &[minmax][..]),
            (2, &[]),
            (2, &[minmax, ("qat.start", "float")]),
            (2, &[minmax, ("qat.method", "pact")]),
            (2, &[minmax, ("method", "ptq")]),
        ] {
            assert!(hint(bits, settings).is_empty(), "{bits} {settings:?}");
        }
    }

    #[test]
    fn biases_on_the_scale_of_wide_products_get_one() {
        let post_training = ("method", "ptq");
        let told = hint(16, &[post_training]).concat();
        assert!(told.contains("16 bits times 16"), "{told}");
        assert!(hint(16, &[post_training, ("bias", "float")]).is_empty());
        assert!(hint(13, &[post_training]).is_empty());
        let some = [post_training, ("allocate.method", "sqnr")];
        let wide = [("allocate.bits", "4 16"), ("allocate.of", "both")];
        let told = hint(8, &[&some[..], &wide].concat()).concat();
        assert!(told.contains("16 bits times 16"), "{told}");
    }
}
