//! What other tools make of an experiment's network: figures that stand beside those of runs and are none of them.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::file::plain;
use crate::rows::Row;

/// A row of an experiment's `peers.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerRow {
    /// The tool, its version and its method.
    pub peer: String,
    /// The runs that it stands beside: columns of `run.csv` with their values, `weights_bits=3;weights_granularity=channel`.
    pub beside: String,
    /// Test images whose best class is right.
    pub hits: u64,
    /// Test images.
    pub images: u64,
    /// Seconds that it takes to quantize.
    #[serde(serialize_with = "plain")]
    pub seconds: f64,
    /// Who measured it, and how.
    pub source: String,
}

impl Row for PeerRow {
    fn columns() -> Vec<&'static str> {
        vec!["peer", "beside", "hits", "images", "seconds", "source"]
    }
}

impl PeerRow {
    /// `beside` of these columns and values.
    pub fn beside<'a>(columns: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let columns = columns.into_iter();
        let pairs: Vec<String> = columns.map(|(c, value)| format!("{c}={value}")).collect();
        pairs.join(";")
    }

    /// The columns that `beside` names, with their values; none where one of them is no column of `run.csv`.
    pub fn columns_beside(&self) -> Option<Vec<(&str, &str)>> {
        let pairs = self.beside.split(';').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('='))
            .map(|pair| pair.filter(|(column, _)| Config::names().any(|name| name == *column)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_and_a_column_that_there_is_none_of_is_seen() {
        let columns = [("weights_bits", "3"), ("weights_granularity", "channel")];
        let row = |beside: String| PeerRow {
            peer: "p".into(),
            beside,
            hits: 1,
            images: 2,
            seconds: 0.5,
            source: "s".into(),
        };
        let one = row(PeerRow::beside(columns));
        assert_eq!(one.columns_beside().unwrap(), columns);
        assert_eq!(row(String::new()).columns_beside().unwrap(), []);
        for wrong in ["weight_bits=3", "weights_bits"] {
            assert_eq!(row(wrong.into()).columns_beside(), None);
        }
    }
}
