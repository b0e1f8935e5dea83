//! Which buffer each value lives in.
//!
//! A value needs a buffer from the node that makes it to the last node that reads it. Buffers are handed out in
//! execution order: of those free, one that held the same layout last, else the smallest that is large enough, else the
//! largest, which grows.

use crate::layout::Layout;

/// Buffers and who lives in them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// For each value, its buffer.
    pub buffer: Vec<usize>,
    /// For each value, whether its border must be filled first: something else was there. Otherwise what it was filled
    /// with once stays.
    pub clear: Vec<bool>,
    /// Elements of each buffer, for one group of images.
    pub len: Vec<usize>,
}

/// Plans for values of the given layouts and contents of their borders; value `v + 1` is made by node `v`, and
/// `last_read[v]` is the last node that reads value `v` (`usize::MAX` if it is wanted in the end). Every buffer has
/// `slack` elements behind what the values need.
pub(crate) fn plan<Border: Copy + PartialEq>(
    kinds: &[(Layout, Border)],
    last_read: &[usize],
    group: usize,
    slack: usize,
) -> Plan {
    let mut len: Vec<usize> = Vec::new();
    let mut held: Vec<Vec<usize>> = Vec::new();
    let mut buffer = Vec::with_capacity(kinds.len());
    for (value, kind) in kinds.iter().enumerate() {
        let needed = group * kind.0.image() + slack;
        // Node value - 1 makes the value: what it reads must stay.
        let free = |b: &usize| {
            let last: &Vec<usize> = &held[*b];
            last.last()
                .is_none_or(|&resident| value > 0 && last_read[resident] < value - 1)
        };
        let choice = (0..len.len())
            .filter(free)
            .min_by_key(|&b| {
                let same = held[b].last().map(|&v| kinds[v]) == Some(*kind);
                let (large, size) = (len[b] >= needed, len[b]);
                let fit = if large { size } else { usize::MAX - size };
                (!same, !large, fit)
            })
            .unwrap_or_else(|| {
                len.push(0);
                held.push(Vec::new());
                len.len() - 1
            });
        len[choice] = len[choice].max(needed);
        held[choice].push(value);
        buffer.push(choice);
    }
    let mut clear = vec![false; kinds.len()];
    for residents in &held {
        for (i, &value) in residents.iter().enumerate() {
            // Before the first comes the last of the group of images before.
            let before = residents[(i + residents.len() - 1) % residents.len()];
            clear[value] = kinds[before] != kinds[value];
        }
    }
    Plan { buffer, clear, len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn a_chain_needs_two_buffers_and_a_shortcut_a_third() {
        let layouts = [(Layout::new(Shape::new(8, 4, 4), 4), 0); 6];
        let chain = plan(&layouts, &[0, 1, 2, 3, 4, usize::MAX], 3, 0);
        assert_eq!(chain.len, [3 * 128, 3 * 128]);
        assert_eq!(chain.clear, [false; 6]);
        let shortcut = plan(&layouts, &[0, 3, 2, 3, 4, usize::MAX], 1, 0);
        assert_eq!(shortcut.len.len(), 3);
    }

    #[test]
    fn two_values_that_are_alive_together_never_share_and_strangers_borders_are_cleared() {
        let shapes = [
            (3, 32),
            (16, 32),
            (16, 32),
            (16, 32),
            (32, 16),
            (32, 16),
            (10, 1),
        ];
        let layouts = shapes.map(|(c, s)| (Layout::new(Shape::new(c, s, s), 4), 0));
        let last_read = [0, 2, 2, 4, 4, 5, usize::MAX];
        let made = plan(&layouts, &last_read, 2, 0);
        for a in 0..layouts.len() {
            for b in a + 1..layouts.len() {
                // Value b is made by node b - 1; until then, and in it, value a is read.
                if last_read[a] >= b - 1 {
                    assert_ne!(made.buffer[a], made.buffer[b], "{a} {b}");
                }
            }
            assert!(made.len[made.buffer[a]] >= 2 * layouts[a].0.image());
        }
        for (value, layout) in layouts.iter().enumerate() {
            let others = (0..layouts.len()).filter(|&v| made.buffer[v] == made.buffer[value]);
            let alone = others.clone().all(|v| layouts[v] == *layout);
            assert!(made.clear[value] != alone || alone, "{value}");
        }
    }
}
