//! The settings, a file for each subject.

mod activations;
mod adaround;
mod allocation;
mod biases;
mod calibration;
mod equalization;
mod gram;
mod images;
mod integers;
mod method;
mod model;
mod qat;
mod reconstruction;
mod run;
mod weights;

pub(super) use activations::{ACTIVATIONS, SHORTCUT};
pub(super) use adaround::ADAROUND;
pub(super) use allocation::ALLOCATION;
pub(super) use biases::BIASES;
pub(super) use calibration::CALIBRATION;
pub(super) use equalization::EQUALIZATION;
pub(super) use gram::GRAM;
pub(super) use images::IMAGES;
pub(super) use integers::INTEGERS;
pub(super) use method::METHOD;
pub(super) use model::MODEL;
pub(super) use qat::QAT;
pub(super) use reconstruction::RECONSTRUCTION;
pub(super) use run::RUN;
pub(super) use weights::{WEIGHTS, WIDTHS};

/// How codes lie around zero, of weights and of activations.
const MAPPINGS: super::Takes = super::Takes::Words(&["affine", "symmetric", "power_of_two"]);
