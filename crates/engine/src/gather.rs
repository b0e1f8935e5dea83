//! Channels, rows and columns of a map, chosen: slices, channel shuffles, flips, crops, and borders of any kind around a map.

use crate::shape::Shape;

/// What is chosen along an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// All of it.
    Whole,
    /// One place of the input for each of the output; none: the filling.
    Of(Vec<Option<usize>>),
}

impl Axis {
    /// Places `from..to`.
    pub fn range(from: usize, to: usize) -> Self {
        Self::Of((from..to).map(Some).collect())
    }

    /// How many places there are in the output, of `size` in the input, or what is wrong.
    fn len(&self, size: usize) -> Result<usize, String> {
        match self {
            Self::Whole => Ok(size),
            Self::Of(places) => match places.iter().flatten().find(|&&place| place >= size) {
                Some(place) => Err(format!("chooses place {place} of {size}")),
                None => Ok(places.len()),
            },
        }
    }

    /// The place of the input that is seen at `at`.
    pub(crate) fn at(&self, at: usize) -> Option<usize> {
        match self {
            Self::Whole => Some(at),
            Self::Of(places) => places[at],
        }
    }
}

/// `out[c, y, x] = in[channels[c], rows[y], columns[x]]`, or `fill` where one of the three chooses nothing. A value with codes has the
/// code nearest to `fill`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// Channels.
    pub channels: Axis,
    /// Rows.
    pub rows: Axis,
    /// Columns.
    pub columns: Axis,
    /// What is where nothing is chosen.
    pub fill: f32,
}

impl Gather {
    /// The whole map.
    pub const WHOLE: Self = Self {
        channels: Axis::Whole,
        rows: Axis::Whole,
        columns: Axis::Whole,
        fill: 0.0,
    };

    /// The shape that comes out, or what is wrong.
    pub fn output(&self, input: Shape) -> Result<Shape, String> {
        if !self.fill.is_finite() {
            return Err(format!("fills with {}", self.fill));
        }
        Ok(Shape::new(
            self.channels.len(input.channels)?,
            self.rows.len(input.height)?,
            self.columns.len(input.width)?,
        ))
    }
}
