//! How fast the operations of training are on a ResNet-20, beside the processor's peak:
//! `cargo bench -p engine --bench training_speed`.

#[path = "../../../testing/clock.rs"]
mod clock;

use std::time::Duration;

use clock::seconds;
use engine::training::{BatchNorm, Conv2d};
use engine::{Isa, Shape, Window, peak};

fn main() {
    let images = 32;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(|| {
        let peak = peak(Isa::best(), 1, Duration::from_millis(200)).unwrap();
        println!("peak of one core: {:.0} GFLOP/s; {images} images, one thread", peak / 1e9);
        for (inputs, outputs, side, stride) in [
            (3, 16, 32, 1),
            (16, 16, 32, 1),
            (16, 32, 32, 2),
            (32, 32, 16, 1),
            (32, 64, 16, 2),
            (64, 64, 8, 1),
        ] {
            let from = Shape::new(inputs, side, side);
            let conv = Conv2d::new(from, outputs, Window::square(3, stride, 1)).unwrap();
            let to = conv.output();
            let x = vec![0.5; images * from.len()];
            let mut dx = x.clone();
            let dy = vec![0.25; images * to.len()];
            let mut y = dy.clone();
            let weight = vec![0.125; conv.weights()];
            let mut dw = weight.clone();
            let operations = (2 * images * conv.weights() * to.height * to.width) as f64;
            let rate = |seconds: f64| operations / seconds / 1e9;
            let forward = rate(seconds(|| conv.forward(&x, &weight, None, &mut y).unwrap()));
            let input = rate(seconds(|| conv.input_gradient(&weight, &dy, &mut dx).unwrap()));
            let weights = rate(seconds(|| conv.weight_gradient(&x, &dy, &mut dw).unwrap()));
            println!(
                "{inputs:3} to {outputs:3} at {side:2}, stride {stride}: forward {forward:4.0}, input {input:4.0}, weights {weights:4.0} GFLOP/s"
            );
        }
        for (channels, side) in [(16, 32), (32, 16), (64, 8)] {
            let norm = BatchNorm {
                images,
                channels,
                pixels: side * side,
                epsilon: 1e-5,
                ends: Some([0.0, f32::INFINITY]),
            };
            let x = vec![0.5; images * channels * side * side];
            let (mut y, mut dy) = (x.clone(), x.clone());
            let ones = vec![1.0; channels];
            let mut statistics = None;
            let forward = seconds(|| {
                statistics = norm.forward(&x, &ones, &ones, &mut y).ok();
            });
            let statistics = statistics.unwrap();
            let backward = seconds(|| {
                norm.backward(&x, &ones, &ones, &statistics, &mut dy).unwrap();
            });
            let each = |seconds: f64| seconds * 1e9 / x.len() as f64;
            println!(
                "normalisation of {channels:2} at {side:2}: forward {:.2}, backward {:.2} ns a value",
                each(forward),
                each(backward)
            );
        }
    });
}
