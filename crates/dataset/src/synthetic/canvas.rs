//! A 32 x 32 picture under construction: shapes are drawn over what is there, antialiased by 4 x 4 samples a pixel.
//!
//! Colours are kept in sixteenths of a grey level. Positions in the picture are in eighths of a pixel, so that the
//! samples of pixel p, at 8p + 1, 8p + 3, 8p + 5 and 8p + 7, are integers. Rotations come from t = tan(angle / 2)
//! as cos = (1 - t^2) / (1 + t^2), sin = 2t / (1 + t^2), with t a fraction: no trigonometric function is called.

use super::shape::{Point, Shape};

/// Pixels a side.
pub const SIDE: usize = 32;
/// Eighths of a pixel a side.
pub const EIGHTHS: i32 = 8 * SIDE as i32;

/// Red, green, blue, each 0..=255 on the way in and in sixteenths inside.
pub type Rgb = [i32; 3];

/// The colour between `a` (weight 0) and `b` (weight 256).
pub fn blend(a: Rgb, b: Rgb, weight: i32) -> Rgb {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * weight / 256)
}

/// How a part is filled; lengths in object units.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    /// One colour.
    Plain,
    /// Bars across x (`true`) or across y, each `width` wide.
    Stripes(i32, bool),
    /// Squares of this side.
    Checks(i32),
    /// Dots on a square grid of this side.
    Dots(i32),
}

/// The colours of a part.
#[derive(Clone, Copy, Debug)]
pub struct Filling {
    /// The first colour.
    pub colour: Rgb,
    /// The colour of every other stripe or square, and of the dots.
    pub second: Rgb,
    /// How the two alternate.
    pub pattern: Pattern,
}

impl Filling {
    /// One colour.
    pub fn plain(colour: Rgb) -> Filling {
        Filling {
            colour,
            second: colour,
            pattern: Pattern::Plain,
        }
    }

    fn at(&self, (x, y): Point) -> Rgb {
        let second = match self.pattern {
            Pattern::Plain => false,
            Pattern::Stripes(width, across) => {
                (if across { x } else { y }).div_euclid(width) & 1 == 1
            }
            Pattern::Checks(side) => (x.div_euclid(side) + y.div_euclid(side)) & 1 == 1,
            Pattern::Dots(side) => {
                let (dx, dy) = (x.rem_euclid(side) - side / 2, y.rem_euclid(side) - side / 2);
                16 * (dx * dx + dy * dy) < side * side
            }
        };
        if second { self.second } else { self.colour }
    }
}

/// A filled shape.
#[derive(Clone, Debug)]
pub struct Part {
    shape: Shape,
    bounds: (Point, Point),
    filling: Filling,
}

impl Part {
    /// A shape filled like this.
    pub fn new(shape: Shape, filling: Filling) -> Part {
        Part {
            bounds: shape.bounds(),
            shape,
            filling,
        }
    }

    /// A shape in one colour.
    pub fn plain(shape: Shape, colour: Rgb) -> Part {
        Part::new(shape, Filling::plain(colour))
    }

    /// The same part, its colours moved towards another by `weight` / 256.
    pub fn faded(mut self, towards: Rgb, weight: i32) -> Part {
        self.filling.colour = blend(self.filling.colour, towards, weight);
        self.filling.second = blend(self.filling.second, towards, weight);
        self
    }

    /// The smallest upright box around it: (left, top), (right, bottom).
    pub fn bounds(&self) -> (Point, Point) {
        self.bounds
    }

    fn contains(&self, point: Point) -> bool {
        let (low, high) = self.bounds();
        let near = point.0 >= low.0 && point.1 >= low.1 && point.0 <= high.0 && point.1 <= high.1;
        near && self.shape.contains(point)
    }
}

/// Where an object stands in the picture, and from where it is lit.
#[derive(Clone, Copy, Debug)]
pub struct Placement {
    /// Centre, in eighths of a pixel.
    pub centre: Point,
    /// Half width and half height, in eighths of a pixel, at least 8; a negative half width mirrors.
    pub half: Point,
    /// 256 tan(angle / 2), clockwise.
    pub turn: i32,
    /// Gain in brightness, in 256ths, from the centre to x = 1000 and to y = 1000.
    pub light: Point,
}

/// The picture.
pub struct Canvas {
    pixels: [Rgb; SIDE * SIDE],
}

impl Canvas {
    /// Colour by position.
    pub fn new(mut colour: impl FnMut(i32, i32) -> Rgb) -> Canvas {
        Canvas {
            pixels: std::array::from_fn(|p| {
                colour((p % SIDE) as i32, (p / SIDE) as i32).map(|v| 16 * v)
            }),
        }
    }

    /// All pixels, row by row, in sixteenths.
    pub fn pixels(&mut self) -> &mut [Rgb; SIDE * SIDE] {
        &mut self.pixels
    }

    /// The mean colour of the pixels within `reach` eighths of a pixel of a point.
    pub fn mean_around(&self, centre: Point, reach: i32) -> Rgb {
        let span = |at: i32| {
            (at - reach).clamp(0, EIGHTHS - 8) / 8..=(at + reach).clamp(0, EIGHTHS - 8) / 8
        };
        let mut sum = [0; 3];
        let mut n = 0;
        for y in span(centre.1) {
            for x in span(centre.0) {
                let pixel = self.pixels[y as usize * SIDE + x as usize];
                sum = std::array::from_fn(|c| sum[c] + pixel[c]);
                n += 16;
            }
        }
        sum.map(|v| v / n)
    }

    /// Draws the parts, later ones in front.
    pub fn draw(&mut self, parts: &[Part], at: &Placement) {
        let (sin, cos) = rotation(at.turn);
        let half = (i64::from(at.half.0), i64::from(at.half.1));
        // Objects may overhang their unit box by a fifth.
        let reach =
            |x: i64, y: i64| (6 * (half.0.abs() * x.abs() + half.1 * y.abs()) / (5 * 4096)) as i32;
        let span = |centre: i32, reach: i32| {
            let low = (centre - reach).clamp(0, EIGHTHS) / 8;
            let high = (centre + reach + 7).clamp(0, EIGHTHS) / 8;
            low..high
        };
        // [u, v] = rotation^-1 [dx, dy] / half, in thousandths; 16 more bits of precision on the way.
        let scaled = |v: i64, half: i64| v * 16_000 / half;
        let (ux, uy) = (scaled(cos, half.0), scaled(sin, half.0));
        let (vx, vy) = (scaled(-sin, half.1), scaled(cos, half.1));
        for py in span(at.centre.1, reach(sin, cos)) {
            for px in span(at.centre.0, reach(cos, sin)) {
                let mut sum = [0; 3];
                let mut hits = 0;
                for sample in 0..16 {
                    let dx = i64::from(8 * px + 1 + 2 * (sample % 4) - at.centre.0);
                    let dy = i64::from(8 * py + 1 + 2 * (sample / 4) - at.centre.1);
                    let point = (
                        ((ux * dx + uy * dy) >> 16) as i32,
                        ((vx * dx + vy * dy) >> 16) as i32,
                    );
                    if let Some(part) = parts.iter().rev().find(|part| part.contains(point)) {
                        let gain = 256 + (at.light.0 * point.0 + at.light.1 * point.1) / 1000;
                        let colour = part.filling.at(point);
                        sum = std::array::from_fn(|c| {
                            sum[c] + (colour[c] * gain / 256).clamp(0, 255)
                        });
                        hits += 1;
                    }
                }
                let pixel = &mut self.pixels[py as usize * SIDE + px as usize];
                *pixel = std::array::from_fn(|c| pixel[c] * (16 - hits) / 16 + sum[c]);
            }
        }
    }
}

/// (sin, cos) in 4096ths of the angle whose half has the tangent `turn` / 256.
fn rotation(turn: i32) -> (i64, i64) {
    let t = i64::from(turn);
    let norm = 65_536 + t * t;
    (4096 * 512 * t / norm, 4096 * (65_536 - t * t) / norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Rgb = [0; 3];
    const WHITE: Rgb = [255; 3];

    /// Share of white, in pixels, after drawing one white shape on black.
    fn white(shape: Shape, half: Point, turn: i32) -> f64 {
        let mut canvas = Canvas::new(|_, _| BLACK);
        let at = Placement {
            centre: (128, 128),
            half,
            turn,
            light: (0, 0),
        };
        canvas.draw(&[Part::plain(shape, WHITE)], &at);
        canvas
            .pixels()
            .iter()
            .map(|pixel| f64::from(pixel[0]) / (16.0 * 255.0))
            .sum()
    }

    #[test]
    fn a_shape_covers_its_area_whatever_its_rotation_and_mirroring() {
        for turn in [-256, -100, 0, 37, 256, 1000] {
            for mirror in [-1, 1] {
                let covered = white(Shape::rect(-900, -500, 900, 500), (80 * mirror, 80), turn);
                assert!(
                    (covered - 18.0 * 10.0).abs() < 3.0,
                    "turn {turn}: {covered}"
                );
                let covered = white(Shape::disc(0, 0, 1000), (96 * mirror, 64), turn);
                assert!(
                    (covered - std::f64::consts::PI * 96.0).abs() < 3.0,
                    "turn {turn}: {covered}"
                );
            }
        }
    }

    #[test]
    fn a_quarter_turn_takes_right_to_down() {
        let mut canvas = Canvas::new(|_, _| BLACK);
        let at = Placement {
            centre: (128, 128),
            half: (80, 80),
            turn: 256,
            light: (0, 0),
        };
        canvas.draw(
            &[Part::plain(Shape::rect(500, -200, 1000, 200), WHITE)],
            &at,
        );
        assert!(canvas.mean_around((128, 128 + 60), 8)[0] > 200);
        assert_eq!(canvas.mean_around((128 + 60, 128), 8)[0], 0);
    }

    #[test]
    fn later_parts_lie_in_front() {
        let mut canvas = Canvas::new(|_, _| BLACK);
        let at = Placement {
            centre: (128, 128),
            half: (80, 80),
            turn: 0,
            light: (0, 0),
        };
        let parts = [
            Part::plain(Shape::disc(0, 0, 1000), WHITE),
            Part::plain(Shape::disc(0, 0, 500), [255, 0, 0]),
        ];
        canvas.draw(&parts, &at);
        assert_eq!(canvas.mean_around((128, 128), 8), [255, 0, 0]);
    }

    #[test]
    fn what_lies_outside_the_picture_is_cut_off() {
        let mut canvas = Canvas::new(|_, _| BLACK);
        let at = Placement {
            centre: (-4000, 5000),
            half: (200, 200),
            turn: 30,
            light: (90, -90),
        };
        canvas.draw(&[Part::plain(Shape::disc(0, 0, 1000), WHITE)], &at);
        assert!(canvas.pixels().iter().all(|pixel| *pixel == BLACK));
    }
}
