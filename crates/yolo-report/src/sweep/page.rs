//! The page of a sweep: the curves of mAP over sparsity and over cost, and the table behind them.

use maud::{Markup, html};

use crate::chart::{EndName, chart};
use crate::format::decimal;
use crate::html::{
    NumberRow, colour_class, conclusion, document, header, legend, number_table, origin, section,
};
use crate::published::Stock;
use crate::scale::{MAP_HEIGHT, Plot, range, round_ticks};
use crate::sweep::{COLUMNS, DENSE, Point, cells};

/// Room for the names at the ends of the lines.
const RIGHT: f64 = 112.0;
/// Costs at which the line of dense networks is drawn.
const LINE_POINTS: usize = 60;

/// What the page shows.
#[derive(Clone, Debug)]
pub struct SweepPage<'a> {
    /// Its heading.
    pub title: String,
    /// Weights, data and device.
    pub subtitle: String,
    /// The dense network first, then the methods one after the other.
    pub points: &'a [Point],
    /// The released size that was pruned.
    pub stock: Option<&'static Stock>,
    /// Sentences below the table.
    pub conclusion: &'a [String],
    /// The command that makes the page again.
    pub command: String,
    /// When it was made.
    pub created: String,
}

/// A method's points with the dense network at their start.
struct Curve<'a> {
    name: &'a str,
    class: String,
    points: Vec<&'a Point>,
}

/// The whole document.
pub fn render(sweep: &SweepPage) -> String {
    let (dense, curves) = curves(sweep.points);
    let points = html! {
        (table(sweep))
        (conclusion(sweep.conclusion))
    };
    let sections = html! {
        (over_sparsity(dense, &curves))
        (over_cost(dense, &curves, sweep.stock))
        (section("points", "Points", &html! {}, &points))
        (origin(&sweep.command, &sweep.created))
    };
    document(&sweep.title, &header(&sweep.title, &sweep.subtitle, "", &[]), &sections)
}

fn curves(points: &[Point]) -> (Option<&Point>, Vec<Curve<'_>>) {
    let dense = points.first().filter(|point| point.method == DENSE);
    let pruned = points.get(usize::from(dense.is_some())..).unwrap_or_default();
    let curves = pruned.chunk_by(|a, b| a.method == b.method).enumerate().map(|(index, of_method)| Curve {
        name: &of_method[0].method,
        class: line_class(index),
        points: dense.into_iter().chain(of_method.iter().filter(|point| point.amount > 0.0)).collect(),
    });
    (dense, curves.collect())
}

/// Colour and dashes of a method. There are four colours beside that of the dense network; further methods have them
/// again, with dashes.
fn line_class(method: usize) -> String {
    let dashes = ["", " d1", " d3", " d0"][method / 4 % 4];
    format!("{}{dashes}", colour_class(1 + method % 4))
}

/// mAP over the share of zeros.
fn over_sparsity(dense: Option<&Point>, curves: &[Curve]) -> Markup {
    let keys = curves.iter().map(|curve| (curve.class.clone(), curve.name));
    let keys = keys.chain(dense.map(|_| ("c0 d0".to_owned(), "dense network")));
    let intro = html! {
        p { "mAP@50–95 over the share of convolution weights at zero, before any fine-tuning." }
        (legend(keys))
    };
    let x = |point: &Point| point.sparsity * 100.0;
    let (plot, x_ticks, y_ticks) = plot(curves, dense, &x);
    let ends = curves.iter().filter_map(|curve| {
        let last = curve.points.iter().max_by(|a, b| x(a).total_cmp(&x(b)))?;
        Some(EndName { value: last.map, class: &curve.class, name: curve.name })
    });
    let dense_end = dense.map(|dense| EndName { value: dense.map, class: "c0", name: DENSE });
    let ends: Vec<EndName> = ends.chain(dense_end).collect();
    let content = html! {
        (plot.axes(&x_ticks, &y_ticks, "% of the convolution weights at zero", "mAP@50–95"))
        @if let Some(dense) = dense { (plot.line(&[(plot.x.0, dense.map), (plot.x.1, dense.map)], "c0 d0")) }
        (draw(&plot, curves, &x))
        (plot.end_names(&ends))
        (tips(&plot, curves, dense))
    };
    let summary = summary("sparsity", curves);
    section("sparsity", "mAP and sparsity", &intro, &chart(MAP_HEIGHT, &summary, &content))
}

/// mAP over the arithmetic that is left, beside what dense networks of that cost would have.
fn over_cost(dense: Option<&Point>, curves: &[Curve], stock: Option<&Stock>) -> Markup {
    let x = |point: &Point| point.gflops_nonzero;
    let known = dense.zip(stock).filter(|(dense, _)| dense.gflops_nonzero > 0.0);
    let keys = curves.iter().map(|curve| (curve.class.clone(), curve.name));
    let keys = keys.chain(known.map(|_| ("ink dashed".to_owned(), "dense network of equal cost")));
    let intro = html! {
        p {
            "The same over the floating-point operations that are left at 640 px, multiplications by zero left out."
            @if let Some((_, stock)) = known {
                " The dashed line is the published one of dense networks, scaled so that it goes through " (stock.name)
                " here: below it a smaller dense network is better."
            }
        }
        (legend(keys))
    };
    let (plot, x_ticks, y_ticks) = plot(curves, dense, &x);
    let content = html! {
        (plot.axes(&x_ticks, &y_ticks, "GFLOPs without multiplications by zero", "mAP@50–95"))
        @if let Some((dense, stock)) = known { (plot.line(&dense_line(dense, stock), "ink dashed")) }
        (draw(&plot, curves, &x))
    };
    section("cost", "mAP and cost", &intro, &chart(MAP_HEIGHT, &summary("GFLOPs", curves), &content))
}

/// The published line, scaled so that it goes through the dense network.
fn dense_line(dense: &Point, stock: &Stock) -> Vec<(f64, f64)> {
    let point = |i: usize| {
        let cost = dense.gflops_nonzero * i as f64 / LINE_POINTS as f64;
        let published = stock.line().dense_of_cost(stock.gflops * cost / dense.gflops_nonzero).map;
        (cost, dense.map * published / stock.map)
    };
    (1..=LINE_POINTS).map(point).collect()
}

fn summary(over: &str, curves: &[Curve]) -> String {
    let names: Vec<&str> = curves.iter().map(|curve| curve.name).collect();
    format!("mAP over {over} of {}", names.join(", "))
}

/// The area for the points and its ticks; both axes begin at zero.
fn plot(curves: &[Curve], dense: Option<&Point>, x: &impl Fn(&Point) -> f64) -> (Plot, Vec<f64>, Vec<f64>) {
    let from_zero =
        |range: Option<(f64, f64)>| range.map(|(_, high)| (0.0, high)).filter(|range| range.1 > 0.0);
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let maps = points().map(|point| point.map).chain(dense.map(|dense| dense.map));
    let x_ticks = round_ticks(from_zero(range(points().map(x))), 6);
    let y_ticks = round_ticks(from_zero(range(maps)), 5);
    let plot = Plot::of_map(&x_ticks, &y_ticks, RIGHT);
    (plot, x_ticks, y_ticks)
}

/// The lines with a dot per point that tells its figures.
fn draw(plot: &Plot, curves: &[Curve], x: &impl Fn(&Point) -> f64) -> Markup {
    let line = |curve: &Curve| {
        let mut points: Vec<(f64, f64)> = curve.points.iter().map(|point| (x(point), point.map)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        plot.line(&points, &curve.class)
    };
    html! {
        @for curve in curves {
            (line(curve))
            @for point in &curve.points {
                (plot.dot((x(point), point.map), 3.5, &curve.class, &tip(curve.name, point)))
            }
        }
    }
}

fn tip(name: &str, point: &Point) -> String {
    let mut text = format!("{name} {}\nmAP@50–95 {}", point.amount, decimal(point.map, 4));
    if let Some(ap) = point.coco_ap {
        text += &format!(", COCO AP {}", decimal(ap, 4));
    }
    text + &format!(
        "\n{} % zeros, {} GFLOPs",
        decimal(point.sparsity * 100.0, 1),
        decimal(point.gflops_nonzero, 2)
    )
}

/// A strip around each amount that tells the mAP of every method there.
fn tips(plot: &Plot, curves: &[Curve], dense: Option<&Point>) -> Markup {
    let mut amounts: Vec<(f64, f64)> = curves
        .iter()
        .flat_map(|curve| curve.points.iter().map(|point| (point.amount, point.sparsity)))
        .collect();
    amounts.sort_by(|a, b| a.0.total_cmp(&b.0));
    amounts.dedup_by(|a, b| a.0 == b.0);
    let strip = |(index, &(amount, sparsity)): (usize, &(f64, f64))| {
        let middle = |other: Option<&(f64, f64)>| other.map(|other| (other.1 + sparsity) * 50.0);
        let from = index.checked_sub(1).and_then(|left| middle(amounts.get(left))).unwrap_or(plot.x.0);
        let to = middle(amounts.get(index + 1)).unwrap_or(plot.x.1);
        let mut text = format!("{} % at zero", decimal(sparsity * 100.0, 1));
        for curve in curves {
            if let Some(point) = curve.points.iter().find(|point| point.amount == amount) {
                text += &format!("\n{}: mAP {}", curve.name, decimal(point.map, 4));
            }
        }
        if let Some(dense) = dense.filter(|_| amount > 0.0) {
            text += &format!("\n{DENSE}: mAP {}", decimal(dense.map, 4));
        }
        plot.hover(from, to.max(from), &text)
    };
    html! { @for amount in amounts.iter().enumerate() { (strip(amount)) } }
}

/// A row per point; the first cell of each names the method.
fn table(sweep: &SweepPage) -> Markup {
    let Some(dense) = sweep.points.first() else { return html! {} };
    let row = |point: &Point| {
        let [name, figures @ ..] = cells(point, dense, sweep.stock);
        NumberRow::of(name, figures)
    };
    number_table("Figures of every point", &COLUMNS, sweep.points.iter().map(row))
}
