//! The terms of the loss on the device of the logits (§5.2 of Ultralytics' specification).

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData, activation};
use yolo_eval::Xyxy;

use super::SIDES;
use super::answers::{distances, picked};
use super::assigner::Positive;
use super::grid::{Grid, Object};
use super::overlap::ciou_of_corner_rows;

/// Distances in bins stay this far below the last bin.
const LAST_BIN_MARGIN: f32 = 0.01;

/// The sums of the terms over a batch, not yet divided by the sum of the targets, each `[1]`.
pub(super) struct Sums {
    /// `Σ (1 − CIoU) · target`.
    pub(super) bbox: Tensor<1>,
    /// Binary cross-entropy over all cells and classes.
    pub(super) class: Tensor<1>,
    /// Cross-entropy of the two bins beside each distance, or the absolute difference of distances as fractions of the image;
    /// the mean over the sides times the target.
    pub(super) distribution: Tensor<1>,
}

/// The sums for the maps of one set of branches, with the cells that predict objects.
pub(super) fn sums(
    maps: &[Tensor<4>],
    bins: usize,
    positives: &[Positive],
    objects: &[Object],
    grid: &Grid,
) -> Sums {
    let device = maps[0].device();
    let classes = maps.iter().map(|map| {
        let first = SIDES * bins;
        softplus_sum(map.clone().narrow(1, first, map.dims()[1] - first))
    });
    let softplus = classes.reduce(|sum, level| sum + level);
    let zero = || Tensor::<1>::zeros([1], &device);
    let softplus = softplus.unwrap_or_else(zero);
    if positives.is_empty() {
        return Sums { bbox: zero(), class: softplus, distribution: zero() };
    }
    let host = Matched::of(positives, objects, grid);
    let rows = gathered(maps, bins, &host);
    let n = host.weights.len();
    let boxes = rows.clone().narrow(1, 0, SIDES * bins).reshape([n, SIDES, bins, 1]);
    let weights = column(&host.weights, &device);
    // Cross-entropy with a target t is softplus(x) − t·x, and t is 0 almost everywhere.
    let class = softplus - (rows.narrow(1, SIDES * bins, 1) * weights.clone()).sum();
    let distances = distances(boxes.clone()).reshape([n, SIDES]);
    let overlap =
        ciou_of_corner_rows(corners(distances.clone(), &host.centres), quads(&host.corners(), &device));
    let bbox = (overlap.neg().add_scalar(1.0) * weights).sum();
    let distribution = match bins {
        1 => absolute_differences(distances, &host, grid.image_px()),
        _ => cross_entropy_of_bins(boxes.reshape([n, SIDES, bins]), &host),
    };
    Sums { bbox, class, distribution }
}

/// `Σ ln(1 + eˣ)` over all elements. Its gradient is `σ(x)`, which alone is kept for the way back: the sum is computed without
/// being recorded, and a product with `σ(x)` as a constant carries the gradient.
fn softplus_sum(logits: Tensor<4>) -> Tensor<1> {
    let fixed = logits.clone().detach();
    let slope = activation::sigmoid(fixed.clone());
    let values = activation::relu(fixed.clone()) + fixed.abs().neg().exp().log1p();
    let linear = total(logits * slope);
    total(values) + (linear.clone() - linear.detach())
}

/// The sum of all elements, map by map first, which keeps more digits.
fn total(values: Tensor<4>) -> Tensor<1> {
    let [n, channels, rows, columns] = values.dims();
    values.reshape([n * channels, rows * columns]).sum_dim(1).sum()
}

/// The cells that predict objects on the host, level by level.
struct Matched {
    /// Per level, its cells among all.
    levels: Vec<Range<usize>>,
    /// Image, and cell of the level.
    places: Vec<[usize; 2]>,
    /// Class of the object.
    classes: Vec<usize>,
    /// Centre of the cell in cells.
    centres: Vec<[f32; 2]>,
    /// Box of the object in cells.
    boxes: Vec<Xyxy>,
    /// Pixels per cell.
    strides: Vec<f32>,
    /// Target score.
    weights: Vec<f32>,
}

impl Matched {
    fn of(positives: &[Positive], objects: &[Object], grid: &Grid) -> Self {
        let n_cells = grid.n_cells();
        let mut matched = Self {
            levels: Vec::new(),
            places: Vec::new(),
            classes: Vec::new(),
            centres: Vec::new(),
            boxes: Vec::new(),
            strides: Vec::new(),
            weights: Vec::new(),
        };
        for (index, level) in grid.levels().iter().enumerate() {
            let start = matched.weights.len();
            for positive in positives {
                let (image, cell) = (positive.cell / n_cells, positive.cell % n_cells);
                let (of_level, cell) = grid.place(cell);
                if of_level == index {
                    let object = &objects[positive.object];
                    let (b, stride) = (object.bbox_px, level.stride);
                    matched.places.push([image, cell]);
                    matched.classes.push(object.class);
                    matched.centres.push(level.centre(cell));
                    matched.boxes.push(Xyxy {
                        x1: b.x1 / stride,
                        y1: b.y1 / stride,
                        x2: b.x2 / stride,
                        y2: b.y2 / stride,
                    });
                    matched.strides.push(stride);
                    matched.weights.push(positive.target);
                }
            }
            matched.levels.push(start..matched.weights.len());
        }
        matched
    }

    fn corners(&self) -> Vec<[f32; 4]> {
        self.boxes.iter().map(|b| [b.x1, b.y1, b.x2, b.y2]).collect()
    }

    /// Distances from the cells' centres to the sides of their objects, in cells.
    fn distances(&self) -> impl Iterator<Item = [f32; SIDES]> {
        let pairs = self.centres.iter().zip(&self.boxes);
        pairs.map(|(&[x, y], b)| [x - b.x1, y - b.y1, b.x2 - x, b.y2 - y])
    }
}

/// The logits of the boxes and of the object's class at every cell, `[n, 4 · bins + 1]`.
fn gathered(maps: &[Tensor<4>], bins: usize, matched: &Matched) -> Tensor<2> {
    let width = SIDES * bins;
    let mut rows = Vec::new();
    for (map, range) in maps.iter().zip(&matched.levels).filter(|(_, range)| !range.is_empty()) {
        let [_, channels, height, columns] = map.dims();
        let cells = height * columns;
        let mut indices = Vec::with_capacity(range.len() * (width + 1));
        for i in range.clone() {
            let [image, cell] = matched.places[i];
            let of_channels = (0..width).chain([width + matched.classes[i]]);
            indices.extend(of_channels.map(|channel| ((image * channels + channel) * cells + cell) as i32));
        }
        rows.push(picked(map.clone(), &indices).reshape([range.len(), width + 1]));
    }
    Tensor::cat(rows, 0)
}

/// Corners of the boxes at `distances` (`[n, 4]`) from `centres`, in cells.
fn corners(distances: Tensor<2>, centres: &[[f32; 2]]) -> Tensor<2> {
    let device = distances.device();
    let centres = Tensor::from_data(TensorData::new(centres.concat(), [centres.len(), 2]), &device);
    let (before, after) = (distances.clone().narrow(1, 0, 2), distances.narrow(1, 2, 2));
    Tensor::cat(vec![centres.clone() - before, centres + after], 1)
}

/// `Σ −(ln p(left) · (right − t) + ln p(right) · (t − left)) · weight`, the mean over the sides, with the whole numbers left and
/// right of the distance t. `logits` are `[n, 4, bins]`.
fn cross_entropy_of_bins(logits: Tensor<3>, matched: &Matched) -> Tensor<1> {
    let [n, sides, bins] = logits.dims();
    let last = (bins - 1) as f32 - LAST_BIN_MARGIN;
    let mut wanted = vec![0.0; n * sides * bins];
    let rows = matched.distances().zip(&matched.weights);
    for (of_cell, (distances, weight)) in wanted.chunks_mut(sides * bins).zip(rows) {
        for (of_side, distance) in of_cell.chunks_mut(bins).zip(distances) {
            let distance = distance.clamp(0.0, last);
            let left = distance.floor();
            let share = weight / sides as f32;
            of_side[left as usize] = (left + 1.0 - distance) * share;
            of_side[left as usize + 1] = (distance - left) * share;
        }
    }
    let wanted = Tensor::from_data(TensorData::new(wanted, [n, sides, bins]), &logits.device());
    (activation::log_softmax(logits, 2) * wanted).sum().neg()
}

/// `Σ |d − t| · weight`, the mean over the sides, with distances as fractions of the image's width and height.
fn absolute_differences(distances: Tensor<2>, matched: &Matched, [width, height]: [f32; 2]) -> Tensor<1> {
    let device = distances.device();
    let sizes = [width, height, width, height];
    let scale = |&stride: &f32| sizes.map(|size| stride / size);
    let scales: Vec<[f32; 4]> = matched.strides.iter().map(scale).collect();
    let product = |(distances, scales): ([f32; 4], &[f32; 4])| {
        std::array::from_fn(|side| distances[side] * scales[side])
    };
    let wanted: Vec<[f32; 4]> = matched.distances().zip(&scales).map(product).collect();
    let weights = column(&matched.weights, &device).div_scalar(SIDES as f64);
    ((distances * quads(&scales, &device) - quads(&wanted, &device)).abs() * weights).sum()
}

/// `[n, 4]`.
fn quads(rows: &[[f32; 4]], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), 4]), device)
}

/// `[n, 1]`.
fn column(values: &[f32], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), device)
}
