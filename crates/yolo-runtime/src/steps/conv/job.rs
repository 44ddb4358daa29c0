//! One chunk of a convolution: its kernels, tile by tile.

use std::ops::Range;

use super::ConvStep;
use crate::kernels::Kernels;
use crate::kernels::border::Border;
use crate::kernels::epilogue::{Epilogue, Residual};
use crate::kernels::span::Span;
use crate::kernels::tile::{Tile, TileKernel, Zip, ZipKernel};
use crate::pack::Zipped;
use crate::steps::Place;
use crate::tiling::BorderTable;

/// Channels of a convolution that go to one place.
struct Outlet<'a> {
    channels: Range<usize>,
    /// The plane of the first of them.
    span: Span,
    /// Numbers from one plane to the next.
    plane: usize,
    /// Where each pixel vector lies in a plane.
    pixels: &'a [u32],
}

/// A convolution of one image.
pub(super) struct Job<'a> {
    pub(super) step: &'a ConvStep,
    pub(super) kernels: &'static Kernels,
    pub(super) scratch: Span,
    pub(super) input: Span,
    pub(super) output: Span,
    pub(super) twin: Option<Span>,
    pub(super) residual: Option<Span>,
}

impl Job<'_> {
    /// The pixels of the tile behind `tile`, if it belongs to the same chunk.
    fn next(&self, tile: usize, tiles: &Range<usize>) -> Range<usize> {
        if tile + 1 < tiles.end { self.step.tile(tile + 1) } else { 0..0 }
    }

    pub(super) unsafe fn by_groups(&self, entries: &[TileKernel], tiles: Range<usize>, groups: Range<usize>) {
        let first = groups.start;
        for group in groups {
            for tile in tiles.clone() {
                if group == first {
                    self.fetch_input(0, 1, self.next(tile, &tiles));
                }
                let pixels = self.step.tile(tile);
                // SAFETY: by the contract of the step; scratch holds one tile.
                unsafe {
                    self.sum(entries, group, 0, pixels.clone(), self.scratch);
                    self.finish(group..group + 1, pixels);
                }
            }
        }
    }

    pub(super) unsafe fn by_pixels(&self, entries: &[TileKernel], tiles: Range<usize>, groups: Range<usize>) {
        let blocks = self.step.packed.blocks;
        for tile in tiles.clone() {
            let pixels = self.step.tile(tile);
            let next = self.next(tile, &tiles);
            let sums = self.step.kernel.channels * pixels.len() * self.kernels.lanes;
            if blocks == 1 {
                for (at, group) in groups.clone().enumerate() {
                    self.fetch_input(at, groups.len(), next.clone());
                    self.fetch_output(group, pixels.clone());
                    // SAFETY: by the contract of the step; scratch holds one tile.
                    unsafe {
                        self.sum(entries, group, 0, pixels.clone(), self.scratch);
                        self.finish(group..group + 1, pixels.clone());
                    }
                }
                continue;
            }
            for block in 0..blocks {
                for (at, group) in groups.clone().enumerate() {
                    self.fetch_input(block * groups.len() + at, blocks * groups.len(), next.clone());
                    let sums = at * sums;
                    // SAFETY: by the contract of the step; scratch holds a tile of every group.
                    unsafe { self.sum(entries, group, block, pixels.clone(), self.scratch.from(sums)) };
                }
            }
            // SAFETY: by the contract of the step.
            unsafe { self.finish(groups.clone(), pixels) };
        }
    }

    pub(super) unsafe fn by_zips(
        &self,
        entries: &[ZipKernel],
        zipped: &Zipped,
        tiles: Range<usize>,
        groups: Range<usize>,
    ) {
        let step = self.step;
        let blocks = step.packed.blocks;
        let part = groups.start / step.chunk_groups;
        let bias = &step.bias[groups.start * step.kernel.channels..groups.end * step.kernel.channels];
        let next_share = step.next_taps.len().div_ceil(blocks);
        for tile in tiles.clone() {
            let pixels = step.tile(tile);
            let next = self.next(tile, &tiles);
            let kernel = entries[pixels.len() / step.kernel.row() - 1];
            for (block, part) in zipped.parts[part * blocks..][..blocks].iter().enumerate() {
                let next_taps = block * next_share..((block + 1) * next_share).min(step.next_taps.len());
                // SAFETY: by the contract of the step; scratch holds a tile of every group.
                unsafe {
                    kernel(&Zip {
                        input: self.input,
                        pixels: &step.input_pixels[pixels.clone()],
                        runs: &zipped.runs[part.runs.clone()],
                        channels: &zipped.channels[part.channels.clone()],
                        taps: &zipped.taps[part.entries.clone()],
                        weights: &zipped.weights[part.entries.clone()],
                        bias: (block == 0).then_some(bias),
                        sums: self.scratch,
                        next_taps: step.next_taps.get(next_taps).unwrap_or_default(),
                        next_pixels: &step.input_pixels[next.clone()],
                    });
                }
            }
            // SAFETY: by the contract of the step.
            unsafe { self.finish(groups.clone(), pixels) };
        }
    }

    /// Asks for part `at` of `parts` of what the tile of `pixels` reads that the one before it does not.
    fn fetch_input(&self, at: usize, parts: usize, pixels: Range<usize>) {
        if !self.step.fetches {
            return;
        }
        let place = &self.step.places.input;
        let share = place.channels.div_ceil(parts);
        for channel in at * share..((at + 1) * share).min(place.channels) {
            let plane = channel * place.layout.plane();
            for &pixel in &self.step.input_pixels[pixels.clone()] {
                for &tap in &self.step.fresh_taps {
                    self.input.prefetch(plane + (pixel + tap) as usize);
                }
            }
        }
    }

    /// Asks for what the tile writes.
    fn fetch_output(&self, group: usize, pixels: Range<usize>) {
        let channels = self.step.kernel.channels;
        // Where there is more to read than to write, the stores alone keep up.
        if self.step.out_channels <= self.step.places.input.channels {
            return;
        }
        for part in self.outlets(group * channels..(group + 1) * channels) {
            for channel in 0..part.channels.len() {
                for &pixel in &part.pixels[pixels.clone()] {
                    part.span.prefetch_to_write(channel * part.plane + pixel as usize);
                }
            }
        }
    }

    /// Where a range of output channels goes: the part in the output and the part in its twin, either empty.
    fn outlets(&self, channels: Range<usize>) -> [Outlet<'_>; 2] {
        let places = &self.step.places;
        let split = places.output.channels;
        let outlet = |place: &Place, span: Span, channels: Range<usize>, first: usize, pixels| {
            let plane = place.layout.plane();
            let start = channels.start.min(channels.end);
            // SAFETY: an empty part is never used; any other lies in the place.
            let span = unsafe { span.from(if channels.is_empty() { 0 } else { (start - first) * plane }) };
            Outlet { channels: start..channels.end, span, plane, pixels }
        };
        let first = channels.start..channels.end.min(split);
        let second = channels.start.max(split)..channels.end.min(self.step.out_channels);
        let first = outlet(&places.output, self.output, first, 0, &self.step.output_pixels);
        match (&places.twin, self.twin) {
            (Some(place), Some(span)) => [first, outlet(place, span, second, split, &self.step.twin_pixels)],
            _ => [first, outlet(&places.output, self.output, 0..0, 0, &self.step.output_pixels)],
        }
    }

    /// Sums one block of input channels for one tile.
    #[inline]
    unsafe fn sum(
        &self,
        entries: &[TileKernel],
        group: usize,
        block: usize,
        pixels: Range<usize>,
        sums: Span,
    ) {
        let step = self.step;
        let packed = &step.packed;
        let at = block * packed.groups + group;
        let segment = packed.segments[at];
        let channels = step.kernel.channels;
        let kernel = entries[pixels.len() - 1];
        let tile = Tile {
            input: self.input,
            taps: &packed.taps[segment.first_tap..][..segment.taps],
            weights: &packed.weights[segment.first_weight..][..segment.weights],
            counts: &packed.counts[at * packed.lists..][..packed.lists],
            bias: (block == 0).then(|| &step.bias[group * channels..][..channels]),
            pixels: &step.input_pixels[pixels],
            sums,
        };
        // SAFETY: by the contract of the step; taps and pixels were made for the input's layout.
        unsafe { kernel(&tile) }
    }

    /// Writes the sums of `groups` in the scratch to the output.
    #[inline]
    unsafe fn finish(&self, groups: Range<usize>, pixels: Range<usize>) {
        let step = self.step;
        let first = groups.start * step.kernel.channels;
        for part in self.outlets(first..groups.end * step.kernel.channels) {
            let start = part.channels.start;
            if part.channels.is_empty() {
                continue;
            }
            // SAFETY: by the contract of the step.
            unsafe {
                let residual = match (self.residual, &step.places.residual) {
                    (Some(map), Some(place)) => Some(Residual {
                        map: map.from(start * place.layout.plane()),
                        plane: place.layout.plane(),
                        pixels: &step.residual_pixels[pixels.clone()],
                    }),
                    _ => None,
                };
                (self.kernels.epilogue)(&Epilogue {
                    sums: self.scratch.from((start - first) * pixels.len() * self.kernels.lanes),
                    channels: part.channels.len(),
                    output: part.span,
                    output_plane: part.plane,
                    output_pixels: &part.pixels[pixels.clone()],
                    residual,
                    activate: step.activate,
                });
            }
        }
    }

    pub(super) unsafe fn fill_border(&self, border: &BorderTable, groups: Range<usize>) {
        let channels = self.step.kernel.channels;
        let plane = self.step.places.output.layout.plane();
        for channel in groups.start * channels..(groups.end * channels).min(self.step.out_channels) {
            // SAFETY: by the contract of the step; this chunk has written the whole plane.
            unsafe {
                (self.kernels.fill_border)(&Border {
                    plane: self.output.part(channel * plane, plane),
                    runs: &border.runs,
                    permutations: &border.permutations,
                });
            }
        }
    }
}
