//! Which runs of an experiment something is about.

use anyhow::Result;
use dataset::Normalization;
use results::Config;
use results::setting::setting;
use toml::de::DeTable;

use super::Scalar;
use super::leaves::leaves;
use crate::settings::Settings;

/// Settings that a run must have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition(Settings);

impl Condition {
    /// Of a `where` table of `text`.
    pub(super) fn parse(text: &str, table: &DeTable<'_>) -> Result<Self> {
        let mut settings = Settings::new();
        for leaf in leaves(text, "", table)? {
            settings.insert(leaf.key.clone(), leaf.scalar()?);
        }
        Ok(Self(settings))
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.0
    }

    /// Whether a run's columns hold all of the settings, the resolved number of images among them.
    pub fn holds(&self, config: &Config) -> bool {
        let columns = self.columns().unwrap_or_default();
        // A setting without a column is held by no run.
        columns.len() == self.0.len()
            && columns
                .iter()
                .all(|(column, wanted)| config.text(column) == wanted)
    }

    /// The columns of `run.csv` that the settings are, with the values they must have; a setting that has no column instead.
    pub fn columns(&self) -> Result<Vec<(&'static str, String)>, &str> {
        let column = |(key, value): (&'_ String, &Scalar)| {
            // A normalization may be written in several ways.
            let wanted = match (key.as_str(), value.to_string().parse::<Normalization>()) {
                ("input.normalization", Ok(normalization)) => normalization.to_string(),
                _ => value.to_string(),
            };
            let column = setting(key).and_then(|setting| setting.column)?;
            Some((column, wanted))
        };
        let each = self.0.iter();
        each.map(|pair| column(pair).ok_or(pair.0.as_str()))
            .collect()
    }
}
