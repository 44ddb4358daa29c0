//! From operations to steps.

use super::values::{Values, pool_chains, twins};
use super::{Options, tune::Tuner};
use crate::choice::{ConvReport, KernelId};
use crate::error::Result;
use crate::kernels::Kernels;
use crate::network::{Conv, Network, Op, Output, ValueId};
use crate::steps::ConvPlaces;
use crate::steps::{
    AddStep, AttentionStep, BorderStep, ConvStep, CopyStep, DecodeStep, DepthwiseStep, Entries, InputStep,
    MapStep, Outlet, Place, PoolStep, Squares, SquaresStep, Step, WindowStep, WinogradStep, depthwise_fits,
    winograd_fits,
};
use crate::tiling::{BorderTable, PlaneLayout};
use std::collections::HashMap;
use std::sync::Arc;

/// Steps in the making.
pub(crate) struct Lowering<'a> {
    network: &'a Network,
    values: &'a Values,
    kernels: &'static Kernels,
    threads: usize,
    borders: HashMap<PlaneLayout, Arc<BorderTable>>,
    pub(crate) steps: Vec<Step>,
    pub(crate) reports: Vec<ConvReport>,
}

impl<'a> Lowering<'a> {
    pub(crate) fn new(
        network: &'a Network,
        values: &'a Values,
        kernels: &'static Kernels,
        threads: usize,
    ) -> Self {
        let (borders, steps, reports) = (HashMap::new(), Vec::new(), Vec::new());
        Self { network, values, kernels, threads, borders, steps, reports }
    }

    /// All steps of the network, each convolution on the kernel that `tuner` finds for it.
    pub(crate) fn run(&mut self, tuner: &mut Tuner<'_>, options: &Options) -> Result<()> {
        let batch = self.network.batch;
        self.steps.push(Step::Input(InputStep { place: self.place(0), batch }));
        self.fill_border(0);
        let chains = pool_chains(self.network);
        let twins = twins(self.network);
        for (index, op) in self.network.ops.iter().enumerate() {
            let value = index + 1;
            match op {
                // It lies where its input lies, with the borders of that.
                _ if op.slice().is_some() => {}
                Op::Conv(conv) => match twins.iter().find(|pair| pair.contains(&index)) {
                    Some(&[first, second]) if first == index => {
                        if let Op::Conv(twin) = &self.network.ops[second] {
                            self.conv(&joined(conv, twin), value, Some(second + 1), tuner, options)?;
                        }
                    }
                    Some(_) => {}
                    None => self.conv(conv, value, None, tuner, options)?,
                },
                Op::Add { inputs } => {
                    let inputs = inputs.map(|input| self.place(input));
                    let add = AddStep::new(inputs, self.place(value), batch, self.threads);
                    self.steps.push(Step::Add(add));
                    self.fill_border(value);
                }
                Op::Concat { inputs } => self.concat(value, inputs),
                Op::MaxPool { size, .. } => {
                    if let Some(chain) = chains.iter().find(|chain| chain[0] == index) {
                        self.pool(chain, *size);
                    }
                }
                Op::Pool { .. }
                | Op::ZeroPad { .. }
                | Op::SpaceToDepth { .. }
                | Op::DepthToSpace { .. }
                | Op::Pick { .. }
                | Op::Attention { .. } => {
                    let step = self.rearranged(op, self.place(value));
                    self.steps.push(step);
                    self.fill_border(value);
                }
                Op::Upsample { input, scale } => {
                    self.copy(self.place(*input), self.place(value), *scale);
                    self.fill_border(value);
                }
            }
        }
        self.output();
        Ok(())
    }

    /// The same with the kernels that the reports say now.
    pub(crate) fn again(self, tuner: &mut Tuner<'_>, options: &Options) -> Result<Self> {
        let choices = self.reports.iter().map(|report| (report.name.clone(), report.chosen)).collect();
        let mut again = Self::new(self.network, self.values, self.kernels, self.threads);
        again.run(tuner, &Options { choices, ..options.clone() })?;
        for (report, before) in again.reports.iter_mut().zip(self.reports) {
            report.candidates = before.candidates;
        }
        Ok(again)
    }

    /// A convolution that makes `value`, and `twin` of its last channels.
    fn conv(
        &mut self,
        conv: &Conv,
        value: ValueId,
        twin: Option<ValueId>,
        tuner: &mut Tuner<'_>,
        options: &Options,
    ) -> Result<()> {
        let places = ConvPlaces {
            input: self.place(conv.input),
            output: self.place(value),
            twin: twin.map(|value| self.place(value)),
            residual: conv.residual.map(|value| self.place(value)),
        };
        let (mut step, report) = tuner.step(conv, &places, options)?;
        self.reports.push(report);
        let border = self.border(value).filter(|_| twin.is_none());
        let is_filled = border.is_some_and(|border| step.fills_border(&border));
        self.steps.push(step);
        if !is_filled {
            self.fill_border(value);
        }
        if let Some(twin) = twin {
            self.fill_border(twin);
        }
        Ok(())
    }

    fn place(&self, value: ValueId) -> Place {
        self.values.places[value].clone()
    }

    fn copy(&mut self, input: Place, output: Place, scale: usize) {
        let step = CopyStep::new(input, output, scale, self.network.batch, self.threads);
        self.steps.push(Step::Copy(step));
    }

    /// Copies the inputs that do not lie in the concatenation already.
    fn concat(&mut self, value: ValueId, inputs: &[ValueId]) {
        let whole = self.place(value);
        let mut offset = whole.offset;
        for &input in inputs {
            let from = self.place(input);
            let to = Place { offset, channels: from.channels, ..whole.clone() };
            offset += from.channels * whole.layout.plane();
            if from.offset != to.offset {
                self.copy(from, to.clone(), 1);
                if self.values.needs_border[value] {
                    self.fill_border_at(to);
                }
            }
        }
    }

    fn pool(&mut self, chain: &[usize], size: usize) {
        let Op::MaxPool { input, .. } = self.network.ops[chain[0]] else { return };
        let values = std::iter::once(input).chain(chain.iter().map(|index| index + 1));
        let places = values.map(|value| self.place(value)).collect();
        let step = PoolStep::new(places, size, self.network.batch, self.threads);
        self.steps.push(Step::Pool(step));
        for index in chain {
            self.fill_border(index + 1);
        }
    }

    /// The step of an operation that moves, pools or compares pixels.
    fn rearranged(&self, op: &Op, output: Place) -> Step {
        let (batch, threads) = (self.network.batch, self.threads);
        let input = self.place(op.inputs()[0]);
        let squares = |size, what| {
            let places = [input.clone(), output.clone()];
            Step::Squares(SquaresStep::new(places, size, what, batch, threads))
        };
        match *op {
            Op::Pick { ref channels, .. } => squares([1, 1], Squares::Pick(channels.clone())),
            Op::SpaceToDepth { size, order, .. } => squares([size; 2], Squares::ToDepth(order)),
            Op::DepthToSpace { size, interleaved, .. } => squares([size; 2], Squares::ToSpace(interleaved)),
            Op::Pool { pool, .. }
                if pool.kernel == pool.stride
                    && pool.padding == [0, 0]
                    && !pool.ceil
                    && SquaresStep::fits(&input.layout, &output.layout, pool.kernel) =>
            {
                squares(pool.kernel, Squares::Pool)
            }
            Op::Pool { ref pool, .. } => Step::Windows(WindowStep::pool(input, output, pool, batch, threads)),
            Op::Attention { spec, .. } => {
                Step::Attention(AttentionStep::new([input, output], spec, batch, self.kernels))
            }
            Op::ZeroPad { sides, .. } => {
                Step::Windows(WindowStep::zero_pad(input, output, sides, batch, threads))
            }
            // The caller sends no other.
            _ => Step::Windows(WindowStep::zero_pad(input, output, [0; 4], batch, threads)),
        }
    }

    /// The border of a value, where it has to be filled.
    fn border(&mut self, value: ValueId) -> Option<Arc<BorderTable>> {
        if !self.values.needs_border[value] {
            return None;
        }
        let table = self.border_of(&self.values.places[value].layout);
        (!table.is_empty()).then_some(table)
    }

    fn border_of(&mut self, layout: &PlaneLayout) -> Arc<BorderTable> {
        let table = self.borders.entry(layout.clone()).or_insert_with(|| Arc::new(BorderTable::new(layout)));
        Arc::clone(table)
    }

    fn fill_border(&mut self, value: ValueId) {
        if self.values.needs_border[value] {
            self.fill_border_at(self.place(value));
        }
    }

    fn fill_border_at(&mut self, place: Place) {
        let table = self.border_of(&place.layout);
        if !table.is_empty() {
            self.steps.push(Step::Border(BorderStep::new(place, table, self.network.batch, self.threads)));
        }
    }

    fn output(&mut self) {
        let network = self.network;
        let batch = network.batch;
        let mut offset = 0;
        match &network.output {
            Output::Maps(values) => {
                for &value in values {
                    let place = self.place(value);
                    let image = place.channels * place.layout.size[0] * place.layout.size[1];
                    let outlet = Outlet { offset, image };
                    offset += batch * image;
                    self.steps.push(Step::Map(MapStep { place, outlet, batch }));
                }
            }
            Output::Detections(levels) => {
                let image = network.output_len(&self.shapes()) / batch;
                for level in levels {
                    let place = self.place(level.value);
                    let channels = level.channels.clone();
                    let rows = channels.groups.len() * place.layout.size[0] * place.layout.size[1];
                    let outlet = Outlet { offset, image };
                    offset += rows * channels.row_width();
                    self.steps.push(Step::Decode(DecodeStep { place, channels, outlet, batch }));
                }
            }
        }
    }

    fn shapes(&self) -> Vec<[usize; 3]> {
        let shape = |place: &Place| [place.channels, place.layout.size[0], place.layout.size[1]];
        self.values.places.iter().map(shape).collect()
    }

    /// Bytes of the tables of borders.
    pub(crate) fn border_bytes(&self) -> usize {
        self.borders.values().map(|table| table.bytes()).sum()
    }
}

/// One convolution that makes the channels of both.
fn joined(a: &Conv, b: &Conv) -> Conv {
    Conv {
        name: format!("{}+{}", a.name, b.name),
        weight: [&a.weight[..], &b.weight].concat(),
        bias: [&a.bias[..], &b.bias].concat(),
        out_channels: a.out_channels + b.out_channels,
        ..a.clone()
    }
}

/// The step of a convolution on a kernel, if there is such a kernel and it can do the convolution.
pub(crate) fn conv_step(
    conv: &Conv,
    kernel: KernelId,
    places: &ConvPlaces,
    (kernels, batch, threads): (&'static crate::kernels::Kernels, usize, usize),
) -> Option<Step> {
    if kernel == KernelId::DEPTHWISE {
        let step = || Step::Depthwise(Box::new(DepthwiseStep::new(conv, places, batch, threads)));
        return depthwise_fits(conv).then(step);
    }
    if kernel.is_winograd() {
        let batches = kernel.batches(kernels).filter(|_| winograd_fits(kernel.family, conv))?;
        let step = WinogradStep::new(conv, kernel, batches, places, batch, threads);
        return Some(Step::Winograd(Box::new(step)));
    }
    let entries = Entries::of(kernel, conv, places, kernels)?;
    let step = ConvStep::new(conv, (kernel, entries), places, batch, threads);
    Some(Step::Conv(Box::new(step)))
}
