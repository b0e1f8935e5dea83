//! How fast the engine is: images per second, layer by layer, against the processor's peak and against what one would
//! use instead.
//!
//! ```text
//! command line -> settings -> measure -> Measured -> rows (CSV), tables (text, Markdown), place (files)
//!                               |-> model (a name or a file), subject (compiled), rig (our threads), layers (our timers)
//!                               '-> peers (a Python process), machine (processor, memory)
//!                       '--> sweeps: whole experiments, each a process of its own
//! ```
//!
//! Whole images are the work of one thread, as in [`crate::evaluate`]. Ours and a peer's rounds take turns, and a ratio
//! is one of neighbours: what else the machine does meanwhile hits both.

mod layers;
mod machine;
mod measure;
mod model;
mod peers;
mod place;
mod rig;
mod rows;
mod settings;
mod spread;
mod subject;
mod sweeps;
mod tables;

pub use layers::{LayerTime, layer_times};
pub use machine::Machine;
pub use measure::{Measured, ModelResult, Peak, Ratio, Series, measure};
pub use model::{Model, OnnxFile};
pub use peers::Peers;
pub use place::Place;
pub use rig::Rig;
pub use settings::{Request, Settings};
pub use spread::Spread;
pub use subject::{Precision, Subject, peer_batch};
pub use sweeps::{CellTime, SweepTime, SweepTimes, measure_sweeps};
