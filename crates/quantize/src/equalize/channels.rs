//! Which channels of which values must be divided by the same s, and which by none.
//!
//! An operation with f(x / s) = f(x) / s for s > 0 ties a channel that it makes to the channel that it reads. A layer ties nothing: its
//! weights take up any s on both sides. Whatever else reads or makes a channel fixes it at s = 1, and so do the images and the result.

use engine::{Axis, Function, Gather};
use network::{NodeId, Op, Topology, Value};

use super::{ClipPolicy, Equalization, Reach, slot};

/// The channels of all values in classes, one s for each.
pub(super) struct Channels {
    /// Of each value, where its channels start in the list of all channels; one more for the end.
    first: Vec<usize>,
    /// Of each channel, one that stands for its class.
    class: Vec<usize>,
    /// By class: whether its s is 1.
    fixed: Vec<bool>,
}

impl Channels {
    pub fn new(topology: &Topology, how: &Equalization) -> Self {
        let values = (0..topology.nodes().len()).map(Value::Node);
        let mut first = vec![0];
        for value in std::iter::once(Value::Input).chain(values) {
            first.push(first[first.len() - 1] + topology.shape(value).channels);
        }
        let count = first[first.len() - 1];
        let mut all = Self {
            first,
            class: (0..count).collect(),
            fixed: vec![false; count],
        };
        all.fix(Value::Input);
        all.fix(Value::Node(topology.output()));
        for id in 0..topology.nodes().len() {
            let node = topology.node(id);
            if how.reach == Reach::Pairs {
                let ends = !in_pairs(&node.op);
                let shared = |x: &Value| ends || topology.readers(*x).len() > 1;
                node.inputs
                    .iter()
                    .filter(|x| shared(x))
                    .for_each(|&x| all.fix(x));
                if ends {
                    all.fix(Value::Node(id));
                }
            }
            all.ties(topology, id, how);
        }
        for channel in 0..count {
            let class = all.root(channel);
            all.class[channel] = class;
            all.fixed[class] |= all.fixed[channel];
        }
        all
    }

    /// The classes of a value's channels.
    pub fn of(&self, value: Value) -> &[usize] {
        let slot = slot(value);
        &self.class[self.first[slot]..self.first[slot + 1]]
    }

    /// How many classes there can be: they are numbers below it.
    pub fn len(&self) -> usize {
        self.class.len()
    }

    pub fn is_fixed(&self, class: usize) -> bool {
        self.fixed[class]
    }

    /// What a value's channels are divided by, `scale` being that of each class.
    pub fn scales<'a>(&'a self, value: Value, scale: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        self.of(value).iter().map(|&class| scale[class])
    }

    fn ties(&mut self, topology: &Topology, id: NodeId, how: &Equalization) {
        let node = topology.node(id);
        let (made, read) = (Value::Node(id), node.inputs[0]);
        let channels = topology.shape(read).channels;
        match &node.op {
            Op::Conv { .. } | Op::Linear { .. } => {}
            Op::Clip { low, high } => self.clip(read, made, &[[*low, *high]], how.clip),
            Op::ClipEach(ends) => self.clip(read, made, ends, how.clip),
            Op::MaxPool(_)
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Function(Function::LeakyRelu { .. }) => self.tie_all(read, made, 0),
            // Zeros stay zeros.
            Op::Subsample { before, .. } => self.tie_all(read, made, *before),
            Op::Add if how.reach != Reach::Sums => {
                node.inputs.iter().for_each(|&x| self.fix(x));
                self.fix(made);
            }
            Op::Add => node.inputs.iter().for_each(|&x| self.tie_all(x, made, 0)),
            Op::Concat => {
                let mut before = 0;
                for &x in &node.inputs {
                    self.tie_all(x, made, before);
                    before += topology.shape(x).channels;
                }
            }
            // Of a product one factor is scaled, the other stays.
            Op::Multiply => {
                self.tie_all(read, made, 0);
                self.fix(node.inputs[1]);
            }
            Op::Gather(gather) => self.gather(read, made, gather, channels),
            Op::BatchNorm { .. } | Op::Function(_) => {
                self.fix(read);
                self.fix(made);
            }
        }
    }

    fn clip(&mut self, read: Value, made: Value, ends: &[[f32; 2]], policy: ClipPolicy) {
        let scales = |end: &f32| *end == 0.0 || end.is_infinite();
        let exact = policy == ClipPolicy::Scale || ends.iter().flatten().all(scales);
        self.tie_all(read, made, 0);
        if !exact {
            self.fix(made);
        }
    }

    fn gather(&mut self, read: Value, made: Value, gather: &Gather, channels: usize) {
        let whole = Axis::range(0, channels);
        let places = match (&gather.channels, &whole) {
            (Axis::Of(places), _) | (Axis::Whole, Axis::Of(places)) => places,
            (Axis::Whole, Axis::Whole) => return,
        };
        for (channel, place) in places.iter().enumerate() {
            let made = self.first[slot(made)] + channel;
            if let Some(place) = place {
                self.tie(self.first[slot(read)] + place, made);
            }
        }
        let fills = |axis: &Axis| matches!(axis, Axis::Of(places) if places.contains(&None));
        let axes = [&gather.channels, &gather.rows, &gather.columns];
        if gather.fill != 0.0 && axes.into_iter().any(fills) {
            self.fix(made);
        }
    }

    /// Ties all channels of `read` to those of `made` from `before` on.
    fn tie_all(&mut self, read: Value, made: Value, before: usize) {
        let (from, to) = (slot(read), slot(made));
        for channel in 0..self.first[from + 1] - self.first[from] {
            self.tie(
                self.first[from] + channel,
                self.first[to] + before + channel,
            );
        }
    }

    fn tie(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        self.class[one.max(other)] = one.min(other);
    }

    fn root(&mut self, mut channel: usize) -> usize {
        while self.class[channel] != channel {
            // Halves the way for who comes next.
            self.class[channel] = self.class[self.class[channel]];
            channel = self.class[channel];
        }
        channel
    }

    fn fix(&mut self, value: Value) {
        let slot = slot(value);
        self.fixed[self.first[slot]..self.first[slot + 1]].fill(true);
    }
}

/// Whether a node may be one of a pair of layers or stand between them.
fn in_pairs(op: &Op) -> bool {
    match op {
        Op::Conv { .. } | Op::Clip { .. } | Op::ClipEach(_) => true,
        Op::Gather(gather) => gather.channels == Axis::Whole,
        _ => false,
    }
}
