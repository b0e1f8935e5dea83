//! One image of a set, small enough to stand in a page.

use crate::resize::{Geometry, resize_and_crop};
use crate::{Dataset, Picture};

/// Image `i` with its shorter side at most `side` pixels long: as it is where it is no larger, else resized, and the middle square
/// cut out.
///
/// # Panics
/// There is no image `i`, or `side` is zero.
pub fn thumbnail(set: &Dataset, i: usize, side: usize) -> Picture {
    let (width, height) = (set.width(), set.height());
    if width.min(height) <= side {
        return Picture {
            width,
            height,
            rgb: set.image(i).to_vec(),
        };
    }
    let geometry = Geometry {
        resize: side,
        crop: side,
    };
    Picture {
        width: side,
        height: side,
        rgb: resize_and_crop(set.image(i), width, height, geometry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{self, Split};

    #[test]
    fn a_small_image_is_itself_and_a_larger_one_has_the_side_asked_for() {
        let set = synthetic::generate(1, Split::Test, 2);
        let same = thumbnail(&set, 1, 32);
        assert_eq!((same.width, same.height), (32, 32));
        assert_eq!(same.rgb, set.image(1));
        let small = thumbnail(&set, 1, 8);
        assert_eq!((small.width, small.height, small.rgb.len()), (8, 8, 192));
        // The mean stays, but for rounding.
        let mean = |rgb: &[u8]| rgb.iter().map(|v| f64::from(*v)).sum::<f64>() / rgb.len() as f64;
        assert!((mean(&small.rgb) - mean(&same.rgb)).abs() < 2.0);
        let png = small.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png))
            .read_info()
            .unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        assert_eq!(rgb, small.rgb);
        assert_eq!(small.png().unwrap(), png);
    }
}
