//! mAP over what a network costs: a dot per network, the line of dense ones behind.

use super::Entry;
use super::dense_line::DenseLine;
use crate::page::html::{colour_class, decimal, escape, nothing, section};
use crate::page::svg::{MAP_HEIGHT, Plot, chart, label, number, round_ticks, spread};

/// Room for the names of the networks.
const RIGHT: f64 = 150.0;
/// Share of the axis that stays free beyond the most expensive network.
const MARGIN: f64 = 1.08;
/// Networks that are named beside their dots; more would cover one another.
const NAMED: usize = 14;

/// What a chart shows from left to right.
pub(super) struct Cost<'a> {
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// Name of the axis, with its unit.
    pub(super) axis: &'a str,
    pub(super) value: fn(&Entry) -> Option<f64>,
    pub(super) line: Option<DenseLine>,
}

/// The section of one cost.
pub(super) fn render(cost: &Cost, entries: &[Entry]) -> String {
    let known: Vec<(usize, f64)> = entries
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| {
            Some((index, (cost.value)(entry).filter(|x| x.is_finite() && *x >= 0.0)?))
        })
        .collect();
    if known.is_empty() {
        return section(cost.id, cost.title, "", &nothing("None of these files has it."));
    }
    let intro = match &cost.line {
        Some(line) => format!(
            "<p>The dashed line is the published one of dense networks, scaled so that it goes through the one measured \
             here ({}). Above it, a network is better than a dense one of equal cost.</p>\n",
            escape(&line.origin)
        ),
        None => {
            "<p>None of these networks is a released size without pruning, so there is nothing to scale the \
                 published line of dense networks by; add its results.</p>\n"
                .to_owned()
        }
    };
    let most = known.iter().map(|(_, x)| *x).fold(0.0, f64::max) * MARGIN;
    let line = cost.line.as_ref().map(|line| line.points(most)).unwrap_or_default();
    let maps = known.iter().map(|(index, _)| entries[*index].map).chain(line.iter().map(|point| point.1));
    let (x_ticks, y_ticks) =
        (round_ticks(Some((0.0, most)), 6), round_ticks(Some((0.0, maps.fold(0.0, f64::max))), 5));
    let plot = Plot::of_map(&x_ticks, &y_ticks, RIGHT);
    let dots: String =
        known.iter().map(|&(index, x)| dot(&plot, index, x, &entries[index], cost.axis)).collect();
    let content = format!(
        "{}{}{}{}{dots}",
        plot.axes(&x_ticks, &y_ticks, cost.axis, "mAP@50–95"),
        plot.line(&line, "ink dashed"),
        sizes(&plot, cost.line.as_ref(), most),
        names(&plot, &known, entries)
    );
    let summary = format!("mAP over {} of {} networks", cost.axis, known.len());
    section(cost.id, cost.title, &intro, &chart(MAP_HEIGHT, &summary, &content))
}

/// The released sizes that lie inside the chart, on their line.
fn sizes(plot: &Plot, line: Option<&DenseLine>, most: f64) -> String {
    let sizes = line.into_iter().flat_map(|line| &line.sizes).filter(|size| size.0 <= most);
    let drawn = sizes.map(|&(cost, map, name)| {
        let (x, y) = (plot.x(cost), plot.y(map));
        format!(
            "<circle class=\"dot ink dashed\" cx=\"{}\" cy=\"{}\" r=\"3\"><title>{}: {}</title></circle>\n{}",
            number(x),
            number(y),
            escape(name),
            decimal(map, 4),
            label(x, y - 12.0, "ink mid", name.trim_start_matches("yolov5"))
        )
    });
    drawn.collect()
}

/// Names at the right edge, with thin lines to their dots.
fn names(plot: &Plot, known: &[(usize, f64)], entries: &[Entry]) -> String {
    if known.len() > NAMED {
        return String::new();
    }
    let wanted: Vec<f64> = known.iter().map(|(index, _)| plot.y(entries[*index].map)).collect();
    let places = spread(&wanted, 18.0, plot.top, plot.bottom());
    let named = known.iter().zip(wanted).zip(places).map(|((&(index, x), y), place)| {
        let colour = colour_class(index);
        let end = plot.right() + 8.0;
        format!(
            "<path class=\"leader {colour}\" d=\"M{} {}L{} {}\"/>{}",
            number(plot.x(x)),
            number(y),
            number(end - 3.0),
            number(place),
            label(end, place, &colour, &short(&entries[index].name))
        )
    });
    named.collect()
}

/// As much of a name as there is room for.
fn short(name: &str) -> String {
    const LETTERS: usize = 24;
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    name.chars().take(LETTERS - 1).chain(['…']).collect()
}

fn dot(plot: &Plot, index: usize, x: f64, entry: &Entry, axis: &str) -> String {
    let text = format!("{}\nmAP@50–95 {}\n{axis} {}", entry.name, decimal(entry.map, 4), decimal(x, 2));
    format!(
        "<circle class=\"dot {}\" cx=\"{}\" cy=\"{}\" r=\"4.5\"><title>{}</title></circle>\n",
        colour_class(index),
        number(plot.x(x)),
        number(plot.y(entry.map)),
        escape(&text)
    )
}
