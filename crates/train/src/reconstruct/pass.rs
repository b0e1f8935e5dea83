//! The forward pass of a piece of a network with its weights as they are handed in and its values rounded in part.
//!
//! What is dropped (QDrop, Wei et al. 2022, arXiv 2203.05740): with a probability each number of a site stays as it was before
//! rounding, so that codes are found which hold in a neighbourhood and not for the calibration images' own rounding errors alone.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use engine::Algorithm;
use network::{StateDict, Topology};
use quant_core::QParams;
use quant_core::qat::{Learns, Stays};
use quantize::{Unit, names};

use crate::error::Error;
use crate::float::layer;
use crate::forward::{Hooks, Tapped, clipped, forward};
use crate::ops::{fake_quant, fake_quant_in_part};
use crate::qat::{constant, vector};
use crate::tensors::Tensors;

/// What the values of a site are rounded to.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub code: QParams,
    /// The site whose step it has.
    pub owner: String,
    /// Whether additions take it as it is.
    pub is_forked: bool,
    /// Whether the step stays: a piece before this one has found it.
    pub is_fixed: bool,
}

/// A piece of a network and the sites in it.
#[derive(Debug)]
pub(super) struct Piece {
    pub topology: Topology,
    /// The site of its value.
    pub output: String,
    pub sites: BTreeMap<String, Site>,
}

/// Which numbers stay as they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drop {
    /// How many of all.
    pub share: f64,
    pub seed: u64,
    /// Of the first image, among those of all iterations.
    pub first: u64,
}

impl Drop {
    /// Those of something called `name`, `each` of one image.
    pub fn of(&self, name: &str, each: usize) -> Stays {
        let seed = names::seed_of(self.seed, name);
        Stays::new(self.share, seed, self.first * each as u64)
    }
}

impl Piece {
    /// Its value, `[n, c h w]`, for what it reads, `[n, c, h, w]`, and the same before it was rounded. The tensors are its layers'
    /// weights and biases, and a step for each owner of one that moves. Of the rounded value only its own step has a gradient: that of the rest
    /// would be as good as noise.
    pub fn forward(
        &self,
        tensors: &Tensors,
        x: Tensor<4>,
        drop: Option<Drop>,
    ) -> Result<[Tensor<2>; 2], Error> {
        let mut pass = Pass {
            piece: self,
            tensors,
            drop,
            exact: None,
        };
        let rounded = forward(&self.topology, x, &mut pass)?;
        let exact = match pass.exact {
            Some(exact) => exact.reshape(rounded.dims()),
            None => rounded.clone(),
        };
        Ok([rounded, exact])
    }

    /// The steps that move, as they are at first.
    pub fn steps(&self) -> StateDict {
        let own = self.sites.iter();
        let own = own.filter(|(name, site)| **name == site.owner && !site.is_fixed);
        own.map(|(name, site)| (names::site(name, "step"), vector(vec![site.code.scale])))
            .collect()
    }
}

struct Pass<'a> {
    piece: &'a Piece,
    tensors: &'a Tensors,
    drop: Option<Drop>,
    /// The piece's value before rounding.
    exact: Option<Tensor<4>>,
}

impl Hooks for Pass<'_> {
    fn layer(
        &mut self,
        topology: &Topology,
        unit: &Unit,
        x: Tensor<4>,
    ) -> Result<Tensor<4>, Error> {
        let y = layer(topology.node(unit.head), self.tensors, x, Algorithm::Direct)?;
        Ok(clipped(topology, unit, y))
    }

    fn site(&mut self, name: &str, x: Tensor<4>) -> Result<Tapped, Error> {
        let Some(site) = self.piece.sites.get(name) else {
            return Ok(x.into());
        };
        let mut grid = constant(&site.code, &x);
        if !site.is_fixed {
            grid.scale = self.tensors.vector(&names::site(&site.owner, "step"))?;
            grid.learns = Learns::Step { factor: 1.0 };
        }
        let [_, c, h, w] = x.dims();
        let rounded = match self.drop {
            _ if name == self.piece.output => {
                self.exact = Some(x.clone());
                fake_quant(x.clone().detach(), &grid)
            }
            None => fake_quant(x.clone(), &grid),
            Some(drop) => fake_quant_in_part(x.clone(), &grid, drop.of(name, c * h * w)),
        };
        Ok(match site.is_forked {
            true => Tapped::forked(rounded, x),
            false => rounded.into(),
        })
    }
}
