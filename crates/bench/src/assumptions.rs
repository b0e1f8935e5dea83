//! What no file says about a network that was given as a file, or images that were given as a folder, and was therefore
//! assumed: told once, each with the setting that changes it.
//!
//! Models and sets with an entry in `models.toml` or `datasets.toml` have what they need there, and what was set was not
//! assumed.

use crate::plan::PlannedRun;
use crate::settings::ModelFile;

/// What was assumed for `runs`, each sentence once, in their order.
pub fn assumptions(runs: &[PlannedRun]) -> Vec<String> {
    each_once(runs.iter().flat_map(of))
}

/// Sentences without those that were said already.
pub(crate) fn each_once(sentences: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for sentence in sentences {
        if !all.contains(&sentence) {
            all.push(sentence);
        }
    }
    all
}

/// Prints them on stderr.
pub fn tell(runs: &[PlannedRun]) {
    for sentence in assumptions(runs) {
        eprintln!("assumed: {sentence}");
    }
}

/// What was assumed for one run.
fn of(run: &PlannedRun) -> Vec<String> {
    let (model, set) = (&run.model, &run.set);
    let is_file = matches!(run.cell.model.file, ModelFile::File { .. });
    let said = run.cell.input.or(&model.input);
    let [network, images] = run.subject();
    let mut all = Vec::new();
    if is_file {
        let of_file = model.checkpoint.assumptions.iter();
        all.extend(of_file.map(|sentence| format!("{network}: {sentence}")));
    }
    if is_file && said.normalization.is_none() {
        let normalization = set.data.normalization();
        let numbers = match normalization.to_string() {
            name if name.contains('/') => name,
            name => format!("{name} ({})", normalization.numbers()),
        };
        all.push(format!(
            "images for {network} are normalized by {numbers}; input.normalization changes it"
        ));
    }
    if let Some(crops) = set.crops
        && (is_file || set.given.is_some())
        && (said.resize.is_none() || said.size.is_none())
    {
        all.push(format!(
            "images of {images} are resized to {} pixels on the shorter side, the middle {} x {} is what {network} sees; \
             input.resize and input.size change it",
            crops.resize, crops.size, crops.size
        ));
    }
    if let Some(rule) = set.data.classes_from().filter(|_| set.given.is_some()) {
        all.push(format!("{images}: {rule}; labels.class_list changes it"));
    }
    all
}
