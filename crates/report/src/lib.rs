//! Run folders to tables and pictures. Imports `results` alone; reads the long files with polars and draws with plotters.
//!
//! In reading order: [`stats`] (Wilson's interval, McNemar's test), `load` (run folders in, with everything that is
//! refused), `apart` (names of their own for what has the same name), `axes` (what varies), `order` (of rows and words), [`AccuracyTable`] (the rows), `columns`, `wide`,
//! `draws` and `notes` (what is printed of them), `render` (as Markdown, CSV and LaTeX), the plots on `canvas` and `frame`
//! ([`layer_plot`] is about speed and no experiment), [`splice`] (into a README), [`write_all`], which makes the
//! files, and [`page`], which puts an experiment into one HTML file.
//!
//! The same run folders give the same bytes: rows are sorted by what they are, numbers are printed with few digits, and
//! nothing volatile (time, host, duration) is shown, but for the images per second of experiments in integers and the seconds of
//! those with other tools beside them; and but for a page, which shows what `run.csv` says of where and when a run was made.

mod accuracy;
mod accuracy_plot;
mod apart;
mod axes;
mod bars;
mod bits;
mod canvas;
mod category_plot;
mod columns;
mod cost_plot;
mod draws;
mod epoch_plot;
mod error;
mod frame;
mod frames;
mod grid;
mod heat_map;
mod histogram;
mod layer_plot;
mod load;
mod notes;
mod order;
mod output;
pub mod page;
mod panel;
mod pareto;
mod predictors;
mod render;
mod scatter;
mod series;
mod site_histogram;
mod splice;
mod sqnr_plot;
pub mod stats;
mod wide;

pub use accuracy::{AccuracyTable, TableRow, accuracy_table};
pub use error::Error;
pub use grid::{Grid, markdown_grid, text_grid, wrapped};
pub use heat_map::heat_map;
pub use histogram::{Histogram, weight_histogram};
pub use layer_plot::{LayerBar, layer_plot};
pub use output::{Output, outputs, write_all};
pub use site_histogram::{BinnedCount, CodeGrid, SiteHistogram, site_histogram, site_histograms};
pub use splice::splice;
