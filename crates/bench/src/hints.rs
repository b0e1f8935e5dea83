//! What is allowed and seldom meant: told once before a sweep or a training, each with the setting that changes it.

use quant_core::RangeMethod;
use train::qat::Start;

use crate::assumptions::each_once;
use crate::plan::PlannedRun;
use crate::settings::{Cell, Source, Training};

/// Bits from which on it matters little where a learned step begins.
const ENOUGH_BITS: u32 = 4;

/// Prints what there is to say of `runs` on stderr, each sentence once, in their order.
pub fn tell(runs: &[PlannedRun]) {
    for sentence in each_once(runs.iter().filter_map(|run| of(&run.cell))) {
        eprintln!("hint: {sentence}");
    }
}

/// What there is to say of one cell.
fn of(cell: &Cell) -> Option<String> {
    let how = cell.quantization.as_ref()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::Scalar;
    use crate::settings::Settings;

    fn hint(bits: i64, settings: &[(&str, &str)]) -> Option<String> {
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
        let told = hint(2, &[minmax]).unwrap();
        assert!(
            told.contains("2 bits") && told.contains("qat.start = float"),
            "{told}"
        );
        assert!(hint(3, &[minmax, ("qat.method", "lsq_plus")]).is_some());
        for (bits, settings) in [
            (4, &[minmax][..]),
            (2, &[]),
            (2, &[minmax, ("qat.start", "float")]),
            (2, &[minmax, ("qat.method", "pact")]),
            (2, &[minmax, ("method", "ptq")]),
        ] {
            assert_eq!(hint(bits, settings), None, "{bits} {settings:?}");
        }
    }
}
