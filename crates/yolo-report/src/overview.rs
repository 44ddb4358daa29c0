//! Networks that were measured at any time, side by side: what their files say, and a page with it.

mod charts;
mod classes;
mod dense_line;
mod entry;
mod page;
mod read;
mod rows;

pub use entry::{ClassMap, Entry};
pub use page::{Page, render};
pub use read::{SourceError, read_all};
pub use rows::lines;
use rows::{TITLES, cells};
