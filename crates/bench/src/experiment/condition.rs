//! Which runs of an experiment something is about.

use anyhow::Result;
use dataset::Normalization;
use results::Config;
use results::setting::setting;
use toml::de::DeTable;

use super::leaves::leaves;
use crate::settings::Settings;

/// Settings that a run must have.
#[derive(Clone, Debug, Default)]
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
        self.0.iter().all(|(key, value)| {
            // A normalization may be written in several ways.
            let wanted = match (key.as_str(), value.to_string().parse::<Normalization>()) {
                ("input.normalization", Ok(normalization)) => normalization.to_string(),
                _ => value.to_string(),
            };
            let column = setting(key).and_then(|setting| setting.column);
            column.is_some_and(|column| config.text(column) == wanted)
        })
    }
}
