//! How a file's tensor lies in a map: ONNX reshapes and transposes freely, the engine has maps `[c, h, w]` alone.
//!
//! Behind the batch axis a tensor is a list of axes, and an axis a list of factors, each a size and a stride in the map's flat order
//! `(channel * h + row) * w + column`. Reshaping splits and joins factors, transposing orders axes, and nothing is computed until an
//! operator wants a map: then what is left is the map itself, its numbers in a row, or its channels in another order.

use engine::Shape;

use crate::topology::Value;

/// A part of an axis: its extent, and how far apart its places are.
type Factor = (usize, usize);

/// A tensor `[n, ...]` that is a value seen another way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub value: Value,
    /// Of the value.
    pub shape: Shape,
    axes: Vec<Vec<Factor>>,
}

impl View {
    /// `[n, c, h, w]`.
    pub fn map(value: Value, shape: Shape) -> Self {
        let Shape {
            channels,
            height,
            width,
        } = shape;
        let axes = [(channels, height * width), (height, width), (width, 1)];
        let axes = axes.map(|factor| vec![factor]).to_vec();
        Self { value, shape, axes }
    }

    /// `[n, h, w, c]`.
    pub fn channels_last(value: Value, shape: Shape) -> Self {
        let mut view = Self::map(value, shape);
        view.axes.rotate_left(1);
        view
    }

    /// `[n, c * h * w]`.
    pub fn flat(value: Value, shape: Shape) -> Self {
        let mut view = Self::map(value, shape);
        view.axes = vec![view.axes.concat()];
        view
    }

    /// Another value of the same shape, seen the same way.
    pub fn of(&self, value: Value) -> Self {
        Self {
            value,
            ..self.clone()
        }
    }

    /// Extents behind the batch axis.
    pub fn extents(&self) -> Vec<usize> {
        let extent = |axis: &Vec<Factor>| axis.iter().map(|(size, _)| size).product();
        self.axes.iter().map(extent).collect()
    }

    /// The same numbers with other extents behind the batch axis; none where they do not fit.
    pub fn reshaped(&self, extents: &[usize]) -> Option<Self> {
        let mut rest: Vec<Factor> = self.axes.concat();
        rest.retain(|(size, _)| *size != 1);
        rest.reverse();
        let mut axes = Vec::new();
        for &extent in extents {
            let (mut axis, mut left) = (Vec::new(), extent);
            while left > 1 {
                let (size, stride) = rest.pop()?;
                if left.is_multiple_of(size) {
                    axis.push((size, stride));
                    left /= size;
                } else if size.is_multiple_of(left) {
                    axis.push((left, stride * (size / left)));
                    rest.push((size / left, stride));
                    left = 1;
                } else {
                    return None;
                }
            }
            if left == 0 {
                return None;
            }
            axes.push(axis);
        }
        rest.is_empty().then(|| Self {
            axes,
            ..self.clone()
        })
    }

    /// Axes in another order, those behind the batch axis counted from 0.
    pub fn transposed(&self, order: &[usize]) -> Option<Self> {
        let mut seen = vec![false; self.axes.len()];
        for &axis in order {
            *seen.get_mut(axis)? = true;
        }
        let whole = order.len() == self.axes.len() && seen.iter().all(|&seen| seen);
        whole.then(|| Self {
            axes: order.iter().map(|&axis| self.axes[axis].clone()).collect(),
            ..self.clone()
        })
    }

    /// Whether it is `[n, c, h, w]`.
    pub fn is_map(&self) -> bool {
        self.axes.len() == 3 && self.lies_as(&Self::map(self.value, self.shape))
    }

    /// Whether it is `[n, c * h * w]`, in the order of the map.
    pub fn is_flat(&self) -> bool {
        self.axes.len() == 1 && self.lies_as(&Self::flat(self.value, self.shape))
    }

    /// Whether each axis goes through the map in the same way.
    pub fn lies_as(&self, other: &Self) -> bool {
        let same = |(a, b): (&Vec<Factor>, &Vec<Factor>)| joined(a) == joined(b);
        self.axes.len() == other.axes.len() && self.axes.iter().zip(&other.axes).all(same)
    }

    /// Which axis goes through the channels, if one does and the others do not.
    pub fn channel_axis(&self) -> Option<usize> {
        let map = self.shape.height * self.shape.width;
        let whole = joined(&[(self.shape.channels, map)]);
        self.axes.iter().position(|axis| joined(axis) == whole)
    }

    /// Whether these axes go through rows and columns and nothing else.
    pub fn is_spatial(&self, axes: &[usize]) -> bool {
        let Shape { height, width, .. } = self.shape;
        let factors = axes.iter().flat_map(|&axis| self.axes[axis].clone());
        let mut found: Vec<Factor> = factors.filter(|(size, _)| *size != 1).collect();
        found.sort_unstable_by_key(|&(_, stride)| std::cmp::Reverse(stride));
        joined(&found) == joined(&[(height, width), (width, 1)])
    }

    /// For a view that is a map but for the order of its channels: the channel of the value that each of its own is.
    pub fn shuffled_channels(&self) -> Option<Vec<usize>> {
        let map = Self::map(self.value, self.shape);
        let pixels = self.shape.height * self.shape.width;
        let plain = self.axes.len() == 3
            && (1..3).all(|axis| joined(&self.axes[axis]) == joined(&map.axes[axis]));
        let channels = self
            .axes
            .first()?
            .iter()
            .all(|(_, stride)| stride.is_multiple_of(pixels));
        (plain && channels).then(|| {
            let places = places(&self.axes[0]);
            places.into_iter().map(|place| place / pixels).collect()
        })
    }

    /// The place in the map of each of its numbers, in order.
    pub fn order(&self) -> Vec<usize> {
        places(&self.axes.concat())
    }
}

/// Factors with neighbours that go on in one stride made one, and those of one place left out.
fn joined(axis: &[Factor]) -> Vec<Factor> {
    let mut all: Vec<Factor> = Vec::new();
    for &(size, stride) in axis.iter().filter(|(size, _)| *size != 1) {
        match all.last_mut() {
            Some((before, far)) if *far == size * stride => {
                *before *= size;
                *far = stride;
            }
            _ => all.push((size, stride)),
        }
    }
    all
}

/// Where an axis goes, place by place.
fn places(axis: &[Factor]) -> Vec<usize> {
    axis.iter().fold(vec![0], |all, &(size, stride)| {
        let each = all.iter();
        each.flat_map(|&start| (0..size).map(move |i| start + i * stride))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(c: usize, h: usize, w: usize) -> View {
        View::map(Value::Input, Shape::new(c, h, w))
    }

    #[test]
    fn a_channel_shuffle_is_a_map_with_its_channels_in_another_order() {
        let grouped = map(6, 4, 5).reshaped(&[2, 3, 4, 5]).unwrap();
        let shuffled = grouped.transposed(&[1, 0, 2, 3]).unwrap();
        let back = shuffled.reshaped(&[6, 4, 5]).unwrap();
        assert!(!back.is_map());
        assert_eq!(back.shuffled_channels().unwrap(), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn flattening_and_what_amounts_to_it_is_seen() {
        let flat = map(3, 2, 2).reshaped(&[12]).unwrap();
        assert!(flat.is_flat() && flat.reshaped(&[3, 2, 2]).unwrap().is_map());
        assert!(map(3, 1, 1).reshaped(&[3]).unwrap().is_flat());
        assert!(map(3, 2, 2).reshaped(&[5]).is_none());
        assert!(map(3, 2, 2).reshaped(&[6, 3]).is_none());
        let last = map(3, 2, 2)
            .transposed(&[1, 2, 0])
            .unwrap()
            .reshaped(&[12])
            .unwrap();
        assert!(!last.is_flat());
        assert_eq!(last.order(), [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    }

    #[test]
    fn images_with_channels_last_become_a_map_behind_a_transpose() {
        let view = View::channels_last(Value::Input, Shape::new(3, 4, 5));
        assert_eq!(view.extents(), [4, 5, 3]);
        assert_eq!(view.channel_axis(), Some(2));
        assert!(view.is_spatial(&[0, 1]) && view.is_spatial(&[1, 0]) && !view.is_spatial(&[0]));
        assert!(view.transposed(&[2, 0, 1]).unwrap().is_map());
        assert!(view.transposed(&[0, 0, 1]).is_none());
    }
}
