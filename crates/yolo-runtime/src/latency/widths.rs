//! How long a convolution takes by its channels: times on a grid that is measured where it is asked about.

use std::collections::BTreeMap;

use super::{ConvGeometry, measure_conv};
use crate::error::Result;
use crate::plan::Options;

/// Times of convolutions by their channels, for one processor, vector unit and number of threads.
///
/// Convolutions that differ only in their channels share a grid over both numbers of channels, whose lines are the
/// powers of two and one and a half times them. A time is interpolated between the four points around it, which are
/// measured when they are first needed and kept. A point never takes longer than one with more channels: what says
/// otherwise is noise, and is set to the nearest time that fits. So times never fall when channels come to a
/// convolution, and never change once they were told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WidthTimes {
    /// By everything but the channels.
    grids: BTreeMap<Form, Grid>,
    measured: usize,
}

/// A geometry without its channels.
type Form = [[usize; 2]; 4];

/// Milliseconds by `[in_channels, out_channels]`, which rise along both.
type Grid = BTreeMap<[usize; 2], f64>;

fn form(geometry: &ConvGeometry) -> Form {
    [geometry.size, geometry.kernel, geometry.stride, geometry.padding]
}

impl WidthTimes {
    /// Milliseconds of a convolution with SiLU on one image.
    ///
    /// # Errors
    /// As for [`measure_conv`].
    pub fn milliseconds(&mut self, geometry: &ConvGeometry, options: &Options) -> Result<f64> {
        let mut measure = |geometry: &ConvGeometry| {
            let points = measure_conv(geometry, &[0.0], options)?;
            Ok(points.first().map_or(0.0, |point| point.milliseconds))
        };
        self.interpolated(geometry, &mut measure)
    }

    /// Points that were measured and not added.
    pub fn measured(&self) -> usize {
        self.measured
    }

    /// The points of the grid, to be kept.
    pub fn points(&self) -> Vec<(ConvGeometry, f64)> {
        let point = |(form, [in_channels, out_channels], ms): (&Form, [usize; 2], f64)| {
            let [size, kernel, stride, padding] = *form;
            (ConvGeometry { in_channels, out_channels, size, kernel, stride, padding }, ms)
        };
        let all =
            self.grids.iter().flat_map(|(form, grid)| grid.iter().map(move |(at, ms)| (form, *at, *ms)));
        all.map(point).collect()
    }

    /// Adds a point that was measured before; times that are not numbers of at least 0 are ignored.
    pub fn add(&mut self, geometry: &ConvGeometry, milliseconds: f64) {
        if milliseconds.is_finite() && milliseconds >= 0.0 {
            let at = [geometry.in_channels, geometry.out_channels];
            insert(self.grids.entry(form(geometry)).or_default(), at, milliseconds);
        }
    }

    fn interpolated(
        &mut self,
        geometry: &ConvGeometry,
        measure: &mut impl FnMut(&ConvGeometry) -> Result<f64>,
    ) -> Result<f64> {
        let [inputs, outputs] = [geometry.in_channels, geometry.out_channels].map(lines);
        let mut time = 0.0;
        for (in_channels, in_share) in inputs {
            for (out_channels, out_share) in outputs {
                if in_share * out_share > 0.0 {
                    let corner = ConvGeometry { in_channels, out_channels, ..*geometry };
                    time += in_share * out_share * self.point(&corner, measure)?;
                }
            }
        }
        Ok(time)
    }

    fn point(
        &mut self,
        geometry: &ConvGeometry,
        measure: &mut impl FnMut(&ConvGeometry) -> Result<f64>,
    ) -> Result<f64> {
        let grid = self.grids.entry(form(geometry)).or_default();
        let at = [geometry.in_channels, geometry.out_channels];
        if let Some(known) = grid.get(&at) {
            return Ok(*known);
        }
        self.measured += 1;
        Ok(insert(grid, at, measure(geometry)?))
    }
}

/// Adds a point between those with fewer and those with more channels; its time then.
fn insert(grid: &mut Grid, at: [usize; 2], milliseconds: f64) -> f64 {
    let (mut least, mut most) = (0.0_f64, f64::INFINITY);
    for ([inputs, outputs], ms) in grid.iter() {
        if *inputs <= at[0] && *outputs <= at[1] {
            least = least.max(*ms);
        }
        if *inputs >= at[0] && *outputs >= at[1] {
            most = most.min(*ms);
        }
    }
    // The grid rises, so `least` is not above `most`.
    let fitted = milliseconds.max(least).min(most);
    grid.insert(at, fitted);
    fitted
}

/// The lines of the grid at or around a number of channels, with their shares.
fn lines(channels: usize) -> [(usize, f64); 2] {
    let power = 1 << channels.max(1).ilog2();
    // 1 has no half.
    let middle = if power > 1 { power + power / 2 } else { power };
    let (low, high) = if channels >= middle { (middle, 2 * power) } else { (power, middle) };
    let share = if high > low { channels.saturating_sub(low) as f64 / (high - low) as f64 } else { 0.0 };
    [(low, 1.0 - share), (high, share)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const GEOMETRY: ConvGeometry = ConvGeometry {
        in_channels: 16,
        out_channels: 24,
        size: [20, 28],
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };

    fn with(in_channels: usize, out_channels: usize) -> ConvGeometry {
        ConvGeometry { in_channels, out_channels, ..GEOMETRY }
    }

    #[test]
    fn lines_around_numbers_of_channels() {
        let around = |channels| lines(channels).map(|(line, share)| (line, (share * 1e3).round()));
        assert_eq!(around(1)[0], (1, 1000.0));
        assert_eq!(around(2)[0], (2, 1000.0));
        assert_eq!(around(3)[0], (3, 1000.0));
        assert_eq!(around(10), [(8, 500.0), (12, 500.0)]);
        assert_eq!(around(15), [(12, 250.0), (16, 750.0)]);
        assert_eq!(around(48)[0], (48, 1000.0));
        assert_eq!(around(255), [(192, 16.0), (256, 984.0)]);
    }

    #[test]
    fn times_are_interpolated_and_points_measured_once() {
        let mut times = WidthTimes::default();
        let mut asked = Vec::new();
        let mut measure = |geometry: &ConvGeometry| {
            asked.push([geometry.in_channels, geometry.out_channels]);
            Ok((geometry.in_channels * geometry.out_channels) as f64)
        };
        assert_eq!(times.interpolated(&with(16, 24), &mut measure).unwrap(), 384.0);
        // Products are interpolated exactly.
        assert_eq!(times.interpolated(&with(18, 28), &mut measure).unwrap(), 504.0);
        assert_eq!(times.interpolated(&with(18, 24), &mut measure).unwrap(), 432.0);
        assert_eq!(asked, [[16, 24], [16, 32], [24, 24], [24, 32]]);
        let mut again = WidthTimes::default();
        times.points().iter().for_each(|(geometry, ms)| again.add(geometry, *ms));
        assert_eq!((again.points(), again.measured(), times.measured()), (times.points(), 0, 4));
        again.add(&with(1, 1), f64::NAN);
        assert_eq!(again.points(), times.points());
    }

    proptest! {
        /// Whatever is measured, in whatever order it is asked for.
        #[test]
        fn fewer_channels_never_take_longer(
            asked in prop::collection::vec((1usize..70, 1usize..70, 0.0..9.0f64), 1..40),
        ) {
            let mut times = WidthTimes::default();
            let mut told = Vec::new();
            for (inputs, outputs, noise) in asked {
                let ms = times.interpolated(&with(inputs, outputs), &mut |_| Ok(noise)).unwrap();
                told.push((inputs, outputs, ms));
            }
            for (inputs, outputs, ms) in &told {
                for (more_inputs, more_outputs, more) in &told {
                    if inputs <= more_inputs && outputs <= more_outputs {
                        prop_assert!(*ms <= more + 1e-9, "{told:?}");
                    }
                }
            }
        }
    }
}
