//! The ways out of an experiment: the quantized network of a run, as a file.
//!
//! ```text
//! --set KEY=VALUE ----------------------> settings -> plan -> network -> way -> FILE
//! --run RUN_ID -> stored (its settings) ----^          |
//!                    '-> its hits -----------------> facts (the file's metadata)
//! sweep --export -> folder (each finished run in a file)
//! FILE -> peers (what ONNX Runtime makes of it)
//! ```

mod facts;
mod folder;
mod network;
pub mod peers;
pub mod stored;
mod way;

pub use facts::{Hits, facts};
pub use folder::ExportFolder;
pub use network::network_of;
pub use way::Way;
