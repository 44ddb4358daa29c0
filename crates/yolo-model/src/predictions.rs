//! Decoded predictions: boxes and scores of one image, before suppression.

/// A box by its centre and its size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cxcywh {
    /// Horizontal centre.
    pub cx: f32,
    /// Vertical centre.
    pub cy: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

/// A box by its corners.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Xyxy {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

impl From<Cxcywh> for Xyxy {
    fn from(bbox: Cxcywh) -> Self {
        let (half_w, half_h) = (bbox.w / 2.0, bbox.h / 2.0);
        Self { x1: bbox.cx - half_w, y1: bbox.cy - half_h, x2: bbox.cx + half_w, y2: bbox.cy + half_h }
    }
}

/// Rows of one image: a box in pixels of the network's input, and a score per class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    num_classes: usize,
    boxes: Vec<Cxcywh>,
    /// `[rows, num_classes]`.
    scores: Vec<f32>,
}

impl Predictions {
    /// No rows, of `num_classes` classes.
    pub fn new(num_classes: usize) -> Self {
        Self { num_classes, boxes: Vec::new(), scores: Vec::new() }
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// The rows: box and scores.
    pub fn rows(&self) -> impl Iterator<Item = (Cxcywh, &[f32])> {
        self.boxes.iter().copied().zip(self.scores.chunks_exact(self.num_classes.max(1)))
    }

    /// Row number `row`: box and scores.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> (Cxcywh, &[f32]) {
        let classes = self.num_classes;
        (self.boxes[row], &self.scores[row * classes..(row + 1) * classes])
    }

    /// The boxes, to be moved.
    pub fn boxes_mut(&mut self) -> &mut [Cxcywh] {
        &mut self.boxes
    }

    /// Appends a row.
    ///
    /// # Panics
    /// If there is not one score per class.
    pub fn push(&mut self, bbox: Cxcywh, scores: impl IntoIterator<Item = f32>) {
        self.boxes.push(bbox);
        self.scores.extend(scores);
        assert_eq!(self.scores.len(), self.boxes.len() * self.num_classes, "a score per class");
    }

    /// Appends the rows of `other`.
    ///
    /// # Panics
    /// If it has another number of classes.
    pub fn append(&mut self, other: Self) {
        assert_eq!(self.num_classes, other.num_classes, "classes");
        self.boxes.extend(other.boxes);
        self.scores.extend(other.scores);
    }

    /// The rows for which `is_kept` returns true, given their scores.
    #[must_use]
    pub fn filtered(&self, is_kept: impl Fn(&[f32]) -> bool) -> Self {
        let mut kept = Self::new(self.num_classes);
        for (bbox, scores) in self.rows().filter(|(_, scores)| is_kept(scores)) {
            kept.push(bbox, scores.iter().copied());
        }
        kept
    }
}

/// The class with the highest score, the first of equal ones, and that score.
pub fn best_class(scores: &[f32]) -> Option<(usize, f32)> {
    let scores = scores.iter().copied().enumerate();
    scores.reduce(|best, score| if score.1 > best.1 { score } else { best })
}
