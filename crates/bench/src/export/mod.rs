//! The ways out of an experiment: the quantized network of a run, as a file.
//!
//! ```text
//! --set KEY=VALUE ----------------------> settings -> plan -> network -> resnet::to_onnx -> FILE
//! --run RUN_ID -> stored (its settings) ----^          |
//!                    '-> its hits -----------------> facts (the file's metadata)
//! FILE -> peers (what ONNX Runtime makes of it)
//! ```

mod facts;
mod network;
pub mod peers;
pub mod stored;

pub use facts::{Hits, facts};
pub use network::network_of;
