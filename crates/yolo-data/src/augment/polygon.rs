//! Outlines: resampling, bounds, and filling.

use yolo_eval::Xyxy;

/// `n` points on the closed outline, equally many on each of its edges up to rounding; `n` at least 2. Empty for
/// an outline without points.
pub fn resample(polygon: &[[f32; 2]], n: usize) -> Vec<[f32; 2]> {
    let edges = polygon.len();
    if edges == 0 {
        return Vec::new();
    }
    let point = |i: usize| {
        let position = i as f64 * edges as f64 / (n - 1).max(1) as f64;
        let edge = (position as usize).min(edges - 1);
        let t = (position - edge as f64) as f32;
        let (a, b) = (polygon[edge], polygon[(edge + 1) % edges]);
        [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t]
    };
    (0..n).map(point).collect()
}

/// The smallest box around those of `points` that lie in `[0, width] × [0, height]`; zeros if none does.
pub fn bounds_inside(points: impl IntoIterator<Item = [f32; 2]>, width: f32, height: f32) -> Xyxy {
    let inside = |[x, y]: &[f32; 2]| (0.0..=width).contains(x) && (0.0..=height).contains(y);
    let grow = |bounds: Option<Xyxy>, [x, y]: [f32; 2]| {
        let b = bounds.unwrap_or(Xyxy::new(x, y, x, y));
        Some(Xyxy::new(b.x1.min(x), b.y1.min(y), b.x2.max(x), b.y2.max(y)))
    };
    points.into_iter().filter(inside).fold(None, grow).unwrap_or_default()
}

/// Pixels of one row, from `first` up to and including `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The row.
    pub y: u32,
    /// Its first pixel.
    pub first: u32,
    /// Its last pixel.
    pub last: u32,
}

/// The pixels of an image of `width × height` inside or on the outline, by the even-odd rule; its points are first
/// truncated to whole pixels and limited to one pixel around the image. Spans may overlap.
pub fn fill(polygon: &[[f32; 2]], width: u32, height: u32) -> Vec<Span> {
    let limited = |v: f32, side: u32| (v as i64).clamp(-1, i64::from(side));
    let points: Vec<[i64; 2]> =
        polygon.iter().map(|&[x, y]| [limited(x, width), limited(y, height)]).collect();
    let edges: Vec<([i64; 2], [i64; 2])> =
        (0..points.len()).map(|i| (points[i], points[(i + 1) % points.len()])).collect();
    let mut spans = Vec::new();
    let mut add = |y: i64, first: f64, last: f64| {
        let (first, last) = (first.max(0.0), last.min(f64::from(width) - 1.0));
        if (0..i64::from(height)).contains(&y) && first <= last {
            spans.push(Span { y: y as u32, first: first as u32, last: last as u32 });
        }
    };
    let rows = points.iter().map(|p| p[1]);
    let (top, bottom) = (rows.clone().min().unwrap_or(0), rows.max().unwrap_or(-1));
    for y in top.max(0)..=bottom.min(i64::from(height) - 1) {
        let mut crossings: Vec<f64> = edges.iter().filter_map(|&(a, b)| crossing(a, b, y)).collect();
        crossings.sort_unstable_by(f64::total_cmp);
        for pair in crossings.as_chunks::<2>().0 {
            add(y, pair[0].ceil(), pair[1].floor());
        }
    }
    // The outline itself belongs to the inside, which matters for thin parts.
    for (a, b) in edges {
        let longest = (b[0] - a[0]).abs().max((b[1] - a[1]).abs()).max(1);
        for i in 0..=longest {
            let t = i as f64 / longest as f64;
            let at = |axis: usize| (a[axis] as f64 + (b[axis] - a[axis]) as f64 * t).round();
            add(at(1) as i64, at(0), at(0));
        }
    }
    spans
}

/// Where the edge from `a` to `b` meets row `y`; its lower end belongs to the next edge.
fn crossing(a: [i64; 2], b: [i64; 2], y: i64) -> Option<f64> {
    let (a, b) = if a[1] <= b[1] { (a, b) } else { (b, a) };
    (a[1] <= y && y < b[1])
        .then(|| a[0] as f64 + (y - a[1]) as f64 * (b[0] - a[0]) as f64 / (b[1] - a[1]) as f64)
}
