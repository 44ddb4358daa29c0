//! The cells of all levels as one list, and the objects of a batch in pixels.

use yolo_data::train_loader::Target;
use yolo_eval::Xyxy;

/// The cells of the levels, finest level first, and inside a level row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    levels: Vec<Level>,
}

/// One level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Input pixels per cell.
    pub stride: f32,
    /// Cells down.
    pub rows: usize,
    /// Cells across.
    pub columns: usize,
    /// Number of cells in the levels before.
    pub first: usize,
}

/// An object of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// Index of its image in the batch.
    pub image: usize,
    /// Its class.
    pub class: usize,
    /// Its box in pixels of the network input.
    pub bbox_px: Xyxy,
}

impl Grid {
    /// The cells of levels with these strides and sizes (`[rows, columns]`).
    pub fn new(strides: &[usize], sizes: &[[usize; 2]]) -> Self {
        let mut first = 0;
        let level = |(&stride, &[rows, columns]): (&usize, &[usize; 2])| {
            let level = Level { stride: stride as f32, rows, columns, first };
            first += rows * columns;
            level
        };
        Self { levels: strides.iter().zip(sizes).map(level).collect() }
    }

    /// The levels.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Number of cells of all levels.
    pub fn n_cells(&self) -> usize {
        self.levels.last().map_or(0, |level| level.first + level.rows * level.columns)
    }

    /// `[width, height]` of the network input in pixels, as the finest level sees it.
    pub fn image_px(&self) -> [f32; 2] {
        self.levels
            .first()
            .map_or([0.0; 2], |level| [level.columns, level.rows].map(|cells| cells as f32 * level.stride))
    }

    /// The level of a cell, and its number inside the level.
    pub fn place(&self, cell: usize) -> (usize, usize) {
        let level = self.levels.partition_point(|level| level.first <= cell).saturating_sub(1);
        (level, cell - self.levels.get(level).map_or(0, |level| level.first))
    }

    /// The objects of `targets`, in their order.
    pub fn objects(&self, targets: &[Target]) -> Vec<Object> {
        let [width, height] = self.image_px();
        let object = |target: &Target| {
            let b = &target.bbox_norm;
            let (cx, cy, w, h) = (b.cx * width, b.cy * height, b.w * width, b.h * height);
            let bbox_px = Xyxy { x1: cx - w / 2.0, y1: cy - h / 2.0, x2: cx + w / 2.0, y2: cy + h / 2.0 };
            Object { image: target.image, class: target.class as usize, bbox_px }
        };
        targets.iter().map(object).collect()
    }
}

impl Level {
    /// The centre of cell `cell` of the level, `[x, y]` in cells.
    pub fn centre(&self, cell: usize) -> [f32; 2] {
        [(cell % self.columns) as f32 + 0.5, (cell / self.columns) as f32 + 0.5]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use yolo_eval::Cxcywh;

    #[test]
    fn cells_are_numbered_level_by_level_and_row_by_row() {
        let grid = Grid::new(&[8, 16], &[[2, 4], [1, 2]]);
        assert_eq!((grid.n_cells(), grid.image_px()), (10, [32.0, 16.0]));
        assert_eq!(
            [grid.place(0), grid.place(7), grid.place(8), grid.place(9)],
            [(0, 0), (0, 7), (1, 0), (1, 1)]
        );
        assert_eq!(grid.levels()[0].centre(6), [2.5, 1.5]);
        let bbox_norm = Cxcywh { cx: 0.5, cy: 0.25, w: 0.25, h: 0.5 };
        let objects = grid.objects(&[Target { image: 3, class: 1, bbox_norm }]);
        assert_eq!(objects[0].bbox_px, Xyxy { x1: 12.0, y1: 0.0, x2: 20.0, y2: 8.0 });
    }
}
