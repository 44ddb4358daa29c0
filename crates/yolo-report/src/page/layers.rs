//! The share of zeros in every layer, as bars. They are HTML rather than SVG: names keep their size on any
//! screen, and the list flows into columns where there is room.

use crate::format::thousands;
use crate::page::html::{colour_class, escape, nothing, percent, section};
use crate::page::{LayerSparsity, Stage};

/// Names longer than this are cut; the tooltip has them whole.
const LONGEST_NAME: usize = 30;

/// The section: bars of the last stage that has layers.
pub(crate) fn render(stages: &[Stage]) -> String {
    let Some(shown) = stages.iter().rposition(|stage| !stage.layer_sparsity.is_empty()) else {
        return section("layers", "Sparsity by layer", "", &nothing("No layers were recorded."));
    };
    let stage = &stages[shown];
    let (zeros, weights) = totals(&stage.layer_sparsity);
    let mean = share(zeros, weights);
    let intro = format!(
        "<p>Zeros among the weights of each layer, <b>{}</b>, first layer on top.</p>\n\
         <p class=\"mean-key\">All layers together: <b>{}</b> ({} of {} weights)</p>\n<p>{}</p>\n",
        escape(&stage.name),
        percent(mean),
        unbroken(zeros),
        unbroken(weights),
        kept(stages, shown)
    );
    let longest = stage.layer_sparsity.iter().map(|layer| layer.name.chars().count()).max().unwrap_or(0);
    let bars: String = stage.layer_sparsity.iter().enumerate().map(|(i, _)| bar(stages, shown, i)).collect();
    let body = format!(
        "<div class=\"bars\"><ol style=\"--mean:{};--name:{}ch\">\n{bars}</ol></div>\n",
        css_percent(mean),
        longest.min(LONGEST_NAME) + 1
    );
    section("layers", "Sparsity by layer", &intro, &body)
}

/// One layer, with the counts of every stage in its tooltip.
fn bar(stages: &[Stage], shown: usize, index: usize) -> String {
    let layer = &stages[shown].layer_sparsity[index];
    let share = share(layer.zeros, layer.weights);
    let mut tip = format!("{}: {} weights", layer.name, thousands(layer.weights));
    for stage in stages {
        if let Some(same) = find(stage, index, &layer.name) {
            tip += &format!(
                "\n{}: {} zeros ({})",
                stage.name,
                thousands(same.zeros),
                percent(self::share(same.zeros, same.weights))
            );
        }
    }
    format!(
        "<li title=\"{}\"><span class=\"name\">{}</span>\
         <span class=\"track\"><i class=\"{}\" style=\"width:{}\"></i></span>\
         <span class=\"value\">{}</span></li>\n",
        escape(&tip),
        escape(&layer.name),
        colour_class(shown),
        css_percent(share),
        percent(share)
    )
}

/// Whether the zeros of the stage before are still there: fine-tuning must not fill them.
fn kept(stages: &[Stage], shown: usize) -> String {
    let Some(before) =
        shown.checked_sub(1).map(|i| &stages[i]).filter(|stage| totals(&stage.layer_sparsity).0 > 0)
    else {
        return String::new();
    };
    let layers = &stages[shown].layer_sparsity;
    let same = |(i, layer): &(usize, &LayerSparsity)| {
        find(before, *i, &layer.name).is_some_and(|earlier| earlier.zeros == layer.zeros)
    };
    let changed = layers.len() - layers.iter().enumerate().filter(same).count();
    let name = escape(&before.name);
    match changed {
        0 => format!("Every layer has as many zeros as in <b>{name}</b>."),
        1 => format!("1 layer has another number of zeros than in <b>{name}</b>."),
        _ => format!("{changed} layers have another number of zeros than in <b>{name}</b>."),
    }
}

/// The layer of another stage: at the same place as a rule, else the one of that name.
fn find<'a>(stage: &'a Stage, index: usize, name: &str) -> Option<&'a LayerSparsity> {
    let layers = &stage.layer_sparsity;
    layers
        .get(index)
        .filter(|layer| layer.name == name)
        .or_else(|| layers.iter().find(|layer| layer.name == name))
}

/// A count that stays on one line.
fn unbroken(count: usize) -> String {
    thousands(count).replace(' ', "\u{a0}")
}

/// Zeros and weights of all layers.
fn totals(layers: &[LayerSparsity]) -> (usize, usize) {
    layers.iter().fold((0, 0), |(zeros, weights), layer| (zeros + layer.zeros, weights + layer.weights))
}

fn share(zeros: usize, weights: usize) -> f64 {
    if weights == 0 { 0.0 } else { zeros as f64 / weights as f64 }
}

fn css_percent(share: f64) -> String {
    format!("{:.2}%", (share * 100.0).clamp(0.0, 100.0))
}
