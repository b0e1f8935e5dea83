//! The primitives that pictures are made of: which points lie inside, decided in integers.
//!
//! Coordinates are thousandths of an object's half size, x to the right, y down: an object fills about
//! -1000..=1000 both ways. All values stay below 2^14, so the products below fit in 64 bits with room to spare.

/// A point: (x, y).
pub type Point = (i32, i32);

/// A region of the plane.
#[derive(Clone, Debug)]
pub enum Shape {
    /// All points with ((x - cx) / rx)^2 + ((y - cy) / ry)^2 <= 1, between the horizontals `top` and `bottom`.
    Ellipse {
        /// Centre.
        centre: Point,
        /// Half axes, both positive.
        radius: Point,
        /// Cut off above this y.
        top: i32,
        /// Cut off below this y.
        bottom: i32,
    },
    /// An ellipse without the ellipse whose half axes are `hole` thousandths of its own.
    Ring {
        /// Centre.
        centre: Point,
        /// Outer half axes, both positive.
        radius: Point,
        /// Inner half axes, in thousandths of the outer ones.
        hole: i32,
        /// Cut off above this y.
        top: i32,
    },
    /// A convex polygon, its corners in either direction of travel.
    Polygon(Vec<Point>),
}

/// No cut.
const FAR: i32 = 1 << 14;

impl Shape {
    /// A whole ellipse.
    pub fn ellipse(x: i32, y: i32, rx: i32, ry: i32) -> Shape {
        Shape::Ellipse {
            centre: (x, y),
            radius: (rx, ry),
            top: -FAR,
            bottom: FAR,
        }
    }

    /// A circle.
    pub fn disc(x: i32, y: i32, r: i32) -> Shape {
        Shape::ellipse(x, y, r, r)
    }

    /// The upper half of an ellipse.
    pub fn dome(x: i32, y: i32, rx: i32, ry: i32) -> Shape {
        Shape::Ellipse {
            centre: (x, y),
            radius: (rx, ry),
            top: -FAR,
            bottom: y,
        }
    }

    /// An elliptic ring.
    pub fn ring(x: i32, y: i32, r: i32, hole: i32) -> Shape {
        Shape::Ring {
            centre: (x, y),
            radius: (r, r),
            hole,
            top: -FAR,
        }
    }

    /// The lower half of a ring.
    pub fn hook(x: i32, y: i32, r: i32, hole: i32) -> Shape {
        Shape::Ring {
            centre: (x, y),
            radius: (r, r),
            hole,
            top: y,
        }
    }

    /// An upright rectangle.
    pub fn rect(left: i32, top: i32, right: i32, bottom: i32) -> Shape {
        Shape::Polygon(vec![
            (left, top),
            (right, top),
            (right, bottom),
            (left, bottom),
        ])
    }

    /// A triangle.
    pub fn triangle(a: Point, b: Point, c: Point) -> Shape {
        Shape::Polygon(vec![a, b, c])
    }

    /// A trapezoid, symmetric about `x`: half widths above and below.
    pub fn trapezoid(x: i32, top: i32, above: i32, bottom: i32, below: i32) -> Shape {
        Shape::Polygon(vec![
            (x - above, top),
            (x + above, top),
            (x + below, bottom),
            (x - below, bottom),
        ])
    }

    /// Whether the point lies in the region; the edge belongs to it.
    pub fn contains(&self, (x, y): Point) -> bool {
        match self {
            Shape::Ellipse {
                centre,
                radius,
                top,
                bottom,
            } => y >= *top && y <= *bottom && within(x - centre.0, y - centre.1, *radius),
            Shape::Ring {
                centre,
                radius,
                hole,
                top,
            } => {
                let (dx, dy) = (x - centre.0, y - centre.1);
                let inner = (radius.0 * hole / 1000, radius.1 * hole / 1000);
                y >= *top && within(dx, dy, *radius) && !within(dx, dy, inner)
            }
            Shape::Polygon(corners) => {
                let mut left = true;
                let mut right = true;
                for (i, &(ax, ay)) in corners.iter().enumerate() {
                    let (bx, by) = corners[(i + 1) % corners.len()];
                    let side = i64::from(bx - ax) * i64::from(y - ay)
                        - i64::from(by - ay) * i64::from(x - ax);
                    left &= side >= 0;
                    right &= side <= 0;
                }
                left || right
            }
        }
    }

    /// The smallest upright box around it: (left, top), (right, bottom).
    pub fn bounds(&self) -> (Point, Point) {
        match self {
            Shape::Ellipse {
                centre,
                radius,
                top,
                bottom,
            } => (
                (centre.0 - radius.0, (centre.1 - radius.1).max(*top)),
                (centre.0 + radius.0, (centre.1 + radius.1).min(*bottom)),
            ),
            Shape::Ring {
                centre,
                radius,
                top,
                ..
            } => (
                (centre.0 - radius.0, (centre.1 - radius.1).max(*top)),
                (centre.0 + radius.0, centre.1 + radius.1),
            ),
            Shape::Polygon(corners) => {
                corners
                    .iter()
                    .fold(((FAR, FAR), (-FAR, -FAR)), |(low, high), &(x, y)| {
                        ((low.0.min(x), low.1.min(y)), (high.0.max(x), high.1.max(y)))
                    })
            }
        }
    }
}

/// (dx / rx)^2 + (dy / ry)^2 <= 1, without division.
fn within(dx: i32, dy: i32, (rx, ry): Point) -> bool {
    let (rx, ry) = (i64::from(rx), i64::from(ry));
    let (a, b) = (i64::from(dx) * ry, i64::from(dy) * rx);
    a * a + b * b <= (rx * ry) * (rx * ry)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many points of a grid of step 10 lie inside, as an area in units of 1000 x 1000.
    fn area(shape: &Shape) -> f64 {
        let grid = (-200..=200).flat_map(|y| (-200..=200).map(move |x| (10 * x, 10 * y)));
        grid.filter(|&point| shape.contains(point)).count() as f64 * 1e-4
    }

    #[test]
    fn areas_are_those_of_geometry() {
        let pi = std::f64::consts::PI;
        let cases = [
            (Shape::disc(100, -50, 800), pi * 0.64),
            (Shape::ellipse(0, 0, 900, 400), pi * 0.36),
            (Shape::dome(0, 300, 900, 400), pi * 0.18),
            (Shape::ring(0, 0, 1000, 500), pi * 0.75),
            (Shape::hook(0, 0, 1000, 500), pi * 0.375),
            (Shape::rect(-305, -205, 305, 205), 0.61 * 0.41),
            (Shape::triangle((-500, 500), (500, 500), (0, -500)), 0.5),
            (Shape::trapezoid(0, -500, 200, 500, 600), 0.8),
        ];
        for (shape, expected) in cases {
            let found = area(&shape);
            assert!(
                (found - expected).abs() < 0.02,
                "{shape:?}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn nothing_lies_outside_the_bounds_and_the_bounds_are_touched() {
        for shape in [
            Shape::dome(10, 300, 900, 400),
            Shape::hook(0, 5, 700, 600),
            Shape::trapezoid(0, -500, 200, 500, 600),
        ] {
            let ((left, top), (right, bottom)) = shape.bounds();
            let inside: Vec<Point> = (-1000..=1000)
                .flat_map(|y| (-1000..=1000).map(move |x| (x, y)))
                .filter(|&point| shape.contains(point))
                .collect();
            assert_eq!(inside.iter().map(|p| p.0).min(), Some(left));
            assert_eq!(inside.iter().map(|p| p.0).max(), Some(right));
            assert_eq!(inside.iter().map(|p| p.1).min(), Some(top));
            assert_eq!(inside.iter().map(|p| p.1).max(), Some(bottom));
        }
    }

    #[test]
    fn corners_may_be_listed_either_way_round() {
        let forth = Shape::triangle((0, 0), (100, 0), (0, 100));
        let back = Shape::triangle((0, 0), (0, 100), (100, 0));
        for point in [(10, 10), (0, 0), (50, 50), (51, 51), (-1, 5)] {
            assert_eq!(forth.contains(point), back.contains(point));
        }
    }
}
