//! The five shapes, each by its signed distance.

/// `[cos, sin]` of 36° and 72°, the angles of a star with five points.
const COS_36: f32 = 0.809_017;
const SIN_36: f32 = 0.587_785_25;
const COS_72: f32 = 0.309_017;
const SIN_72: f32 = 0.951_056_5;
/// Distance of a star's inner corners from its centre.
const INNER: f32 = 0.42;
/// Half the width of a ring.
const HALF_RING: f32 = 0.22;

/// An equilateral triangle with corners on the unit circle, the first at the top.
const TRIANGLE: [[f32; 2]; 3] = [[0.0, -1.0], [0.866_025_4, 0.5], [-0.866_025_4, 0.5]];
/// A square with corners on the unit circle and level sides.
const SQUARE: [[f32; 2]; 4] = {
    let s = std::f32::consts::FRAC_1_SQRT_2;
    [[-s, -s], [s, -s], [s, s], [-s, s]]
};
/// A star with five points on the unit circle, the first at the top.
const STAR: [[f32; 2]; 10] = [
    [0.0, -1.0],
    [INNER * SIN_36, -INNER * COS_36],
    [SIN_72, -COS_72],
    [INNER * SIN_72, INNER * COS_72],
    [SIN_36, COS_36],
    [0.0, INNER],
    [-SIN_36, COS_36],
    [-INNER * SIN_72, INNER * COS_72],
    [-SIN_72, -COS_72],
    [-INNER * SIN_36, -INNER * COS_36],
];

/// A class of the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Star,
    Ring,
}

impl Shape {
    /// In order of the class index.
    pub(super) const ALL: [Self; 5] = [Self::Circle, Self::Square, Self::Triangle, Self::Star, Self::Ring];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Ring => "ring",
        }
    }

    /// Distance of the point from the outline of the shape that the unit circle encloses; negative inside.
    pub(super) fn signed_distance(self, [x, y]: [f32; 2]) -> f32 {
        match self {
            Self::Circle => norm([x, y]) - 1.0,
            Self::Ring => (norm([x, y]) - (1.0 - HALF_RING)).abs() - HALF_RING,
            Self::Square => polygon_distance(&SQUARE, [x, y]),
            Self::Triangle => polygon_distance(&TRIANGLE, [x, y]),
            Self::Star => polygon_distance(&STAR, [x, y]),
        }
    }
}

/// `sqrt(x² + y²)`; not `hypot`, whose last bit depends on the system's library.
pub(super) fn norm([x, y]: [f32; 2]) -> f32 {
    (x * x + y * y).sqrt()
}

/// Distance to the nearest edge; negative where a ray to the right crosses the outline an odd number of times.
fn polygon_distance(corners: &[[f32; 2]], [x, y]: [f32; 2]) -> f32 {
    let mut nearest_squared = f32::INFINITY;
    let mut inside = false;
    let mut previous = corners[corners.len() - 1];
    for &corner in corners {
        let ([ax, ay], [bx, by]) = (previous, corner);
        nearest_squared = nearest_squared.min(segment_distance_squared([x, y], previous, corner));
        if (ay > y) != (by > y) && x < ax + (y - ay) / (by - ay) * (bx - ax) {
            inside = !inside;
        }
        previous = corner;
    }
    let nearest = nearest_squared.sqrt();
    if inside { -nearest } else { nearest }
}

/// Squared distance of a point from the segment between two others.
pub(super) fn segment_distance_squared([x, y]: [f32; 2], [ax, ay]: [f32; 2], [bx, by]: [f32; 2]) -> f32 {
    let (edge_x, edge_y) = (bx - ax, by - ay);
    let (to_x, to_y) = (x - ax, y - ay);
    let along = (to_x * edge_x + to_y * edge_y) / (edge_x * edge_x + edge_y * edge_y).max(f32::MIN_POSITIVE);
    let along = along.clamp(0.0, 1.0);
    let (dx, dy) = (to_x - along * edge_x, to_y - along * edge_y);
    dx * dx + dy * dy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_worked_out_by_hand() {
        let cases = [
            (Shape::Circle, [0.0, -3.0], 2.0),
            (Shape::Circle, [0.25, 0.0], -0.75),
            (Shape::Square, [0.0, 0.0], -std::f32::consts::FRAC_1_SQRT_2),
            (Shape::Square, [2.0, 0.1], 2.0 - std::f32::consts::FRAC_1_SQRT_2),
            (Shape::Triangle, [0.0, -2.0], 1.0),
            (Shape::Triangle, [0.0, 0.0], -0.5),
            (Shape::Triangle, [0.1, 1.5], 1.0),
            (Shape::Star, [0.0, -1.5], 0.5),
            (Shape::Ring, [0.0, 0.0], 1.0 - 2.0 * HALF_RING),
            (Shape::Ring, [0.78, 0.0], -HALF_RING),
            (Shape::Ring, [0.0, 1.5], 0.5),
        ];
        for (shape, point, expected) in cases {
            let found = shape.signed_distance(point);
            assert!((found - expected).abs() < 1e-6, "{} at {point:?}: {found}", shape.name());
        }
    }

    #[test]
    fn a_star_is_outside_between_its_points() {
        let between = [INNER * SIN_36 * 1.5, -INNER * COS_36 * 1.5];
        assert!(Shape::Star.signed_distance(between) > 0.0);
        assert!(Shape::Star.signed_distance([0.0, -0.9]) < 0.0, "the point at the top");
        assert!(Shape::Star.signed_distance([0.0, 0.9]) > 0.0, "the gap at the bottom");
    }

    #[test]
    fn no_shape_leaves_the_unit_circle_and_each_touches_it() {
        for shape in Shape::ALL {
            let on_circle = (0..3600).map(|i| f64::from(i) / 1800.0 * std::f64::consts::PI);
            let nearest = on_circle
                .map(|a| shape.signed_distance([a.cos() as f32, a.sin() as f32]))
                .fold(f32::INFINITY, f32::min);
            assert!((-1e-6..1e-3).contains(&nearest), "{}: {nearest}", shape.name());
        }
    }
}
