//! Where a quantized network comes from.

use crate::config::METHOD_FLOAT;
use crate::setting::entry::setting;
use crate::setting::{About, Axis, Setting, Takes};

pub(in crate::setting) static METHOD: &[Setting] = &[setting!(
    method,
    Takes::Words(&[METHOD_FLOAT, "linear", "ptq", "qat", "stored"])
)
.means("linear (the original preset), ptq, qat (trained), stored (the quantizers of the model's file) or float")
.default("ptq")
.axis(Axis::of("method", About::Weights))];
