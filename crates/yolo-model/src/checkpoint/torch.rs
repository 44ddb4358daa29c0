//! A detector as a file of its family's package, and as a state dict.

use std::collections::HashSet;
use std::path::Path;

use super::Checkpoint;
use crate::architecture::{Architecture, Layer, YamlFit};
use crate::error::{ModelError, Result};
use crate::heads::Family;
use crate::weights::{
    FloatFormat, HostTensor, MODEL, PlainValue, StateDict, TorchAttribute, TorchFormat, TorchModule,
    write_network, write_state_dict,
};

/// The release of `ultralytics` in whose layout files are written.
const VERSION: &str = "8.4.190";

/// How a detector is written for PyTorch.
#[derive(Clone, Debug)]
pub struct TorchOptions {
    /// How floating-point tensors are stored. Half precision becomes single if a finite value is beyond its range.
    pub format: FloatFormat,
    /// Whether weights that have zeros are written as the pairs of `torch.nn.utils.prune`: `weight_orig` and
    /// `weight_mask`.
    pub masks: bool,
    /// Hyper-parameters of the training, as YOLOv5's networks keep them; for `ultralytics`, arguments of the training that
    /// it knows.
    pub hyp: Option<PlainValue>,
}

/// What [`Checkpoint::save_torch`] wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct TorchSummary {
    /// How floating-point tensors are stored.
    pub format: FloatFormat,
    /// A tensor with a value beyond half precision, where that was asked for.
    pub too_large_for_half: Option<String>,
    /// How well the yaml inside describes the network; none in a state dict.
    pub yaml: Option<YamlFit>,
    /// Tensors of the file, masks included.
    pub tensors: usize,
    /// Weights that were written with a mask.
    pub masked: usize,
    /// Whether batch normalisation that changes nothing was added, as the network had none.
    pub added_batch_norm: bool,
}

impl Checkpoint {
    /// Writes a checkpoint that YOLOv5 or, for networks of its family, the package `ultralytics` loads, as they have them
    /// after training: a pickled network with names, strides, anchors and the yaml that describes it best. A fused network
    /// gets batch normalisation that changes nothing, as their classes cannot do without. The same network gives the same
    /// bytes. The file appears whole or not at all.
    ///
    /// # Errors
    /// A module that cannot be written for YOLOv5, weights that do not fit the network, no weight with zeros where masks
    /// are asked for, a place that cannot be written.
    pub fn save_torch(&self, path: &Path, options: &TorchOptions) -> Result<TorchSummary> {
        let unfused = self.with_batch_norm()?;
        unfused.check_tensors()?;
        unfused.check_values()?;
        let (config, fit) = unfused.architecture.to_model_config()?;
        let yaml_file = match fit {
            YamlFit::Stock(ref name) => format!("{name}.yaml"),
            _ => "model.yaml".to_owned(),
        };
        let root = unfused.torch_root(config.to_dict(), &yaml_file, options.hyp.as_ref())?;
        let (format, summary) = unfused.torch_format(options)?;
        let pruning = self.pruning.as_ref().map(ToString::to_string);
        let entries = entries(self.architecture.family(), options.hyp.as_ref());
        write_network(path, &entries, &root, &unfused.weights, pruning.as_deref(), &format)?;
        Ok(TorchSummary { yaml: Some(fit), added_batch_norm: self.architecture.fused, ..summary })
    }

    /// Writes the tensors alone, under PyTorch's names, for `torch.load(…, weights_only=True)` and `load_state_dict`.
    ///
    /// # Errors
    /// Weights that do not fit the network, no weight with zeros where masks are asked for, a place that cannot be written.
    pub fn save_state_dict(&self, path: &Path, options: &TorchOptions) -> Result<TorchSummary> {
        self.check_tensors()?;
        self.check_values()?;
        let mut in_order = StateDict::new();
        for spec in self.architecture.tensors() {
            let tensor = self.weights.require(&spec.name)?.clone();
            in_order.insert(spec.name, tensor);
        }
        let (format, summary) = self.torch_format(options)?;
        write_state_dict(path, &in_order, &format)?;
        Ok(summary)
    }

    fn torch_format(&self, options: &TorchOptions) -> Result<(TorchFormat, TorchSummary)> {
        let (format, too_large_for_half) = TorchFormat::fitting(options.format, &self.weights);
        let masked = if options.masks { self.weights_with_zeros()? } else { HashSet::new() };
        let summary = TorchSummary {
            format: if format.half { FloatFormat::F16 } else { FloatFormat::F32 },
            too_large_for_half,
            yaml: None,
            tensors: self.weights.len() + masked.len(),
            masked: masked.len(),
            added_batch_norm: false,
        };
        Ok((TorchFormat { masked, ..format }, summary))
    }

    /// Names of the weights of convolutions that have zeros.
    fn weights_with_zeros(&self) -> Result<HashSet<String>> {
        let mut names = HashSet::new();
        for conv in self.architecture.convs() {
            if self.weights.f32s(&conv.weight())?.contains(&0.0) {
                names.insert(conv.weight());
            }
        }
        if names.is_empty() {
            let reason =
                "no weight of a convolution is 0, so there is nothing to mask; prune single weights first";
            return Err(ModelError::Architecture { reason: reason.to_owned() });
        }
        Ok(names)
    }

    /// The network as an object of `models.yolo.Model`.
    fn torch_root(&self, yaml: PlainValue, yaml_file: &str, hyp: Option<&PlainValue>) -> Result<TorchModule> {
        let mut layers = self.architecture.torch_layers()?;
        let usual = self.architecture.usual_activation().to_torch();
        for (index, (module, layer)) in layers.iter_mut().zip(&self.architecture.layers).enumerate() {
            self.check_names(index, module)?;
            if self.architecture.activations.is_some() || self.architecture.family() == Family::Ultralytics {
                module.share_activations(&usual);
            }
            module.attributes.extend(self.layer_attributes(index, layer, module)?);
        }
        let head = self.architecture.head();
        let strides = head.strides().iter().map(|stride| *stride as f32).collect();
        let names = self.class_names.iter().enumerate();
        let names = names.map(|(class, name)| (class.into(), name.as_str().into())).collect();
        // The names under which every release of either family loads a network.
        let class = match head.family() {
            Family::Yolov5 => "models.yolo.Model",
            Family::Ultralytics => "ultralytics.nn.tasks.DetectionModel",
        };
        let root = TorchModule::new(class).child("model", TorchModule::sequential(layers));
        let root = match (head.family(), yaml) {
            (Family::Ultralytics, PlainValue::Dict(mut yaml)) => {
                yaml.push(("yaml_file".into(), yaml_file.into()));
                root.attribute("yaml", PlainValue::Dict(yaml))
            }
            (_, yaml) => root.attribute("yaml", yaml).attribute("yaml_file", yaml_file),
        };
        let root = root
            .attribute("save", self.architecture.kept_outputs())
            .attribute("names", PlainValue::Dict(names))
            .attribute("inplace", true)
            .attribute(
                "stride",
                TorchAttribute::Tensor(HostTensor::from_f32s([head.strides().len()], strides)),
            )
            .attribute("nc", head.num_classes());
        Ok(match (head.family(), hyp) {
            (Family::Yolov5, None) => root,
            (Family::Yolov5, Some(hyp)) => root.attribute("hyp", hyp.clone()),
            (Family::Ultralytics, arguments) => {
                root.attribute("args", train_args(arguments)).attribute("task", DETECT)
            }
        })
    }

    /// A module that names other tensors than the network has would be read with random ones.
    fn check_names(&self, index: usize, module: &TorchModule) -> Result<()> {
        let prefix = format!("model.{index}.");
        let mut written = Vec::new();
        module.tensor_names(&prefix, &mut written);
        let tensors = self.architecture.tensors();
        let own: Vec<&str> = tensors
            .iter()
            .map(|tensor| tensor.name.as_str())
            .filter(|name| name.starts_with(&prefix))
            .collect();
        if written == own {
            return Ok(());
        }
        let differing = own.iter().zip(&written).find(|(own, written)| *own != written);
        let differing = differing.map_or("their number", |(own, _)| own);
        let name = self.architecture.layers[index].block.name();
        let reason = format!(
            "layer {index} ({name}): its form for PyTorch has other tensors than the network ({differing}); write the \
             network as .safetensors"
        );
        Err(ModelError::Architecture { reason })
    }

    /// What YOLOv5 keeps at every layer: its number, its inputs, its class, its parameters.
    fn layer_attributes(
        &self,
        index: usize,
        layer: &Layer,
        module: &TorchModule,
    ) -> Result<[(&'static str, TorchAttribute); 4]> {
        let from = if layer.block.takes_several() {
            PlainValue::List(layer.from.iter().copied().map(PlainValue::Int).collect())
        } else {
            PlainValue::Int(layer.from.first().copied().unwrap_or(-1))
        };
        let mut names = Vec::new();
        module.parameter_names(&format!("model.{index}."), &mut names);
        let mut parameters = 0;
        for name in names {
            parameters += self.weights.require(&name)?.element_count();
        }
        let layer_type = module.layer_type();
        Ok([("i", index.into()), ("f", from.into()), ("type", layer_type.into()), ("np", parameters.into())])
    }
}

/// What a network of `ultralytics` does.
const DETECT: &str = "detect";

/// The entries of a file that was stripped after training, as there is nothing to resume. Dates are left out, so that the
/// same network gives the same bytes.
fn entries(family: Family, hyp: Option<&PlainValue>) -> Vec<(&'static str, PlainValue)> {
    let none = PlainValue::None;
    match family {
        Family::Yolov5 => vec![
            ("epoch", PlainValue::Int(-1)),
            ("best_fitness", none.clone()),
            (MODEL, none.clone()),
            ("ema", none.clone()),
            ("updates", none.clone()),
            ("optimizer", none.clone()),
            ("opt", none.clone()),
            ("git", none.clone()),
            ("date", none),
        ],
        Family::Ultralytics => vec![
            ("date", none.clone()),
            ("version", VERSION.into()),
            ("epoch", PlainValue::Int(-1)),
            ("best_fitness", none.clone()),
            ("stopper", none.clone()),
            (MODEL, none.clone()),
            ("ema", none.clone()),
            ("updates", none.clone()),
            ("modelopt", none.clone()),
            ("optimizer", none.clone()),
            ("scaler", none.clone()),
            ("train_args", train_args(hyp)),
            ("git", none),
        ],
    }
}

/// The arguments of a training, and at least what the network is for.
fn train_args(known: Option<&PlainValue>) -> PlainValue {
    let mut arguments = match known {
        Some(PlainValue::Dict(pairs)) => pairs.clone(),
        _ => Vec::new(),
    };
    if !arguments.iter().any(|(key, _)| key.as_str() == Some("task")) {
        arguments.insert(0, ("task".into(), DETECT.into()));
    }
    PlainValue::Dict(arguments)
}

impl Architecture {
    /// Layers whose outputs later ones read, other than the next one alone, in order; repeated for each reader.
    fn kept_outputs(&self) -> Vec<usize> {
        let mut kept = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let sources = layer.from.iter().filter(|from| **from != -1);
            kept.extend(sources.filter_map(|from| crate::architecture::resolve(index, *from)));
        }
        kept.sort_unstable();
        kept
    }
}
