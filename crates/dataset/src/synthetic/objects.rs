//! The ten things to be recognised, drawn from parts whose proportions, colours and patterns vary.
//!
//! They share their parts on purpose: a dome on a stem is a mushroom if the stem is thick and an umbrella if it is
//! thin, a ball on one is a tree or a flower, a triangle on a box a house or a rocket. Most objects wear the
//! colours that one expects, a third any: colour helps, but shape decides.

use super::canvas::{Part, Pattern};
use super::palette::{
    BLUE, BROWN, Brush, CREAM, DARK, GREEN, GREY, ORANGE, PINK, RED, SKY, WHITE, YELLOW,
};
use super::random::Random;
use super::shape::Shape;

/// Class names by label.
pub const CLASSES: [&str; 10] = [
    "house", "tree", "mushroom", "boat", "fish", "flower", "cup", "car", "rocket", "umbrella",
];

/// The object of this label (0..=9), back to front.
pub fn object(label: u16, random: &mut Random) -> Vec<Part> {
    let r = &mut Brush::new(random);
    match label {
        0 => house(r),
        1 => tree(r),
        2 => mushroom(r),
        3 => boat(r),
        4 => fish(r),
        5 => flower(r),
        6 => cup(r),
        7 => car(r),
        8 => rocket(r),
        _ => umbrella(r),
    }
}

fn house(r: &mut Brush) -> Vec<Part> {
    let (width, eaves) = (r.between(520, 760), r.between(-250, 100));
    let overhang = width + r.between(60, 220);
    let mut parts = Vec::new();
    if r.chance(50) {
        let x = r.between(-width / 2, width / 2);
        parts.push(r.plain(
            Shape::rect(x - 90, -880, x + 90, eaves),
            &[RED, BROWN, GREY],
        ));
    }
    parts.push(r.part(
        Shape::rect(-width, eaves, width, 900),
        &[CREAM, WHITE, YELLOW, RED, SKY],
    ));
    let roof = if r.chance(75) {
        Shape::triangle((-overhang, eaves), (overhang, eaves), (0, -950))
    } else {
        Shape::trapezoid(0, -750, overhang / 2, eaves, overhang)
    };
    parts.push(r.part(roof, &[RED, BROWN, GREY, DARK]));
    let door = r.between(-width + 200, width - 200);
    parts.push(r.plain(
        Shape::rect(door - 140, 350, door + 140, 900),
        &[BROWN, BLUE, GREEN, DARK],
    ));
    let window = if door > 0 { door - 480 } else { door + 480 };
    parts.push(r.plain(
        Shape::rect(window - 130, eaves + 180, window + 130, eaves + 440),
        &[SKY, DARK, YELLOW],
    ));
    parts
}

fn tree(r: &mut Brush) -> Vec<Part> {
    let trunk = r.between(80, 170);
    let mut parts = vec![r.plain(Shape::rect(-trunk, 200, trunk, 960), &[BROWN])];
    if r.chance(40) {
        let tiers = r.between(2, 3);
        let width = r.between(560, 780);
        let crown = r.filling(&[GREEN]);
        for tier in 0..tiers {
            let low = 560 - tier * 1000 / tiers;
            let half = width - tier * 380 / tiers;
            let shape = Shape::triangle((-half, low), (half, low), (0, low - 1500 / tiers));
            parts.push(Part::new(shape, crown));
        }
    } else {
        let (width, height) = (r.between(330, 470), r.between(330, 430));
        let crown = r.filling(&[GREEN, GREEN, ORANGE]);
        let side = r.between(250, 400);
        for (x, y) in [(-side, -80), (side, -80), (0, -420), (0, 40)] {
            parts.push(Part::new(Shape::ellipse(x, y, width, height), crown));
        }
    }
    parts
}

fn mushroom(r: &mut Brush) -> Vec<Part> {
    let (above, below) = (r.between(170, 300), r.between(190, 340));
    let rim = r.between(-50, 250);
    let mut parts = vec![r.part(
        Shape::trapezoid(0, rim - 50, above, 920, below),
        &[CREAM, WHITE],
    )];
    let width = r.between(680, 950);
    let height = r.between(650, 1000);
    let cap = Shape::dome(0, rim, width, height);
    let mut filling = r.filling(&[RED, RED, BROWN, ORANGE]);
    if r.chance(45) {
        filling.pattern = Pattern::Dots(r.between(380, 560));
        filling.second = r.colour(&[WHITE]);
    }
    parts.push(Part::new(cap, filling));
    parts
}

fn boat(r: &mut Brush) -> Vec<Part> {
    let deck = r.between(250, 430);
    let mast = r.between(-200, 200);
    let mut parts = vec![r.plain(
        Shape::rect(mast - 45, -950, mast + 45, deck),
        &[BROWN, DARK],
    )];
    let reach = r.between(500, 750);
    let peak = r.between(-950, -750);
    let sail = Shape::triangle(
        (mast + 60, peak),
        (mast + 60, deck - 120),
        (mast + reach, deck - 120),
    );
    parts.push(r.part(sail, &[WHITE, CREAM, RED]));
    if r.chance(60) {
        let reach = r.between(300, 600);
        let jib = Shape::triangle(
            (mast - 60, peak + 200),
            (mast - 60, deck - 120),
            (mast - reach, deck - 120),
        );
        parts.push(r.part(jib, &[WHITE, CREAM, ORANGE]));
    }
    let (above, below) = (r.between(820, 980), r.between(450, 680));
    let hull = Shape::trapezoid(0, deck, above, r.between(740, 900), below);
    parts.push(r.part(hull, &[BROWN, RED, BLUE, WHITE]));
    parts
}

fn fish(r: &mut Brush) -> Vec<Part> {
    let height = r.between(360, 620);
    let spread = r.between(330, 560);
    let tail = Shape::triangle((250, 0), (980, -spread), (980, spread));
    let mut parts = vec![r.plain(tail, &[ORANGE, RED, BLUE, GREY])];
    if r.chance(70) {
        let fin = Shape::triangle(
            (-350, -height / 2),
            (300, -height / 2),
            (150, -height - 250),
        );
        parts.push(r.plain(fin, &[ORANGE, RED, BLUE, GREY]));
    }
    parts.push(r.part(
        Shape::ellipse(-200, 0, 720, height),
        &[ORANGE, RED, BLUE, GREY, YELLOW],
    ));
    parts.push(r.plain(Shape::disc(-600, -height / 4, 130), &[WHITE]));
    parts.push(r.plain(Shape::disc(-620, -height / 4, 65), &[DARK]));
    parts
}

fn flower(r: &mut Brush) -> Vec<Part> {
    // Directions of the petals in thousandths: five or six, evenly spaced.
    const FIVE: [(i32, i32); 5] = [
        (0, -1000),
        (951, -309),
        (588, 809),
        (-588, 809),
        (-951, -309),
    ];
    const SIX: [(i32, i32); 6] = [
        (1000, 0),
        (500, 866),
        (-500, 866),
        (-1000, 0),
        (-500, -866),
        (500, -866),
    ];
    let stem = r.between(45, 90);
    let mut parts = vec![r.plain(Shape::rect(-stem, -300, stem, 970), &[GREEN])];
    for side in [-1, 1] {
        if r.chance(55) {
            let y = r.between(450, 750);
            parts.push(r.plain(Shape::ellipse(side * 270, y, 260, 120), &[GREEN]));
        }
    }
    let distance = r.between(380, 470);
    let petal = r.filling(&[RED, PINK, YELLOW, WHITE, BLUE]);
    let size = r.between(210, 270);
    let directions: &[(i32, i32)] = if r.chance(50) { &FIVE } else { &SIX };
    for (x, y) in directions {
        let shape = Shape::disc(x * distance / 1000, y * distance / 1000 - 330, size);
        parts.push(Part::new(shape, petal));
    }
    let heart = r.between(170, 290);
    parts.push(r.plain(Shape::disc(0, -330, heart), &[YELLOW, ORANGE, BROWN]));
    parts
}

fn cup(r: &mut Brush) -> Vec<Part> {
    let (top, bottom) = (r.between(-750, -450), r.between(600, 850));
    let (above, below) = (r.between(520, 640), r.between(340, 600));
    let size = r.between(290, 420);
    let thickness = r.between(480, 680);
    let expected = [WHITE, RED, BLUE, YELLOW, GREEN];
    let filling = r.filling(&expected);
    let mut parts = vec![
        Part::new(
            Shape::ring(above - 230, (top + bottom) / 2, size, thickness),
            filling,
        ),
        Part::new(Shape::trapezoid(-200, top, above, bottom, below), filling),
    ];
    parts.push(r.plain(Shape::ellipse(-200, top, above, 150), &[CREAM, WHITE]));
    parts.push(r.plain(Shape::ellipse(-200, top, above - 90, 95), &[BROWN, DARK]));
    parts
}

fn car(r: &mut Brush) -> Vec<Part> {
    let (roof, waist) = (r.between(-620, -380), r.between(-120, 60));
    let shift = r.between(-200, 200);
    let (above, below) = (r.between(280, 480), r.between(560, 720));
    let expected = [RED, BLUE, YELLOW, GREEN, WHITE, GREY];
    let body = Shape::trapezoid(0, waist, r.between(850, 970), 480, 980);
    let mut filling = r.filling(&expected);
    let cabin = Part::new(
        Shape::trapezoid(shift, roof, above, waist + 20, below),
        filling,
    );
    let glass = r.colour(&[SKY, SKY, DARK]);
    let pane = |x, half| {
        Part::plain(
            Shape::trapezoid(x, roof + 110, half * 2 / 3, waist - 20, half),
            glass,
        )
    };
    let mut parts = vec![
        cabin,
        pane(shift - below / 2 + 40, 220),
        pane(shift + below / 2 - 40, 220),
    ];
    if r.chance(30) {
        filling.second = r.colour(&expected);
        filling.pattern = Pattern::Stripes(260, false);
    }
    parts.push(Part::new(body, filling));
    let size = r.between(200, 290);
    let (tyre, hub) = (r.colour(&[DARK]), r.colour(&[GREY, WHITE]));
    for x in [-530, 530] {
        parts.push(Part::plain(Shape::disc(x, 480, size), tyre));
        parts.push(Part::plain(Shape::disc(x, 480, size / 2), hub));
    }
    parts
}

fn rocket(r: &mut Brush) -> Vec<Part> {
    let width = r.between(230, 360);
    let foot = r.between(450, 620);
    let mut parts = Vec::new();
    if r.chance(60) {
        let flame = r.between(850, 1050);
        parts.push(r.plain(
            Shape::triangle((-width, foot), (width, foot), (0, flame)),
            &[YELLOW, ORANGE],
        ));
    }
    let fins = r.colour(&[RED, BLUE, ORANGE, DARK]);
    let spread = width + r.between(220, 400);
    let low = foot + r.between(0, 250);
    for side in [-1, 1] {
        let shape = Shape::triangle(
            (side * width, foot - 550),
            (side * width, foot),
            (side * spread, low),
        );
        parts.push(Part::plain(shape, fins));
    }
    let shoulder = r.between(-450, -250);
    parts.push(r.part(
        Shape::rect(-width, shoulder, width, foot),
        &[WHITE, GREY, CREAM, RED],
    ));
    let nose = if r.chance(50) {
        Shape::dome(0, shoulder, width, -(-950 - shoulder))
    } else {
        Shape::triangle((-width, shoulder), (width, shoulder), (0, -980))
    };
    parts.push(r.plain(nose, &[RED, BLUE, ORANGE]));
    let porthole = r.between(-200, 50);
    parts.push(r.plain(Shape::disc(0, porthole, width * 3 / 5), &[SKY, DARK]));
    parts
}

fn umbrella(r: &mut Brush) -> Vec<Part> {
    let stick = r.between(40, 85);
    let rim = r.between(-100, 150);
    let size = r.between(180, 260);
    let handle = r.colour(&[BROWN, DARK, GREY]);
    let hole = 1000 - 2000 * stick / size;
    let mut parts = vec![
        Part::plain(Shape::rect(-stick, -980, stick, 740), handle),
        Part::plain(Shape::hook(size - stick, 730, size, hole.max(100)), handle),
    ];
    let width = r.between(780, 970);
    let height = r.between(600, 900);
    let mut filling = r.filling(&[RED, BLUE, YELLOW, PINK, DARK]);
    if r.chance(50) {
        filling.second = r.colour(&[WHITE, YELLOW, CREAM]);
        filling.pattern = Pattern::Stripes(width * 2 / 5, true);
    }
    parts.push(Part::new(Shape::dome(0, rim, width, height), filling));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_parts_and_stays_in_its_box() {
        for label in 0..10 {
            for key in 0..500 {
                let parts = object(label, &mut Random::new(key));
                assert!(parts.len() >= 2, "{}", CLASSES[usize::from(label)]);
                for part in parts {
                    let ((left, top), (right, bottom)) = part.bounds();
                    let inside = left >= -1200 && top >= -1200 && right <= 1200 && bottom <= 1200;
                    assert!(inside, "{} {key}: {part:?}", CLASSES[usize::from(label)]);
                }
            }
        }
    }
}
