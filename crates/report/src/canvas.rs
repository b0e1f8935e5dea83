//! A drawing surface in pixels with fractions, on plotters' SVG backend.
//!
//! The backend knows whole numbers only. Everything is therefore drawn [`SCALE`] times larger and shown at its size by
//! the `viewBox` of the picture. Its texts are divided by 1.24, which is undone here: a size is the SVG font size.

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

const SCALE: f64 = 20.0;
const FONT_FACTOR: f64 = 1.24;

/// Size of tick labels and legends in pixels.
pub(crate) const SMALL: f64 = 13.0;
/// Size of axis titles in pixels.
pub(crate) const LARGE: f64 = 14.0;

pub(crate) const BLACK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(crate) const GREY: RGBColor = RGBColor(0x6b, 0x6b, 0x6b);
pub(crate) const LIGHT: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
pub(crate) const WHITE: RGBColor = RGBColor(0xff, 0xff, 0xff);

/// Okabe and Ito 2008, told apart with every common kind of colour blindness; the yellow, too pale for a line on white,
/// comes last and darkened.
const PALETTE: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x33, 0x33, 0x33),
    RGBColor(0xb3, 0xa6, 0x00),
];

/// Viridis from dark to light, its palest part left out: an order that survives colour blindness and a grey print.
const SEQUENCE: [RGBColor; 8] = [
    RGBColor(0x44, 0x01, 0x54),
    RGBColor(0x46, 0x33, 0x7e),
    RGBColor(0x36, 0x5c, 0x8d),
    RGBColor(0x27, 0x7f, 0x8e),
    RGBColor(0x1f, 0xa1, 0x87),
    RGBColor(0x4a, 0xc1, 0x6d),
    RGBColor(0x8c, 0xc8, 0x2a),
    RGBColor(0xd0, 0xbc, 0x10),
];

/// Colour of the i-th of a set without order.
pub(crate) const fn categorical(i: usize) -> RGBColor {
    PALETTE[i % PALETTE.len()]
}

/// Colour of the i-th of `n` in an order.
pub(crate) fn sequential(i: usize, n: usize) -> RGBColor {
    let last = SEQUENCE.len() - 1;
    SEQUENCE[if n < 2 {
        0
    } else {
        (i * last + (n - 1) / 2) / (n - 1)
    }]
}

/// As `#rrggbb`.
pub(crate) fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The colours of a set without order.
pub(crate) fn palette() -> Vec<String> {
    PALETTE.map(hex).to_vec()
}

/// Width of a text in pixels, estimated: widths of DejaVu Sans, the widest of the usual sans-serif fonts.
pub(crate) fn text_width(text: &str, size: f64) -> f64 {
    let width = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | '|' => 0.32,
        'f' | 't' | 'r' | '(' | ')' | ' ' | '-' => 0.40,
        'm' | 'w' | 'M' | 'W' | '%' => 0.95,
        c if c.is_ascii_uppercase() => 0.70,
        _ => 0.63,
    };
    text.chars().map(width).sum::<f64>() * size
}

/// How a text lies at its point.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// Starts there, centred on its height.
    Start,
    /// Centred there in both ways.
    Middle,
    /// Ends there, centred on its height.
    End,
    /// Turned by 90 degrees to read upwards, its middle there.
    UpMiddle,
    /// Turned likewise, its end there.
    UpEnd,
}

/// The SVG under construction.
pub(crate) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

/// Draws a picture of `width` x `height` pixels and gives its SVG.
pub(crate) fn picture(width: f64, height: f64, draw: impl FnOnce(&mut Canvas<'_>)) -> String {
    let mut svg = String::new();
    let size = ((width * SCALE) as u32, (height * SCALE) as u32);
    let mut canvas = Canvas {
        backend: SVGBackend::with_string(&mut svg, size),
    };
    canvas.rect((0.0, 0.0), (width, height), WHITE, 1.0);
    draw(&mut canvas);
    // Writing into a string cannot fail.
    let _ = canvas.backend.present();
    drop(canvas);
    let large = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    svg.replacen(
        &large,
        &format!("width=\"{width:.0}\" height=\"{height:.0}\""),
        1,
    )
}

impl Canvas<'_> {
    pub fn rect(&mut self, from: (f64, f64), to: (f64, f64), color: RGBColor, alpha: f64) {
        let style = ShapeStyle {
            color: color.mix(alpha),
            filled: true,
            stroke_width: 0,
        };
        let _ = self.backend.draw_rect(units(from), units(to), &style, true);
    }

    pub fn polygon(&mut self, points: &[(f64, f64)], color: RGBColor, alpha: f64) {
        let style = ShapeStyle {
            color: color.mix(alpha),
            filled: true,
            stroke_width: 0,
        };
        let _ = self
            .backend
            .fill_polygon(points.iter().copied().map(units), &style);
    }

    pub fn line(&mut self, points: &[(f64, f64)], color: RGBColor, width: f64) {
        let stroke_width = (width * SCALE).round() as u32;
        let style = ShapeStyle {
            color: color.to_rgba(),
            filled: false,
            stroke_width,
        };
        let _ = self
            .backend
            .draw_path(points.iter().copied().map(units), &style);
    }

    /// A straight line in pieces: `dash` pixels drawn, `gap` pixels not.
    pub fn dashed(
        &mut self,
        from: (f64, f64),
        to: (f64, f64),
        color: RGBColor,
        width: f64,
        (dash, gap): (f64, f64),
    ) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        let point = |d: f64| (from.0 + dx * d / length, from.1 + dy * d / length);
        let mut start = 0.0;
        while start < length {
            self.line(
                &[point(start), point((start + dash).min(length))],
                color,
                width,
            );
            start += dash + gap;
        }
    }

    pub fn text(&mut self, point: (f64, f64), text: &str, size: f64, color: RGBColor, at: At) {
        let (h, v, turn) = match at {
            At::Start => (HPos::Left, VPos::Center, FontTransform::None),
            At::Middle => (HPos::Center, VPos::Center, FontTransform::None),
            At::End => (HPos::Right, VPos::Center, FontTransform::None),
            At::UpMiddle => (HPos::Center, VPos::Center, FontTransform::Rotate270),
            At::UpEnd => (HPos::Right, VPos::Center, FontTransform::Rotate270),
        };
        let font = ("sans-serif", size * SCALE * FONT_FACTOR).into_font();
        let style = TextStyle::from(font)
            .color(&color)
            .pos(Pos::new(h, v))
            .transform(turn);
        let _ = self.backend.draw_text(text, &style, units(point));
    }

    /// The i-th marker shape with a white rim, so that lines behind it do not blur it.
    pub fn marker(&mut self, point: (f64, f64), i: usize, color: RGBColor) {
        self.rings(point, i, &[(5.2, WHITE), (4.4, color)]);
    }

    /// The i-th marker shape as an outline.
    pub fn hollow(&mut self, point: (f64, f64), i: usize, color: RGBColor) {
        self.rings(point, i, &[(5.2, WHITE), (4.6, color), (2.5, WHITE)]);
    }

    /// A marker shape over itself, in several sizes.
    fn rings(&mut self, (x, y): (f64, f64), i: usize, rings: &[(f64, RGBColor)]) {
        for (r, color) in rings.iter().copied() {
            let polygon = |corners: &[(f64, f64)]| {
                corners
                    .iter()
                    .map(|(a, b)| (x + a * r, y + b * r))
                    .collect::<Vec<_>>()
            };
            let points = match i % 7 {
                0 => {
                    let style = ShapeStyle {
                        color: color.to_rgba(),
                        filled: true,
                        stroke_width: 0,
                    };
                    let _ =
                        self.backend
                            .draw_circle(units((x, y)), (r * SCALE) as u32, &style, true);
                    continue;
                }
                1 => polygon(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
                2 => polygon(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
                3 => polygon(&[(0.0, -1.3), (1.15, 0.0), (0.0, 1.3), (-1.15, 0.0)]),
                4 => polygon(&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)]),
                5 => polygon(&PLUS),
                _ => {
                    let half = std::f64::consts::FRAC_1_SQRT_2;
                    polygon(&PLUS.map(|(a, b)| ((a - b) * half, (a + b) * half)))
                }
            };
            self.polygon(&points, color, 1.0);
        }
    }
}

/// Corners of a plus sign.
const PLUS: [(f64, f64); 12] = [
    (-0.4, -1.2),
    (0.4, -1.2),
    (0.4, -0.4),
    (1.2, -0.4),
    (1.2, 0.4),
    (0.4, 0.4),
    (0.4, 1.2),
    (-0.4, 1.2),
    (-0.4, 0.4),
    (-1.2, 0.4),
    (-1.2, -0.4),
    (-0.4, -0.4),
];

fn units((x, y): (f64, f64)) -> (i32, i32) {
    ((x * SCALE).round() as i32, (y * SCALE).round() as i32)
}
