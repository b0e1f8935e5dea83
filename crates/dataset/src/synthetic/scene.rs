//! One image: a background, clutter, the object, what stands in front of it, and a bad camera.
//!
//! What makes it hard is what makes photographs hard: small, turned, half hidden, low in contrast, blurred, noisy.
//! The label is always right, and drawn before anything else.

use super::canvas::{Canvas, EIGHTHS, Part, Placement, Rgb, SIDE, blend};
use super::objects::object;
use super::palette::any_colour;
use super::random::{Random, mix};
use super::shape::Shape;

/// Bytes of an image: `[SIDE, SIDE, 3]`.
pub const BYTES: usize = SIDE * SIDE * 3;

/// How many images in a hundred are hard in a given respect: the object far away, hardly different from what is
/// behind it, or in the dark with a grainy camera. The respects are independent of one another.
const HARD: i32 = 2;

/// The image for this label and key, RGB interleaved.
pub fn draw(label: u16, key: u64) -> [u8; BYTES] {
    let random = &mut Random::new(key);
    let mut canvas = background(random);
    for _ in 0..random.below(4) {
        let (half, centre) = (random.between(12, 36), anywhere(random));
        clutter(random, &mut canvas, centre, half);
    }

    let at = placement(random);
    let surroundings = canvas.mean_around(at.centre, at.half.1);
    let fade = if random.chance(HARD) {
        random.between(120, 215)
    } else {
        skewed(random, 128)
    };
    let parts: Vec<Part> = object(label, random)
        .into_iter()
        .map(|part| part.faded(surroundings, fade))
        .collect();
    canvas.draw(&parts, &at);

    if random.chance(25) {
        // Beside the middle of the object: what is left of it must do.
        let size = at.half.1;
        let offset = |random: &mut Random| random.sign() * random.between(size / 3, size);
        let centre = (at.centre.0 + offset(random), at.centre.1 + offset(random));
        let half = random.between(size / 4, size * 3 / 5).max(8);
        clutter(random, &mut canvas, centre, half);
    }
    camera(random, canvas)
}

/// From 0 to below `n`, small values more often: the product of two uniform ones.
fn skewed(random: &mut Random, n: i32) -> i32 {
    random.below(n) * random.below(n) / n
}

fn anywhere(random: &mut Random) -> (i32, i32) {
    (random.below(EIGHTHS), random.below(EIGHTHS))
}

/// Upright within some 21 degrees, from half of the picture to nearly all of it and never far outside.
fn placement(random: &mut Random) -> Placement {
    let size = if random.chance(HARD) {
        random.between(30, 64)
    } else {
        120 - skewed(random, 64)
    };
    let stretch = random.between(205, 307);
    let slack = (EIGHTHS / 2 - size * 3 / 4) * 3 / 4;
    let place = |random: &mut Random| EIGHTHS / 2 + random.between(-slack, slack);
    Placement {
        centre: (place(random), place(random)),
        half: (random.sign() * size * stretch / 256, size * 256 / stretch),
        turn: random.between(-48, 48),
        light: (random.between(-80, 80), random.between(-80, 80)),
    }
}

/// A single loose piece such as objects are made of.
fn clutter(random: &mut Random, canvas: &mut Canvas, centre: (i32, i32), half: i32) {
    let shape = match random.below(6) {
        0 => Shape::disc(0, 0, 900),
        1 => Shape::dome(0, 400, 900, 1000),
        2 => Shape::triangle((-900, 700), (900, 700), (random.between(-900, 900), -900)),
        3 => Shape::rect(-900, -500, 900, 500),
        4 => Shape::rect(-150, -1100, 150, 1100),
        _ => Shape::ring(0, 0, 900, random.between(500, 750)),
    };
    let at = Placement {
        centre,
        half: (half, half * random.between(160, 400) / 256),
        turn: random.between(-256, 256),
        light: (random.between(-80, 80), random.between(-80, 80)),
    };
    canvas.draw(&[Part::plain(shape, any_colour(random))], &at);
}

fn background(random: &mut Random) -> Canvas {
    let near = any_colour(random);
    let contrast = random.between(20, 120);
    let far = blend(near, any_colour(random), contrast);
    let (coarse, fine) = (Noise::new(random, 3), Noise::new(random, 1));
    let rough = random.below(28);
    let kind = random.below(5);
    let (dx, dy) = (random.between(-8, 8), random.between(-8, 8));
    let horizon = random.between(10, 26);
    let width = random.between(2, 8);
    Canvas::new(|x, y| {
        let weight = match kind {
            // A wall, shaded in one direction.
            0 => 128 + dx * (x - 16) / 2 + dy * (y - 16) / 2,
            // Clouds, leaves.
            1 => coarse.at(x, y),
            // Sky over ground.
            2 if y < horizon => (horizon - y) * 4,
            2 => 256 - coarse.at(x, y) / 4,
            // Planks.
            3 => 256 * ((dx * x + dy * y + 512).div_euclid(4 * width) & 1),
            // Tiles.
            _ => 256 * ((x.div_euclid(width) + y.div_euclid(width)) & 1),
        };
        let colour = blend(near, far, weight.clamp(0, 256));
        colour.map(|v| (v + (fine.at(x, y) - 128) * rough / 128).clamp(0, 255))
    })
}

/// Contrast, colour cast, focus and grain; then 8-bit values.
fn camera(random: &mut Random, mut canvas: Canvas) -> [u8; BYTES] {
    let contrast = random.between(150, 290);
    let middle = 16 * random.between(96, 160);
    let cast: Rgb = std::array::from_fn(|_| random.between(226, 286));
    let soft = random.below(4) * random.below(4) / 4;
    let grain = if random.chance(HARD) {
        random.between(18, 38)
    } else {
        1 + skewed(random, 20)
    };
    for _ in 0..soft {
        blur(&mut canvas);
    }
    let mut bytes = [0; BYTES];
    for (pixel, out) in canvas.pixels().iter().zip(bytes.chunks_exact_mut(3)) {
        for c in 0..3 {
            let exposed = ((pixel[c] - 2048) * contrast / 256 + middle) * cast[c] / 256;
            let noise = random.bell() * 16 * grain / 2365;
            out[c] = ((exposed + noise + 8) >> 4).clamp(0, 255) as u8;
        }
    }
    bytes
}

/// Each pixel becomes the mean of itself (twice) and its right and lower neighbours, then likewise left and up: a
/// small, symmetric, binomial blur.
fn blur(canvas: &mut Canvas) {
    let pixels = canvas.pixels();
    let last = SIDE - 1;
    let mean = |a: Rgb, b: Rgb| -> Rgb { std::array::from_fn(|c| (a[c] + b[c]) / 2) };
    for p in 0..SIDE * SIDE {
        let (x, y) = (p % SIDE, p / SIDE);
        let right = pixels[y * SIDE + (x + 1).min(last)];
        let below = pixels[(y + 1).min(last) * SIDE + x];
        pixels[p] = mean(pixels[p], mean(right, below));
    }
    for p in (0..SIDE * SIDE).rev() {
        let (x, y) = (p % SIDE, p / SIDE);
        let left = pixels[y * SIDE + x.saturating_sub(1)];
        let above = pixels[y.saturating_sub(1) * SIDE + x];
        pixels[p] = mean(pixels[p], mean(left, above));
    }
}

/// Smooth random values: a lattice of random ones every 2^`log_step` pixels, smoothly interpolated.
struct Noise {
    key: u64,
    log_step: u32,
}

impl Noise {
    fn new(random: &mut Random, log_step: u32) -> Noise {
        Noise {
            key: random.bits(),
            log_step,
        }
    }

    /// 0..=255.
    fn at(&self, x: i32, y: i32) -> i32 {
        let step = 1 << self.log_step;
        let node = |i: i32, j: i32| (mix(self.key ^ ((i as u64) << 32 | j as u64)) & 255) as i32;
        // 3 t^2 - 2 t^3, t from 0 to 256.
        let ease = |at: i32| {
            let t = (at % step) * 256 / step;
            t * t * (768 - 2 * t) / 65_536
        };
        let (i, j) = (x / step, y / step);
        let mix = |a: i32, b: i32, t: i32| a + (b - a) * t / 256;
        let above = mix(node(i, j), node(i + 1, j), ease(x));
        let below = mix(node(i, j + 1), node(i + 1, j + 1), ease(x));
        mix(above, below, ease(y))
    }
}
