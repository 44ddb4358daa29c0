//! The share of zeros in every layer, as bars. They are HTML rather than SVG: names keep their size on any
//! screen, and the list flows into columns if there is room.

use maud::{Markup, html};

use super::{LayerSparsity, Stage};
use crate::format::{percent, thousands};
use crate::html::{colour_class, nothing, section};

/// Names longer than this are cut; the tooltip has them whole.
const LONGEST_NAME: usize = 30;

/// The section: bars of the last stage that has layers.
pub(super) fn render(stages: &[Stage]) -> Markup {
    let title = "Sparsity by layer";
    let Some(shown) = stages.iter().rposition(|stage| !stage.layer_sparsity.is_empty()) else {
        return section("layers", title, &html! {}, &nothing("No layers were recorded."));
    };
    let stage = &stages[shown];
    let (zeros, weights) = totals(&stage.layer_sparsity);
    let mean = share(zeros, weights);
    let intro = html! {
        p { "Zeros among the weights of each layer, " b { (stage.name) } ", first layer on top." }
        p.mean-key {
            "All layers together: " b { (percent(mean)) }
            " (" (unbroken(zeros)) " of " (unbroken(weights)) " weights)"
        }
        p { (kept(stages, shown)) }
    };
    let longest = stage.layer_sparsity.iter().map(|layer| layer.name.chars().count()).max().unwrap_or(0);
    let style = format!("--mean:{};--name:{}ch", css_percent(mean), longest.min(LONGEST_NAME) + 1);
    let body = html! {
        div.bars {
            ol style=(style) { @for index in 0..stage.layer_sparsity.len() { (bar(stages, shown, index)) } }
        }
    };
    section("layers", title, &intro, &body)
}

/// One layer, with the counts of every stage in its tooltip.
fn bar(stages: &[Stage], shown: usize, index: usize) -> Markup {
    let layer = &stages[shown].layer_sparsity[index];
    let share_of = |layer: &LayerSparsity| share(layer.zeros, layer.weights);
    let mut tip = format!("{}: {} weights", layer.name, thousands(layer.weights));
    for stage in stages {
        if let Some(same) = find(stage, index, &layer.name) {
            let (zeros, share) = (thousands(same.zeros), percent(share_of(same)));
            tip += &format!("\n{}: {zeros} zeros ({share})", stage.name);
        }
    }
    html! {
        li title=(tip) {
            span.name { (layer.name) }
            span.track { i class=(colour_class(shown)) style={ "width:" (css_percent(share_of(layer))) } {} }
            span.value { (percent(share_of(layer))) }
        }
    }
}

/// Whether the zeros of the stage before are still there: fine-tuning must not fill them.
fn kept(stages: &[Stage], shown: usize) -> Markup {
    let before = shown.checked_sub(1).map(|i| &stages[i]);
    let Some(before) = before.filter(|stage| totals(&stage.layer_sparsity).0 > 0) else { return html! {} };
    let layers = &stages[shown].layer_sparsity;
    let same = |(i, layer): &(usize, &LayerSparsity)| {
        find(before, *i, &layer.name).is_some_and(|earlier| earlier.zeros == layer.zeros)
    };
    let changed = layers.len() - layers.iter().enumerate().filter(same).count();
    html! {
        @match changed {
            0 => "Every layer has as many zeros as in ",
            1 => "1 layer has a different number of zeros than in ",
            _ => { (changed) " layers have a different number of zeros than in " }
        }
        b { (before.name) } "."
    }
}

/// The layer of another stage: usually at the same place, otherwise the one of that name.
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
