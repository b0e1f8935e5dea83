//! Networks that have a name and one shape: the tensors that torchvision gives them, by their papers' rules, so that they can be made
//! without a checkpoint.

use std::collections::BTreeMap;

/// The name of a network, and the function that gives it its tensors.
pub(super) type Standard = (&'static str, fn(&mut Tensors));

/// Names and shapes of a network's tensors.
#[derive(Default)]
pub(super) struct Tensors(pub BTreeMap<String, Vec<usize>>);

impl Tensors {
    /// A convolution's weight, `[outputs, inputs / groups, rows, columns]`.
    pub fn weight(&mut self, name: &str, shape: [usize; 4]) {
        self.0.insert(format!("{name}.weight"), shape.to_vec());
    }

    /// A convolution with a bias.
    pub fn conv(&mut self, name: &str, shape: [usize; 4]) {
        self.weight(name, shape);
        self.0.insert(format!("{name}.bias"), vec![shape[0]]);
    }

    /// A BatchNorm.
    pub fn norm(&mut self, name: &str, channels: usize) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            self.0.insert(format!("{name}.{part}"), vec![channels]);
        }
    }

    /// A convolution without a bias, and the BatchNorm behind it; `block` holds both.
    pub fn normalized(&mut self, block: &str, [conv, norm]: [&str; 2], shape: [usize; 4]) {
        self.weight(&format!("{block}.{conv}"), shape);
        self.norm(&format!("{block}.{norm}"), shape[0]);
    }

    /// A fully connected layer, `[outputs, inputs]`.
    pub fn linear(&mut self, name: &str, shape: [usize; 2]) {
        self.0.insert(format!("{name}.weight"), shape.to_vec());
        self.0.insert(format!("{name}.bias"), vec![shape[0]]);
    }
}
