//! What a comparison with the reference found, and its words.

use std::collections::BTreeSet;
use std::fmt;

use results::Run;

/// A run that is not what the reference has under its id.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The run.
    pub run_id: String,
    /// Its settings that vary, for people.
    pub label: String,
    /// Images it was tested on.
    pub images: usize,
    /// Images that are classified differently.
    pub predictions: usize,
    /// Rows of another image, or of another label, than the reference has there.
    pub other_images: usize,
    /// Images classified correctly: here and in the reference.
    pub hits: [Option<f64>; 2],
    /// Codes that integers and simulation give differently: here and in the reference.
    pub codes_differ: [Option<f64>; 2],
    /// Vector extensions of the processor that it was made on.
    pub cpu_features: String,
}

impl Difference {
    /// Whether it is one.
    pub fn is_any(&self) -> bool {
        let [here, there] = self.codes_differ;
        self.predictions > 0 || self.other_images > 0 || here != there
    }
}

/// `RUN bits=8: 2 of 2000 predictions differ, 1808 hits (reference 1807)`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run_id, label, .. } = self;
        let (n, images) = (self.predictions, self.images);
        write!(f, "{run_id} {label}: {n} of {images} predictions differ")?;
        if self.other_images > 0 {
            write!(f, ", rows of other images: {}", self.other_images)?;
        }
        let values = [(self.hits, "hits"), (self.codes_differ, "codes differ")];
        for ([here, there], what) in values {
            if here.is_some() || there.is_some() {
                let said = |value: Option<f64>| value.map_or("no".into(), |n| n.to_string());
                let (here, there) = (said(here), said(there));
                write!(f, ", {here} {what} (reference {there})")?;
            }
        }
        Ok(())
    }
}

/// Where, by which revision and when runs were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    cpu_features: BTreeSet<String>,
    revisions: BTreeSet<String>,
    dates: BTreeSet<String>,
}

impl Origin {
    fn add(&mut self, run: &Run) {
        let row = &run.row;
        let date: String = row.started_at.chars().take(10).collect();
        for (set, value) in [
            (&mut self.cpu_features, row.cpu_features.clone()),
            (&mut self.revisions, row.git_revision.clone()),
            (&mut self.dates, date),
        ] {
            if !value.is_empty() {
                set.insert(value);
            }
        }
    }
}

/// `avx2 fma, revision 37d345d810, 2026-11-26`; what is not known is left out.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revisions = match self.revisions.len() {
            0 => String::new(),
            1 => format!("revision {}", listed(&self.revisions)),
            2 | 3 => format!("revisions {}", listed(&self.revisions)),
            n => format!("{n} revisions"),
        };
        let dates = match (self.dates.first(), self.dates.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            _ => listed(&self.dates),
        };
        let mut parts = vec![listed(&self.cpu_features), revisions, dates];
        parts.retain(|part| !part.is_empty());
        f.write_str(&parts.join(", "))
    }
}

fn listed(set: &BTreeSet<String>) -> String {
    let values: Vec<&str> = set.iter().map(String::as_str).collect();
    values.join(" and ")
}

/// The runs of a plan beside those of the reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Runs that agree.
    pub same: usize,
    /// Runs that do not.
    pub differing: Vec<Difference>,
    /// Runs that the reference lacks.
    pub missing: usize,
    /// Runs that it has, and that failed here.
    pub unfinished: usize,
    /// Where the reference's runs come from.
    pub origin: Origin,
}

impl Comparison {
    /// A run that could be compared.
    pub(super) fn add(&mut self, there: &Run, difference: Option<Difference>) {
        self.origin.add(there);
        match difference {
            Some(difference) => self.differing.push(difference),
            None => self.same += 1,
        }
    }

    /// Whether every run of the plan was made and agrees.
    pub fn is_same(&self) -> bool {
        self.differing.is_empty() && self.missing == 0 && self.unfinished == 0
    }

    /// One line for all of it; which runs differ is in [`Comparison::differing`].
    pub fn summary(&self) -> String {
        let compared = self.same + self.differing.len();
        let runs = compared + self.missing + self.unfinished;
        if self.missing == runs {
            return format!("none of the {runs} runs is in the reference");
        }
        let mut line = "the same predictions as the reference in ".to_owned();
        line += &match (self.is_same(), runs) {
            (true, 1) => "the one run".to_owned(),
            (true, _) => format!("all {runs} runs"),
            (false, _) => format!("{} of {runs} runs", self.same),
        };
        for (count, one, more) in [
            (self.differing.len(), "differs", "differ"),
            (self.missing, "is not in it", "are not in it"),
            (self.unfinished, "failed", "failed"),
        ] {
            if count > 0 {
                line += &format!(", {count} {}", if count == 1 { one } else { more });
            }
        }
        let origin = self.origin.to_string();
        if !origin.is_empty() {
            line += &format!(" (made on {origin}{})", self.elsewhere());
        }
        line
    }

    /// On another kind of processor float sums have another order: said where it may be the reason.
    fn elsewhere(&self) -> String {
        let of = |run: &Difference| run.cpu_features.clone();
        let here: BTreeSet<String> = self.differing.iter().map(of).collect();
        if here.is_subset(&self.origin.cpu_features) {
            return String::new();
        }
        format!("; these on {}", listed(&here))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(predictions: usize, other_images: usize) -> Difference {
        Difference {
            run_id: "e9bf6fb3c128".into(),
            label: "bits=8".into(),
            images: 2000,
            predictions,
            other_images,
            hits: [Some(1808.0), Some(1807.0)],
            codes_differ: [None, None],
            cpu_features: "avx2 fma".into(),
        }
    }

    fn origin(cpu_features: &str, revisions: &[&str], dates: &[&str]) -> Origin {
        let set = |values: &[&str]| values.iter().map(|value| value.to_string()).collect();
        Origin {
            cpu_features: set(&[cpu_features]),
            revisions: set(revisions),
            dates: set(dates),
        }
    }

    fn comparison(same: usize, differing: Vec<Difference>) -> Comparison {
        Comparison {
            same,
            differing,
            origin: origin("avx2 fma", &["37d345d810"], &["2026-11-26"]),
            ..Comparison::default()
        }
    }

    #[test]
    fn a_difference_says_how_many_predictions_and_the_hits_of_both() {
        let line = "e9bf6fb3c128 bits=8: 2 of 2000 predictions differ, 1808 hits (reference 1807)";
        assert_eq!(difference(2, 0).to_string(), line);
        let codes = Difference {
            codes_differ: [Some(3.0), Some(0.0)],
            ..difference(0, 0)
        };
        assert!(codes.is_any());
        assert!(codes.to_string().ends_with("3 codes differ (reference 0)"));
        assert!(difference(0, 1).is_any() && !difference(0, 0).is_any());
    }

    #[test]
    fn agreement_is_one_sentence_that_says_where_the_reference_was_made() {
        let made = " (made on avx2 fma, revision 37d345d810, 2026-11-26)";
        let same = "the same predictions as the reference in";
        let all = comparison(9, Vec::new());
        assert!(all.is_same());
        assert_eq!(all.summary(), format!("{same} all 9 runs{made}"));
        let one = comparison(1, Vec::new());
        assert_eq!(one.summary(), format!("{same} the one run{made}"));
    }

    #[test]
    fn what_differs_is_missing_or_failed_is_counted_in_the_same_sentence() {
        let some = Comparison {
            missing: 2,
            unfinished: 1,
            ..comparison(5, vec![difference(2, 0)])
        };
        assert!(!some.is_same());
        assert_eq!(
            some.summary(),
            "the same predictions as the reference in 5 of 9 runs, 1 differs, 2 are not in it, 1 failed \
             (made on avx2 fma, revision 37d345d810, 2026-11-26)"
        );
        let none = Comparison {
            missing: 9,
            ..Comparison::default()
        };
        assert_eq!(none.summary(), "none of the 9 runs is in the reference");
        assert!(!none.is_same());
    }

    #[test]
    fn another_processor_is_named_and_many_origins_stay_short() {
        let mut other = comparison(8, vec![difference(2, 0)]);
        other.origin = origin(
            "avx512f",
            &["a", "b", "c", "d"],
            &["2026-11-02", "2026-11-26"],
        );
        let made = "(made on avx512f, 4 revisions, 2026-11-02 to 2026-11-26; these on avx2 fma)";
        assert!(other.summary().ends_with(made), "{}", other.summary());
    }
}
