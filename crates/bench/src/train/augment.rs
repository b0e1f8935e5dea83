//! Which images a step sees, and what they look like: shuffles, random crops and flips.
//!
//! Every draw is a function of (seed, epoch, index), so a training that is resumed has no generator state to restore:
//! the key of a ChaCha8 stream is `seed, epoch, index, purpose`, four little-endian u64. Bounded draws are
//! `floor(u * n / 2^32)` of a 32-bit u (a bias below n / 2^32).
//!
//! As torchvision's `RandomCrop(size, padding)` followed by `RandomHorizontalFlip`: the image is padded with bytes of
//! value 0 (black, not the mean), a window of the original size is cut out of it, and half of the windows are mirrored.
//! Normalisation comes last.

use dataset::Dataset;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const SHUFFLE: u64 = 0;
const WINDOW: u64 = 1;

/// The order of `images` images in `epoch`: a Fisher-Yates shuffle.
pub fn order(seed: u64, epoch: usize, images: usize) -> Vec<usize> {
    let mut rng = generator(seed, epoch, 0, SHUFFLE);
    let mut order: Vec<usize> = (0..images).collect();
    for last in (1..images).rev() {
        order.swap(last, below(&mut rng, last + 1));
    }
    order
}

/// Crop and flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// Black pixels added on every side before the crop; 0 turns cropping off.
    pub padding: usize,
    /// Whether every second image, on average, is mirrored left to right.
    pub flip: bool,
}

/// What happens to one image: the window starts at (`top`, `left`) of the padded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    top: usize,
    left: usize,
    mirrored: bool,
}

/// Images of a set as a network sees them in training.
pub struct Loader<'a> {
    data: &'a Dataset,
    seed: u64,
    augmentation: Augmentation,
    table: Vec<[f32; 256]>,
}

impl<'a> Loader<'a> {
    /// Images of `data`, drawn with `seed`.
    pub fn new(data: &'a Dataset, seed: u64, augmentation: Augmentation) -> Self {
        let normalization = data.normalization();
        let table = (0..3)
            .map(|c| std::array::from_fn(|v| normalization.of(v as u8, c)))
            .collect();
        Self {
            data,
            seed,
            augmentation,
            table,
        }
    }

    /// The images `indices` as `epoch` sees them: values `[n, 3, h, w]` and labels `[n]`.
    pub fn batch(&self, epoch: usize, indices: &[usize]) -> (Vec<f32>, Vec<u16>) {
        let mut values = vec![0.0; indices.len() * self.data.image_len()];
        for (&index, out) in indices
            .iter()
            .zip(values.chunks_exact_mut(self.data.image_len()))
        {
            self.write(index, self.window(epoch, index), out);
        }
        let labels = indices.iter().map(|&i| self.data.label(i)).collect();
        (values, labels)
    }

    fn window(&self, epoch: usize, index: usize) -> Window {
        let mut rng = generator(self.seed, epoch, index as u64, WINDOW);
        let positions = 2 * self.augmentation.padding + 1;
        Window {
            top: below(&mut rng, positions),
            left: below(&mut rng, positions),
            mirrored: below(&mut rng, 2) == 1 && self.augmentation.flip,
        }
    }

    fn write(&self, index: usize, window: Window, out: &mut [f32]) {
        let (height, width) = (self.data.height(), self.data.width());
        let padding = self.augmentation.padding;
        let image = self.data.image(index);
        for (c, (table, plane)) in self
            .table
            .iter()
            .zip(out.chunks_exact_mut(height * width))
            .enumerate()
        {
            for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                let from_y = (y + window.top)
                    .checked_sub(padding)
                    .filter(|&y| y < height);
                for (x, out) in row.iter_mut().enumerate() {
                    let x = if window.mirrored { width - 1 - x } else { x };
                    let from_x = (x + window.left)
                        .checked_sub(padding)
                        .filter(|&x| x < width);
                    let value = match (from_y, from_x) {
                        (Some(y), Some(x)) => image[(y * width + x) * 3 + c],
                        _ => 0,
                    };
                    *out = table[usize::from(value)];
                }
            }
        }
    }
}

fn generator(seed: u64, epoch: usize, index: u64, purpose: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, value) in key
        .chunks_exact_mut(8)
        .zip([seed, epoch as u64, index, purpose])
    {
        part.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u64::from(rng.next_u32()) * n as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataset::{Normalization, Record, Sampling, Source};

    use super::*;

    fn ramp(height: usize, width: usize) -> Dataset {
        let pixels: Vec<u8> = (0..height * width * 3).map(|i| 1 + i as u8).collect();
        let source = Source {
            name: "ramp".into(),
            preprocessing: "none".into(),
            classes: vec!["only".into()],
            height,
            width,
            normalization: Normalization::IMAGENET,
            sampling: Sampling::First,
        };
        let record = Record {
            offset: 0,
            label: 0,
            digest: None,
            id: None,
        };
        Dataset::new(source, Arc::new(pixels), vec![record]).unwrap()
    }

    const NONE: Augmentation = Augmentation {
        padding: 0,
        flip: false,
    };

    #[test]
    fn a_shuffle_is_a_permutation_that_changes_with_seed_and_epoch() {
        let first = order(1, 0, 100);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(first, order(1, 0, 100));
        assert_ne!(first, order(1, 1, 100));
        assert_ne!(first, order(2, 0, 100));
        assert!(order(1, 0, 0).is_empty());
    }

    #[test]
    fn without_augmentation_the_images_are_the_ones_that_evaluation_sees() {
        let data = ramp(4, 5);
        let mut expected = vec![0.0; data.image_len()];
        data.write_image(0, &mut expected);
        let (values, labels) = Loader::new(&data, 1, NONE).batch(3, &[0]);
        assert_eq!(values, expected);
        assert_eq!(labels, [0]);
    }

    #[test]
    fn a_crop_moves_the_image_and_brings_in_black_and_a_flip_mirrors_the_result() {
        let data = ramp(3, 3);
        let loader = Loader::new(
            &data,
            1,
            Augmentation {
                padding: 1,
                flip: true,
            },
        );
        let red = |value: usize| loader.table[0][value];
        let pixel = |y: usize, x: usize| red(1 + (y * 3 + x) * 3);
        let mut out = vec![0.0; 27];
        let mut window = Window {
            top: 0,
            left: 2,
            mirrored: false,
        };
        loader.write(0, window, &mut out);
        let moved = [
            [red(0), red(0), red(0)],
            [pixel(0, 1), pixel(0, 2), red(0)],
            [pixel(1, 1), pixel(1, 2), red(0)],
        ];
        assert_eq!(out[..9], moved.concat());
        window.mirrored = true;
        loader.write(0, window, &mut out);
        assert_eq!(out[..9], moved.map(|[a, b, c]| [c, b, a]).concat());
    }

    #[test]
    fn every_window_and_both_sides_occur_about_equally_often() {
        let data = ramp(3, 3);
        let loader = Loader::new(
            &data,
            7,
            Augmentation {
                padding: 1,
                flip: true,
            },
        );
        let mut seen = [0; 18];
        for epoch in 0..1800 {
            let window = loader.window(epoch, 5);
            seen[(window.top * 3 + window.left) * 2 + usize::from(window.mirrored)] += 1;
        }
        assert!(seen.iter().all(|&n| (60..=140).contains(&n)), "{seen:?}");
    }
}
