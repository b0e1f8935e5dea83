//! What a file says of where it comes from.

use std::collections::BTreeMap;

use results::Run;
use results::metric::TOP1_CORRECT;

use crate::plan::PlannedRun;
use crate::settings::Settings;
use crate::sweep::whole_network;

/// What a finished run counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hits {
    /// Images whose largest logit is that of their label.
    pub hits: u64,
    /// All test images.
    pub images: u64,
}

impl Hits {
    /// Those of `run`.
    pub fn of(run: &Run) -> Option<Self> {
        let hits = whole_network(run, TOP1_CORRECT)? as u64;
        let images = run.predictions.len() as u64;
        Some(Self { hits, images })
    }
}

/// The metadata of the file of `run`: its id, model and `settings`, and its hits where it was measured.
pub fn facts(
    run: &PlannedRun,
    settings: &Settings,
    measured: Option<Hits>,
) -> BTreeMap<String, String> {
    let settings: Vec<String> = settings
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut all = vec![
        ("run_id", run.run_id.clone()),
        ("model", run.model.name.clone()),
        ("weights_sha256", run.model.checkpoint.sha256.clone()),
        ("settings", settings.join("; ")),
    ];
    if let Some(Hits { hits, images }) = measured {
        all.extend([("hits", hits.to_string()), ("images", images.to_string())]);
    }
    let named = |(key, value)| (format!("quantlab.{key}"), value);
    all.into_iter().map(named).collect()
}
