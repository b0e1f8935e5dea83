//! Which elements share one scale: the whole tensor, one output channel (axis 0), or consecutive elements inside a channel.
//!
//! [`Layout`] is the arithmetic of that: a tensor of `len` values in row-major order is `len / channel_len` channels, each cut into
//! groups of `group_len` elements, the last of which may be short. A group never crosses a channel.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::str::FromStr;

use crate::Error;

/// Which elements share a scale and a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// All of them.
    Tensor,
    /// Those with the same index on axis 0, the output channel of a convolution or linear layer.
    Channel,
    /// So many consecutive elements inside an output channel; the last group of a channel may be short.
    Group(NonZeroUsize),
}

const ALLOWED: &str = "tensor, channel, group";

impl Granularity {
    /// Its spelling in experiments and results; a group's size stands beside it.
    pub fn name(self) -> &'static str {
        match self {
            Granularity::Tensor => "tensor",
            Granularity::Channel => "channel",
            Granularity::Group(_) => "group",
        }
    }

    /// The granularity of that name; `group_size` belongs to `group` and to nothing else.
    ///
    /// # Errors
    /// [`Error::Name`] for an unknown name, [`Error::GroupSize`] for `group` without a size or with size 0,
    /// [`Error::Parameter`] for a size beside another name.
    pub fn named(name: &str, group_size: Option<usize>) -> Result<Granularity, Error> {
        let plain = match name {
            "tensor" => Granularity::Tensor,
            "channel" => Granularity::Channel,
            "group" => {
                let size = group_size
                    .and_then(NonZeroUsize::new)
                    .ok_or(Error::GroupSize)?;
                return Ok(Granularity::Group(size));
            }
            _ => {
                return Err(Error::Name {
                    axis: "granularity",
                    found: name.to_owned(),
                    allowed: ALLOWED,
                });
            }
        };
        match group_size {
            None => Ok(plain),
            Some(size) => Err(Error::Parameter {
                axis: "granularity",
                name: plain.name(),
                found: size as f64,
            }),
        }
    }

    /// The group size, for `group` only.
    pub fn group_size(self) -> Option<usize> {
        match self {
            Granularity::Group(size) => Some(size.get()),
            _ => None,
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// `tensor` and `channel`; a `group` needs its size: [`Granularity::named`].
impl FromStr for Granularity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Granularity, Error> {
        Granularity::named(text, None)
    }
}

/// Where the groups of one tensor begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    len: usize,
    channel_len: usize,
    group_len: usize,
}

impl Layout {
    /// The groups of a row-major tensor of `shape` (axis 0 = output channel; a scalar is one channel).
    pub fn new(shape: &[usize], granularity: Granularity) -> Layout {
        let len: usize = shape.iter().product();
        let channels = shape.first().copied().unwrap_or(1);
        let channel_len = len.checked_div(channels).unwrap_or(0);
        match granularity {
            Granularity::Tensor => Layout {
                len,
                channel_len: len,
                group_len: len,
            },
            Granularity::Channel => Layout {
                len,
                channel_len,
                group_len: channel_len,
            },
            Granularity::Group(size) => Layout {
                len,
                channel_len,
                group_len: size.get().min(channel_len),
            },
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements between two boundaries that no group crosses: the tensor's for `tensor`, else an output channel's.
    pub fn channel_len(&self) -> usize {
        self.channel_len
    }

    /// Elements that share a scale (the last group of a channel may have fewer).
    pub fn group_len(&self) -> usize {
        self.group_len
    }

    /// Groups in one channel.
    pub fn groups_per_channel(&self) -> usize {
        if self.group_len == 0 {
            0
        } else {
            self.channel_len.div_ceil(self.group_len)
        }
    }

    /// Groups in the tensor, which is the number of scales.
    pub fn group_count(&self) -> usize {
        if self.len == 0 {
            0
        } else {
            self.len / self.channel_len * self.groups_per_channel()
        }
    }

    /// The group of the element at a flat `index` below `len`.
    pub fn group_of(&self, index: usize) -> usize {
        index / self.channel_len * self.groups_per_channel()
            + index % self.channel_len / self.group_len
    }

    /// The flat index range of each group, in order.
    pub fn groups(self) -> impl Iterator<Item = Range<usize>> {
        let per_channel = self.groups_per_channel();
        (0..self.group_count()).map(move |group| {
            let channel = group / per_channel * self.channel_len;
            let start = channel + group % per_channel * self.group_len;
            start..(start + self.group_len).min(channel + self.channel_len)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(size: usize) -> Granularity {
        Granularity::named("group", Some(size)).unwrap()
    }

    #[test]
    fn a_group_never_crosses_a_channel_and_the_last_one_may_be_short() {
        let layout = Layout::new(&[2, 5], group(2));
        assert_eq!(
            layout.groups().collect::<Vec<_>>(),
            [0..2, 2..4, 4..5, 5..7, 7..9, 9..10]
        );
        assert_eq!(layout.group_count(), 6);
    }

    #[test]
    fn every_element_belongs_to_the_group_whose_range_holds_it() {
        for granularity in [
            Granularity::Tensor,
            Granularity::Channel,
            group(1),
            group(3),
            group(7),
            group(99),
        ] {
            for shape in [&[4, 7][..], &[3, 2, 5], &[6], &[]] {
                let layout = Layout::new(shape, granularity);
                let mut seen = 0;
                for (g, range) in layout.groups().enumerate() {
                    for index in range {
                        assert_eq!(layout.group_of(index), g, "{granularity} {shape:?} {index}");
                        assert_eq!(index, seen);
                        seen += 1;
                    }
                }
                assert_eq!(seen, layout.len());
            }
        }
    }

    #[test]
    fn a_group_size_is_asked_for_where_it_belongs_and_nowhere_else() {
        assert_eq!(Granularity::named("group", None), Err(Error::GroupSize));
        assert_eq!(Granularity::named("group", Some(0)), Err(Error::GroupSize));
        assert!(Granularity::named("tensor", Some(8)).is_err());
        assert_eq!("channel".parse(), Ok(Granularity::Channel));
        assert_eq!(
            "row".parse::<Granularity>().unwrap_err().to_string(),
            "granularity = \"row\" is unknown; allowed: tensor, channel, group"
        );
    }
}
