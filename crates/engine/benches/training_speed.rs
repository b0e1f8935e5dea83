//! How fast the operations of training are on a ResNet-20, beside the processor's peak:
//! `cargo bench -p engine --bench training_speed`.

#[path = "../../../testing/clock.rs"]
mod clock;

use std::time::Duration;

use clock::seconds;
use engine::training::{BatchNorm, Conv2d, FakeQuant, StepGrid};
use engine::{Algorithm, Isa, Shape, Window, peak};
use quant_core::qat::Learns;

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
            let conv = conv.by(Algorithm::Winograd);
            let winograd = [
                rate(seconds(|| conv.forward(&x, &weight, None, &mut y).unwrap())),
                rate(seconds(|| conv.input_gradient(&weight, &dy, &mut dx).unwrap())),
                rate(seconds(|| conv.weight_gradient(&x, &dy, &mut dw).unwrap())),
            ]
            .map(|rate| format!("{rate:4.0}"));
            println!(
                "{inputs:3} to {outputs:3} at {side:2}, stride {stride}: forward {forward:4.0}, input {input:4.0}, weights {weights:4.0} GFLOP/s; by Winograd {}",
                winograd.join(", ")
            );
        }
        for (channels, side) in [(16, 32), (32, 16), (64, 8)] {
            layer_by_parts(images, channels, side);
        }
    });
}

/// Milliseconds for a 3x3 convolution, its normalisation with ReLU and a quantizer.
fn layer_by_parts(images: usize, channels: usize, side: usize) {
    let shape = Shape::new(channels, side, side);
    let conv = Conv2d::new(shape, channels, Window::square(3, 1, 1)).unwrap();
    let norm = BatchNorm {
        images,
        channels,
        pixels: side * side,
        epsilon: 1e-5,
        ends: Some([0.0, f32::INFINITY]),
    };
    let quant = FakeQuant {
        grids: vec![StepGrid {
            scale: 0.1,
            zero_point: 0.0,
        }],
        low: 0.0,
        high: 15.0,
        learns: Learns::Step { factor: 0.01 },
        stays: None,
    };
    let x: Vec<f32> = (0..images * shape.len())
        .map(|i| (i * 7919 % 1009) as f32 / 504.0)
        .collect();
    let weight: Vec<f32> = (0..conv.weights())
        .map(|i| (i * 31 % 17) as f32 / 8.0 - 1.0)
        .collect();
    let ones = vec![1.0; channels];
    let (mut z, mut y, mut rounded) = (x.clone(), x.clone(), x.clone());
    let mut statistics = None;
    let times = [
        seconds(|| conv.forward(&x, &weight, None, &mut z).unwrap()),
        seconds(|| statistics = norm.forward(&z, &ones, &ones, &mut y).ok()),
        seconds(|| quant.forward(&y, &mut rounded).unwrap()),
    ];
    let statistics = statistics.unwrap();
    let (mut dy, mut dx, mut dw) = (x.clone(), x.clone(), weight.clone());
    let back = [
        seconds(|| drop(quant.backward(&y, &mut dy).unwrap())),
        seconds(|| {
            drop(
                norm.backward(&z, &ones, &ones, &statistics, &mut dy)
                    .unwrap(),
            )
        }),
        seconds(|| conv.weight_gradient(&x, &dy, &mut dw).unwrap()),
        seconds(|| conv.input_gradient(&weight, &dy, &mut dx).unwrap()),
    ];
    let shown = |times: &[f64]| {
        let each: Vec<_> = times.iter().map(|t| format!("{:.2}", 1e3 * t)).collect();
        format!(
            "{} = {:.2}",
            each.join(" + "),
            1e3 * times.iter().sum::<f64>()
        )
    };
    println!("{channels} at {side}, milliseconds:");
    println!("  forward  {}", shown(&times));
    println!("  backward {}", shown(&back));
}
