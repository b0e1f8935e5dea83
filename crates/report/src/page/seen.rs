//! What the networks of an experiment saw: which classes were taken for which, and which images flip.
//!
//! A flip is an image whose class is another one than the float run's. Of a run's flips those are shown first that flip in most runs,
//! of equals the first of the set; so runs share pictures and few are enough. Pictures are given out in the same order until
//! [`MOST_PICTURES`] are; the others are shown in words.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use results::PredictionRow;
use serde::Serialize;

use super::{MOST_PICTURES, Pictures, SHOWN_FLIPS, Wanted};
use crate::accuracy::AccuracyTable;
use crate::error::Error;
use crate::load::Loaded;

/// Up to so many classes the whole matrix is shown.
const MOST_CLASSES: usize = 20;
/// Else so many of the pairs that are confused most often.
const MOST_PAIRS: usize = 30;

/// The images of a test set.
struct Set {
    run_id: String,
    data_sha256: String,
    images: Vec<String>,
    labels: Vec<u16>,
    classes: usize,
}

/// What a run made of them.
struct Answers {
    set: usize,
    top1: Vec<u16>,
    /// Images that flip, those first that are shown first; none of a run that is compared with nothing.
    flips: Option<Vec<usize>>,
    float: Option<usize>,
}

/// The predictions of all runs.
pub(super) struct Seen {
    sets: Vec<Set>,
    /// In the order of the table; none of a failed run.
    answers: Vec<Option<Answers>>,
    /// Set and image of the pictures that there may be.
    pictured: Vec<(usize, usize)>,
}

/// Which classes were taken for which.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Confusion {
    /// Row by row: images of class k that were taken for each class.
    Matrix { classes: usize, matrix: Vec<u32> },
    /// The most frequent pairs: label, answer, images.
    Pairs { pairs: Vec<(u16, u16, u32)> },
}

/// The images of a run that flip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Flips {
    total: usize,
    /// Right in float and wrong here.
    lost: usize,
    /// Wrong in float and right here.
    won: usize,
    /// Name, label, class in float, class here, place of the picture.
    shown: Vec<(String, u16, u16, u16, Option<usize>)>,
}

impl Seen {
    pub fn read(table: &AccuracyTable, loaded: &Loaded) -> Result<Seen, Error> {
        let mut seen = Seen {
            sets: Vec::new(),
            answers: Vec::new(),
            pictured: Vec::new(),
        };
        for row in &table.rows {
            let answers = match row.failed {
                Some(_) => None,
                None => {
                    let path = loaded.predictions_file(&row.run_id);
                    let rows = results::read_rows(&path)?;
                    Some(seen.answers(&row.run_id, &row.data_sha256, rows, &path)?)
                }
            };
            seen.answers.push(answers);
        }
        for (i, row) in table.rows.iter().enumerate() {
            let float = row.float_run.as_ref();
            let float = float.and_then(|id| table.rows.iter().position(|row| row.run_id == *id));
            if let Some(answers) = &mut seen.answers[i] {
                answers.float = float;
            }
        }
        seen.find_flips();
        Ok(seen)
    }

    /// Puts a run's answers into the order of its set, which the first run on it gives.
    fn answers(
        &mut self,
        run_id: &str,
        data_sha256: &str,
        rows: Vec<PredictionRow>,
        path: &Path,
    ) -> Result<Answers, Error> {
        let known = self
            .sets
            .iter()
            .position(|set| set.data_sha256 == data_sha256);
        let set = known.unwrap_or_else(|| {
            self.sets.push(Set {
                run_id: run_id.to_owned(),
                data_sha256: data_sha256.to_owned(),
                images: rows.iter().map(|row| row.image.clone()).collect(),
                labels: rows.iter().map(|row| row.label).collect(),
                classes: 0,
            });
            self.sets.len() - 1
        });
        let own = &mut self.sets[set];
        let same = |(row, (image, label)): (&PredictionRow, (&String, &u16))| {
            row.image == *image && row.label == *label
        };
        let named = || own.images.iter().zip(&own.labels);
        let mut top1: Vec<u16> = rows.iter().map(|row| row.top1).collect();
        if rows.len() != own.images.len() || !rows.iter().zip(named()).all(same) {
            let by_image: HashMap<(&str, u16), u16> = rows
                .iter()
                .map(|row| ((row.image.as_str(), row.label), row.top1))
                .collect();
            let found = named().map(|(image, label)| by_image.get(&(image.as_str(), *label)));
            let found: Option<Vec<u16>> = found.map(|top1| top1.copied()).collect();
            top1 = found
                .filter(|found| found.len() == rows.len())
                .ok_or_else(|| Error::Disagree {
                    path: path.to_path_buf(),
                    problem: format!(
                        "images or labels are not those of run {} on the same data",
                        own.run_id
                    ),
                })?;
        }
        let largest = own.labels.iter().chain(&top1).max();
        let classes = largest.map_or(0, |class| usize::from(*class) + 1);
        own.classes = own.classes.max(classes);
        Ok(Answers {
            set,
            top1,
            flips: None,
            float: None,
        })
    }

    fn find_flips(&mut self) {
        let flips: Vec<Option<Vec<usize>>> = self
            .answers
            .iter()
            .map(|answers| {
                let answers = answers.as_ref()?;
                let float = self.answers[answers.float?].as_ref()?;
                let pairs = answers.top1.iter().zip(&float.top1).enumerate();
                let flipped = pairs.filter(|(_, (own, float))| own != float);
                Some(flipped.map(|(image, _)| image).collect())
            })
            .collect();
        let mut often: Vec<Vec<u32>> = (self.sets.iter())
            .map(|set| vec![0; set.images.len()])
            .collect();
        for (answers, flips) in self.answers.iter_mut().zip(flips) {
            let (Some(answers), Some(flips)) = (answers, flips) else {
                continue;
            };
            for image in &flips {
                often[answers.set][*image] += 1;
            }
            answers.flips = Some(flips);
        }
        let mut shown = HashSet::new();
        for answers in self.answers.iter_mut().flatten() {
            let (set, often) = (answers.set, &often[answers.set]);
            let flips = answers.flips.get_or_insert_default();
            flips.sort_by_key(|image| (u32::MAX - often[*image], *image));
            shown.extend(flips.iter().take(SHOWN_FLIPS).map(|image| (set, *image)));
            if answers.float.is_none() {
                answers.flips = None;
            }
        }
        let mut shown: Vec<(usize, usize)> = shown.into_iter().collect();
        shown.sort_by_key(|&(set, image)| (u32::MAX - often[set][image], set, image));
        shown.truncate(MOST_PICTURES);
        shown.sort_unstable();
        self.pictured = shown;
    }

    pub fn wanted(&self) -> Vec<Wanted> {
        let of_set = |set: usize| {
            let own = self.pictured.iter().filter(move |(of, _)| *of == set);
            own.map(move |(_, image)| self.sets[set].images[*image].clone())
        };
        let sets = self.sets.iter().enumerate();
        sets.map(|(i, set)| Wanted {
            run_id: set.run_id.clone(),
            images: of_set(i).collect(),
        })
        .collect()
    }

    /// The set of the run at that place of the table.
    pub fn set(&self, run: usize) -> Option<usize> {
        self.answers[run].as_ref().map(|answers| answers.set)
    }

    pub fn confusion(&self, run: usize) -> Option<Confusion> {
        let answers = self.answers[run].as_ref()?;
        let set = &self.sets[answers.set];
        let pairs = set.labels.iter().zip(&answers.top1);
        if set.classes <= MOST_CLASSES {
            let classes = set.classes;
            let mut matrix = vec![0; classes * classes];
            for (label, top1) in pairs {
                matrix[usize::from(*label) * classes + usize::from(*top1)] += 1;
            }
            return Some(Confusion::Matrix { classes, matrix });
        }
        let mut counts: HashMap<(u16, u16), u32> = HashMap::new();
        for (label, top1) in pairs.filter(|(label, top1)| label != top1) {
            *counts.entry((*label, *top1)).or_default() += 1;
        }
        let mut pairs: Vec<(u16, u16, u32)> =
            counts.into_iter().map(|((a, b), n)| (a, b, n)).collect();
        pairs.sort_by_key(|(a, b, n)| (u32::MAX - n, *a, *b));
        pairs.truncate(MOST_PAIRS);
        Some(Confusion::Pairs { pairs })
    }

    /// The pictures that there are, as base64, and the flips of each run.
    pub fn flips(&self, pictures: &[Pictures]) -> (Vec<String>, Vec<Option<Flips>>) {
        let (mut png, mut places) = (Vec::new(), HashMap::new());
        for &(set, image) in &self.pictured {
            let name = &self.sets[set].images[image];
            if let Some(bytes) = pictures.get(set).and_then(|set| set.png.get(name)) {
                places.insert((set, image), png.len());
                png.push(super::shell::base64(bytes));
            }
        }
        let of_run = |answers: &Answers| {
            let flips = answers.flips.as_ref()?;
            let float = self.answers[answers.float?].as_ref()?;
            let set = &self.sets[answers.set];
            let at = |image: &usize| {
                let image = *image;
                (set.labels[image], float.top1[image], answers.top1[image])
            };
            let shown = flips.iter().take(SHOWN_FLIPS).map(|image| {
                let (label, float, own) = at(image);
                let place = places.get(&(answers.set, *image)).copied();
                (set.images[*image].clone(), label, float, own, place)
            });
            let all = || flips.iter().map(at);
            Some(Flips {
                total: flips.len(),
                lost: all().filter(|(label, float, _)| label == float).count(),
                won: all().filter(|(label, _, own)| label == own).count(),
                shown: shown.collect(),
            })
        };
        let flips = self
            .answers
            .iter()
            .map(|answers| answers.as_ref().and_then(of_run));
        let flips = flips.collect();
        (png, flips)
    }
}
