//! An experiment file: one question, the settings that stay, the settings that vary, and the counts that must come out.
//!
//! ```toml
//! question = "How many bits can the weights lose?"
//! expects = "Nothing changes down to 6 bits; 4 bits cost several points; 2 bits is chance."
//! found = "It did, but for 5 bits, which gained half a point."             # after the runs; optional
//!
//! [fixed]
//! model.name = "resnet20-synthetic"
//! method = "linear"
//!
//! [vary]                     # the plan is the product of these lists
//! weights.bits = [8, 4]
//!
//! [[check]]                  # a wrong count fails the sweep
//! where = { weights.bits = 8 }
//! metric = "top1_correct"
//! expected = 1870
//! tolerance = 2
//! ```
//!
//! Dotted keys and nested tables mean the same. Which keys exist is [`crate::settings`]'s business. Keys that must not be
//! multiplied with each other vary together: a name in quotes joins them, and each item lists a value for each:
//!
//! ```toml
//! [vary]
//! "weights.bits, activations.bits" = [[8, 8], [8, 4], [4, 4]]
//! weights.granularity = ["tensor", "channel"]            # six cells
//! ```
//!
//! `--set weights.bits=8` keeps the combinations with 8; a value that none of them has takes the key's place in all.

mod check;
mod condition;
mod leaves;
mod peer;
mod published;
mod vary;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use results::PeerRow;
use toml::de::{DeTable, DeValue};

use crate::checkout;
use crate::misspelt;
use crate::settings::{self, Settings};
use check::parse_check;
use leaves::{in_file_order, leaves, line_of};
use peer::parse_peer;
use published::{Said, parse_paper, parse_published};

pub use check::Check;
pub use condition::Condition;
pub(crate) use leaves::{scalar, widths};
pub use published::{Differs, Published};
pub use vary::Variation;

/// Cells that a plan may have. Each is held whole, and each is a run folder of four files.
const MOST_CELLS: usize = 20_000;

/// One value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A word.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// A parsed experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The file's name without `.toml`; results go into a folder of this name.
    pub name: String,
    /// What is asked.
    pub question: String,
    /// What was expected before the first run.
    pub expects: String,
    /// Whether it came so, written after the runs; empty where nobody has.
    pub found: String,
    /// Settings that are the same in every cell.
    pub fixed: Settings,
    /// What varies, in the file's order; the last one varies fastest.
    pub vary: Vec<Variation>,
    /// Counts that must come out.
    pub checks: Vec<Check>,
    /// What is published.
    pub published: Vec<Published>,
    /// What other tools come to.
    pub peers: Vec<PeerRow>,
}

impl Experiment {
    /// Reads an experiment file. Errors name the file, the key and its line.
    pub fn read(path: &Path) -> Result<Self> {
        let path = &checkout::experiment(path);
        let text = read(path).with_context(|| {
            let question = match path.exists() {
                true => None,
                false => misspelt::question(&checkout::meant(path)),
            };
            let question = question.map_or_else(String::new, |question| format!(" ({question})"));
            format!("cannot read the experiment {}{question}", path.display())
        })?;
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or_else(|| anyhow!("{}: the file name is no experiment name", path.display()))?;
        // Its results go into a folder of this name: better told now than after the plan.
        results::check_experiment(name)
            .with_context(|| format!("{}: rename the file", path.display()))?;
        Self::parse(name, &text).with_context(|| PathBuf::from(path).display().to_string())
    }

    /// Parses an experiment's text.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let root = DeTable::parse(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(text, span.start));
            anyhow!("line {line}: {}", e.message())
        })?;
        let mut experiment = Self {
            name: name.to_owned(),
            question: String::new(),
            expects: String::new(),
            found: String::new(),
            fixed: Settings::new(),
            vary: Vec::new(),
            checks: Vec::new(),
            published: Vec::new(),
            peers: Vec::new(),
        };
        let mut varying: BTreeMap<String, usize> = BTreeMap::new();
        // It may stand anywhere, and says what the values of the file have in common.
        let paper = match root.get_ref().get("paper").map(|paper| paper.get_ref()) {
            Some(DeValue::Table(table)) => parse_paper(text, table)?,
            _ => Said::default(),
        };
        for (key, value) in in_file_order(root.get_ref()) {
            let line = line_of(text, key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("question", DeValue::String(words)) => experiment.question = words.to_string(),
                ("expects", DeValue::String(words)) => experiment.expects = words.to_string(),
                ("found", DeValue::String(words)) => experiment.found = words.to_string(),
                ("fixed", DeValue::Table(table)) => {
                    for leaf in leaves(text, "", table)? {
                        let value = leaf.scalar()?;
                        experiment.fixed.insert(leaf.key, value);
                    }
                }
                ("vary", DeValue::Table(table)) => {
                    for leaf in leaves(text, "", table)? {
                        let variation = leaf.variation(text)?;
                        for key in &variation.keys {
                            if varying.insert(key.clone(), leaf.line).is_some() {
                                bail!("line {}: `{key}` varies twice", leaf.line);
                            }
                        }
                        experiment.vary.push(variation);
                    }
                }
                ("check", DeValue::Array(checks)) => {
                    for check in checks.iter() {
                        experiment.checks.push(parse_check(text, check)?);
                    }
                }
                ("published", DeValue::Array(tables)) => {
                    for table in tables.iter() {
                        experiment
                            .published
                            .push(parse_published(text, table, &paper)?);
                    }
                }
                ("paper", DeValue::Table(_)) => {}
                ("peer", DeValue::Array(tables)) => {
                    for table in tables.iter() {
                        experiment.peers.push(parse_peer(text, table)?);
                    }
                }
                (
                    "question" | "expects" | "found" | "fixed" | "vary" | "check" | "published"
                    | "paper" | "peer",
                    other,
                ) => {
                    bail!(
                        "line {line}: `{}` is {}; expected {}",
                        key.get_ref(),
                        other.type_str(),
                        match key.get_ref().as_ref() {
                            "question" | "expects" | "found" => "a text",
                            "check" => "[[check]] tables",
                            "published" => "[[published]] tables",
                            "peer" => "[[peer]] tables",
                            _ => "a table",
                        }
                    )
                }
                (other, _) => bail!(
                    "line {line}: unknown key `{other}`; an experiment has question, expects, found, [fixed], [vary], [[check]], [[published]], [paper] and [[peer]]"
                ),
            }
        }
        if experiment.question.is_empty() || experiment.expects.is_empty() {
            bail!("an experiment states its `question` and what it `expects`; one is missing");
        }
        if let Some((key, line)) = varying
            .iter()
            .find(|(key, _)| experiment.fixed.contains_key(*key))
        {
            bail!("line {line}: `{key}` is both in [fixed] and in [vary]");
        }
        Ok(experiment)
    }

    /// Applies one `--set key=value`: a single value fixes the key, a list varies it. Of keys that vary together see
    /// [`Variation::set`].
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let (key, values) = settings::parse_assignment(assignment)?;
        let key = key.as_str();
        // A file and an entry of models.toml are two ways to name one thing: the later word counts.
        let rival = match key {
            "model.name" => Some("model.weights"),
            "model.weights" => Some("model.name"),
            _ => None,
        };
        for old in [Some(key), rival].into_iter().flatten() {
            self.fixed.remove(old);
        }
        if let Some(rival) = rival {
            let vary = std::mem::take(&mut self.vary).into_iter();
            self.vary = vary.filter_map(|v| v.without(rival)).collect();
        }
        match self
            .vary
            .iter_mut()
            .find(|v| v.keys.iter().any(|k| k == key))
        {
            Some(variation) => variation.set(key, &values),
            None => self.vary.push(Variation::single(key, values)),
        }
        // One key with one value does not vary.
        for variation in &self.vary {
            if let Some(value) = variation.only() {
                self.fixed.insert(variation.keys[0].clone(), value.clone());
            }
        }
        self.vary.retain(|variation| variation.only().is_none());
        Ok(())
    }

    /// The settings of every cell: the product of what varies, the last fastest.
    ///
    /// # Errors
    /// More cells than [`MOST_CELLS`], said before any is made.
    pub fn cells(&self) -> Result<Vec<Settings>> {
        let mut lengths = self.vary.iter().map(|variation| variation.rows.len());
        let product = lengths.try_fold(1usize, |n, len| n.checked_mul(len));
        if product.is_none_or(|n| n > MOST_CELLS) {
            let lengths = self.vary.iter().map(|variation| variation.rows.len());
            let lengths: Vec<String> = lengths.take(12).map(|len| len.to_string()).collect();
            let more = if self.vary.len() > 12 { " x ..." } else { "" };
            bail!(
                "{}{more} cells vary; a plan has at most {MOST_CELLS}: split the experiment",
                lengths.join(" x ")
            );
        }
        let start = vec![self.fixed.clone()];
        Ok(self
            .vary
            .iter()
            .fold(start, |cells, variation| variation.spread(&cells)))
    }
}

/// Bytes of an experiment; the longest of ours has 12 KB.
const LONGEST: u64 = 256 << 10;

/// The text of a file that has an end, and one within reach.
fn read(path: &Path) -> std::io::Result<String> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(std::io::Error::other("no regular file"));
    }
    if found.len() > LONGEST {
        return Err(std::io::Error::other(format!(
            "{} bytes, where an experiment has at most {LONGEST}",
            found.len()
        )));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "question = \"q\"\nexpects = \"e\"\n[fixed]\nmethod = \"linear\"\nmodel.name = \"m\"\n\
        [vary]\nweights.bits = [8, 4]\nbn = [\"kept\", \"folded\"]\n";

    fn error(text: &str) -> String {
        format!("{:#}", Experiment::parse("x", text).unwrap_err())
    }

    #[test]
    fn the_plan_is_the_product_in_the_order_of_the_file() {
        let cells = Experiment::parse("x", TEXT).unwrap().cells().unwrap();
        let shown: Vec<String> = cells
            .iter()
            .map(|cell| format!("{} {}", cell["weights.bits"], cell["bn"]))
            .collect();
        assert_eq!(shown, ["8 kept", "8 folded", "4 kept", "4 folded"]);
    }

    #[test]
    fn a_product_beyond_all_plans_is_refused_before_its_cells_are_made() {
        let list: Vec<String> = (1..=200).map(|n| n.to_string()).collect();
        let list = list.join(",");
        let text = format!(
            "question = 'q'\nexpects = 'e'\n[vary]\nseed = [{list}]\nimages = [{list}]\nqat.epochs = [{list}]\n"
        );
        let error = Experiment::parse("x", &text).unwrap().cells().unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("200 x 200 x 200 cells vary; a plan has at most 20000"),
            "{message}"
        );
    }

    #[test]
    fn the_longest_files_take_no_minutes_and_their_errors_are_short() {
        let pairs = format!("{TEXT}'seed, images' = [{}]\n", "[1,2],".repeat(40_000));
        let checks = format!("{TEXT}{}", "[[check]]\nexpected = 1\n".repeat(11_000));
        for text in [pairs, checks] {
            assert!(text.len() as u64 <= LONGEST);
            let start = std::time::Instant::now();
            let parsed = Experiment::parse("x", &text).unwrap();
            assert!(parsed.checks.len() == 11_000 || parsed.vary.len() == 3);
            // Quadratic, it was half a minute for a megabyte.
            assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
        }
        let key = format!("{TEXT}'{}' = [1]\n", "seed,".repeat(30_000));
        assert!(error(&key).contains("a key of 150000 characters"));
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("long.toml");
        std::fs::write(&long, format!("{TEXT}#{}", " ".repeat(1 << 20))).unwrap();
        let message = format!("{:#}", Experiment::read(&long).unwrap_err());
        assert!(message.contains("at most 262144"), "{message}");
    }

    #[test]
    fn keys_of_one_table_stay_where_they_were_written() {
        let text = "question = 'q'\nexpects = 'e'\n[vary]\nweights.mapping = ['affine']\nbn = ['kept']\n\
            weights.bits = [8]\n";
        let experiment = Experiment::parse("x", text).unwrap();
        let keys: Vec<_> = experiment
            .vary
            .iter()
            .flat_map(|variation| &variation.keys)
            .collect();
        assert_eq!(keys, ["weights.mapping", "bn", "weights.bits"]);
    }

    const TOGETHER: &str = "question = 'q'\nexpects = 'e'\n[vary]\n\
        'weights.bits, activations.bits' = [\n[8, 8],\n[8, 4],\n[4, 4],\n]\nbn = ['kept', 'folded']\n";

    #[test]
    fn keys_that_vary_together_are_one_factor_of_the_product() {
        let mut experiment = Experiment::parse("x", TOGETHER).unwrap();
        let shown = |experiment: &Experiment| -> Vec<String> {
            let cells = experiment.cells().unwrap();
            let show = |cell: &Settings| {
                let value = |key: &str| cell[key].to_string();
                format!(
                    "{}/{} {}",
                    value("weights.bits"),
                    value("activations.bits"),
                    value("bn")
                )
            };
            cells.iter().map(show).collect()
        };
        let all = "8/8 kept,8/8 folded,8/4 kept,8/4 folded,4/4 kept,4/4 folded";
        assert_eq!(shown(&experiment).join(","), all);
        experiment.set("weights.bits=8").unwrap();
        experiment.set("bn=folded").unwrap();
        assert_eq!(shown(&experiment), ["8/8 folded", "8/4 folded"]);
        experiment.set("activations.bits=6").unwrap();
        assert_eq!(shown(&experiment), ["8/6 folded"]);
    }

    #[test]
    fn a_bad_combination_is_refused_with_keys_and_line() {
        let message = error(&TOGETHER.replace("[8, 4]", "[8]"));
        assert!(
            message.starts_with("line 6: `weights.bits, activations.bits` are 2 keys"),
            "{message}"
        );
        assert!(error(&TOGETHER.replace("[8, 4]", "8")).starts_with("line 6: `weights.bits, act"));
        assert!(error(&TOGETHER.replace("[8, 4]", "[8, []]")).starts_with("line 6: "));
        let message = error(&TOGETHER.replace("activations.bits", "activation.bits"));
        assert!(
            message.starts_with("line 4: unknown key `activation.bits`"),
            "{message}"
        );
        let message = error(&format!("{TOGETHER}weights.bits = [8]\n"));
        assert!(
            message.contains("line 10: `weights.bits` varies twice"),
            "{message}"
        );
        let fixed = format!("{TOGETHER}[fixed]\nweights.bits = 8\n");
        assert!(
            error(&fixed).contains("line 4: `weights.bits` is both"),
            "{}",
            error(&fixed)
        );
        let fixed = TOGETHER.replace("[vary]", "[fixed]");
        assert!(
            error(&fixed).contains("belongs into [vary]"),
            "{}",
            error(&fixed)
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        assert!(error(&format!("{TEXT}wieghts.bits = [1]\n")).contains("line 9"));
        assert!(error("question = 'q'\nexpect = 'e'\n").contains("line 2: unknown key `expect`"));
    }

    #[test]
    fn broken_toml_is_one_line_with_its_place() {
        let message = error("question = \n");
        assert!(
            message.starts_with("line 1") && !message.contains('\n'),
            "{message}"
        );
    }

    #[test]
    fn set_fixes_a_varying_key_and_a_list_varies_a_fixed_one() {
        let mut experiment = Experiment::parse("x", TEXT).unwrap();
        experiment.set("weights.bits=6").unwrap();
        experiment.set("method=[linear_is_no_list").unwrap();
        assert_eq!(experiment.cells().unwrap().len(), 2);
        experiment.set("seed=[1, 2, 3]").unwrap();
        assert_eq!(experiment.cells().unwrap().len(), 6);
        assert!(experiment.set("nonsense=1").is_err());
    }

    #[test]
    fn a_file_whose_name_cannot_be_a_folder_of_results_is_refused_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a,b.toml", "a b.toml", ".hidden.toml", "\u{e9}.toml"] {
            let path = folder.path().join(name);
            std::fs::write(&path, TEXT).unwrap();
            let message = format!("{:#}", Experiment::read(&path).unwrap_err());
            assert!(
                message.contains(name) && message.contains("rename the file"),
                "{message}"
            );
            assert!(!message.contains('\n'), "{message}");
        }
        let path = folder.path().join("a-b_2.c.toml");
        std::fs::write(&path, TEXT).unwrap();
        assert_eq!(Experiment::read(&path).unwrap().name, "a-b_2.c");
    }

    #[test]
    fn naming_a_weights_file_replaces_the_named_model() {
        let mut experiment = Experiment::parse("x", TEXT).unwrap();
        experiment.set("model.weights=/tmp/a.pth").unwrap();
        assert!(!experiment.fixed.contains_key("model.name"));
    }

    #[test]
    fn what_is_published_needs_a_source_and_a_percentage() {
        let table = |lines: &str| format!("{TEXT}[[published]]\n{lines}");
        let text = table("where = { weights.bits = 8 }\ntop1 = 69.8\nsource = 'table 2'\n");
        let published = Experiment::parse("x", &text).unwrap().published.remove(0);
        assert_eq!((published.top1, &published.source[..]), (69.8, "table 2"));
        assert!(error(&table("top1 = 0.698\n")).contains("needs `source` or `paper`"));
        assert!(error(&table("source = 'x'\n")).contains("needs `top1`"));
        assert!(error(&table("top1 = 130\n")).contains("from 0 to 100"));
        assert!(error(&table("hits = 9\n")).contains("`hits` does not belong"));
    }

    #[test]
    fn a_peer_needs_a_name_a_place_counts_that_can_be_and_seconds() {
        let table = |lines: &str| format!("{TEXT}[[peer]]\n{lines}");
        let rest = "hits = 9000\nimages = 10000\nseconds = 52\nsource = 's'\n";
        let place = "where = { weights.bits = 3, weights.granularity = 'channel' }\n";
        let text = table(&format!("name = 'AIMET'\n{place}{rest}"));
        let peer = Experiment::parse("x", &text).unwrap().peers.remove(0);
        assert_eq!(
            (&peer.peer[..], peer.hits, peer.seconds),
            ("AIMET", 9000, 52.0)
        );
        assert_eq!(peer.beside, "weights_bits=3;weights_granularity=channel");
        assert!(error(&table(rest)).contains("needs `name`"));
        assert!(error(&table("name = 'x'\nhits = 9\n")).contains("needs `images`"));
        assert!(error(&table("seconds = 0\n")).contains("above 0"));
        assert!(error(&table("hits = 0.5\n")).contains("whole number"));
        assert!(error(&table("top1 = 9\n")).contains("`top1` does not belong"));
        let many = "name = 'x'\nhits = 9\nimages = 8\nseconds = 1\nsource = 's'\n";
        assert!(error(&table(many)).contains("9 hits of 8 images"));
        let nowhere = format!("name = 'x'\nwhere = {{ model.weights = 'a.pth' }}\n{rest}");
        assert!(error(&table(&nowhere)).contains("`model.weights` says nothing"));
    }

    #[test]
    fn a_check_carries_its_condition_and_tolerance() {
        let text = format!(
            "{TEXT}[[check]]\nwhere = {{ weights.bits = 8 }}\nexpected = 9180\ntolerance = 3\n"
        );
        let check = Experiment::parse("x", &text).unwrap().checks.remove(0);
        assert_eq!((check.expected, check.tolerance), (9180.0, 3.0));
        assert_eq!(
            check.condition.settings()["weights.bits"],
            Scalar::Integer(8)
        );
        assert!(error(&format!("{TEXT}[[check]]\ntolerance = 3\n")).contains("expected"));
    }
}
