//! Extents of maps and of the windows that slide over them.

/// One image's share of a value: `[channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A shape from its three extents.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Self {
            channels,
            height,
            width,
        }
    }

    /// Values in one image.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// Rows and columns that a sliding window sees around a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns before.
    pub left: usize,
    /// Columns behind.
    pub right: usize,
}

impl Padding {
    /// The same on all four sides.
    pub fn all(n: usize) -> Self {
        Self {
            top: n,
            bottom: n,
            left: n,
            right: n,
        }
    }

    /// Above and below, before and behind.
    pub fn pairs(self) -> [(usize, usize); 2] {
        [(self.top, self.bottom), (self.left, self.right)]
    }
}

impl std::ops::Add for Padding {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            top: self.top + more.top,
            bottom: self.bottom + more.bottom,
            left: self.left + more.left,
            right: self.right + more.right,
        }
    }
}

/// A sliding window; pairs are (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Taps.
    pub kernel: [usize; 2],
    /// Steps between outputs.
    pub stride: [usize; 2],
    /// Steps between taps.
    pub dilation: [usize; 2],
    /// What lies around the map.
    pub padding: Padding,
}

impl Window {
    /// A square window without dilation.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            padding: Padding::all(padding),
        }
    }

    /// A window that covers a whole map.
    pub fn whole(shape: Shape) -> Self {
        Self {
            kernel: [shape.height, shape.width],
            ..Self::square(1, 1, 0)
        }
    }

    /// Whether it is larger than its padding on every side; otherwise it could lie outside the map altogether.
    pub fn exceeds_padding(&self) -> bool {
        let [rows, columns] = self.padding.pairs().map(|(a, b)| a.max(b));
        rows < self.kernel[0] && columns < self.kernel[1]
    }

    /// `floor((size + padding - dilation * (kernel - 1) - 1) / stride) + 1` for rows and columns, or what is wrong.
    pub fn output(&self, shape: Shape) -> Result<[usize; 2], String> {
        let pads = self.padding.pairs();
        let mut out = [0; 2];
        for (axis, size) in [shape.height, shape.width].into_iter().enumerate() {
            let (kernel, stride, dilation) =
                (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                return Err(format!(
                    "kernel {kernel}, stride {stride}, dilation {dilation}; none may be 0"
                ));
            }
            let span = dilation
                .checked_mul(kernel - 1)
                .and_then(|span| span.checked_add(1));
            let padded = size
                .checked_add(pads[axis].0)
                .and_then(|size| size.checked_add(pads[axis].1));
            out[axis] = match (span, padded) {
                (Some(span), Some(padded)) if span <= padded => (padded - span) / stride + 1,
                _ => {
                    return Err(format!(
                        "a window of {kernel} taps, {dilation} apart, does not fit {size} pixels padded by {} and {}",
                        pads[axis].0, pads[axis].1
                    ));
                }
            };
        }
        Ok(out)
    }
}
