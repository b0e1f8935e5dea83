//! From 8-bit values to what a network sees:
//!
//! ```text
//! y = (v / 255 - mean) / std      (1)
//! ```
//!
//! all in f32 and in this order, which is what torchvision's `ToTensor` and `Normalize` compute. A channel has only
//! 256 different inputs, so (1) is a table.

/// Per-channel mean and standard deviation, on pixels scaled to 0..1; channels in the order R, G, B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// Subtracted first.
    pub mean: [f32; 3],
    /// Divided by second.
    pub std: [f32; 3],
}

impl Normalization {
    /// The ImageNet statistics, with which torchvision's and most CIFAR-10 checkpoints were trained.
    pub const IMAGENET: Normalization = Normalization {
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
    };
}

/// Equation (1) for each of the 256 values of each channel.
pub(crate) struct Table([[f32; 256]; 3]);

impl Table {
    pub fn new(of: Normalization) -> Table {
        Table(std::array::from_fn(|c| {
            std::array::from_fn(|v| (v as f32 / 255.0 - of.mean[c]) / of.std[c])
        }))
    }

    /// Interleaved `[h, w, 3]` to planar `[3, h, w]`; both slices have `3 h w` values.
    pub fn apply(&self, image: &[u8], out: &mut [f32]) {
        let plane = out.len() / 3;
        let (red, rest) = out.split_at_mut(plane);
        let (green, blue) = rest.split_at_mut(plane);
        let [of_red, of_green, of_blue] = &self.0;
        for (p, rgb) in image.chunks_exact(3).enumerate() {
            red[p] = of_red[usize::from(rgb[0])];
            green[p] = of_green[usize::from(rgb[1])];
            blue[p] = of_blue[usize::from(rgb[2])];
        }
    }
}
