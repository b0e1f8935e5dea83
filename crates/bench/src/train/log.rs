//! One row for every epoch.

use serde::{Deserialize, Serialize};

/// What an epoch came to. Rates are fractions of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Mean cross-entropy of the training images as the steps saw them (augmented, weights moving), in nats.
    pub train_loss: f64,
    /// Share of them whose largest logit was the label's.
    pub train_top1: f64,
    /// Share of the test images classified correctly after the epoch; `None` where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top1: Option<f64>,
    /// Training images per second, evaluation not counted.
    pub images_per_second: f64,
    /// Seconds of training, evaluation not counted.
    pub seconds: f64,
}

/// The rows as CSV with a header; what was not measured is empty.
pub fn csv(rows: &[Row]) -> String {
    let mut text =
        String::from("epoch,lr,train_loss,train_top1,test_top1,images_per_second,seconds\n");
    for row in rows {
        let test = row.test_top1.map_or(String::new(), |v| format!("{v:.5}"));
        text += &format!(
            "{},{:.6},{:.5},{:.5},{test},{:.1},{:.1}\n",
            row.epoch, row.lr, row.train_loss, row.train_top1, row.images_per_second, row.seconds
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_an_epoch_and_empty_where_nothing_was_measured() {
        let row = Row {
            epoch: 1,
            lr: 0.1,
            train_loss: 2.0,
            train_top1: 0.5,
            test_top1: None,
            images_per_second: 10.0,
            seconds: 4.0,
        };
        let second = Row {
            epoch: 2,
            test_top1: Some(0.25),
            ..row.clone()
        };
        let text = csv(&[row, second]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], "1,0.100000,2.00000,0.50000,,10.0,4.0");
        assert_eq!(lines[2], "2,0.100000,2.00000,0.50000,0.25000,10.0,4.0");
    }
}
