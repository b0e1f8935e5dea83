//! A comparison as text.

use super::{Comparison, Predictions, Theirs};

impl Comparison {
    /// The lines.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("{} on {} images", self.versions, self.images),
            String::new(),
            self.row("", "hits", |ours| {
                format!("other than {}", short(&ours.name))
            }),
        ];
        let theirs = self.theirs.iter().map(|theirs| &theirs.predictions);
        for one in self.ours.iter().chain(theirs) {
            let hits = one.hits.to_string();
            lines.push(self.row(&one.name, &hits, |ours| one.differ(ours).to_string()));
        }
        if self.theirs.iter().any(|theirs| !theirs.values.is_empty()) {
            lines.extend(self.codes());
        }
        lines.join("\n") + "\n"
    }

    /// A line of the first table, with a cell for each of our executions.
    fn row(&self, name: &str, hits: &str, cell: impl Fn(&Predictions) -> String) -> String {
        let cells = self.ours.iter().map(|ours| format!("{:>37}", cell(ours)));
        format!("{name:<34}{hits:>8}{}", cells.collect::<String>())
    }

    /// What became of each value's codes.
    fn codes(&self) -> Vec<String> {
        let row = |name: &str, n: &str, cell: &dyn Fn(&Theirs) -> String| {
            let cells = self.theirs.iter().map(|one| format!("{:>28}", cell(one)));
            format!("{name:<34}{n:>10}{}", cells.collect::<String>())
        };
        let mut lines = vec![String::new()];
        lines.extend(self.theirs.iter().map(fusion));
        let ours = self.ours.first().map_or("", |ours| &ours.name);
        lines.extend([String::new(), format!("codes that differ from {ours}")]);
        lines.push(row("value", "codes", &|one| one.predictions.name.clone()));
        let values = self.theirs.first().map(|first| first.values.iter());
        for (at, value) in values.into_iter().flatten().enumerate() {
            let cell = |one: &Theirs| match one.values.get(at) {
                Some(value) if value.differ > 0 => {
                    format!("{} (by {})", value.differ, value.largest)
                }
                _ => "0".to_owned(),
            };
            lines.push(row(&value.node, &value.n.to_string(), &cell));
        }
        lines
    }
}

/// Which nodes compute in integers, and whether looking at codes has changed that.
fn fusion(theirs: &Theirs) -> String {
    let [n, watched] = theirs.integers;
    let seen = match n == watched {
        true => "as many as where codes are results, too".to_owned(),
        false => format!("{watched} where codes are results, too, as below"),
    };
    format!(
        "{}: {n} nodes compute in integers, {seen}",
        theirs.predictions.name
    )
}

fn short(name: &str) -> &str {
    name.strip_prefix("quantlab, ").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::Agreement;

    fn predictions(name: &str, top1: &[u16], hits: usize) -> Predictions {
        Predictions {
            name: name.to_owned(),
            top1: top1.to_vec(),
            hits,
        }
    }

    #[test]
    fn hits_other_predictions_and_codes_that_differ_stand_in_two_tables() {
        let value = Agreement {
            node: "conv1".to_owned(),
            n: 64,
            differ: 3,
            largest: 2,
        };
        let comparison = Comparison {
            versions: "onnxruntime 1".to_owned(),
            images: 3,
            ours: vec![predictions("quantlab, simulation", &[1, 2, 3], 3)],
            theirs: vec![Theirs {
                predictions: predictions("all optimizations", &[1, 2, 4], 2),
                integers: [9, 8],
                values: vec![value],
            }],
        };
        let text = comparison.text();
        let words = |start: &str| -> Vec<&str> {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.split_whitespace().collect()
        };
        assert_eq!(
            words("quantlab, simulation"),
            ["quantlab,", "simulation", "3", "0"]
        );
        assert_eq!(
            words("all optimizations   "),
            ["all", "optimizations", "2", "1"]
        );
        assert_eq!(words("conv1"), ["conv1", "64", "3", "(by", "2)"]);
        assert!(
            text.contains("9 nodes compute in integers, 8 where codes are results"),
            "{text}"
        );
    }
}
