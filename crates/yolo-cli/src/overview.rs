//! Networks that were measured at any time, side by side: what their files say, and a page with it.

mod charts;
mod classes;
mod dense_line;
mod entry;
mod page;
mod read;
mod rows;

pub(crate) use entry::Entry;
pub(crate) use page::{Page, render};
pub(crate) use read::read_all;
pub(crate) use rows::{TITLES, cells, lines};
