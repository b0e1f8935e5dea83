//! Programs against plain twins, for every instruction set that the processor has.

mod arithmetic;
mod buffers;
mod depthwise;
mod float;
mod inlined;
mod quantized;
mod random;
mod refused;
mod simulation;
mod twin;
mod variants;
mod whole;
mod winograd;

use std::sync::Mutex;

use crate::graph::{Conv, Graph};
use crate::program::{Options, Program};
use crate::shape::Window;

const CHANNELS: [usize; 6] = [1, 3, 7, 16, 17, 64];

/// Numbers from a seed.
struct Random(u64);

impl Random {
    /// In [-1, 1).
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn vec(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }

    fn between(&mut self, low: i32, high: i32) -> i32 {
        let width = (high - low + 1) as f32;
        (low + ((self.next() + 1.0) / 2.0 * width) as i32).min(high)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.between(0, from.len() as i32 - 1) as usize]
    }

    /// True once in so many times.
    fn once_in(&mut self, times: i32) -> bool {
        self.between(1, times) == 1
    }
}

fn conv(
    random: &mut Random,
    [inputs, outputs, groups]: [usize; 3],
    window: Window,
    scale: bool,
) -> Conv {
    let taps = window.kernel[0] * window.kernel[1];
    Conv {
        weight: random.vec(outputs * (inputs / groups) * taps),
        outputs,
        groups,
        window,
        bias: None,
        scale: scale.then(|| random.vec(outputs)),
        shift: Some(random.vec(outputs)),
    }
}

fn run(program: &Program, images: &[f32]) -> Vec<f32> {
    let (each, makes) = (program.input().len(), program.output().len());
    let mut workspace = program.workspace();
    let mut results = vec![0.0; images.len() / each * makes];
    for (images, results) in images
        .chunks(each * program.group())
        .zip(results.chunks_mut(makes * program.group()))
    {
        program.run(&mut workspace, images, results).unwrap();
    }
    results
}

/// Every group and number of threads must make the same bytes of 13 images.
fn same_bytes(graph: &Graph, made: Options) {
    let images = Random(6).vec(13 * graph.input().len());
    let mut seen: Option<Vec<u32>> = None;
    // All nodes on whole groups, some image by image, all image by image.
    let larges = [usize::MAX, graph.input().len(), 1, usize::MAX];
    for (group, large) in [1, 2, 5, 16].into_iter().zip(larges) {
        let options = Options {
            group,
            large,
            ..made
        };
        let program = Program::new(graph.clone(), options).unwrap();
        let (each, makes) = (program.input().len(), program.output().len());
        for threads in [1, 2, 3, 8] {
            let mut results = vec![0.0; 13 * makes];
            let parts = images
                .chunks(each * group)
                .zip(results.chunks_mut(makes * group));
            let work = Mutex::new(parts.collect::<Vec<_>>());
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let mut workspace = program.workspace();
                        loop {
                            let Some((images, results)) = work.lock().unwrap().pop() else {
                                break;
                            };
                            program.run(&mut workspace, images, results).unwrap();
                        }
                    });
                }
            });
            drop(work);
            let bits: Vec<_> = results.iter().map(|x| x.to_bits()).collect();
            assert_eq!(
                seen.get_or_insert_with(|| bits.clone()),
                &bits,
                "{}",
                made.isa
            );
        }
    }
}
