//! The gradients of a convolution by Winograd's algorithm (`kernel/winograd.rs`): of its weights, and on the way of its input, whose
//! sums are those of [`Conv2d::input_gradient`] bit for bit: both read the output's gradient, which is turned round for them once.

use rayon::prelude::*;

use super::conv::{Conv2d, Pass, spread};
use super::scratch::Scratch;
use super::weight_gradient::added;
use crate::error::{Error, expect};
use crate::kernel::{Kernels3x3, Maps, WeightGradient, whole_tiles};
use crate::layout::Layout;

/// Blocks of images, at the most, each with sums of its own, which are four times as many as weights.
const BLOCKS: usize = 4;

impl Conv2d {
    /// [`Conv2d::input_gradient`] and [`Conv2d::weight_gradient`].
    ///
    /// # Errors
    /// As there.
    pub fn gradients(
        &self,
        (x, weight, dy): (&[f32], &[f32], &[f32]),
        dx: &mut [f32],
        dw: &mut [f32],
    ) -> Result<(), Error> {
        if !(self.has_winograd_gradient() && self.turned().is_some()) {
            self.weight_gradient(x, dy, dw)?;
            return self.input_gradient(weight, dy, dx);
        }
        self.images(x, dy)?;
        self.images(dx, dy)?;
        expect("the weights", weight.len(), self.weights())?;
        expect("the weights' gradient", dw.len(), self.weights())?;
        self.winograd_gradients([x, dy], dw, Some((weight, dx)));
        Ok(())
    }

    /// Whether the weights' gradient goes by Winograd's algorithm: the channels of both maps fill registers.
    pub(super) fn has_winograd_gradient(&self) -> bool {
        self.is_winograd(&self.window, self.from, self.to)
            && self.is_winograd(&self.window, self.to, self.to)
    }

    /// The weights' gradient, and from the weights the input's.
    pub(super) fn winograd_gradients(
        &self,
        [x, dy]: [&[f32]; 2],
        dw: &mut [f32],
        input: Option<(&[f32], &mut [f32])>,
    ) {
        let (from, to) = (self.from.len(), self.to.len());
        let images = dy.len() / to;
        let block = images.div_ceil(BLOCKS).max(1);
        let whole = whole_tiles(self.to);
        let mut inputs = Layout::new(self.from, size_of::<f32>());
        inputs.cover(&self.window, whole);
        let mut outputs = Layout::new(self.to, size_of::<f32>());
        outputs.border.bottom = whole.height - self.to.height;
        outputs.border.right = whole.width - self.to.width;
        let turned = input.as_ref().and_then(|_| self.turned());
        let pass = match turned {
            Some(turned) => self.turned_pass(turned, outputs, block),
            None => Pass::new(self.kernels, [outputs, inputs], block, None),
        };
        let (outputs, group) = (pass.from, pass.group);
        let maps = Maps {
            from: &inputs,
            to: &outputs,
            group,
        };
        let gradient = WeightGradient::new(self.kernels, self.window, maps);
        let (weight, mut dx) = input.unzip();
        let convolution = turned.zip(weight).map(|(turned, weight)| {
            let taps = Kernels3x3::of(weight, self.from.channels).turned();
            [(pass.winograd(taps, turned), 0)]
        });
        let room = convolution.as_ref().map_or(0, |[(conv, _)]| conv.scratch());
        // One part for each block, whether or not there is an input gradient to be written.
        let mut parts: Vec<Option<&mut [f32]>> = match &mut dx {
            Some(dx) => dx.chunks_mut(block * from).map(Some).collect(),
            None => (0..images.div_ceil(block)).map(|_| None).collect(),
        };
        let partial: Vec<Scratch> = x
            .par_chunks(block * from)
            .zip(dy.par_chunks(block * to))
            .zip(&mut parts)
            .map(|((x, dy), dx)| {
                let mut sums = Scratch::new(gradient.sums());
                let mut scratch = Scratch::new(gradient.scratch().max(room));
                let mut made = Scratch::new(group * pass.to.image());
                let mut wide = [inputs, outputs].map(|map| {
                    let mut wide = Scratch::new(group * map.image());
                    map.fill_border(&mut wide, group, 0.0);
                    wide
                });
                let groups = x.chunks(group * from).zip(dy.chunks(group * to));
                for (n, (x, dy)) in groups.enumerate() {
                    spread(&inputs, x, &mut wide[0]);
                    spread(&outputs, dy, &mut wide[1]);
                    let maps = wide.each_ref().map(|wide| &**wide);
                    gradient.add(dy.len() / to, maps, &mut scratch, &mut sums, n == 0);
                    if let (Some(convolution), Some(dx)) = (&convolution, dx.as_deref_mut()) {
                        let dx = &mut dx[n * group * from..][..x.len()];
                        pass.run_group(convolution, maps[1], [&mut made, &mut scratch], dx);
                    }
                }
                sums
            })
            .collect();
        gradient.finish(&added(&partial, gradient.sums()), dw);
    }
}
