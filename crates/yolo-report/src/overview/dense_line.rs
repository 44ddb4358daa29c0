//! The published line of dense networks, on the scale of the networks that were measured.
//!
//! YOLOv5's table is of COCO val2017; figures on other images have another scale. The line therefore goes through one
//! of the measured networks: a released size that was not pruned. Its mAP, file and time stand for their own in the
//! table, and the other sizes are in proportion.

use super::Entry;
use crate::published::{Stock, place};
use crate::verdict::{StockTime, time_of};

/// Points that a line is drawn with.
const POINTS: usize = 60;

/// A released size on the line: cost, mAP on the scale of the measured networks, name.
pub(super) type Size = (f64, f64, &'static str);

/// A line of mAP over some cost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DenseLine {
    /// The released sizes, cheapest first.
    pub(super) sizes: Vec<Size>,
    /// What its costs are taken from.
    pub(super) origin: String,
}

impl DenseLine {
    /// Costs and mAPs up to the cost `most`. Below the smallest size the line is extended.
    pub(super) fn points(&self, most: f64) -> Vec<(f64, f64)> {
        if self.sizes.len() < 2 {
            return Vec::new();
        }
        let cost = |i: usize| most * i as f64 / POINTS as f64;
        (1..=POINTS).map(|i| (cost(i), place(&self.sizes, cost(i)).map)).collect()
    }
}

/// The measured network that lines go through.
#[derive(Clone, Copy)]
pub(super) struct Anchor<'a> {
    pub(super) entry: &'a Entry,
    pub(super) stock: &'static Stock,
}

impl<'a> Anchor<'a> {
    /// The first of `entries` that is a released size without zeros and finds something.
    pub(super) fn of(entries: &'a [Entry]) -> Option<Self> {
        entries
            .iter()
            .filter(|entry| entry.map > 0.0)
            .find_map(|entry| Some(Self { entry, stock: entry.stock()? }))
    }

    /// Over billions of floating-point operations.
    pub(super) fn over_gflops(self) -> Option<DenseLine> {
        let gflops = self.entry.gflops_nonzero?;
        let cost = |stock: &Stock| Some(gflops * stock.gflops / self.stock.gflops);
        Some(
            self.line(cost, format!("in proportion to the published FLOPs, {} as measured", self.stock.name)),
        )
    }

    /// Over megabytes of the file.
    pub(super) fn over_megabytes(self) -> Option<DenseLine> {
        let bytes = self.entry.file_bytes? as f64;
        let own = self.stock.parameters()? as f64;
        let cost = |stock: &Stock| Some(bytes / 1e6 * stock.parameters()? as f64 / own);
        Some(self.line(cost, format!("in proportion to the parameters, {} as measured", self.stock.name)))
    }

    /// Over milliseconds: as they were measured if there are at least two, otherwise in proportion to the FLOPs.
    pub(super) fn over_milliseconds(self, latency: &[StockTime]) -> Option<DenseLine> {
        let measured = |stock: &Stock| time_of(latency, stock.name);
        let line = self.line(measured, "as given with --latency".to_owned());
        if line.sizes.len() > 1 && line.sizes.is_sorted_by(|a, b| a.0 < b.0) {
            return Some(line);
        }
        let ms = self.entry.ms?;
        let cost = |stock: &Stock| Some(ms * stock.gflops / self.stock.gflops);
        let origin = format!(
            "as if time went with FLOPs, {} as measured; --latency yolov5n=MS,yolov5s=MS draws measured times",
            self.stock.name
        );
        Some(self.line(cost, origin))
    }

    fn line(self, cost: impl Fn(&Stock) -> Option<f64>, origin: String) -> DenseLine {
        let scale = self.entry.map / self.stock.map;
        let sizes = self
            .stock
            .line()
            .sizes
            .iter()
            .filter_map(|stock| Some((cost(stock)?, stock.map * scale, stock.name)));
        DenseLine { sizes: sizes.collect(), origin }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn yolov5n() -> Entry {
        Entry {
            map: 0.14,
            parameters: Some(1_867_405),
            conv_sparsity: Some(0.0),
            gflops: Some(4.5),
            gflops_nonzero: Some(4.5),
            file_bytes: Some(4_000_000),
            ms: Some(20.0),
            ..Entry::default()
        }
    }

    #[test]
    fn the_line_goes_through_the_measured_network_and_keeps_the_tables_proportions() {
        let entries = [Entry::default(), yolov5n()];
        let anchor = Anchor::of(&entries).unwrap();
        // mAP 0.14 stands for 28.0, so that everything is halved.
        let line = anchor.over_gflops().unwrap();
        assert_eq!(line.sizes.len(), 5);
        let (gflops, map, name) = line.sizes[1];
        assert!((gflops - 16.5).abs() < 1e-9 && (map - 0.187).abs() < 1e-9, "{gflops} {map} {name}");
        let at = |cost: f64| line.points(cost).last().unwrap().1;
        assert!((at(4.5) - 0.14).abs() < 1e-9 && at(9.0) > 0.14 && at(9.0) < 0.187);
        let sizes = anchor.over_megabytes().unwrap().sizes;
        assert!((sizes[0].0 - 4.0).abs() < 1e-9 && (sizes[1].0 - 15.48).abs() < 0.01, "{sizes:?}");
    }

    #[test]
    fn measured_times_come_before_proportions() {
        let entries = [yolov5n()];
        let anchor = Anchor::of(&entries).unwrap();
        let times = |n: f64, s: f64| {
            [("yolov5n", n), ("yolov5s", s)].map(|(name, ms)| StockTime { name: name.to_owned(), ms })
        };
        let measured = anchor.over_milliseconds(&times(25.0, 85.0)).unwrap();
        assert_eq!(measured.sizes.iter().map(|size| size.0).collect::<Vec<_>>(), [25.0, 85.0]);
        let guessed = anchor.over_milliseconds(&times(85.0, 25.0)).unwrap();
        assert!((guessed.sizes[1].0 - 20.0 * 16.5 / 4.5).abs() < 1e-9 && guessed.origin.contains("as if"));
    }

    #[test]
    fn nothing_dense_means_no_line() {
        let pruned = Entry { conv_sparsity: Some(0.5), ..yolov5n() };
        assert!(Anchor::of(&[pruned, Entry::default()]).is_none());
    }
}
