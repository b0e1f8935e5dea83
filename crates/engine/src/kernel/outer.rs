//! A sum of outer products over pixels, which is what the gradient of a convolution's weights is:
//!
//! ```text
//! sums[r, o] += sum_p x[row(r) + p] g[p, o]        p: output pixels, in order; r: (channel, tap); o: output channels
//! ```
//!
//! The tile of the convolutions computes it as it is, with other things in its places: what is an output pixel there is a
//! row r here, `K` runs over pixels, and what are weights there are the gradients g of the output. For that the input is
//! planar, so that `x[row(r) + p]` lies side by side for all p, and g is channels-last. Sums stay in memory from one image to
//! the next, as they do there between chunks.

use std::ops::Range;

use crate::graph::Clip;
use crate::kernel::{Float32, Job, Kernels, Post, Segment};

/// Pixels in a chunk, at the most: the gradients of a panel of two vectors then take 16 KiB of the first-level cache, and
/// putting sums aside costs a hundredth of making them.
const CHUNK: usize = 128;

/// A sum over the pixels of one image at a time.
pub(crate) struct Outer {
    kernels: &'static Kernels<Float32>,
    /// Where each r starts in the planar input.
    rows: Vec<u32>,
    /// The pixels in parts.
    chunks: Vec<Segment>,
    pixels: usize,
    outputs: usize,
    /// How many inputs there must be.
    reach: usize,
}

impl Outer {
    /// `rows`: where each r starts in the planar input.
    pub fn new(
        kernels: &'static Kernels<Float32>,
        rows: Vec<u32>,
        pixels: usize,
        outputs: usize,
    ) -> Self {
        let each = pixels.div_ceil(pixels.div_ceil(CHUNK).max(1)).max(1);
        let chunks = (0..pixels)
            .step_by(each)
            .map(|offset| Segment {
                offset,
                steps: each.min(pixels - offset),
            })
            .collect();
        Self {
            kernels,
            reach: rows.iter().copied().max().unwrap_or(0) as usize + pixels,
            pixels,
            rows,
            chunks,
            outputs,
        }
    }

    /// Output channels in each panel, filled up to whole vectors: the last may be narrower.
    pub fn panels(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let width = self.kernels.lanes * self.kernels.panels.len();
        let filled = self.filled();
        let start = (0..filled).step_by(width);
        start.map(move |start| start..filled.min(start + width))
    }

    /// Output channels, filled up to whole vectors.
    pub fn filled(&self) -> usize {
        self.outputs.next_multiple_of(self.kernels.lanes)
    }

    /// How many sums there are: for each panel, `[row][its channels]`.
    pub fn sums(&self) -> usize {
        self.rows.len() * self.filled()
    }

    /// Adds one image's pixels to `sums`, or, with `first`, puts them there. `input` is planar as `rows` says;
    /// `gradients` has for each panel `[pixel][its channels]`. Panics where a slice is too short.
    pub fn add(&self, input: &[f32], gradients: &[f32], sums: &mut [f32], first: bool) {
        assert!(gradients.len() >= self.pixels * self.filled());
        assert!(sums.len() >= self.sums());
        for panel in self.panels() {
            let (start, width) = (panel.start, panel.len());
            let gradients = &gradients[start * self.pixels..][..width * self.pixels];
            let sums = &mut sums[start * self.rows.len()..][..width * self.rows.len()];
            self.add_panel(width, 0, (input, gradients), sums, first);
        }
    }

    /// [`Outer::add`] for one panel of `width` channels and the rows from `from` on: `gradients` has `[pixel][its channels]`,
    /// `sums` `[row][its channels]`. Panics where a slice is too short, or no panel is so wide.
    pub fn add_panel(
        &self,
        width: usize,
        from: usize,
        (input, gradients): (&[f32], &[f32]),
        sums: &mut [f32],
        first: bool,
    ) {
        let rows = &self.rows[from..];
        assert!(input.len() >= self.reach);
        assert!(sums.len() >= rows.len() * width);
        let panel = self.kernels.panels[width / self.kernels.lanes - 1];
        for chunk in &self.chunks {
            let job = Job {
                input: input.as_ptr(),
                taps: rows,
                segments: std::slice::from_ref(chunk),
                weights: gradients[chunk.offset * width..][..chunk.steps * width].as_ptr(),
                sums: sums.as_mut_ptr(),
                first: first && chunk.offset == 0,
                last: false,
                // Only a last chunk has an epilogue, which would need these.
                out: std::ptr::null_mut(),
                places: &[],
                pixel: 0,
                channel: 0,
                channels: width,
                post: Post {
                    scale: &[],
                    shift: &[],
                    add: None,
                    clip: Clip::NONE,
                },
            };
            // SAFETY: `kernels` belongs to an instruction set that the processor has (`float32`). Gradients were just sliced to
            // what the chunk takes, the length of sums and `reach`, computed from all rows and pixels, were compared above. Sums
            // of float32 begin at zero without a look at `post`, and no chunk is the last.
            unsafe { panel(&job) };
        }
    }
}
