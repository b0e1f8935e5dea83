//! What a layer sees on both streams, and the codes and the bias that are made of it.

use engine::{Graph, Options, Program};
use network::HostTensor;
use quant_core::{Scheme, Values};
use rayon::prelude::*;

use super::gram::{self, Gram, Target};
use super::patches::{Geometry, Point};
use super::problem::{Blank, Problem, sums};
use super::scales::Scales;
use super::{Choice, Layerwise, adaround};
use crate::error::Error;
use crate::names;
use crate::quantize::QuantizedNet;

/// Output pixels of an image whose mean a bias is corrected by.
const POSITIONS: usize = 256;

/// Images that are run together.
const TOGETHER: usize = 8;

/// What a layer reads in the quantized network, and what it makes in the float one.
pub(super) struct Seen {
    pub geometry: Geometry,
    /// What each output is clipped to right behind the layer; none where it is not.
    pub clip: Option<Vec<[f32; 2]>>,
    pub images: usize,
    /// `[n, c, h, w]`.
    pub input: Vec<f32>,
    pub output: Vec<f32>,
}

impl Seen {
    /// Codes and bias of the layer `name`. Where codes were chosen by what is lost, tells the share of the outputs' variance that it
    /// takes, as predicted, and the points that say so.
    pub fn round(
        &self,
        net: &mut QuantizedNet,
        own: (&str, &HostTensor),
        scheme: &Scheme,
        layerwise: &Layerwise,
    ) -> Result<Option<(f64, usize)>, Error> {
        let (name, weight) = own;
        let is_nearest = layerwise.choice == Choice::Nearest;
        let corrects = layerwise.bias || !is_nearest;
        let correct = |net: &mut QuantizedNet| match corrects {
            true => self.correct(net, name).map(|()| None),
            false => Ok(None),
        };
        if is_nearest && !layerwise.output_range {
            net.weight(name, scheme)?;
            return correct(net);
        }
        // Adaptive rounding has its problems as they are made where nothing is said.
        let gram = match layerwise.choice {
            Choice::Gram(gram) => gram,
            Choice::AdaRound(_) => Gram::default(),
            Choice::Nearest => Gram {
                target: Target::Float,
                ..Gram::default()
            },
        };
        let seed = names::seed_of(layerwise.seed, name);
        let points = self.geometry.points(self.images, gram.positions, seed);
        let problems = match self.problems(weight, &points, &gram) {
            Ok(problems) => problems,
            Err(blank) => {
                net.weight(name, scheme)?;
                net.note_weight(name, &format!("rounded to the nearest: {blank}"));
                return correct(net);
            }
        };
        let scales = match layerwise.output_range {
            true => Scales::LeastError {
                is_centred: corrects,
            },
            false => Scales::Own,
        };
        let of = (problems.as_slice(), scales);
        let quantized = match &layerwise.choice {
            Choice::Nearest => {
                let tensor = format!("{name}.weight");
                let scheme = scheme.with_rounding(scheme.rounding().for_tensor(&tensor));
                let values = Values::new(&tensor, &weight.data, &weight.shape)?;
                scales.start(&values, &scheme, &problems)
            }
            Choice::Gram(gram) => gram::solve(own, scheme, of, gram)?,
            Choice::AdaRound(how) => {
                let how = (how, seed.wrapping_add(1));
                adaround::solve(own, scheme, of, self, how)?
            }
        };
        net.take_weight(name, weight, &quantized, &scheme.to_string())?;
        let by = format!("{} patches of {} images", points.len(), self.images);
        if layerwise.output_range {
            net.note_weight(name, &format!("range of least output error by {by}"));
        }
        if is_nearest {
            return correct(net);
        }
        let each = weight.len() / weight.shape[0];
        let outputs = weight.shape[0] / self.geometry.groups;
        let of_groups = quantized.values.chunks_exact(outputs * each).zip(&problems);
        let errors = of_groups.flat_map(|(rows, problem)| problem.errors(rows));
        let [error, whole] = errors.fold([0.0, 0.0], |[a, b], [c, d]| [a + c, b + d]);
        let rows = quantized.values.chunks_exact(each).enumerate();
        let bias = rows.map(|(o, row)| problems[o / outputs].bias(o % outputs, row) as f32);
        net.put_bias(name, bias.collect())?;
        let lost = error / whole;
        let words = format!("codes by {by}, {lost:.2e} of the outputs' variance lost");
        net.note_weight(name, &words);
        Ok(Some((lost, points.len())))
    }

    /// The share of the float outputs' variance that `layer`, by itself on what it reads here, is off by.
    pub fn measured(&self, layer: Graph) -> Result<f64, Error> {
        let options = Options {
            group: TOGETHER,
            ..Options::default()
        };
        let program = Program::new(layer, options)?;
        let (from, to) = (self.geometry.from.len(), self.geometry.to.len());
        let (channels, pixels) = (self.geometry.to.channels, to / self.geometry.to.channels);
        let parts = self.input.par_chunks(TOGETHER * from);
        let parts = parts.zip(self.output.par_chunks(TOGETHER * to));
        // Of each channel the squares of what is lost, and the outputs' sum and squares.
        let sums = parts.map(|(input, output)| {
            let mut made = vec![0.0; output.len()];
            program.run(&mut program.workspace(), input, &mut made)?;
            let mut sums = vec![[0.0_f64; 3]; channels];
            let planes = made.chunks_exact(pixels).zip(output.chunks_exact(pixels));
            for (plane, (made, output)) in planes.enumerate() {
                let [lost, sum, square] = &mut sums[plane % channels];
                for (&made, &y) in made.iter().zip(output) {
                    *lost += f64::from(made - y).powi(2);
                    *sum += f64::from(y);
                    *square += f64::from(y).powi(2);
                }
            }
            Ok(sums)
        });
        let sums = sums.collect::<Result<Vec<_>, engine::Error>>()?;
        let n = (self.images * pixels) as f64;
        let of_channel = |c: usize| {
            let mut all = [0.0; 3];
            for part in &sums {
                all.iter_mut()
                    .zip(part[c])
                    .for_each(|(all, sum)| *all += sum);
            }
            [all[0], all[2] - all[1].powi(2) / n]
        };
        let [lost, whole] = (0..channels)
            .map(of_channel)
            .fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
        Ok(lost / whole)
    }

    /// The problem of each group of channels.
    fn problems(
        &self,
        weight: &HostTensor,
        points: &[Point],
        gram: &Gram,
    ) -> Result<Vec<Problem>, Blank> {
        let geometry = &self.geometry;
        let each = weight.len() / geometry.groups;
        let of_group = |group: usize| {
            let sums = sums(geometry, group, points, (&self.input, &self.output));
            let own = &weight.data[group * each..][..each];
            let how = (gram.damping, gram.target == Target::Float);
            Problem::new(sums, own, how, geometry.groups > 1)
        };
        let groups = (0..geometry.groups).into_par_iter();
        groups.map(of_group).collect()
    }

    /// Gives the layer `name` the bias with which its outputs have the means of the float layer's.
    fn correct(&self, net: &mut QuantizedNet, name: &str) -> Result<(), Error> {
        let weight = net.state.require(&format!("{name}.weight"))?.clone();
        let points = self.geometry.points(self.images, POSITIONS, 0);
        let each = weight.len() / weight.shape[0];
        let outputs = weight.shape[0] / self.geometry.groups;
        let groups = (0..self.geometry.groups).into_par_iter();
        let means: Vec<[Vec<f64>; 2]> = groups
            .map(|group| {
                self.geometry
                    .means((&self.input, &self.output), group, &points)
            })
            .collect();
        let rows = weight.data.chunks_exact(each).enumerate();
        let bias: Vec<f32> = rows
            .map(|(o, row)| {
                let [inputs, made] = &means[o / outputs];
                let sum: f64 = row.iter().zip(inputs).map(|(&w, m)| f64::from(w) * m).sum();
                (made[o % outputs] - sum) as f32
            })
            .collect();
        let old = net.state.get(&format!("{name}.bias"));
        let old = old.map_or_else(|| vec![0.0; bias.len()], |bias| bias.data.clone());
        let moves = bias.iter().zip(old).map(|(new, old)| (new - old).abs());
        let most = moves.fold(0.0_f32, f32::max);
        net.note_weight(name, &format!("bias corrected by at most {most:.3e}"));
        net.put_bias(name, bias)
    }
}
