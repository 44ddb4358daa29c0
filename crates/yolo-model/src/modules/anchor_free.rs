//! `Detect` without anchors: per level a branch of convolutions for boxes and one for classes.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Part, Stored, convs_among_parts};
use crate::architecture::{Activation, ConvForm, ConvSpec, MAX_CHANNELS, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::heads::{Head, HeadMut};
use crate::program::{Lowering, ValueId};
use crate::weights::{HostTensor, PlainValue, TorchAttribute, TorchModule};

/// The name of both heads in PyTorch is Detect, whose reader tells them apart.
pub(super) static KIND: ModuleKind = ModuleKind {
    name: "Detect",
    key: "AnchorFreeDetect",
    takes_repeats: false,
    from_yaml: |layer| AnchorFreeSpec::from_yaml(layer).map(Block::new),
    from_pickle: |layer| AnchorFreeSpec::from_pickle(layer).map(Block::new),
    stored: Stored::fields::<AnchorFreeSpec>(),
};

/// The head of YOLOv8, YOLO11, YOLO26 and YOLOv5u.
///
/// A distance from the centre of a cell to a side of its box is the expectation over `bins` bins, or with one bin the
/// convolution's output itself. Networks without a suppression have a second set of branches that gives each object one box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnchorFreeSpec {
    /// Number of classes.
    pub num_classes: usize,
    /// Bins per distance (`reg_max`), at least 1.
    pub bins: usize,
    /// Input pixels per cell of each level.
    pub strides: Vec<usize>,
    /// The branches that give an object several boxes, so that a suppression follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one2many: Option<BranchesSpec>,
    /// The branches that give an object one box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one2one: Option<BranchesSpec>,
    /// Whether the network answers by its one-to-one branches where it has both kinds. Fusing leaves only those that answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_to_end: bool,
}

/// The convolutions of every level, finest level first, each list in the order of execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchesSpec {
    /// For boxes: three, the last of them bare and with `4 · bins` channels out.
    pub boxes: Vec<Vec<ConvSpec>>,
    /// For classes: three, or five with depthwise ones before each of the first two; the last one is bare and has a channel
    /// per class out.
    pub classes: Vec<Vec<ConvSpec>>,
}

/// Which set of branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branches {
    /// [`AnchorFreeSpec::one2many`].
    OneToMany,
    /// [`AnchorFreeSpec::one2one`].
    OneToOne,
}

/// Where a network has one of these, the branches for classes are separated into depthwise and pointwise convolutions.
const NEWER: [&str; 3] = ["C3k2", "A2C2f", "C2fCIB"];
/// Sides of a box.
const SIDES: usize = 4;
/// Most bins that are believed.
const MAX_BINS: usize = 64;
/// Convolutions of a branch without depthwise ones, and with them.
const PLAIN: usize = 3;
const SEPARATED: usize = 5;
/// Their places in a branch.
const PLAIN_PATHS: [&str; PLAIN] = ["0", "1", "2"];
const SEPARATED_PATHS: [&str; SEPARATED] = ["0.0", "0.1", "1.0", "1.1", "2"];
/// Where the distribution of distances keeps the numbers of the bins.
const BIN_NUMBERS: &str = "dfl.conv.weight";

impl Branches {
    /// Names of the two lists in the head's module: boxes, classes.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::OneToMany => ["cv2", "cv3"],
            Self::OneToOne => ["one2one_cv2", "one2one_cv3"],
        }
    }
}

/// The tensor of the one-to-many branches in the same place as the one-to-one branches' tensor at `path` in the head's module;
/// `None` for any other path.
pub(crate) fn one2many_path(path: &str) -> Option<String> {
    let names = Branches::OneToOne.names().into_iter().zip(Branches::OneToMany.names());
    let in_place = |(one2one, one2many): (&str, &str)| {
        let rest = path.strip_prefix(one2one)?.strip_prefix('.')?;
        Some(format!("{one2many}.{rest}"))
    };
    names.filter_map(in_place).next()
}

impl BranchesSpec {
    /// For levels of `inputs` channels, by the rule for new networks: with `c₀` channels in the finest level, branches for
    /// boxes have `max(16, c₀ / 4, 4 · bins)` channels inside, those for classes `max(c₀, min(classes, 100))`.
    fn new(layer: &YamlLayer, num_classes: usize, bins: usize, separated: bool) -> Self {
        let finest = layer.input();
        let box_width = (finest / 4).max(16).max(SIDES * bins);
        let class_width = finest.max(num_classes.min(100));
        let boxes = |&input: &usize| {
            let last = bare(ConvSpec::new(box_width, SIDES * bins, 1, 1));
            vec![layer.conv(input, box_width, 3), layer.conv(box_width, box_width, 3), last]
        };
        let classes = |&input: &usize| {
            let last = bare(ConvSpec::new(class_width, num_classes, 1, 1));
            if !separated {
                return vec![
                    layer.conv(input, class_width, 3),
                    layer.conv(class_width, class_width, 3),
                    last,
                ];
            }
            let depthwise = |channels| ConvSpec { groups: channels, ..layer.conv(channels, channels, 3) };
            let pointwise = |input| layer.conv(input, class_width, 1);
            vec![depthwise(input), pointwise(input), depthwise(class_width), pointwise(class_width), last]
        };
        let levels = layer.inputs().iter();
        Self { boxes: levels.clone().map(boxes).collect(), classes: levels.map(classes).collect() }
    }

    fn from_pickle(layer: &PickledLayer, which: Branches) -> Result<Option<Self>> {
        let [boxes, classes] = which.names();
        let (Ok(boxes), Ok(classes)) = (layer.child(boxes), layer.child(classes)) else { return Ok(None) };
        let levels = |list: &PickledLayer| -> Result<Vec<Vec<ConvSpec>>> {
            list.children().iter().map(branch).collect()
        };
        Ok(Some(Self { boxes: levels(&boxes)?, classes: levels(&classes)? }))
    }

    /// Shows every convolution with its path, boxes first.
    fn visit(&mut self, which: Branches, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        for (name, levels) in which.names().into_iter().zip([&mut self.boxes, &mut self.classes]) {
            for (level, branch) in levels.iter_mut().enumerate() {
                let paths = paths(branch.len());
                for (path, spec) in paths.iter().zip(branch) {
                    visit(&format!("{name}.{level}.{path}"), spec);
                }
            }
        }
    }

    /// Appends the branches of one level and returns its map: boxes, then classes.
    fn append(
        &self,
        lowering: &mut Lowering,
        which: Branches,
        level: usize,
        input: ValueId,
    ) -> Result<ValueId> {
        let mut maps = Vec::new();
        for (name, levels) in which.names().into_iter().zip([&self.boxes, &self.classes]) {
            let mut value = input;
            let branch = &levels[level];
            for (path, spec) in paths(branch.len()).iter().zip(branch) {
                value = lowering.conv(&format!("{name}.{level}.{path}"), spec, value)?;
            }
            maps.push(value);
        }
        Ok(lowering.concat(&maps))
    }

    /// The two lists as they are pickled.
    fn torch(&self, which: Branches) -> [(&'static str, TorchModule); 2] {
        let [boxes, classes] = which.names();
        let list = |levels: &[Vec<ConvSpec>]| TorchModule::list(levels.iter().map(|branch| torch(branch)));
        [(boxes, list(&self.boxes)), (classes, list(&self.classes))]
    }

    fn check(&self, levels: usize, widths: [usize; 2]) -> std::result::Result<(), String> {
        for (lists, (what, width)) in
            [&self.boxes, &self.classes].into_iter().zip(["boxes", "classes"].into_iter().zip(widths))
        {
            if lists.len() != levels {
                return Err(format!("has {levels} inputs and {} branches for {what}", lists.len()));
            }
            for branch in lists {
                let last = branch.last().filter(|_| matches!(branch.len(), PLAIN | SEPARATED));
                let last = last.ok_or_else(|| format!("has a branch for {what} of another form"))?;
                if last.out_channels != width || last.form != ConvForm::Bare {
                    return Err(format!(
                        "has a branch for {what} with {} channels out, not {width}",
                        last.out_channels
                    ));
                }
            }
        }
        Ok(())
    }
}

fn bare(spec: ConvSpec) -> ConvSpec {
    ConvSpec { activation: Activation::Identity, form: ConvForm::Bare, ..spec }
}

fn paths(len: usize) -> &'static [&'static str] {
    if len == PLAIN { &PLAIN_PATHS } else { &SEPARATED_PATHS }
}

/// The convolutions of a branch in the order of execution.
fn branch(layer: &PickledLayer) -> Result<Vec<ConvSpec>> {
    let parts = layer.children();
    let [first, second, last] = parts.as_slice() else {
        return Err(layer.error("is not a branch of three parts"));
    };
    let mut convs = Vec::new();
    for part in [first, second] {
        if part.class_name() == "Sequential" {
            convs.extend(part.children().iter().map(PickledLayer::conv).collect::<Result<Vec<_>>>()?);
        } else {
            convs.push(part.conv()?);
        }
    }
    convs.push(last.lone_conv()?);
    if !matches!(convs.len(), PLAIN | SEPARATED) {
        return Err(layer.error(&format!("has {} convolutions, not {PLAIN} or {SEPARATED}", convs.len())));
    }
    Ok(convs)
}

/// The counterpart of [`branch`].
fn torch(branch: &[ConvSpec]) -> TorchModule {
    let block = |spec: &ConvSpec| {
        if spec.is_depthwise() { TorchModule::depthwise_block(spec) } else { TorchModule::conv_block(spec) }
    };
    let (last, blocks) = match branch.split_last() {
        Some((last, blocks)) => (last, blocks),
        None => return TorchModule::sequential([]),
    };
    let mut parts: Vec<TorchModule> = if branch.len() == SEPARATED {
        blocks.chunks(2).map(|pair| TorchModule::sequential(pair.iter().map(block))).collect()
    } else {
        blocks.iter().map(block).collect()
    };
    parts.push(TorchModule::conv2d(last, true));
    TorchModule::sequential(parts)
}

impl AnchorFreeSpec {
    /// `[classes]`; bins and the second set of branches are said at the top of the yaml.
    pub(super) fn from_yaml(layer: &YamlLayer) -> Result<Self> {
        let (num_classes, bins) = (layer.num_classes(), layer.bins());
        let branches = BranchesSpec::new(layer, num_classes, bins, layer.has_module(&NEWER));
        Ok(Self {
            num_classes,
            bins,
            strides: vec![1; layer.inputs().len()],
            one2one: layer.is_end_to_end().then(|| branches.clone()),
            one2many: Some(branches),
            end_to_end: false,
        })
    }

    /// Strides are computed from the graph.
    pub(super) fn from_pickle(layer: &PickledLayer) -> Result<Self> {
        let one2many = BranchesSpec::from_pickle(layer, Branches::OneToMany)?;
        let one2one = BranchesSpec::from_pickle(layer, Branches::OneToOne)?;
        if one2many.is_none() && one2one.is_none() {
            return Err(layer.error("has no branches for boxes and classes (cv2, cv3)"));
        }
        Ok(Self {
            num_classes: layer.whole("nc")?,
            bins: layer.whole("reg_max")?,
            strides: vec![1; layer.inputs().len()],
            end_to_end: one2many.is_none(),
            one2many,
            one2one,
        })
    }

    /// Channels of a level's map: `4 · bins` for boxes, one per class.
    pub fn n_channels(&self) -> usize {
        SIDES * self.bins + self.num_classes
    }

    /// The branches that answer.
    pub fn answering(&self) -> Branches {
        match (&self.one2many, &self.one2one) {
            (Some(_), Some(_)) if self.end_to_end => Branches::OneToOne,
            (None, Some(_)) => Branches::OneToOne,
            _ => Branches::OneToMany,
        }
    }

    /// Whether there are both kinds of branches.
    pub fn has_both(&self) -> bool {
        self.one2many.is_some() && self.one2one.is_some()
    }

    /// Leaves only the branches that answer.
    pub(crate) fn drop_silent(&mut self) {
        match self.answering() {
            Branches::OneToMany => self.one2one = None,
            Branches::OneToOne => self.one2many = None,
        }
        self.end_to_end = self.one2many.is_none();
    }

    /// Sets the number of classes: of the last convolutions, which are the only ones that have to change.
    pub(crate) fn set_num_classes(&mut self, num_classes: usize) {
        self.num_classes = num_classes;
        for branches in [&mut self.one2many, &mut self.one2one].into_iter().flatten() {
            branches.classes.iter_mut().filter_map(|branch| branch.last_mut()).for_each(|last| {
                last.out_channels = num_classes;
            });
        }
    }

    /// Takes bins and classes from the widths of the last convolutions.
    pub(crate) fn fit_widths(&mut self) {
        let branches = self.one2many.as_ref().or(self.one2one.as_ref());
        let width = |levels: &[Vec<ConvSpec>]| Some(levels.first()?.last()?.out_channels);
        if let Some(branches) = branches {
            self.bins = width(&branches.boxes).map_or(self.bins, |channels| channels / SIDES);
            self.num_classes = width(&branches.classes).unwrap_or(self.num_classes);
        }
    }

    /// The sets of branches that there are, in the order of the state dict.
    fn sets(&self) -> impl Iterator<Item = (Branches, &BranchesSpec)> {
        let one2many = self.one2many.as_ref().map(|branches| (Branches::OneToMany, branches));
        one2many.into_iter().chain(self.one2one.as_ref().map(|branches| (Branches::OneToOne, branches)))
    }

    fn check(&self, levels: usize) -> std::result::Result<(), String> {
        if self.sets().next().is_none() {
            return Err("has no branches".to_owned());
        }
        if self.strides.len() != levels || self.strides.contains(&0) {
            return Err(format!("has {levels} inputs and strides {:?}", self.strides));
        }
        if !(1..=MAX_BINS).contains(&self.bins) || !(1..=MAX_CHANNELS).contains(&self.num_classes) {
            return Err(format!(
                "has {} bins (1 to {MAX_BINS}) and {} classes (1 to {MAX_CHANNELS})",
                self.bins, self.num_classes
            ));
        }
        self.sets()
            .try_for_each(|(_, branches)| branches.check(levels, [SIDES * self.bins, self.num_classes]))
    }

    /// The numbers of the bins, `[1, bins, 1, 1]`.
    pub(crate) fn bin_numbers(&self) -> HostTensor {
        HostTensor::from_f32s([1, self.bins, 1, 1], (0..self.bins).map(|bin| bin as f32).collect())
    }

    /// Name of [`AnchorFreeSpec::bin_numbers`] in the head's module; a single bin has none.
    pub(crate) fn bin_numbers_path(&self) -> Option<&'static str> {
        (self.bins > 1).then_some(BIN_NUMBERS)
    }

    /// Multiply-accumulates of the expectations over bins for levels of these sizes, which the family's profiler counts as a
    /// convolution.
    pub(crate) fn multiply_adds(&self, sizes: &[[usize; 2]]) -> usize {
        let cells: usize = sizes.iter().map(|size| size[0] * size[1]).sum();
        if self.bins > 1 { SIDES * self.bins * cells } else { 0 }
    }

    fn torch_distribution(&self) -> TorchModule {
        if self.bins == 1 {
            return Activation::Identity.to_torch();
        }
        let conv = ConvSpec { form: ConvForm::Plain, ..bare(ConvSpec::new(self.bins, 1, 1, 1)) };
        TorchModule::new("ultralytics.nn.modules.block.DFL")
            .child("conv", TorchModule::conv2d(&conv, false))
            .attribute("c1", self.bins)
    }
}

impl Module for AnchorFreeSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        self.check(inputs.len()).map_err(|reason| lowering.error("", &reason))?;
        let mut last = inputs[0];
        for (which, branches) in self.sets() {
            for (level, &input) in inputs.iter().enumerate() {
                // What the second set learns stays in it.
                let is_apart = which == Branches::OneToOne && self.one2many.is_some();
                let input = if is_apart { lowering.detach(input) } else { input };
                last = branches.append(lowering, which, level, input)?;
                lowering.output(last);
            }
        }
        Ok(last)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        convs_among_parts(self, visit);
    }

    fn visit_parts(&mut self, visit: &mut dyn FnMut(&str, Part<'_>)) {
        let mut conv = |path: &str, spec: &mut ConvSpec| visit(path, Part::Conv(spec));
        if let Some(branches) = &mut self.one2many {
            branches.visit(Branches::OneToMany, &mut conv);
        }
        if self.bins > 1 {
            visit(BIN_NUMBERS, Part::Constant(&[1, self.bins, 1, 1]));
        }
        let mut conv = |path: &str, spec: &mut ConvSpec| visit(path, Part::Conv(spec));
        if let Some(branches) = &mut self.one2one {
            branches.visit(Branches::OneToOne, &mut conv);
        }
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let levels = self.strides.len();
        let strides = self.strides.iter().map(|stride| *stride as f32).collect();
        let mut module = TorchModule::new("ultralytics.nn.modules.head.Detect");
        match &self.one2many {
            Some(branches) => {
                for (name, list) in branches.torch(Branches::OneToMany) {
                    module = module.child(name, list);
                }
            }
            // A head that lost them keeps their places.
            None => module = module.absent_child("cv2").absent_child("cv3"),
        }
        module = module.child("dfl", self.torch_distribution());
        if let Some(branches) = &self.one2one {
            for (name, list) in branches.torch(Branches::OneToOne) {
                module = module.child(name, list);
            }
        }
        let module = module
            .attribute("nc", self.num_classes)
            .attribute("nl", levels)
            .attribute("reg_max", self.bins)
            .attribute("no", self.n_channels())
            .attribute("stride", TorchAttribute::Tensor(HostTensor::from_f32s([levels], strides)))
            .attribute("inplace", true);
        Some(module.yaml(1, vec![PlainValue::from("nc")]))
    }

    fn n_wrappers(&self) -> usize {
        1
    }

    fn takes_several(&self) -> bool {
        true
    }

    fn head(&self) -> Option<Head<'_>> {
        Some(Head::AnchorFree(self))
    }

    fn head_mut(&mut self) -> Option<HeadMut<'_>> {
        Some(HeadMut::AnchorFree(self))
    }
}
