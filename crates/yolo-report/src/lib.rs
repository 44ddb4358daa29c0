//! What results look like: the files that scripts read, tables, verdicts, charts and pages.
//!
//! | module | content |
//! |---|---|
//! | [`results`] | `results.json` and `summary.json`, read and written by the same types |
//! | [`json_layout`] | JSON with a line per row of a matrix |
//! | [`format`](mod@format), [`table`] | numbers, and the tables that users of YOLOv5 expect |
//! | [`published`], [`verdict`] | the published line of dense networks, and whether pruning paid |
//! | [`comparison`] | the stages of one pruning: rows, and the page `report.html` |
//! | [`sweep`] | mAP over the amount of pruning: points, `sweep.csv`, the page |
//! | [`overview`] | networks that were measured at any time, side by side |
//! | [`dataset`] | what is in a data set |
//! | [`detections`] | what `detect` finds |
//! | [`network`], [`timings`] | what a network is, and how long it takes |
//! | [`plots`] | curves, confusion matrix and study, as SVG and as pixels |
//!
//! Everything is a function of measured figures: nothing is printed, no file is written, and the clock is not read.

mod chart;
pub mod comparison;
pub mod dataset;
pub mod detections;
pub mod format;
mod html;
pub mod json_layout;
pub mod network;
pub mod overview;
pub mod plots;
mod precision_recall;
pub mod published;
pub mod results;
mod scale;
mod svg;
pub mod sweep;
pub mod table;
pub mod timings;
pub mod verdict;
