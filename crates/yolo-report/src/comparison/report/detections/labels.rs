//! Where the labels of boxes go, so that none covers another.

use super::super::SampleImage;
use super::{Drawn, TALLEST, caption, ratio};

/// Labels in a panel at most: a crowd of them would hide the image.
const MOST: usize = 10;
/// Width in screen pixels of a panel on a common screen. If panels are smaller, some labels overlap.
const PANEL: f32 = 285.0;
/// Size of a label in screen pixels: its height, about a letter's width, and what is around the letters.
const HEIGHT: f32 = 15.0;
const LETTER: f32 = 6.6;
const PADDING: f32 = 8.0;

/// The labels placed so far, as edges in screen pixels.
pub(super) struct Labels {
    width: f32,
    height: f32,
    taken: Vec<[f32; 4]>,
}

impl Labels {
    pub(super) fn new(sample: &SampleImage) -> Self {
        let width = PANEL.min(TALLEST * ratio(sample));
        Self { width, height: width / ratio(sample), taken: Vec::new() }
    }

    /// The classes that put a label where it is on the image and covers no other, if there is such a place:
    /// above its box or inside at the top, from its left edge or up to its right edge.
    pub(super) fn place(&mut self, drawn: &Drawn) -> Option<&'static str> {
        if self.taken.len() >= MOST {
            return None;
        }
        let label = caption(drawn.of).chars().count() as f32 * LETTER + PADDING;
        let (x, y) = (drawn.left / 100.0 * self.width, drawn.top / 100.0 * self.height);
        let back = x + drawn.width / 100.0 * self.width - label;
        let spots = [("", x, y - HEIGHT), (" in", x, y), (" back", back, y - HEIGHT), (" in back", back, y)];
        let (class, edges) = spots
            .into_iter()
            .map(|(class, x, y)| (class, [x, y, x + label, y + HEIGHT]))
            .find(|(_, edges)| self.is_free(edges))?;
        self.taken.push(edges);
        Some(class)
    }

    fn is_free(&self, &[x0, y0, x1, y1]: &[f32; 4]) -> bool {
        // A label may stick out by what nobody misses.
        let inside = x0 >= -2.0 && y0 >= -2.0 && x1 <= self.width + 4.0 && y1 <= self.height + 2.0;
        inside && self.taken.iter().all(|&[a0, b0, a1, b1]| x1 <= a0 || a1 <= x0 || y1 <= b0 || b1 <= y0)
    }
}
