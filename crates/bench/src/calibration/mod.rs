//! Calibration: what a float network's activation sites see of some images; its tables and its pictures.

mod collect;
pub mod options;
pub mod picture;
pub mod saved;
pub mod table;

pub use collect::collect;
