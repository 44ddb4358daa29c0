//! Copy-paste: outlined objects, mirrored to the other side of their image. Ghiasi et al., "Simple Copy-Paste is
//! a Strong Data Augmentation Method for Instance Segmentation", 2020.

use rand::Rng;
use yolo_eval::Xyxy;

use super::flip::mirror_object;
use super::polygon::fill;
use super::{LabelledImage, Object};

/// A copy is dropped if it would cover this fraction of any object.
const MAX_COVER: f32 = 0.30;

/// Draws which objects to copy: of those with an outline, the fraction `probability` (rounded, half to even),
/// each at most once, in the order drawn. Indices into `objects`.
pub fn draw_copies(objects: &[Object], probability: f32, rng: &mut impl Rng) -> Vec<usize> {
    let outlined: Vec<usize> = (0..objects.len()).filter(|&i| !objects[i].polygon_px.is_empty()).collect();
    // In `f32`, in which 0.1 · 5 is exactly 0.5, a tie.
    let wanted = (probability * outlined.len() as f32).round_ties_even() as usize;
    let drawn = rand::seq::index::sample(rng, outlined.len(), wanted.min(outlined.len()));
    drawn.into_iter().map(|i| outlined[i]).collect()
}

/// Copies the objects `chosen` to their mirrored places, unless that covers 30 % or more of the box of an
/// object that is already there, copies included. Only pixels inside the outline are copied, from the original image.
///
/// # Panics
/// If an index in `chosen` is beyond the objects.
pub fn copy_paste(sample: &mut LabelledImage, chosen: &[usize]) {
    let (width, height) = (sample.image.width, sample.image.height);
    let mut spans = Vec::new();
    for &i in chosen {
        let mut copy = sample.objects[i].clone();
        let outline = fill(&copy.polygon_px, width, height);
        mirror_object(&mut copy, width as f32);
        if sample.objects.iter().all(|there| cover(copy.bbox_px, there.bbox_px) < MAX_COVER) {
            sample.objects.push(copy);
            spans.extend(outline);
        }
    }
    if spans.is_empty() {
        return;
    }
    let stride = 3 * width as usize;
    let original = sample.image.pixels.clone();
    for span in spans {
        let row = span.y as usize * stride..(span.y as usize + 1) * stride;
        let from = &original[row.clone()].as_chunks::<3>().0[span.first as usize..=span.last as usize];
        let to = sample.image.pixels[row].as_chunks_mut::<3>().0.iter_mut().rev().skip(span.first as usize);
        for (to, from) in to.zip(from) {
            *to = *from;
        }
    }
}

/// The fraction of the box `there` that the box `new` covers.
fn cover(new: Xyxy, there: Xyxy) -> f32 {
    // As in the specification of overlaps: a box without area is covered by nothing.
    new.intersection(there) / (there.area() + 1e-16)
}
