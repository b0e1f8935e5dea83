//! A map of which tiles are taken to their points, and where the points lie.

use super::transform::ToPoints;
use super::{PATCH, TILE, grid};
use crate::layout::{Layout, Table};
use crate::shape::{Shape, Window};

/// Bytes in a cache line.
const LINE: usize = 64;

/// See the module's header.
pub(super) struct Side {
    pub channels: usize,
    /// Distances of rows and pixels.
    row: usize,
    pitch: usize,
    /// Each tile's first pixel.
    pub tiles: Table,
    /// Where the channels of each of a block's tiles begin in a point's plane.
    pub rows: Vec<u32>,
    /// Elements from a point's plane to the next one's.
    pub plane: usize,
    /// Elements that the map must have.
    pub reach: usize,
}

impl Side {
    /// The input of a convolution to maps of shape `to`, blocks having up to `block` tiles, a point's values being `P`.
    pub fn inputs<P>(
        layout: &Layout,
        (window, to): (&Window, Shape),
        group: usize,
        block: usize,
    ) -> Self {
        let patches = Window {
            kernel: [PATCH; 2],
            stride: [TILE; 2],
            ..*window
        };
        let tiles = Table::first_taps(layout, &patches, grid(to), group);
        Self::new::<P>(layout, tiles, PATCH, block)
    }

    /// The gradient of the output, likewise.
    pub fn gradients(layout: &Layout, group: usize, block: usize) -> Self {
        let grid = grid(layout.shape);
        let tiles = Table::new(layout.image(), [grid.height, grid.width], group, |y, x| {
            layout.pixel(y * TILE, x * TILE)
        });
        Self::new::<f32>(layout, tiles, TILE, block)
    }

    /// `patch` pixels in each direction from each tile's first.
    fn new<P>(layout: &Layout, tiles: Table, patch: usize, block: usize) -> Self {
        let channels = layout.shape.channels;
        // As far apart as the pixels of a map, and for the same reason.
        let distance = Layout::new(Shape::new(channels, 1, block), size_of::<P>()).pitch;
        Self {
            channels,
            row: layout.row(),
            pitch: layout.pitch,
            rows: (0..block).map(|tile| (tile * distance) as u32).collect(),
            plane: plane::<P>(block, distance),
            reach: tiles.largest() + (patch - 1) * (layout.row() + layout.pitch) + channels,
            tiles,
        }
    }

    /// What takes some of the tiles of `map` to `points`.
    pub fn points<'a, T, P>(
        &'a self,
        map: &[T],
        tiles: &'a [u32],
        points: *mut P,
    ) -> ToPoints<'a, T, P> {
        ToPoints {
            input: map.as_ptr(),
            tiles,
            row: self.row,
            pitch: self.pitch,
            channels: self.channels,
            points,
            plane: self.plane,
            rows: &self.rows,
        }
    }
}

/// Elements from a point's values of a block of tiles to the next one's, each tile having so many. A line more than there are, so that
/// the same place of all points is not in the same set of the cache.
pub(super) fn plane<P>(block: usize, each: usize) -> usize {
    block * each + LINE / size_of::<P>()
}
