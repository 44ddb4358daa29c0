//! The head of release 1.0, whose convolutions are layers of the network, coarsest level first, rewritten as later
//! releases have it: they belong to the head, finest level first, and the layers behind them move up.

use super::error::{WeightsError, WeightsErrorKind};
use super::module::PickledModule;
use super::plain::PlainValue;

/// What changed in a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// Whether the order of the levels was reversed, which its anchors and strides still have to follow.
    pub(super) levels_reversed: bool,
}

/// Rewrites `module` if its head is of that kind.
///
/// # Errors
/// Layers that the later form cannot express.
pub(super) fn rewrite(module: &mut PickledModule) -> Result<Rewritten, WeightsError> {
    let Some((_, layers)) = module.children.iter_mut().find(|(name, _)| name == "model") else {
        return Ok(Rewritten::default());
    };
    let is_old = layers.children.last().is_some_and(|(_, head)| {
        head.class_name() == "Detect" && head.child("m").is_none() && head.buffers.contains_key("anchors")
    });
    if !is_old {
        return Ok(Rewritten::default());
    }
    let sources: Vec<Vec<i64>> = (0..layers.children.len())
        .map(|index| sources(index, &layers.children[index].1))
        .collect::<Option<_>>()
        .ok_or_else(|| unusual("a layer does not say where it reads"))?;
    let Some(mut levels) = sources.last().cloned() else { return Ok(Rewritten::default()) };
    let levels_reversed = levels.windows(2).all(|pair| pair[0] > pair[1]) && levels.len() > 1;
    if levels_reversed {
        levels.reverse();
    }
    let is_level = |index: usize| levels.contains(&(index as i64));
    let mut number = Vec::new();
    for (index, (_, layer)) in layers.children.iter().enumerate() {
        let kept = number.iter().flatten().count();
        if is_level(index) && layer.class_name() != "Conv2d" {
            return Err(unusual("the head reads a layer that is not a convolution"));
        }
        number.push((!is_level(index)).then_some(kept as i64));
    }
    let moved = |source: i64| match usize::try_from(source) {
        Ok(source) => number.get(source).copied().flatten(),
        Err(_) => Some(source),
    };
    let mut head_sources = Vec::new();
    let mut convs = Vec::new();
    for &level in &levels {
        let index = usize::try_from(level).map_err(|_| unusual("the head reads the image"))?;
        let source = sources.get(index).and_then(|sources| moved(*sources.first()?));
        head_sources.push(source.ok_or_else(|| unusual("a convolution of the head reads another one"))?);
        convs.push((convs.len().to_string(), layers.children[index].1.clone()));
    }
    let last = layers.children.len() - 1;
    let mut kept = Vec::new();
    for (index, (_, mut layer)) in std::mem::take(&mut layers.children).into_iter().enumerate() {
        let Some(place) = number[index] else { continue };
        let from = if index == last {
            layer.children.push(("m".to_owned(), list(std::mem::take(&mut convs), layer.identity)));
            head_sources.clone()
        } else {
            let moved: Option<Vec<i64>> = sources[index].iter().map(|&source| moved(source)).collect();
            moved.ok_or_else(|| unusual("a layer reads a convolution of the head"))?
        };
        let relative = from.iter().map(|&from| PlainValue::Int(if from == place - 1 { -1 } else { from }));
        layer.attributes.insert("f".to_owned(), PlainValue::List(relative.collect()));
        kept.push((place.to_string(), layer));
    }
    layers.children = kept;
    Ok(Rewritten { levels_reversed })
}

/// The layers that layer `index` reads; −1 is the image.
fn sources(index: usize, layer: &PickledModule) -> Option<Vec<i64>> {
    let from = layer.attribute("f")?;
    let from: Vec<i64> = match from.as_int() {
        Some(from) => vec![from],
        None => from.as_slice()?.iter().map(PlainValue::as_int).collect::<Option<_>>()?,
    };
    let absolute = |from: i64| if from < 0 { (index as i64).checked_add(from) } else { Some(from) };
    from.into_iter().map(absolute).collect()
}

fn list(children: Vec<(String, PickledModule)>, identity: usize) -> PickledModule {
    PickledModule {
        class: "torch.nn.modules.container.ModuleList".to_owned(),
        identity,
        attributes: Default::default(),
        parameters: Default::default(),
        buffers: Default::default(),
        children,
    }
}

fn unusual(reason: &str) -> WeightsError {
    let reason = format!("has a head of release 1.0 that is not understood: {reason}");
    WeightsError::new(WeightsErrorKind::NotAModel, reason, "save it again with release 2.0 or later")
}
