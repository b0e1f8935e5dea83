//! The image set that ships as code: ten kinds of things in 32 x 32 colour pixels, generated from a seed.
//!
//! Classes by label: house, tree, mushroom, boat, fish, flower, cup, car, rocket, umbrella. All are mirrored at
//! random, so horizontal flips keep the label.
//!
//! Image `index` of a split depends on (seed, split, index) alone, so a longer set starts with the shorter one. Both
//! splits come from different keys: no test image is a training image. Everything that decides a pixel is integer
//! arithmetic on fixed widths, without floating point, the platform's mathematical functions or a library's
//! generator: the same bytes on every machine. Tests pin them.
//!
//! Labels: every block of ten images holds each class once, in an order drawn for that block. The first n images are
//! therefore a fair, balanced sample, and a label cannot be told from the index.

mod canvas;
mod objects;
mod palette;
mod random;
mod scene;
mod shape;

use std::sync::Arc;

use rayon::prelude::*;

use crate::{Dataset, Normalization, Record, Sampling, Source};
use canvas::SIDE;
use random::{Random, mix};

pub use objects::CLASSES;

/// The seed of the set that experiments mean when they say `synthetic`.
pub const SEED: u64 = 2024;
/// Training images of that set.
pub const TRAIN_IMAGES: usize = 10_000;
/// Test images of that set.
pub const TEST_IMAGES: usize = 10_000;

/// Which of the two disjoint halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train and to calibrate on.
    Train,
    /// To measure on.
    Test,
}

impl Split {
    fn tag(self) -> u64 {
        match self {
            Split::Train => 1,
            Split::Test => 2,
        }
    }
}

/// The first `n` images of a split.
pub fn generate(seed: u64, split: Split, n: usize) -> Dataset {
    let mut pixels = vec![0; n * scene::BYTES];
    let records = pixels
        .par_chunks_exact_mut(scene::BYTES)
        .enumerate()
        .map(|(i, out)| {
            let label = label(seed, split, i as u64);
            out.copy_from_slice(&scene::draw(label, key(seed, split, IMAGES, i as u64)));
            Record {
                offset: i * scene::BYTES,
                label,
                digest: None,
                id: None,
            }
        })
        .collect();
    let split_name = match split {
        Split::Train => "train",
        Split::Test => "test",
    };
    let source = Source {
        name: format!("synthetic {split_name}"),
        preprocessing: "synthetic-1".into(),
        classes: CLASSES.map(String::from).to_vec(),
        height: SIDE,
        width: SIDE,
        normalization: Normalization {
            scale: 255.0,
            mean: [0.44; 3],
            std: [0.22; 3],
        },
        sampling: Sampling::First,
    };
    Dataset::assemble(source, Arc::new(pixels), records)
}

/// What a stream of random numbers is for.
const LABELS: u64 = 1;
const IMAGES: u64 = 2;

/// One key for every combination: `mix` is a bijection, so two indices of one kind never share one.
fn key(seed: u64, split: Split, purpose: u64, index: u64) -> u64 {
    mix(mix(mix(seed) ^ (split.tag() << 8 | purpose)).wrapping_add(index))
}

/// The class of an image: its place in the shuffled order of its block of ten (Fisher and Yates).
fn label(seed: u64, split: Split, index: u64) -> u16 {
    let mut random = Random::new(key(seed, split, LABELS, index / 10));
    let mut order: [u16; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    for last in (1..10).rev() {
        order.swap(last, random.below(last as i32 + 1) as usize);
    }
    order[(index % 10) as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_bytes_are_the_same_everywhere() {
        let pins = [
            (
                Split::Train,
                "4bc6afda73a3097dff1991539d3e02382a99a74941120e780a71256b6d524637",
            ),
            (
                Split::Test,
                "ce04fa8000fad46501e842e5a5d7e2bdf6878d0664f7bb7f19c60caa133955ad",
            ),
        ];
        for (split, expected) in pins {
            assert_eq!(generate(SEED, split, 100).sha256(), expected, "{split:?}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let alone = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let alone = alone.install(|| generate(SEED, Split::Test, 50).sha256());
        assert_eq!(alone, generate(SEED, Split::Test, 50).sha256());
    }

    #[test]
    fn a_longer_set_starts_with_the_shorter_one() {
        let (short, long) = (generate(5, Split::Train, 33), generate(5, Split::Train, 80));
        assert_eq!(long.subset(33).sha256(), short.sha256());
        assert!(generate(5, Split::Train, 0).is_empty());
    }

    #[test]
    fn no_image_comes_twice_in_either_split_or_under_another_seed() {
        let sets = [
            (1, Split::Train),
            (1, Split::Test),
            (2, Split::Train),
            (2, Split::Test),
        ]
        .map(|(seed, split)| generate(seed, split, 500));
        let images: HashSet<&[u8]> = sets
            .iter()
            .flat_map(|set| (0..set.len()).map(|i| set.image(i)))
            .collect();
        assert_eq!(images.len(), 2000);
    }

    #[test]
    fn every_block_of_ten_holds_each_class_once_in_an_order_of_its_own() {
        let labels: Vec<u16> = (0..10_000).map(|i| label(SEED, Split::Test, i)).collect();
        for block in labels.chunks(10) {
            assert_eq!(block.iter().collect::<HashSet<_>>().len(), 10);
        }
        // Given its place in the block, or any fixed distance back, a label stays open: one in ten agrees.
        for distance in [10, 20, 30, 100] {
            let same = (distance..labels.len())
                .filter(|&i| labels[i] == labels[i - distance])
                .count();
            assert!(
                (850..1150).contains(&same),
                "{same} labels agree with the one {distance} before"
            );
        }
        for place in 0..10 {
            let zeros = labels
                .iter()
                .skip(place)
                .step_by(10)
                .filter(|&&label| label == 0)
                .count();
            assert!(
                (60..140).contains(&zeros),
                "class 0 is {zeros} times in place {place}"
            );
        }
    }
}
