//! Warps without rotation and shear: every row has the same columns, so the filter along x runs once for every source
//! row, over plain arrays. The sums are those of the general case, in another order.

use super::{BORDER, POSITION_BITS, STEPS, Source};

/// Fills `out_rows` from source positions in steps: `columns` for x, and `row` for the y of each row.
pub(super) fn warp<'a>(
    source: &Source<'_>,
    columns: &[i64],
    row: impl Fn(usize) -> i64,
    out_rows: impl Iterator<Item = &'a mut [[u8; 3]]>,
) {
    let inside = |x: &i64| (0..source.width - 1).contains(&(x >> POSITION_BITS));
    let first = columns.iter().position(inside).unwrap_or(columns.len());
    let last = first + columns[first..].iter().take_while(|x| inside(x)).count();
    let filter = Columns::new(&columns[first..last]);
    let mut top = FilteredRow::new(last - first);
    let mut bottom = FilteredRow::new(last - first);
    let mut gathered = Gathered::default();
    for (y, out_row) in out_rows.enumerate() {
        let y = row(y);
        let source_row = y >> POSITION_BITS;
        for (x, pixel) in columns.iter().zip(out_row.iter_mut()).take(first) {
            *pixel = source.pixel((*x, y));
        }
        for (x, pixel) in columns.iter().zip(out_row.iter_mut()).skip(last) {
            *pixel = source.pixel((*x, y));
        }
        let middle = &mut out_row[first..last];
        if !(-1..source.height).contains(&source_row) {
            middle.fill([BORDER; 3]);
            continue;
        }
        if top.source != Some(source_row) && bottom.source == Some(source_row) {
            std::mem::swap(&mut top, &mut bottom);
        }
        top.load(source_row, source, &filter, &mut gathered);
        bottom.load(source_row + 1, source, &filter, &mut gathered);
        blend_rows(&top.values, &bottom.values, (y & (STEPS - 1)) as i16, middle.as_flattened_mut());
    }
}

/// The filter along x of the columns whose two taps lie in the source.
struct Columns {
    /// The first of each two taps.
    pixels: Vec<u32>,
    /// Weight of the second tap in steps, once for each of the three channels.
    weights: Vec<i16>,
}

impl Columns {
    fn new(columns: &[i64]) -> Self {
        Self {
            pixels: columns.iter().map(|x| (x >> POSITION_BITS) as u32).collect(),
            weights: columns.iter().flat_map(|x| [(x & (STEPS - 1)) as i16; 3]).collect(),
        }
    }
}

/// The two taps of every column, side by side.
#[derive(Default)]
struct Gathered {
    first: Vec<[u8; 3]>,
    second: Vec<[u8; 3]>,
}

/// A source row after the filter along x.
struct FilteredRow {
    source: Option<i64>,
    /// Weighted sums, at most 255 · 32.
    values: Vec<i16>,
}

impl FilteredRow {
    fn new(columns: usize) -> Self {
        Self { source: None, values: vec![0; 3 * columns] }
    }

    /// Filters source row `y`; a row outside the source is border.
    fn load(&mut self, y: i64, source: &Source<'_>, columns: &Columns, gathered: &mut Gathered) {
        if self.source == Some(y) {
            return;
        }
        self.source = Some(y);
        if !(0..source.height).contains(&y) {
            self.values.fill(i16::from(BORDER) * STEPS as i16);
            return;
        }
        let width = source.width as usize;
        let row = &source.pixels[y as usize * width..(y as usize + 1) * width];
        gathered.gather(row, &columns.pixels);
        let taps = gathered.first.as_flattened().iter().zip(gathered.second.as_flattened());
        for ((value, (&p0, &p1)), &weight) in self.values.iter_mut().zip(taps).zip(&columns.weights) {
            let (p0, p1) = (i16::from(p0), i16::from(p1));
            *value = (p0 << POSITION_BITS) + (p1 - p0) * weight;
        }
    }
}

impl Gathered {
    fn gather(&mut self, row: &[[u8; 3]], columns: &[u32]) {
        self.first.clear();
        self.second.clear();
        self.first.extend(columns.iter().map(|&x| row[x as usize]));
        self.second.extend(columns.iter().map(|&x| row[x as usize + 1]));
    }
}

/// The filter along y, rounded half up.
fn blend_rows(top: &[i16], bottom: &[i16], weight: i16, out: &mut [u8]) {
    let rest = STEPS as i16 - weight;
    for ((out, &t), &b) in out.iter_mut().zip(top).zip(bottom) {
        let sum = i32::from(t) * i32::from(rest) + i32::from(b) * i32::from(weight);
        *out = ((sum + (1 << (2 * POSITION_BITS - 1))) >> (2 * POSITION_BITS)) as u8;
    }
}
