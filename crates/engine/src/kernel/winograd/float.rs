//! The algorithm in real numbers.
//!
//! a = 5/8, b = 3/2, whose errors are the least of those tried with few binary digits: 2.6 times those of the sum by definition in the
//! mean, where a = 1, b = 2 has 5 times (Barabasz et al., Error Analysis and Improving the Accuracy of Winograd Convolution for Deep
//! Neural Networks, arXiv 1803.10986, on why points matter). `B` and `A` have no rounded numbers; `G g G'` is made in float64. The
//! products are summed by the tile of all other convolutions.

use super::{
    FromPoints, KernelsToPoints, POINTS, Panel, Points, Products, ToPoints, Winograd, pack,
};
use crate::kernel::{Float32, FloatKernels, Job, Kernels3x3, Maps, Segment};
use crate::shape::Window;

/// The points of the interpolation beside 0 and infinity, each with both signs.
pub(super) const A: f32 = 0.625;
pub(super) const B: f32 = 1.5;

impl Winograd<Float32> {
    /// Packs the kernels `taps` of all outputs and inputs. The border of `maps.from` covers the window for an output of
    /// [`super::whole_tiles`].
    pub fn new(
        kernels: &'static FloatKernels,
        taps: Kernels3x3<'_>,
        window: Window,
        maps: Maps<'_>,
    ) -> Self {
        let channels = [maps.from, maps.to].map(|map| map.shape.channels);
        // `[panel][point][channel][vector][lane]`.
        let packed = pack::<Float32>(kernels, channels, |Panel { outputs, filled }, points| {
            let job = KernelsToPoints {
                kernels: taps,
                outputs,
                inputs: channels[0],
                filled,
                points,
            };
            // SAFETY: `kernels` belongs to an instruction set that the processor has (`float32`).
            unsafe { (kernels.winograd.kernels_to_points)(job) };
        });
        Self::packed(kernels, packed, window, maps)
    }
}

impl Points for Float32 {
    type Point = f32;
    type Functions = FloatKernels;

    fn sizes(of: &FloatKernels) -> [usize; 3] {
        [of.kernels.lanes, of.kernels.panels.len(), of.kernels.rows]
    }

    unsafe fn to_points(of: &FloatKernels, job: &ToPoints<'_, f32, f32>) {
        // SAFETY: the caller's promise.
        unsafe { (of.winograd.to_points)(job) }
    }

    unsafe fn products(of: &FloatKernels, job: &Products<'_, Float32>) {
        let filled = job.vectors * of.kernels.lanes;
        let each = job.inputs.div_ceil(job.inputs.div_ceil(of.kernels.chunk));
        for point in 0..POINTS {
            for start in (0..job.inputs).step_by(each) {
                // SAFETY: the caller's promise. The sums are whole after the last chunk, and are left where they are: there is no
                // epilogue that reads what follows them.
                unsafe {
                    let job = Job::<Float32> {
                        input: job.points.add(point * job.planes[0] + start),
                        taps: job.rows,
                        segments: &[Segment {
                            offset: 0,
                            steps: each.min(job.inputs - start),
                        }],
                        weights: job.weights.add((point * job.inputs + start) * filled),
                        sums: job.sums.add(point * job.planes[1]),
                        first: start == 0,
                        last: false,
                        out: std::ptr::null_mut(),
                        places: &[],
                        pixel: 0,
                        channel: 0,
                        channels: filled,
                        post: job.post,
                    };
                    (of.kernels.panels[filled / of.kernels.lanes - 1])(&job);
                }
            }
        }
    }

    unsafe fn from_points(of: &FloatKernels, job: &FromPoints<'_, Float32>) {
        // SAFETY: the caller's promise.
        unsafe { (of.winograd.from_points)(job) }
    }
}
