//! Beside burn's own operations, values and gradients; and beside finite differences, which know neither.

use burn::backend::Flex;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor, activation, module};

use super::flex::Argument;
use super::*;
use engine::{Algorithm, Window};

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let plain = device.clone().inner();
    let t = Tensor::random(shape, Distribution::Normal(0.0, 1.0), &plain);
    match device.is_autodiff() {
        true => Tensor::from_inner(t).require_grad(),
        false => t,
    }
}

fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().try_to_vec().unwrap()
}

fn near<const D: usize>(found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(1e-3_f32, |m, v| m.max(v.abs()));
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!((a - b).abs() <= 2e-5 * largest, "{what}[{i}]: {a}, not {b}");
    }
}

fn by_definition(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: Window,
) -> Tensor<4> {
    conv2d(x, weight, bias, (window, 1), Algorithm::Direct)
}

#[test]
fn a_convolution_has_burns_values_and_gradients() {
    let device = Device::flex().autodiff();
    device.seed(1);
    let (direct, winograd) = (Algorithm::Direct, Algorithm::Winograd);
    for (x, weight, bias, stride, padding, algorithm) in [
        ([2, 3, 9, 7], [16, 3, 3, 3], true, 1, 1, direct),
        ([3, 16, 8, 8], [32, 16, 3, 3], false, 2, 1, direct),
        ([2, 4, 11, 11], [5, 4, 7, 7], true, 2, 3, direct),
        ([2, 8, 5, 5], [8, 8, 1, 1], false, 2, 0, direct),
        ([3, 16, 9, 8], [32, 16, 3, 3], true, 1, 1, winograd),
        ([2, 3, 9, 7], [16, 3, 3, 3], true, 1, 1, winograd),
    ] {
        let (x, weight) = (random(x, &device), random(weight, &device));
        let bias = bias.then(|| random([weight.dims()[0]], &device));
        let window = Window::square(weight.dims()[2], stride, padding);
        let y = conv2d(
            x.clone(),
            weight.clone(),
            bias.clone(),
            (window, 1),
            algorithm,
        );
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let z = module::conv2d(x.clone(), weight.clone(), bias.clone(), options);
        let outer = random(y.dims(), &device.clone().inner());
        let outer = Tensor::from_inner(outer);
        let ours = (y.clone() * outer.clone()).sum().backward();
        let theirs = (z.clone() * outer).sum().backward();
        near(y, z, "y");
        near(x.grad(&ours).unwrap(), x.grad(&theirs).unwrap(), "dx");
        let (a, b) = (weight.grad(&ours).unwrap(), weight.grad(&theirs).unwrap());
        near(a, b, "dw");
        if let Some(bias) = bias {
            near(bias.grad(&ours).unwrap(), bias.grad(&theirs).unwrap(), "db");
        }
    }
}

#[test]
fn normalisation_has_burns_values_statistics_and_gradients_clipped_and_not() {
    let device = Device::flex().autodiff();
    device.seed(2);
    for ends in [None, Some(RELU), Some([-0.25, 0.5])] {
        for shape in [[4, 7, 5, 6], [2, 16, 8, 8]] {
            let x = random(shape, &device);
            let (gamma, beta) = (random([shape[1]], &device), random([shape[1]], &device));
            let found = batch_norm_train(x.clone(), gamma.clone(), beta.clone(), 1e-5, ends);
            let burns = module::batch_norm_train(x.clone(), gamma.clone(), beta.clone(), 1e-5);
            let z = match ends {
                Some([low, f32::INFINITY]) => burns.output.clamp_min(low),
                Some([low, high]) => burns.output.clamp(low, high),
                None => burns.output,
            };
            near(found.mean, burns.mean.inner(), "mean");
            near(found.variance, burns.variance.inner(), "variance");
            let outer = Tensor::from_inner(random(shape, &device.clone().inner()));
            let ours = (found.output.clone() * outer.clone()).sum().backward();
            let theirs = (z.clone() * outer).sum().backward();
            near(found.output, z, "y");
            near(x.grad(&ours).unwrap(), x.grad(&theirs).unwrap(), "dx");
            let grads = |t: &Tensor<1>| (t.grad(&ours).unwrap(), t.grad(&theirs).unwrap());
            let (a, b) = grads(&gamma);
            near(a, b, "dgamma");
            let (a, b) = grads(&beta);
            near(a, b, "dbeta");
        }
    }
}

#[test]
fn clipping_overwrites_what_nobody_else_has_and_nothing_else() {
    let device = Device::flex().autodiff();
    device.seed(3);
    let (a, b) = (random([2, 3, 4, 5], &device), random([2, 3, 4, 5], &device));
    let before = (values(a.clone()), values(b.clone()));
    // The sum's operands are leaves, kept here; its result is read by two, one of which cuts it off.
    let sum = a.clone() + b.clone();
    let y = clip(sum.clone(), RELU);
    let z = add_clip(a.clone(), b.clone(), [0.0, 1.0]);
    near(y.clone(), activation::relu(sum.clone()), "relu");
    near(z.clone(), sum.clone().clamp(0.0, 1.0), "add_clip");
    assert_eq!((values(a.clone()), values(b.clone())), before);
    let loss = (y * 3.0 + sum.clone() + z * 5.0).sum().backward();
    let expected: Vec<f32> = values(sum)
        .iter()
        .map(|&s| match s {
            s if s <= 0.0 => 1.0,
            s if s < 1.0 => 9.0,
            _ => 4.0,
        })
        .collect();
    assert_eq!(values(a.grad(&loss).unwrap()), expected);
    assert_eq!(values(b.grad(&loss).unwrap()), expected);
    let plain = Tensor::<4>::from_data([[[[f32::NAN, -1.0, 2.0]]]], &Device::flex());
    let y = values(clip(plain, [0.0, 1.5]));
    assert!(y[0].is_nan() && y[1..] == [0.0, 1.5]);
}

#[test]
fn gradients_are_the_slopes_of_a_chain_of_all_operations() {
    let device = Device::flex().autodiff();
    device.seed(4);
    let x = random([3, 2, 6, 6], &device);
    let w = random([4, 2, 3, 3], &device);
    let (gamma, beta) = (random([4], &device), random([4], &device));
    let v = random([4, 4, 1, 1], &device);
    let outer = Tensor::from_inner(random([3, 4, 3, 3], &device.clone().inner()));
    let loss = |x: Tensor<4>, w: Tensor<4>, gamma: Tensor<1>| {
        let y = by_definition(x, w, Some(beta.clone()), Window::square(3, 2, 1));
        let y = batch_norm_train(y, gamma, beta.clone(), 1e-5, None).output;
        let z = by_definition(y.clone(), v.clone(), None, Window::square(1, 1, 0));
        let z = batch_norm_train(z, beta.clone(), beta.clone(), 1e-5, None).output;
        ((z * outer.clone() + y) / 10.0).powi_scalar(2).sum()
    };
    let grads = loss(x.clone(), w.clone(), gamma.clone()).backward();
    let scalar = |t: Tensor<1>| f64::from(t.into_scalar::<f32>());
    fn moved<const D: usize>(t: &Tensor<D>, i: usize, by: f32) -> Tensor<D> {
        let mut data = values(t.clone());
        data[i] += by;
        let shape = t.dims();
        Tensor::from_data(burn::tensor::TensorData::new(data, shape), &t.device())
    }
    let check = |gradient: f32, plus: Tensor<1>, minus: Tensor<1>, what: &str| {
        let slope = (scalar(plus) - scalar(minus)) / 2e-2;
        let error = (slope - f64::from(gradient)).abs();
        assert!(
            error < 0.02 + 0.02 * slope.abs(),
            "{what}: {gradient}, slope {slope}"
        );
    };
    let h = 1e-2;
    for i in [0, 17, 40, 71] {
        let at = |by| loss(x.clone(), moved(&w, i, by), gamma.clone());
        check(values(w.grad(&grads).unwrap())[i], at(h), at(-h), "w");
        let at = |by| loss(moved(&x, 3 * i, by), w.clone(), gamma.clone());
        check(values(x.grad(&grads).unwrap())[3 * i], at(h), at(-h), "x");
    }
    for i in 0..4 {
        let at = |by| loss(x.clone(), w.clone(), moved(&gamma, i, by));
        check(
            values(gamma.grad(&grads).unwrap())[i],
            at(h),
            at(-h),
            "gamma",
        );
    }
}

#[test]
fn a_gradient_that_several_read_is_not_overwritten() {
    let device = Device::flex().autodiff();
    device.seed(5);
    let x = random([2, 3, 5, 5], &device);
    let w = random([3, 3, 3, 3], &device);
    // x is an operand twice: the two gradients are summed, and the sum's own is given to both.
    let y = add_clip(
        by_definition(x.clone(), w.clone(), None, Window::square(3, 1, 1)),
        x.clone(),
        RELU,
    );
    let options = ConvOptions::new([1; 2], [1; 2], [1; 2], 1);
    let z = activation::relu(module::conv2d(x.clone(), w.clone(), None, options) + x.clone());
    let (ours, theirs) = (
        y.powi_scalar(2).sum().backward(),
        z.powi_scalar(2).sum().backward(),
    );
    near(x.grad(&ours).unwrap(), x.grad(&theirs).unwrap(), "dx");
    near(w.grad(&ours).unwrap(), w.grad(&theirs).unwrap(), "dw");
}

#[test]
fn constants_get_no_gradient_and_what_is_not_for_flex_is_burns() {
    let device = Device::flex().autodiff();
    device.seed(6);
    let x = random([1, 2, 4, 4], &device);
    let w = random([3, 2, 3, 3], &device.clone().inner());
    let y = by_definition(x.clone(), w.clone(), None, Window::square(3, 1, 1));
    assert!(y.is_autodiff());
    assert!(x.grad(&y.sum().backward()).is_some());
    let plain = by_definition(x.clone().inner(), w.clone(), None, Window::square(3, 1, 1));
    assert!(!plain.is_autodiff());
    assert!(plain.try_into_primitive::<Flex>().is_ok());
    // Gradient checkpointing computes operations again, so it has to know them.
    let balanced = Device::flex().autodiff().gradient_checkpointing();
    let x: Tensor<4> = Tensor::ones([1, 2, 4, 4], &balanced).require_grad();
    assert!(Argument::of(&x).is_none());
    let y = by_definition(x.clone(), w, None, Window::square(3, 1, 1));
    assert!(x.grad(&y.sum().backward()).is_some());
}

#[test]
fn values_are_moved_out_of_a_tensor_that_is_alone_and_copied_out_of_any_other() {
    let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let place = x.as_ptr();
    let alone = flex::tensor(x.clone(), [3, 4]);
    let shared = alone.clone();
    let copy = flex::into_values(alone);
    assert_ne!(copy.as_ptr(), flex::values(&shared).as_ptr());
    let turned = shared.transpose(0, 1);
    drop(shared);
    assert_eq!(flex::into_values(turned)[..4], [0.0, 4.0, 8.0, 1.0]);
    let again = flex::into_values(flex::tensor(x, [12]));
    assert_eq!((again.as_ptr(), again[11]), (place, 11.0));
}
