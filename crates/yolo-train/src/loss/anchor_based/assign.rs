//! Which cells of which level predict which object.

use yolo_data::train_loader::Target;
use yolo_model::modules::DetectSpec;

/// Largest distance of an object's centre from a cell's edge at which the neighbouring cell predicts it too.
const NEIGHBOUR: f32 = 0.5;

/// The matches of one level: row `i` of every list belongs to match `i`. One object has up to three cells per
/// anchor; the same cell may occur twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// Index of the image in the batch.
    pub image: Vec<usize>,
    /// Index of the anchor in its level.
    pub anchor: Vec<usize>,
    /// Row and column of the cell.
    pub cell: Vec<[usize; 2]>,
    /// Class of the object.
    pub class: Vec<u32>,
    /// Box to be predicted, in cells: centre relative to the cell's corner, width, height.
    pub bbox: Vec<[f32; 4]>,
    /// Width and height of the anchor, in cells.
    pub anchor_size: Vec<[f32; 2]>,
}

impl Matches {
    /// Number of matches.
    pub fn len(&self) -> usize {
        self.class.len()
    }

    /// Whether nothing matches.
    pub fn is_empty(&self) -> bool {
        self.class.is_empty()
    }
}

/// An object as one level sees it, with an anchor whose shape is close enough.
struct Candidate {
    image: usize,
    class: u32,
    anchor: usize,
    anchor_size: [f32; 2],
    /// Centre in cells.
    centre: [f32; 2],
    /// Width and height in cells.
    size: [f32; 2],
}

/// Returns whether a match with this centre, in cells, is also assigned to a neighbouring cell.
type TakesCentre<'a> = &'a dyn Fn([f32; 2]) -> bool;

/// Assigns `targets` to cells of level `level`, whose map has `grid` = `[height, width]` cells (§9.1).
///
/// An anchor takes an object if neither side differs by a factor of `threshold` or more. The cell of the centre
/// predicts the object, and so do its two nearest neighbours; cells outside are moved to the border.
pub fn assign(
    targets: &[Target],
    detect: &DetectSpec,
    level: usize,
    grid: [usize; 2],
    threshold: f32,
) -> Matches {
    let candidates = candidates(targets, detect, level, grid, threshold);
    let (rows, columns) = (grid[0] as f32, grid[1] as f32);
    // The order decides which of two matches of one cell sets its objectness: all centres, then all left,
    // top, right, and bottom neighbours.
    let near = |coordinate: f32| coordinate.fract() < NEIGHBOUR && coordinate > 1.0;
    let takes: [(TakesCentre, [f32; 2]); 5] = [
        (&|_| true, [0.0, 0.0]),
        (&|[x, _]| near(x), [NEIGHBOUR, 0.0]),
        (&|[_, y]| near(y), [0.0, NEIGHBOUR]),
        (&|[x, _]| near(columns - x), [-NEIGHBOUR, 0.0]),
        (&|[_, y]| near(rows - y), [0.0, -NEIGHBOUR]),
    ];
    let mut matches = Matches::default();
    for (takes, offset) in takes {
        for candidate in candidates.iter().filter(|candidate| takes(candidate.centre)) {
            matches.push(candidate, offset, grid);
        }
    }
    matches
}

fn candidates(
    targets: &[Target],
    detect: &DetectSpec,
    level: usize,
    grid: [usize; 2],
    threshold: f32,
) -> Vec<Candidate> {
    let stride = detect.strides[level] as f32;
    let (rows, columns) = (grid[0] as f32, grid[1] as f32);
    let mut candidates = Vec::new();
    for (anchor, anchor_px) in detect.anchors[level].iter().enumerate() {
        let anchor_size = anchor_px.map(|side| side / stride);
        for target in targets {
            let b = &target.bbox_norm;
            let size = [b.w * columns, b.h * rows];
            let ratio = |axis: usize| {
                let ratio = size[axis] / anchor_size[axis];
                ratio.max(1.0 / ratio)
            };
            if ratio(0).max(ratio(1)) < threshold {
                candidates.push(Candidate {
                    image: target.image,
                    class: target.class,
                    anchor,
                    anchor_size,
                    centre: [b.cx * columns, b.cy * rows],
                    size,
                });
            }
        }
    }
    candidates
}

impl Matches {
    fn push(&mut self, candidate: &Candidate, offset: [f32; 2], [rows, columns]: [usize; 2]) {
        let [x, y] = candidate.centre;
        let cell = |coordinate: f32, cells: usize| (coordinate.max(0.0) as usize).min(cells - 1);
        let (column, row) = (cell(x - offset[0], columns), cell(y - offset[1], rows));
        self.image.push(candidate.image);
        self.anchor.push(candidate.anchor);
        self.cell.push([row, column]);
        self.class.push(candidate.class);
        let [w, h] = candidate.size;
        self.bbox.push([x - column as f32, y - row as f32, w, h]);
        self.anchor_size.push(candidate.anchor_size);
    }
}
