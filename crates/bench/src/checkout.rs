//! Where the project's own experiments, registries, shipped networks and committed results lie, from whatever folder the program is called:
//! in `QUANTLAB_HOME`, else in the current folder if it has them, else in the checkout that the program was built from.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::misspelt;
use crate::papers::PAPERS;

/// The folder that has `experiments`, `data` and `results/reference`.
pub fn root() -> PathBuf {
    let given = std::env::var_os("QUANTLAB_HOME").filter(|home| !home.is_empty());
    if let Some(home) = given {
        return home.into();
    }
    let here = PathBuf::new();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    match (is_one(&here), is_one(&built)) {
        (false, true) => built.canonicalize().unwrap_or(built),
        _ => here,
    }
}

fn is_one(folder: &Path) -> bool {
    folder.join("experiments").is_dir() && folder.join("data/models.toml").is_file()
}

/// `name` in the current folder if it is there, else in [`root`]'s.
pub fn find(name: &str) -> PathBuf {
    let here = PathBuf::from(name);
    match here.exists() {
        true => here,
        false => root().join(name),
    }
}

/// An experiment's file by what a person says: a path, or a name with or without `.toml`; what is not found is left as it was said.
pub fn experiment(said: &Path) -> PathBuf {
    if said.exists() {
        return said.to_owned();
    }
    let mut named = said.to_owned();
    if named.extension().is_none_or(|ending| ending != "toml") {
        named.as_mut_os_string().push(".toml");
    }
    let places = [
        named.clone(),
        root().join(&named),
        root().join("experiments").join(&named),
        root().join("experiments").join(PAPERS).join(&named),
    ];
    let found = places.into_iter().find(|place| place.is_file());
    found.unwrap_or_else(|| said.to_owned())
}

/// What may have been meant by a name of which [`experiment`] found nothing: the project's own experiments that are called nearly so.
pub fn meant(said: &Path) -> Vec<String> {
    let name = said.file_stem().unwrap_or_default().to_string_lossy();
    let own = root().join("experiments");
    let folders = [own.clone(), own.join(PAPERS)];
    let entries = folders.iter().flat_map(std::fs::read_dir).flatten();
    let files = entries.flatten().map(|entry| entry.path());
    let named = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    let mut known: Vec<String> = named
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    known.sort();
    let slips = |known: &String| strsim::damerau_levenshtein(&name, known);
    misspelt::nearest(&name, known.into_iter().map(|known| (slips(&known), known)))
}

/// The data folder where nobody names one.
pub static DATA: LazyLock<String> = LazyLock::new(|| text(find("data")));

/// The folder of experiments where nobody names one.
pub static EXPERIMENTS: LazyLock<String> = LazyLock::new(|| text(find("experiments")));

/// Where decoded images and trainings are kept where nobody says: in the data folder of a checkout that one stands in, else where the system
/// keeps such.
pub static CACHE: LazyLock<String> = LazyLock::new(|| {
    let own = Path::new("data");
    if own.is_dir() {
        return text(own.join("cache"));
    }
    let set = |name: &str| std::env::var_os(name).filter(|folder| !folder.is_empty());
    let folder = set("XDG_CACHE_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")));
    text(folder.map_or_else(|| own.join("cache"), |folder| folder.join("quantlab")))
});

/// Defaults of a command line are text; a path that is none is shown as far as it is.
fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tests run in the crate's folder, which has no experiments.
    #[test]
    fn a_name_finds_its_experiment_and_what_is_unknown_stays_as_it_was_said() {
        let whole = root().join("experiments/weight-bits.toml");
        assert!(whole.is_file(), "{}", whole.display());
        for said in [
            "weight-bits",
            "weight-bits.toml",
            "experiments/weight-bits.toml",
        ] {
            assert_eq!(experiment(Path::new(said)), whole, "{said}");
        }
        let paper = root().join("experiments/papers/nagel2021.toml");
        assert_eq!(experiment(Path::new("nagel2021")), paper);
        assert_eq!(experiment(Path::new("papers/nagel2021")), paper);
        let unknown = Path::new("no-such");
        assert_eq!(experiment(unknown), unknown);
        assert!(find("data").join("models.toml").is_file());
        assert_eq!(find("src"), Path::new("src"));
    }
}
