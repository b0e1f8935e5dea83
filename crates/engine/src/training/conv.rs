//! A convolution that is trained, and its forward pass.
//!
//! ```text
//! y[n, o, i, j] = b[o] + sum_{c, u, v} x[n, c, i s + u - p, j s + v - p] w[o, c, u, v]              (1)
//! ```
//!
//! x outside the map is 0. The sum is that of the inference kernels (`kernel/conv.rs`): one chain of fused multiply-adds in
//! the order (u, v, c), put aside between chunks of it, the bias added last.

use rayon::prelude::*;

use super::images_per_task;
use super::scratch::Scratch;
use super::sums::sum_of;
use crate::error::Error;
use crate::error::expect;
use crate::graph::Clip;
use crate::kernel::{
    Algorithm, Convolution, Convolve, Float32, FloatKernels, Geometry, Isa, Kernels3x3, Maps, Post,
    VECTOR, Winograd, fits_winograd, float32, whole_tiles,
};
use crate::layout::{Layout, Table};
use crate::planar::{to_channels_last, to_planar};
use crate::shape::{Shape, Window};

/// Bytes of an image group's maps: half of the smallest second-level cache in use, 512 KiB.
const GROUP: usize = 256 << 10;
/// The largest number of values in an image, so that places fit 32 bits.
const LARGEST: usize = 1 << 28;

/// A convolution `[n, c, h, w]` to `[n, o, h', w']`, and its gradients.
#[derive(Clone)]
pub struct Conv2d {
    pub(super) kernels: &'static FloatKernels,
    pub(super) algorithm: Algorithm,
    pub(super) window: Window,
    /// An input image.
    pub(super) from: Shape,
    /// An output image.
    pub(super) to: Shape,
}

impl Conv2d {
    /// A convolution of images of shape `input` to `outputs` channels, its weights `[outputs, channels, rows, columns]`.
    ///
    /// # Errors
    /// [`Error::Training`] where the window does not fit the image, has a dilation, or there is nothing to compute.
    pub fn new(input: Shape, outputs: usize, window: Window) -> Result<Self, Error> {
        Self::with_isa(Isa::best(), input, outputs, window)
    }

    /// The same, by the kernels of `isa`.
    ///
    /// # Errors
    /// [`Error::Isa`] where the processor lacks it, otherwise as [`Conv2d::new`].
    pub fn with_isa(isa: Isa, input: Shape, outputs: usize, window: Window) -> Result<Self, Error> {
        let refused = |detail: String| Error::Training {
            input: input.to_string(),
            detail,
        };
        let [height, width] = window.output(input).map_err(refused)?;
        let to = Shape::new(outputs, height, width);
        if input.is_empty() || to.is_empty() {
            return Err(refused(format!("to {to}: there is nothing to compute")));
        }
        if window.dilation != [1, 1] {
            let [rows, columns] = window.dilation;
            return Err(refused(format!(
                "dilation {rows} by {columns}; only 1 by 1 can be trained"
            )));
        }
        let padding = window.padding;
        let padded = [
            input.channels.max(outputs),
            input.height.max(height) + padding.top + padding.bottom + 2 * window.kernel[0],
            input.width.max(width) + padding.left + padding.right + 2 * window.kernel[1],
        ];
        let values = padded
            .iter()
            .try_fold(1_usize, |product, &n| product.checked_mul(n));
        if values.is_none_or(|values| values > LARGEST) {
            return Err(refused(format!(
                "to {to}: more than {LARGEST} values in an image"
            )));
        }
        Ok(Self {
            kernels: float32(isa.check()?),
            algorithm: Algorithm::Direct,
            window,
            from: input,
            to,
        })
    }

    /// The same, computed by `algorithm` where it can be, gradients too.
    pub fn by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// An output image's shape.
    pub fn output(&self) -> Shape {
        self.to
    }

    /// How many weights there are.
    pub fn weights(&self) -> usize {
        let [rows, columns] = self.window.kernel;
        self.to.channels * self.from.channels * rows * columns
    }

    /// Equation (1): `x` is `[n, c, h, w]`, `y` `[n, o, h', w']` and overwritten.
    ///
    /// # Errors
    /// [`Error::Length`] where a slice is not as long as the shapes say.
    pub fn forward(
        &self,
        x: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) -> Result<(), Error> {
        let images = self.images(x, y)?;
        expect("the weights", weight.len(), self.weights())?;
        if let Some(bias) = bias {
            expect("the biases", bias.len(), self.to.channels)?;
        }
        let is_direct = !self.is_winograd(&self.window, self.from, self.to);
        let mut from = Layout::new(self.from, size_of::<f32>());
        from.cover(
            &self.window,
            if is_direct {
                self.to
            } else {
                whole_tiles(self.to)
            },
        );
        let to = Layout::new(self.to, size_of::<f32>());
        let pass = Pass::new(self.kernels, [from, to], images, bias);
        let conv = match is_direct {
            false => pass.winograd(Kernels3x3::of(weight, self.from.channels), self.window),
            true => {
                let geometry = Geometry {
                    inputs: self.from.channels,
                    outputs: self.to.channels,
                    groups: 1,
                    window: self.window,
                };
                let tables = [
                    Table::first_taps(&from, &self.window, self.to, pass.group),
                    Table::pixels(&to, pass.group),
                ];
                pass.convolution(geometry, weight.to_vec(), tables)
            }
        };
        pass.run(&[(conv, 0)], x, y);
        Ok(())
    }

    /// Whether a convolution of this one's kind between such maps goes by Winograd's algorithm.
    pub(super) fn is_winograd(&self, window: &Window, from: Shape, to: Shape) -> bool {
        self.algorithm == Algorithm::Winograd && fits_winograd(window, from, to)
    }

    /// The gradient of the biases: `sum_{n, i, j} dy[n, o, i, j]`, in double precision, in order.
    ///
    /// # Errors
    /// As [`Conv2d::forward`].
    pub fn bias_gradient(&self, dy: &[f32], db: &mut [f32]) -> Result<(), Error> {
        expect("the biases' gradient", db.len(), self.to.channels)?;
        let images = dy.len() / self.to.len();
        expect("the output's gradient", dy.len(), images * self.to.len())?;
        let pixels = self.to.height * self.to.width;
        let sum = |plane: &[f32]| sum_of(plane, |x| x);
        db.par_iter_mut().enumerate().for_each(|(o, db)| {
            let planes = (0..images).map(|n| &dy[(n * self.to.channels + o) * pixels..][..pixels]);
            *db = planes.map(sum).sum::<f64>() as f32;
        });
        Ok(())
    }

    /// How many images an input and an output, or their gradients, have.
    pub(super) fn images(&self, x: &[f32], y: &[f32]) -> Result<usize, Error> {
        let images = x.len() / self.from.len();
        expect("the input", x.len(), images * self.from.len())?;
        expect("the output", y.len(), images * self.to.len())?;
        Ok(images)
    }
}

impl std::fmt::Debug for Conv2d {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conv2d({} to {}, {:?})", self.from, self.to, self.window)
    }
}

/// Convolutions from one map to another, both planar outside and channels-last inside.
pub(super) struct Pass {
    kernels: &'static FloatKernels,
    pub from: Layout,
    pub to: Layout,
    /// Images at once.
    pub group: usize,
    /// Whether every pixel is written.
    pub is_whole: bool,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// One of them, with how many elements of the map come before the first of its taps.
type Part = (Box<dyn Convolve<Float32>>, usize);

impl Pass {
    /// For `images` images in all.
    pub fn new(
        kernels: &'static FloatKernels,
        [from, to]: [Layout; 2],
        images: usize,
        bias: Option<&[f32]>,
    ) -> Self {
        let filled = to.shape.channels + VECTOR;
        let mut shift = bias.unwrap_or_default().to_vec();
        shift.resize(filled, 0.0);
        Self {
            kernels,
            from,
            to,
            group: group_of(&[from, to], images),
            is_whole: true,
            scale: vec![1.0; filled],
            shift,
        }
    }

    /// A convolution between the maps; it may fill only some of the pixels.
    pub fn convolution(
        &self,
        geometry: Geometry,
        weights: Vec<f32>,
        tables: [Table; 2],
    ) -> Box<dyn Convolve<Float32>> {
        let kernels = &self.kernels.kernels;
        let conv = Convolution::between(
            kernels,
            geometry,
            &[weights],
            &self.from,
            tables,
            self.group,
        );
        Box::new(conv)
    }

    /// The convolution between the maps by Winograd's algorithm, which fits.
    pub fn winograd(&self, taps: Kernels3x3<'_>, window: Window) -> Box<dyn Convolve<Float32>> {
        let maps = Maps {
            from: &self.from,
            to: &self.to,
            group: self.group,
        };
        Box::new(Winograd::new(self.kernels, taps, window, maps))
    }

    /// All of `convolutions`.
    pub fn run(&self, convolutions: &[Part], x: &[f32], y: &mut [f32]) {
        let (from, to) = (&self.from, &self.to);
        let (inputs, outputs) = (from.shape.len(), to.shape.len());
        let images = x.len() / inputs;
        let task = images_per_task(images).next_multiple_of(self.group);
        let sums = convolutions.iter().map(|(conv, _)| conv.scratch()).max();
        let sums = sums.unwrap_or(0);
        x.par_chunks(task * inputs)
            .zip(y.par_chunks_mut(task * outputs))
            .for_each(|(x, y)| {
                let mut wide = Scratch::new(self.group * from.image());
                from.fill_border(&mut wide, self.group, 0.0);
                let mut made = Scratch::new(self.group * to.image());
                if !self.is_whole {
                    made.fill(0.0);
                }
                let mut sums = Scratch::new(sums);
                for (x, y) in x
                    .chunks(self.group * inputs)
                    .zip(y.chunks_mut(self.group * outputs))
                {
                    spread(from, x, &mut wide);
                    self.run_group(convolutions, &wide, [&mut made, &mut sums], y);
                }
            });
    }

    /// All of `convolutions` on the images that lie in `wide`, as many as `y` has. `made` has room for their results, and `sums` what the
    /// convolutions want.
    pub fn run_group(
        &self,
        convolutions: &[Part],
        wide: &[f32],
        [made, sums]: [&mut [f32]; 2],
        y: &mut [f32],
    ) {
        let (to, each) = (&self.to, self.to.shape.len());
        let post = Post {
            scale: &self.scale,
            shift: &self.shift,
            add: None,
            clip: Clip::NONE,
        };
        for (conv, start) in convolutions {
            conv.run(y.len() / each, &wide[*start..], made, sums, post);
        }
        for (y, made) in y.chunks_mut(each).zip(made.chunks(to.image())) {
            let pixels = to.shape.height * to.shape.width;
            to_planar((made, to.pitch), (y, pixels), to.shape.channels, pixels);
        }
    }
}

/// How many of `images` images are taken at once, so that their maps stay in the cache.
pub(super) fn group_of(maps: &[Layout; 2], images: usize) -> usize {
    let values: usize = maps.iter().map(Layout::image).sum();
    (GROUP / size_of::<f32>() / values).clamp(1, images.max(1))
}

/// Images in their layout; the border stays as it is.
pub(super) fn spread(layout: &Layout, images: &[f32], wide: &mut [f32]) {
    let Shape {
        channels,
        height,
        width,
    } = layout.shape;
    let images = images.chunks(layout.shape.len());
    for (image, wide) in images.zip(wide.chunks_mut(layout.image())) {
        for y in 0..height {
            let row = &image[y * width..];
            let to = &mut wide[layout.pixel(y, 0)..];
            to_channels_last((row, height * width), (to, layout.pitch), channels, width);
        }
    }
}
