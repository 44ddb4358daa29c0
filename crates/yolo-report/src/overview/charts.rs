//! mAP over what a network costs: a dot per network, the line of dense ones behind.

use maud::{Markup, html};

use super::Entry;
use super::dense_line::DenseLine;
use crate::chart::{EndName, chart, label, leader};
use crate::format::decimal;
use crate::html::{colour_class, nothing, section};
use crate::scale::{MAP_HEIGHT, Plot, round_ticks};

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

/// A network with a cost that is known: its position, its cost.
type Known = (usize, f64);

/// The section of one cost.
pub(super) fn render(cost: &Cost, entries: &[Entry]) -> Markup {
    let value = |entry: &Entry| (cost.value)(entry).filter(|x| x.is_finite() && *x >= 0.0);
    let known: Vec<Known> =
        entries.iter().enumerate().filter_map(|(index, entry)| Some((index, value(entry)?))).collect();
    if known.is_empty() {
        return section(cost.id, cost.title, &html! {}, &nothing("None of these files has it."));
    }
    let most = known.iter().map(|(_, x)| *x).fold(0.0, f64::max) * MARGIN;
    let line = cost.line.as_ref().map(|line| line.points(most)).unwrap_or_default();
    let maps = known.iter().map(|(index, _)| entries[*index].map).chain(line.iter().map(|point| point.1));
    let (x_ticks, y_ticks) =
        (round_ticks(Some((0.0, most)), 6), round_ticks(Some((0.0, maps.fold(0.0, f64::max))), 5));
    let plot = Plot::of_map(&x_ticks, &y_ticks, RIGHT);
    let tip = |entry: &Entry, x: f64| {
        format!("{}\nmAP@50–95 {}\n{} {}", entry.name, decimal(entry.map, 4), cost.axis, decimal(x, 2))
    };
    let content = html! {
        (plot.axes(&x_ticks, &y_ticks, cost.axis, "mAP@50–95"))
        (plot.line(&line, "ink dashed"))
        (sizes(&plot, cost.line.as_ref(), most))
        (names(&plot, &known, entries))
        @for &(index, x) in &known {
            @let entry = &entries[index];
            (plot.dot((x, entry.map), 4.5, &colour_class(index), &tip(entry, x)))
        }
    };
    let summary = format!("mAP over {} of {} networks", cost.axis, known.len());
    section(cost.id, cost.title, &intro(cost.line.as_ref()), &chart(MAP_HEIGHT, &summary, &content))
}

fn intro(line: Option<&DenseLine>) -> Markup {
    html! {
        p {
            @match line {
                Some(line) => {
                    "The dashed line is the published one of dense networks, scaled so that it goes through the one measured \
                     here (" (line.origin) "). Above it, a network is better than a dense one of equal cost."
                }
                None => {
                    "None of these networks is a released size without pruning, so there is nothing to scale the published \
                     line of dense networks by; add its results."
                }
            }
        }
    }
}

/// The released sizes that lie inside the chart, on their line.
fn sizes(plot: &Plot, line: Option<&DenseLine>, most: f64) -> Markup {
    html! {
        @for &(cost, map, name) in line.iter().flat_map(|line| &line.sizes).filter(|size| size.0 <= most) {
            (plot.dot((cost, map), 3.0, "ink dashed", &format!("{name}: {}", decimal(map, 4))))
            (label((plot.x(cost), plot.y(map) - 12.0), "ink mid", name.trim_start_matches("yolov5")))
        }
    }
}

/// Names at the right edge, with thin lines to their dots.
fn names(plot: &Plot, known: &[Known], entries: &[Entry]) -> Markup {
    if known.len() > NAMED {
        return html! {};
    }
    let texts: Vec<(String, String)> =
        known.iter().map(|&(index, _)| (colour_class(index), short(&entries[index].name))).collect();
    let ends = known.iter().zip(&texts).map(|(&(index, _), (class, name))| EndName {
        value: entries[index].map,
        class,
        name,
    });
    let ends: Vec<EndName> = ends.collect();
    let edge = plot.right() + 5.0;
    html! {
        @for ((&(_, x), end), place) in known.iter().zip(&ends).zip(plot.end_places(&ends)) {
            (leader((plot.x(x), plot.y(end.value)), (edge, place), end.class))
        }
        (plot.end_names(&ends))
    }
}

/// As much of a name as there is room for.
fn short(name: &str) -> String {
    const LETTERS: usize = 24;
    if name.chars().count() <= LETTERS {
        return name.to_owned();
    }
    name.chars().take(LETTERS - 1).chain(['…']).collect()
}
