//! Depthwise convolutions bit for bit: a sum is one chain of multiply-adds, tap by tap, whatever is computed beside it.

use proptest::prelude::*;

use super::{Random, conv, run};
use crate::graph::{Conv, Graph, INPUT, Node, Op};
use crate::kernel::Isa;
use crate::program::{Options, Program};
use crate::shape::{Padding, Shape, Window};

/// The chain of one output, border pixels being zeros like others.
fn chain(isa: Isa, conv: &Conv, (image, shape): (&[f32], Shape), [c, y, x]: [usize; 3]) -> f32 {
    let Window {
        kernel,
        stride,
        dilation,
        padding,
    } = conv.window;
    let pixel = |y: Option<usize>, x: Option<usize>| match (y, x) {
        (Some(y), Some(x)) if y < shape.height && x < shape.width => {
            image[(c * shape.height + y) * shape.width + x]
        }
        _ => 0.0,
    };
    let mut sum = 0.0_f32;
    for ky in 0..kernel[0] {
        for kx in 0..kernel[1] {
            let row = (y * stride[0] + ky * dilation[0]).checked_sub(padding.top);
            let column = (x * stride[1] + kx * dilation[1]).checked_sub(padding.left);
            let weight = conv.weight[(c * kernel[0] + ky) * kernel[1] + kx];
            sum = match isa {
                Isa::Portable => pixel(row, column) * weight + sum,
                _ => pixel(row, column).mul_add(weight, sum),
            };
        }
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn every_sum_is_one_chain_of_its_taps(
        // Whole vectors, rests of them, and both.
        channels in prop::sample::select(&[2_usize, 4, 7, 8, 16, 17, 24, 33][..]),
        // Fewer pixels than a tile has, rests of every length, rows that end within a tile.
        size in [1_usize..9, 1_usize..14],
        kernel in [1_usize..4, 1_usize..6],
        stride in [1_usize..3, 1_usize..3],
        dilation in [1_usize..3, 1_usize..3],
        sides in [0_usize..3, 0_usize..3, 0_usize..3, 0_usize..3],
        images in 1_usize..4,
        seed in any::<u64>(),
    ) {
        let [top, bottom, left, right] = sides;
        let window = Window {
            kernel, stride, dilation,
            padding: Padding { top, bottom, left, right },
        };
        let mut random = Random(seed);
        let mut conv = conv(&mut random, [channels; 3], window, false);
        conv.shift = None;
        let input = Shape::new(channels, size[0], size[1]);
        let node = Node::new("node", INPUT, Op::Conv(conv.clone()));
        let Ok(graph) = Graph::new(input, vec![node], "node") else {
            return Ok(());
        };
        let output = graph.output();
        let values = random.vec(images * input.len());
        for isa in Isa::available() {
            let options = Options { isa, group: 2, ..Options::default() };
            let found = run(&Program::new(graph.clone(), options).unwrap(), &values);
            for (n, image) in values.chunks_exact(input.len()).enumerate() {
                for at in 0..output.len() {
                    let pixels = output.height * output.width;
                    let (c, pixel) = (at / pixels, at % pixels);
                    let place = [c, pixel / output.width, pixel % output.width];
                    let expected = chain(isa, &conv, (image, input), place);
                    let found = found[n * output.len() + at];
                    prop_assert_eq!(found, expected, "{} image {} {:?}", isa, n, place);
                }
            }
        }
    }
}
