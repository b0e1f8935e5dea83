//! When a published value is reproduced.
//!
//! ```text
//! expected = published + (our float - their float)      where both float networks are known, else published      (1)
//! reproduces:  low - tolerance <= expected <= high + tolerance                                                   (2)
//! ```
//!
//! `low` and `high` are the ends of our Wilson 95 % interval. (1) compares what quantizing costs, in points, since float networks are
//! seldom the same; where they are, it compares values. The interval is that of a draw of test images. On the very same images and
//! weights two methods differ by less; it is the wider, more lenient one.

use report::stats::wilson;

use super::Need;
use crate::experiment::{Differs, Published};

/// Rounding of decimals into binary must not decide.
const EPSILON: f64 = 1e-9;

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Ours {
    /// The run; of several draws the one with the median of the hits, of two the lower.
    pub run_id: String,
    /// Its hits.
    pub hits: u64,
    /// Of how many images.
    pub images: u64,
    /// Hits and images of its float run.
    pub float: Option<(u64, u64)>,
    /// How many draws there are.
    pub draws: usize,
}

impl Ours {
    /// Top-1 in percent.
    pub fn top1(&self) -> f64 {
        percent((self.hits, self.images))
    }

    /// Top-1 of the float run in percent.
    pub fn float_top1(&self) -> Option<f64> {
        self.float.map(percent)
    }

    /// The ends of the 95 % interval in percent.
    pub fn interval(&self) -> (f64, f64) {
        let (low, high) = wilson(self.hits, self.images);
        (100.0 * low, 100.0 * high)
    }

    /// How far above what is to be expected, in points.
    pub fn off(&self, published: &Published) -> f64 {
        self.top1() - self.expected(published)
    }

    /// Equation (1).
    fn expected(&self, published: &Published) -> f64 {
        let shift = published.float.zip(self.float_top1());
        published.top1 + shift.map_or(0.0, |(theirs, ours)| ours - theirs)
    }
}

fn percent((hits, images): (u64, u64)) -> f64 {
    100.0 * hits as f64 / images.max(1) as f64
}

/// How a value and a run compare.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// As near as chance and tolerance allow.
    Reproduces,
    /// Farther, by so many points.
    Differs(f64),
    /// Not the same thing; shown and not judged.
    Another(Differs),
    /// There is no run, and these it would need.
    Missing(Vec<Need>),
}

/// Equation (2), unless the run is another thing: by what the file says, or by what the run is (`differs`).
pub fn judge(published: &Published, ours: &Ours, differs: Option<Differs>) -> Verdict {
    let both = published.float.is_some() && ours.float.is_some();
    match differs.or(published.differs) {
        // What quantizing costs can be compared.
        Some(Differs::Training) if both => {}
        Some(differs) => return Verdict::Another(differs),
        None => {}
    }
    let expected = ours.expected(published);
    let (low, high) = ours.interval();
    let allowed = published.tolerance + EPSILON;
    match low - allowed <= expected && expected <= high + allowed {
        true => Verdict::Reproduces,
        false => Verdict::Differs(ours.off(published)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(top1: f64, tolerance: f64) -> Published {
        Published {
            condition: Default::default(),
            top1,
            paper: "p".into(),
            table: String::new(),
            row: String::new(),
            source: String::new(),
            float: None,
            tolerance,
            images: None,
            differs: None,
        }
    }

    fn ours(hits: u64) -> Ours {
        Ours {
            run_id: "0123456789ab".into(),
            hits,
            images: 10_000,
            float: Some((9173, 10_000)),
            draws: 1,
        }
    }

    #[test]
    fn a_value_at_the_end_of_interval_and_tolerance_is_reproduced_and_one_beyond_is_not() {
        let ours = ours(9000);
        // Wilson by hand: z = 1.95996, centre 0.899846, half 0.005879.
        let (low, high) = ours.interval();
        assert!(
            (low - 89.3966).abs() < 1e-3 && (high - 90.5725).abs() < 1e-3,
            "{low} {high}"
        );
        for tolerance in [0.0, 0.5] {
            let verdict = |top1: f64| judge(&published(top1, tolerance), &ours, None);
            assert_eq!(verdict(high + tolerance), Verdict::Reproduces);
            assert_eq!(verdict(low - tolerance), Verdict::Reproduces);
            let Verdict::Differs(below) = verdict(high + tolerance + 1e-6) else {
                panic!("beyond the upper end");
            };
            assert!((below - (90.0 - high - tolerance)).abs() < 1e-5 && below < 0.0);
            let Verdict::Differs(above) = verdict(low - tolerance - 1e-6) else {
                panic!("beyond the lower end");
            };
            assert!((above - (90.0 - low + tolerance)).abs() < 1e-5 && above > 0.0);
        }
    }

    #[test]
    fn where_both_float_networks_are_known_what_quantizing_costs_is_compared() {
        // Ours loses 1.73 points, as theirs does from another height.
        let mut value = published(70.0, 0.0);
        assert!(matches!(
            judge(&value, &ours(9000), None),
            Verdict::Differs(_)
        ));
        value.float = Some(71.73);
        assert_eq!(judge(&value, &ours(9000), None), Verdict::Reproduces);
        assert!(ours(9000).off(&value).abs() < 1e-9);
        assert!((ours(8900).off(&value) + 1.0).abs() < 1e-9);
        assert!(matches!(
            judge(&value, &ours(8900), None),
            Verdict::Differs(_)
        ));
        // Without our float run the value itself is all there is.
        let alone = Ours {
            float: None,
            ..ours(9000)
        };
        assert!((alone.off(&value) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_another_thing_is_not_judged_and_another_training_by_its_loss_alone() {
        let mut value = published(90.0, 0.0);
        for differs in [Differs::Network, Differs::Data, Differs::Method] {
            value.differs = Some(differs);
            assert_eq!(judge(&value, &ours(9000), None), Verdict::Another(differs));
        }
        // What the run is weighs more than what the file foresaw.
        assert_eq!(
            judge(&value, &ours(9000), Some(Differs::Data)),
            Verdict::Another(Differs::Data)
        );
        value.differs = Some(Differs::Training);
        assert_eq!(
            judge(&value, &ours(9000), None),
            Verdict::Another(Differs::Training)
        );
        value.float = Some(91.73);
        assert_eq!(judge(&value, &ours(9000), None), Verdict::Reproduces);
        let alone = Ours {
            float: None,
            ..ours(9000)
        };
        assert_eq!(
            judge(&value, &alone, None),
            Verdict::Another(Differs::Training)
        );
    }
}
