//! Colours and fillings: the ones that things usually have, and any others.

use super::canvas::{Filling, Part, Pattern, Rgb, blend};
use super::random::Random;
use super::shape::Shape;

/// Any colour: hue around the wheel, the rest of the way to white and black by chance.
pub fn any_colour(random: &mut Random) -> Rgb {
    let hue = random.below(1536);
    let saturation = random.between(40, 256);
    let value = random.between(50, 250);
    let ramp = |shift: i32| ((hue + shift).rem_euclid(1536) - 768).abs().clamp(256, 512) - 256;
    [0, 1024, 512]
        .map(|shift| (256 * (256 - saturation) + ramp(shift) * saturation) / 256 * value / 256)
}

pub const RED: Rgb = [206, 48, 44];
pub const ORANGE: Rgb = [232, 138, 40];
pub const YELLOW: Rgb = [240, 208, 74];
pub const GREEN: Rgb = [66, 146, 62];
pub const BLUE: Rgb = [58, 98, 190];
pub const SKY: Rgb = [150, 200, 232];
pub const PINK: Rgb = [232, 130, 170];
pub const BROWN: Rgb = [118, 78, 46];
pub const CREAM: Rgb = [236, 222, 190];
pub const WHITE: Rgb = [242, 242, 240];
pub const GREY: Rgb = [140, 144, 150];
pub const DARK: Rgb = [36, 36, 42];

/// Chances and colours for one object.
pub struct Brush<'a> {
    random: &'a mut Random,
    wild: bool,
}

impl<'a> Brush<'a> {
    /// For one object; a third of them are in wild colours.
    pub fn new(random: &'a mut Random) -> Brush<'a> {
        let wild = random.chance(35);
        Brush { random, wild }
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        self.random.between(low, high)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: i32) -> bool {
        self.random.chance(percent)
    }

    /// One of the expected colours, or any for an object in wild colours; never twice quite the same.
    pub fn colour(&mut self, expected: &[Rgb]) -> Rgb {
        let other = any_colour(self.random);
        let chosen = expected[self.random.below(expected.len() as i32) as usize];
        if self.wild {
            other
        } else {
            blend(chosen, other, 40)
        }
    }

    /// For large parts: plain more often than not.
    pub fn filling(&mut self, expected: &[Rgb]) -> Filling {
        let colour = self.colour(expected);
        let contrast = self.between(50, 170);
        let second = blend(colour, any_colour(self.random), contrast);
        let pattern = match self.random.below(14) {
            0 => Pattern::Stripes(self.between(120, 300), true),
            1 => Pattern::Stripes(self.between(120, 300), false),
            2 => Pattern::Checks(self.between(180, 320)),
            3 => Pattern::Dots(self.between(250, 450)),
            _ => Pattern::Plain,
        };
        Filling {
            colour,
            second,
            pattern,
        }
    }

    /// A large part.
    pub fn part(&mut self, shape: Shape, expected: &[Rgb]) -> Part {
        Part::new(shape, self.filling(expected))
    }

    /// A small part: plain.
    pub fn plain(&mut self, shape: Shape, expected: &[Rgb]) -> Part {
        Part::plain(shape, self.colour(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_in_range() {
        let mut random = Random::new(3);
        let colours: Vec<Rgb> = (0..10_000).map(|_| any_colour(&mut random)).collect();
        assert!(colours.iter().flatten().all(|v| (0..=255).contains(v)));
        for channel in 0..3 {
            assert!(
                colours
                    .iter()
                    .filter(|c| c[channel] == *c.iter().max().unwrap())
                    .count()
                    > 2500
            );
        }
    }
}
