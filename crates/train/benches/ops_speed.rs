//! Where the time of a ResNet-20's training step goes, with burn's operations and with [`train::ops`], by kind:
//! `cargo bench -p train --features burn --bench ops_speed`.

#[path = "../../../testing/clock.rs"]
mod clock;

use burn::backend::ops::{ActivationOps, FloatTensorOps, ModuleOps};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, s};
use clock::{now, seconds};
use engine::training::{BatchNorm, Conv2d};
use engine::{Algorithm, Shape, Window};
use quant_core::qat::{Grid, Learns};
use resnet::Arch;
use train::ops::{self, fake_quant};
use train::{Tensors, forward_float};

/// Images, of a shard of a usual batch.
const IMAGES: usize = 32;

/// The time of a body, in milliseconds.
fn time(body: impl FnMut()) -> f64 {
    1e3 * seconds(body)
}

/// Prints the time of a network's step, and of its forward pass alone.
fn step<const D: usize>(what: &str, network: impl Fn() -> Tensor<D>) {
    let mut forward = 0.0;
    let step = time(|| {
        let start = now();
        let loss = network().powi_scalar(2).mean();
        forward = 1e3 * (now() - start);
        drop(loss.backward());
    });
    println!("{what:24}         {step:7.1}, forward {forward:.1}");
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// A network's convolutions: inputs, outputs, kernel, stride, side of the input; and how many there are.
const CONVOLUTIONS: [([usize; 5], f64); 6] = [
    ([3, 16, 3, 1, 32], 1.0),
    ([16, 16, 3, 1, 32], 6.0),
    ([16, 32, 3, 2, 32], 1.0),
    ([32, 32, 3, 1, 16], 5.0),
    ([32, 64, 3, 2, 16], 1.0),
    ([64, 64, 3, 1, 8], 5.0),
];
const MAPS: [([usize; 2], f64); 3] = [([16, 32], 7.0), ([32, 16], 6.0), ([64, 8], 6.0)];

fn main() {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(|| {
        println!("milliseconds for {IMAGES} images on one thread: burn, ours");
        let mut sums = [[0.0; 2]; 3];
        for ([inputs, outputs, kernel, stride, side], count) in CONVOLUTIONS {
            let padding = kernel / 2;
            let x = random([IMAGES, inputs, side, side]);
            let w = random([outputs, inputs, kernel, kernel]);
            let to = side.div_ceil(stride);
            let dy = random([IMAGES, outputs, to, to]);
            let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
            let [fx, fw, fdy] =
                [&x, &w, &dy].map(|t| t.clone().try_into_primitive::<Flex>().unwrap());
            let window = Window::square(kernel, stride, padding);
            let conv = Conv2d::new(Shape::new(inputs, side, side), outputs, window).unwrap();
            let [sx, sw, sdy] = [&fx, &fw, &fdy].map(|t| t.as_slice::<f32>().unwrap());
            let (mut y, mut dx, mut dw) = (sdy.to_vec(), sx.to_vec(), sw.to_vec());
            let times = [
                [
                    time(|| drop(Flex::conv2d(fx.clone(), fw.clone(), None, options.clone()))),
                    time(|| conv.forward(sx, sw, None, &mut y).unwrap()),
                ],
                [
                    time(|| {
                        let (x, w, dy) = (fx.clone(), fw.clone(), fdy.clone());
                        drop(Flex::conv2d_x_backward(x, w, dy, options.clone()));
                    }),
                    time(|| conv.input_gradient(sw, sdy, &mut dx).unwrap()),
                ],
                [
                    time(|| {
                        let (x, w, dy) = (fx.clone(), fw.clone(), fdy.clone());
                        drop(Flex::conv2d_weight_backward(x, w, dy, options.clone()));
                    }),
                    time(|| conv.weight_gradient(sx, sdy, &mut dw).unwrap()),
                ],
            ];
            for (sum, times) in sums.iter_mut().zip(times) {
                for (sum, time) in sum.iter_mut().zip(times) {
                    *sum += count * time;
                }
            }
        }
        let mut maps = [[0.0; 2]; 3];
        for ([channels, side], count) in MAPS {
            let shape = [IMAGES, channels, side, side];
            let (x, dy) = (random(shape), random(shape));
            let ones: Tensor<1> = Tensor::ones([channels], &Device::flex());
            let [fx, fdy] = [&x, &dy].map(|t| t.clone().try_into_primitive::<Flex>().unwrap());
            let one = ones.clone().try_into_primitive::<Flex>().unwrap();
            let found = Flex::batch_norm_train(fx.clone(), one.clone(), one.clone(), 1e-5);
            let norm = BatchNorm {
                images: IMAGES,
                channels,
                pixels: side * side,
                epsilon: 1e-5,
                ends: Some(ops::RELU),
            };
            let [sx, sdy] = [&fx, &fdy].map(|t| t.as_slice::<f32>().unwrap());
            let (mut y, mut back) = (sx.to_vec(), sdy.to_vec());
            let ones = vec![1.0; channels];
            let statistics = norm.forward(sx, &ones, &ones, &mut y).unwrap();
            let times = [
                [
                    time(|| {
                        let one = || one.clone();
                        let y = Flex::batch_norm_train(fx.clone(), one(), one(), 1e-5).output;
                        drop(Flex::relu(y));
                    }),
                    time(|| drop(norm.forward(sx, &ones, &ones, &mut y).unwrap())),
                ],
                [
                    time(|| {
                        let (x, dy) = (fx.clone(), Flex::relu_backward(fx.clone(), fdy.clone()));
                        let (mean, variance) = (found.mean.clone(), found.variance.clone());
                        let one = one.clone();
                        drop(Flex::batch_norm_train_backward(
                            x, one, mean, variance, 1e-5, dy,
                        ));
                    }),
                    time(|| {
                        drop(
                            norm.backward(sx, &ones, &ones, &statistics, &mut back)
                                .unwrap(),
                        )
                    }),
                ],
                [
                    time(|| drop(Flex::relu(Flex::float_add(fx.clone(), fdy.clone())))),
                    time(|| drop(ops::add_clip(x.clone(), dy.clone(), ops::RELU))),
                ],
            ];
            assert_eq!(fx.shape().num_elements(), sx.len());
            for (sum, times) in maps.iter_mut().zip(times) {
                for (sum, time) in sum.iter_mut().zip(times) {
                    *sum += count * time;
                }
            }
        }
        maps[2] = maps[2].map(|time| time * 9.0 / 19.0);
        let names = [
            "convolution",
            "its input's gradient",
            "its weights' gradient",
            "normalisation and ReLU",
            "their gradients",
            "sum and ReLU",
        ];
        for (name, [burn, ours]) in names.into_iter().zip(sums.into_iter().chain(maps)) {
            println!("{name:24} {burn:7.1} {ours:7.1}");
        }
        let all = sums.iter().chain(&maps);
        let [burn, ours] = all.fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
        println!("{:24} {burn:7.1} {ours:7.1}", "together");

        let device = Device::flex().autodiff();
        let mut quantizers = [0.0; 2];
        for ([channels, side], count) in MAPS {
            let x = random([IMAGES, channels, side, side]);
            let x = Tensor::<4>::from_inner(x).require_grad();
            let scale: Tensor<1> = Tensor::full([1], 0.1, &device).require_grad();
            let (low, high) = (-128.0, 127.0);
            let composed = || {
                let scale = scale.clone().reshape([1, 1, 1, 1]);
                let v = x.clone() / scale.clone();
                let plain = v.clone().inner();
                let rounded = v + (plain.clone().round() - plain);
                drop((rounded.clamp(low, high) * scale).sum().backward());
            };
            let grid = Grid {
                scale: scale.clone(),
                zero_point: None,
                quant_min: low as i32,
                quant_max: high as i32,
                learns: Learns::Step { factor: 1.0 },
            };
            let ours = || drop(fake_quant(x.clone(), &grid).sum().backward());
            let bare = time(|| drop((x.clone() + 1.0).sum().backward()));
            let times = [time(composed) - bare, time(ours) - bare];
            for (sum, time) in quantizers.iter_mut().zip(times) {
                *sum += count * time;
            }
        }
        let [burn, ours] = quantizers;
        println!("{:24} {burn:7.1} {ours:7.1}", "fake quantization");

        let arch = Arch::parse("cifar-resnet20").unwrap();
        let topology = resnet::topology(&arch);
        let state = train::initial(&topology, &device).expect("weights");
        let tensors = Tensors::new(&state, &device);
        let images = Tensor::<4>::from_inner(random([IMAGES, 3, 32, 32]));
        step("the network's step", || {
            forward_float(
                (&topology, Algorithm::Direct),
                &tensors,
                images.clone(),
                &mut |_, _| {},
            )
            .expect("a whole network")
            .0
        });
        let net = Quantized::new(&device);
        step("with quantizers", || net.forward(images.clone()));
    });
}

/// A ResNet-20 whose weights (by channel) and activations are quantized to 8 bits with learned steps, BatchNorm kept.
struct Quantized {
    convolutions: Vec<(Tensor<4>, usize)>,
    scales: Vec<Tensor<1>>,
    step: Tensor<1>,
    norms: Vec<Tensor<1>>,
}

impl Quantized {
    fn new(device: &Device) -> Self {
        let mut shapes = vec![(3, 16, 1)];
        for (channels, before) in [(16, 16), (32, 16), (64, 32)] {
            shapes.push((before, channels, channels / before));
            shapes.extend([(channels, channels, 1); 5]);
        }
        let vector =
            |n: usize, value: f32| -> Tensor<1> { Tensor::full([n], value, device).require_grad() };
        let weights = |&(inputs, outputs, stride): &(usize, usize, usize)| {
            let weight = random([outputs, inputs, 3, 3]) * 0.1;
            (Tensor::from_inner(weight).require_grad(), stride)
        };
        Self {
            convolutions: shapes.iter().map(weights).collect(),
            scales: shapes.iter().map(|s| vector(s.1, 0.005)).collect(),
            step: vector(1, 0.05),
            norms: shapes.iter().map(|s| vector(s.1, 1.0)).collect(),
        }
    }

    fn unit(&self, index: usize, x: Tensor<4>, relu: bool) -> Tensor<4> {
        let (weight, stride) = &self.convolutions[index];
        let weight = quantize(weight, &self.scales[index]);
        let norm = || self.norms[index].clone();
        let y = ops::conv2d(
            x,
            weight,
            None,
            (Window::square(3, *stride, 1), 1),
            Algorithm::Direct,
        );
        let y = match relu {
            true => ops::batch_norm_train(y, norm(), norm(), 1e-5, Some(ops::RELU)),
            false => ops::batch_norm_train(y, norm(), norm(), 1e-5, None),
        };
        quantize(&y.output, &self.step)
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let mut x = self.unit(0, quantize(&images, &self.step), true);
        for block in 0..9 {
            let y = self.unit(2 * block + 1, x.clone(), true);
            let y = self.unit(2 * block + 2, y, false);
            if x.dims() != y.dims() {
                let [n, c, _, _] = x.dims();
                let half = x.slice(s![.., .., ..;2, ..;2]);
                let [_, _, h, w] = half.dims();
                let zeros = Tensor::zeros([n, c / 2, h, w], &half.device());
                x = Tensor::cat(vec![zeros.clone(), half, zeros], 1);
            }
            x = quantize(&ops::add_clip(y, x, ops::RELU), &self.step);
        }
        x
    }
}

fn quantize(x: &Tensor<4>, scale: &Tensor<1>) -> Tensor<4> {
    let grid = Grid {
        scale: scale.clone(),
        zero_point: None,
        quant_min: -128,
        quant_max: 127,
        learns: Learns::Step { factor: 0.01 },
    };
    fake_quant(x.clone(), &grid)
}
