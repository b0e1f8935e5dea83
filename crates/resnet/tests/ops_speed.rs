//! Where a training step's time goes, with burn's operations and with [`resnet::ops`], by kind. Not a test of anything: run it
//! with `cargo test --release --workspace --test ops_speed -- --ignored --nocapture`.

use std::time::Instant;

use burn::backend::ops::{ActivationOps, FloatTensorOps, ModuleOps};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use engine::training::{BatchNorm, Conv2d};
use engine::{Shape, Window};
use resnet::{Arch, ResNet, ops};

/// Images, of a shard of a usual batch.
const IMAGES: usize = 32;

/// The median of some rounds, in milliseconds.
fn time(mut body: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            body();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
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

#[test]
#[ignore = "prints times"]
fn of_resnet_20_by_kind_of_operation() {
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
                relu: true,
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
                    time(|| drop(ops::add_relu(x.clone(), dy.clone()))),
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

        let arch = Arch::parse("cifar-resnet20").unwrap();
        let device = Device::flex().autodiff();
        let net = ResNet::init(&arch, &device);
        let images = Tensor::<4>::from_inner(random([IMAGES, 3, 32, 32]));
        let mut forward = 0.0;
        let step = time(|| {
            let start = Instant::now();
            let loss = net.forward(images.clone()).powi_scalar(2).mean();
            forward = start.elapsed().as_secs_f64() * 1e3;
            drop(loss.backward());
        });
        println!(
            "{:24}         {step:7.1}, forward {forward:.1}",
            "the network's step"
        );
    });
}
