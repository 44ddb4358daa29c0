//! How images are laid out for vectors: lane-tiled planes.
//!
//! A map's height and width are cut into a grid of tiles, one per lane of a vector; vector `(y, x)` of a plane
//! holds pixel `(y, x)` of every tile. Every tap of a convolution, whatever its window and stride, is then one
//! aligned load of a whole vector. All maps of a network share the grid, and a tile covers the same part of the
//! image on each of them. Where a map is not a multiple of the grid, the last tiles reach beyond it; what they
//! hold there is cleared before a window can see it.

use crate::error::{Result, RuntimeError};
use crate::kernels::border::{Copy as BorderCopy, Run};
use crate::kernels::pool::Source;
use crate::network::{Network, Op};
use std::collections::HashMap;

/// Pixels of the image per cell of a map, as a reduced fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ratio {
    over: usize,
    under: usize,
}

/// The grid of tiles and the part of the image that one covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tiling {
    /// Rows and columns of tiles: their product is the number of lanes.
    pub(crate) grid: [usize; 2],
    /// Height and width of the tile of each value.
    pub(crate) tiles: Vec<[usize; 2]>,
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Ratio {
    fn new(over: usize, under: usize) -> Self {
        let common = gcd(over, under).max(1);
        Self { over: over / common, under: under / common }
    }

    fn of(self, pixels: usize) -> usize {
        pixels / self.over * self.under
    }
}

/// The ratio of every value on both axes.
fn ratios(network: &Network) -> Result<Vec<[Ratio; 2]>> {
    let mut ratios = vec![[Ratio::new(1, 1); 2]];
    for (index, op) in network.ops.iter().enumerate() {
        let inputs = op.inputs();
        let first = ratios[inputs[0]];
        let scaled = match op {
            Op::Conv(conv) => {
                [0, 1].map(|axis| Ratio::new(first[axis].over * conv.stride[axis], first[axis].under))
            }
            Op::Upsample { scale: by, .. } | Op::DepthToSpace { size: by, .. } => {
                first.map(|ratio| Ratio::new(ratio.over, ratio.under * by))
            }
            Op::SpaceToDepth { size, .. } => first.map(|ratio| Ratio::new(ratio.over * size, ratio.under)),
            Op::Pool { pool, .. } => {
                [0, 1].map(|axis| Ratio::new(first[axis].over * pool.stride[axis], first[axis].under))
            }
            Op::Add { .. }
            | Op::Concat { .. }
            | Op::MaxPool { .. }
            | Op::ZeroPad { .. }
            | Op::Pick { .. }
            | Op::Attention { .. } => first,
        };
        // All but the first input have the scale of the output.
        if inputs[1..].iter().any(|&input| ratios[input] != scaled) {
            let reason = format!("operation {index} joins maps of one size but of different scales");
            return Err(RuntimeError::Network(reason));
        }
        ratios.push(scaled);
    }
    Ok(ratios)
}

impl Tiling {
    /// The grid for vectors of `lanes` that wastes least.
    pub(crate) fn choose(network: &Network, shapes: &[[usize; 3]], lanes: usize) -> Result<Self> {
        let ratios = ratios(network)?;
        let candidates =
            (1..=lanes).filter(|rows| lanes.is_multiple_of(*rows)).map(|rows| [rows, lanes / rows]);
        let tilings = candidates.map(|grid| Self::with_grid(grid, shapes, &ratios));
        let cost = |tiling: &Self| -> f64 { tiling.tiles.iter().zip(shapes).map(plane_cost).sum() };
        tilings
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .ok_or_else(|| RuntimeError::Network("vectors without lanes".to_owned()))
    }

    fn with_grid(grid: [usize; 2], shapes: &[[usize; 3]], ratios: &[[Ratio; 2]]) -> Self {
        let part = [0, 1].map(|axis| {
            let step = ratios.iter().fold(1, |step, ratio| {
                let over = ratio[axis].over;
                step / gcd(step, over) * over
            });
            let need = |(shape, ratio): (&[usize; 3], &[Ratio; 2])| {
                let cells = shape[axis + 1].div_ceil(grid[axis]);
                (cells * ratio[axis].over).div_ceil(ratio[axis].under)
            };
            shapes.iter().zip(ratios).map(need).max().unwrap_or(1).next_multiple_of(step)
        });
        let tiles = ratios.iter().map(|ratio| [0, 1].map(|axis| ratio[axis].of(part[axis]))).collect();
        Self { grid, tiles }
    }
}

/// Work per plane of these tiles: all vectors, and something for the border.
fn plane_cost((tile, shape): (&[usize; 2], &[usize; 3])) -> f64 {
    shape[0] as f64 * ((tile[0] * tile[1]) as f64 + 0.15 * (tile[0] + tile[1]) as f64)
}

/// Vectors of border above, left of, below and right of a tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Halo {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) bottom: usize,
    pub(crate) right: usize,
}

impl Halo {
    /// Wide enough for both.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            top: self.top.max(other.top),
            left: self.left.max(other.left),
            bottom: self.bottom.max(other.bottom),
            right: self.right.max(other.right),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Where the vectors of a plane lie. Distances are counted in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlaneLayout {
    /// Numbers per vector.
    pub(crate) lanes: usize,
    /// Rows and columns of tiles.
    pub(crate) grid: [usize; 2],
    /// Height and width of the map.
    pub(crate) size: [usize; 2],
    /// Height and width of a tile.
    pub(crate) tile: [usize; 2],
    /// The border around the tile.
    pub(crate) halo: Halo,
}

impl PlaneLayout {
    /// From a row to the next.
    pub(crate) fn row(&self) -> usize {
        (self.halo.left + self.tile[1] + self.halo.right) * self.lanes
    }

    /// From a plane to the next: an odd number of vectors, so that the planes' lines spread over the cache sets.
    pub(crate) fn plane(&self) -> usize {
        let rows = self.halo.top + self.tile[0] + self.halo.bottom;
        let vectors = rows * self.row() / self.lanes;
        (vectors | 1) * self.lanes
    }

    /// The vector of pixel `(y, x)` of every tile; may be a place in the border.
    pub(crate) fn at(&self, y: isize, x: isize) -> usize {
        let row = self.halo.top.wrapping_add_signed(y);
        let column = self.halo.left.wrapping_add_signed(x);
        row * self.row() + column * self.lanes
    }

    /// The row and the column of the map at which the tile of a lane begins.
    pub(crate) fn corner(&self, lane: usize) -> [usize; 2] {
        [lane / self.grid[1] * self.tile[0], lane % self.grid[1] * self.tile[1]]
    }

    /// The vectors of every pixel of a tile, row by row.
    pub(crate) fn pixels(&self) -> Vec<u32> {
        let [height, width] = self.tile;
        let row = |y| (0..width).map(move |x| self.at(y as isize, x as isize) as u32);
        (0..height).flat_map(row).collect()
    }

    /// Where the number of pixel `[row, column]` of the map lies in a plane.
    pub(crate) fn number(&self, [row, column]: [usize; 2]) -> u32 {
        let [height, width] = self.tile;
        let lane = row / height * self.grid[1] + column / width;
        (self.at((row % height) as isize, (column % width) as isize) + lane) as u32
    }

    /// Where the numbers of all pixels of the map lie in a plane, row by row.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let [height, width] = self.size;
        (0..height).flat_map(|row| (0..width).map(move |column| self.number([row, column]))).collect()
    }

    /// For every lane, which lane's pixel it sees at `(y, x)`; −1 where that is outside the image.
    fn lanes_at(&self, y: isize, x: isize) -> Vec<i32> {
        let source = |lane: usize| {
            let tile = [lane / self.grid[1], lane % self.grid[1]];
            let place = [(0, y), (1, x)].map(|(axis, at)| {
                let global = (tile[axis] * self.tile[axis]).checked_add_signed(at)?;
                (global < self.size[axis]).then(|| global / self.tile[axis])
            });
            match place {
                [Some(row), Some(column)] => (row * self.grid[1] + column) as i32,
                _ => -1,
            }
        };
        (0..self.lanes).map(source).collect()
    }

    /// The vector of the tile whose lanes make up the vector at `(y, x)`.
    fn source(&self, y: isize, x: isize) -> [usize; 2] {
        [(0, y), (1, x)].map(|(axis, at)| at.rem_euclid(self.tile[axis] as isize) as usize)
    }
}

/// Permutations of lanes by number.
#[derive(Debug, Default)]
struct Permutations {
    numbers: HashMap<Vec<i32>, u32>,
    table: Vec<i32>,
}

impl Permutations {
    fn number(&mut self, lanes: Vec<i32>) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(lanes).or_insert_with_key(|lanes| {
            self.table.extend(lanes);
            next
        })
    }
}

/// The copies that make a plane ready for windows that reach beyond its tile.
#[derive(Debug)]
pub(crate) struct BorderTable {
    pub(crate) runs: Vec<Run>,
    pub(crate) permutations: Vec<i32>,
}

impl BorderTable {
    pub(crate) fn new(layout: &PlaneLayout) -> Self {
        let mut permutations = Permutations::default();
        let mut runs: Vec<Run> = Vec::new();
        let [height, width] = layout.tile.map(|side| side as isize);
        let halo = layout.halo;
        let identity: Vec<i32> = (0..layout.lanes as i32).collect();
        for y in -(halo.top as isize)..height + halo.bottom as isize {
            for x in -(halo.left as isize)..width + halo.right as isize {
                let lanes = layout.lanes_at(y, x);
                if lanes == identity && (0..height).contains(&y) && (0..width).contains(&x) {
                    continue;
                }
                let permutation = permutations.number(lanes);
                let [from_y, from_x] = layout.source(y, x).map(|at| at as isize);
                let copy = BorderCopy { from: layout.at(from_y, from_x) as u32, to: layout.at(y, x) as u32 };
                match runs.iter_mut().find(|run| run.permutation == permutation) {
                    Some(run) => run.copies.push(copy),
                    None => runs.push(Run { permutation, copies: vec![copy] }),
                }
            }
        }
        Self { runs, permutations: permutations.table }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        let copies: usize = self.runs.iter().map(|run| run.copies.len()).sum();
        copies * size_of::<BorderCopy>() + self.permutations.len() * size_of::<i32>()
    }
}

/// Where a pool's window of `reach` finds the vectors of a tile with its border.
#[derive(Debug)]
pub(crate) struct PoolTable {
    pub(crate) sources: Vec<Source>,
    pub(crate) permutations: Vec<i32>,
}

impl PoolTable {
    pub(crate) fn new(layout: &PlaneLayout, reach: usize) -> Self {
        let mut permutations = Permutations::default();
        let mut sources = Vec::new();
        let [height, width] = layout.tile.map(|side| side as isize);
        let reach = reach as isize;
        for y in -reach..height + reach {
            for x in -reach..width + reach {
                let permutation = permutations.number(layout.lanes_at(y, x));
                let [y, x] = layout.source(y, x).map(|at| at as u32);
                sources.push(Source { y, x, permutation });
            }
        }
        Self { sources, permutations: permutations.table }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.sources.len() * size_of::<Source>() + self.permutations.len() * size_of::<i32>()
    }
}
