//! One cell from the command line alone, for the programs that look at it.

use std::sync::Arc;

use anyhow::{Result, anyhow};

use crate::cli::{Folders, decoding_bar};
use crate::experiment::Scalar;
use crate::plan::{PlannedRun, Ranges, plan_cell};
use crate::registry::Registry;
use crate::settings::{Cell, Settings, parse_single};
use crate::sources::{Model, Sources};

/// The settings that `assignments` (`KEY=VALUE`) make: of 64 images, the shipped model and the original method, if nothing else is said.
///
/// # Errors
/// An assignment that is none, or gives several values.
pub fn settings(assignments: &[String]) -> Result<Settings> {
    let text = |word: &str| Scalar::Text(word.to_owned());
    let mut settings = Settings::from([("images".to_owned(), Scalar::Integer(64))]);
    for assignment in assignments {
        settings.extend([parse_single(assignment)?]);
    }
    if !settings.contains_key("model.weights") {
        settings
            .entry("model.name".to_owned())
            .or_insert_with(|| text("resnet20-synthetic"));
    }
    settings
        .entry("method".to_owned())
        .or_insert_with(|| text("linear"));
    Ok(settings)
}

/// Opens the network and the images of the cell; `label` is what the settings are called in an error.
///
/// # Errors
/// As [`plan_cell`].
pub fn open(
    settings: Settings,
    (label, ranges): (&str, Ranges),
    folders: &Folders,
    skip_unreadable: bool,
) -> Result<PlannedRun> {
    let mut sources = sources(folders, skip_unreadable)?;
    plan_cell(&settings, &mut sources, label, ranges)?
        .pop()
        .ok_or_else(|| anyhow!("the settings describe no run"))
}

/// Opens the network alone, for which no test set is needed.
///
/// # Errors
/// Settings that do not apply; a model that cannot be read.
pub fn model(settings: &Settings, folders: &Folders) -> Result<Arc<Model>> {
    sources(folders, false)?.model(&Cell::new(settings)?.model)
}

fn sources(folders: &Folders, skip_unreadable: bool) -> Result<Sources> {
    Ok(Sources::new(
        Registry::open(&folders.data)?,
        &folders.cache,
        skip_unreadable,
        decoding_bar(),
    ))
}
