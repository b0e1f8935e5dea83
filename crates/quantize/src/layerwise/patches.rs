//! What a layer's outputs are computed from: patches of its input, at some output pixels of each image.

use engine::{Padding, Shape, Window};
use quant_core::uniform;
use rayon::prelude::*;

/// Points whose sums are made in float32 before they are added up in float64.
pub(super) const BLOCK: usize = 2048;

/// A layer's geometry.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub from: Shape,
    pub to: Shape,
    pub window: Window,
    pub groups: usize,
}

/// An output pixel of an image.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub image: usize,
    pub y: usize,
    pub x: usize,
}

impl Geometry {
    /// Weights of an output channel.
    pub fn taps(&self) -> usize {
        self.from.channels / self.groups * self.window.kernel[0] * self.window.kernel[1]
    }

    /// `positions` output pixels of each image, or all where there are no more or `positions` is 0: one from each of as many
    /// stretches of equal length, drawn by `seed`.
    pub fn points(&self, images: usize, positions: usize, seed: u64) -> Vec<Point> {
        let (width, all) = (self.to.width, self.to.height * self.to.width);
        let count = match positions {
            0 => all,
            positions => positions.min(all),
        };
        let point = |image: usize, i: usize| {
            let (start, end) = (i * all / count, (i + 1) * all / count);
            let draw = uniform(seed, (image * count + i) as u64);
            let at = start + ((end - start) as f32 * draw) as usize;
            let at = at.min(end - 1);
            Point {
                image,
                y: at / width,
                x: at % width,
            }
        };
        let of_image = |image| (0..count).map(move |i| point(image, i));
        (0..images).flat_map(of_image).collect()
    }

    /// The patches of group `group` at `points` of the input `[n, c, h, w]`: `[taps][points]`, taps in the order of the weights.
    pub fn patches(&self, input: &[f32], group: usize, points: &[Point]) -> Vec<f32> {
        let Shape {
            channels,
            height,
            width,
        } = self.from;
        let own = channels / self.groups;
        let [rows, columns] = self.window.kernel;
        let Padding { top, left, .. } = self.window.padding;
        let mut patches = vec![0.0; self.taps() * points.len()];
        let lines = patches.par_chunks_exact_mut(points.len()).enumerate();
        lines.for_each(|(k, line)| {
            let c = group * own + k / (rows * columns);
            let [down, right] = [
                k / columns % rows * self.window.dilation[0],
                k % columns * self.window.dilation[1],
            ];
            for (to, point) in line.iter_mut().zip(points) {
                let y = (point.y * self.window.stride[0] + down).wrapping_sub(top);
                let x = (point.x * self.window.stride[1] + right).wrapping_sub(left);
                if y < height && x < width {
                    *to = input[((point.image * channels + c) * height + y) * width + x];
                }
            }
        });
        patches
    }

    /// What a value `[n, o, h', w']` is at `points`, in the channels of group `group`: `[channels][points]`.
    pub fn outputs(&self, value: &[f32], group: usize, points: &[Point]) -> Vec<f32> {
        let Shape {
            channels,
            height,
            width,
        } = self.to;
        let own = channels / self.groups;
        let mut outputs = Vec::with_capacity(own * points.len());
        for o in group * own..(group + 1) * own {
            let at = |p: &Point| value[((p.image * channels + o) * height + p.y) * width + p.x];
            outputs.extend(points.iter().map(at));
        }
        outputs
    }

    /// Means of the patches, `[taps]`, and of the outputs of group `group` over `points`.
    pub fn means(
        &self,
        (input, output): (&[f32], &[f32]),
        group: usize,
        points: &[Point],
    ) -> [Vec<f64>; 2] {
        let own = self.to.channels / self.groups;
        let mut sums = [vec![0.0; self.taps()], vec![0.0; own]];
        for points in points.chunks(BLOCK) {
            let x = self.patches(input, group, points);
            let y = self.outputs(output, group, points);
            for (sums, values) in sums.iter_mut().zip([x, y]) {
                for (sum, row) in sums.iter_mut().zip(values.chunks_exact(points.len())) {
                    *sum += row.iter().map(|&v| f64::from(v)).sum::<f64>();
                }
            }
        }
        sums.map(|sums| sums.iter().map(|sum| sum / points.len() as f64).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_times_weights_are_the_convolution_with_padding_stride_and_groups() {
        let from = Shape::new(4, 5, 5);
        let window = Window {
            stride: [2, 2],
            ..Window::square(3, 1, 1)
        };
        let to = Shape::new(6, 3, 3);
        let geometry = Geometry {
            from,
            to,
            window,
            groups: 2,
        };
        let x: Vec<f32> = (0..2 * from.len()).map(|i| uniform(1, i as u64)).collect();
        let w: Vec<f32> = (0..6 * 18).map(|i| uniform(2, i as u64) - 0.5).collect();
        let points = geometry.points(2, 0, 0);
        assert_eq!(points.len(), 18);
        for group in 0..2 {
            let patches = geometry.patches(&x, group, &points);
            for o in 0..3 {
                let row = &w[(group * 3 + o) * 18..][..18];
                for (p, point) in points.iter().enumerate() {
                    let made: f32 = (0..18).map(|k| row[k] * patches[k * 18 + p]).sum();
                    let mut expected = 0.0;
                    for (c, u, v) in (0..18).map(|k| (k / 9, k / 3 % 3, k % 3)) {
                        let (y, column) = (point.y * 2 + u, point.x * 2 + v);
                        if (1..6).contains(&y) && (1..6).contains(&column) {
                            let at =
                                (point.image * 4 + group * 2 + c) * 25 + (y - 1) * 5 + column - 1;
                            expected += row[c * 9 + u * 3 + v] * x[at];
                        }
                    }
                    assert!((made - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn points_are_distinct_and_spread_over_every_image() {
        let geometry = Geometry {
            from: Shape::new(1, 7, 9),
            to: Shape::new(1, 7, 9),
            window: Window::square(1, 1, 0),
            groups: 1,
        };
        let points = geometry.points(3, 20, 5);
        let mut seen: Vec<_> = points.iter().map(|p| (p.image, p.y, p.x)).collect();
        seen.dedup();
        assert_eq!(seen.len(), 60);
        let again = geometry.points(3, 20, 6);
        assert!(
            points
                .iter()
                .zip(&again)
                .any(|(a, b)| (a.y, a.x) != (b.y, b.x))
        );
    }
}
