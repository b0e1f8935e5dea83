//! Which buffer each value lives in.
//!
//! A value needs a buffer from the node that makes it to the last node that reads it. Buffers are handed out in
//! execution order: of those free, one that held the same layout last, else the smallest that is large enough, else the
//! largest, which grows.
//!
//! The first nodes may run image by image ([`early`]). Their values then need the room of one image, except those that
//! later nodes read: these lie there for all images of the group from the start, each in a buffer that nobody had before.

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
    /// For each value, how many images it has room for.
    pub images: Vec<usize>,
}

/// How many nodes run image by image: up to the last that makes a value of `large` elements or more. `sizes`: elements of
/// each value, for one image; value `v + 1` is made by node `v`.
pub(crate) fn early(sizes: &[usize], large: usize) -> usize {
    sizes.iter().rposition(|&size| size >= large).unwrap_or(0)
}

/// Whether value `value` is made for one image at a time and read for a whole group.
fn crosses(value: usize, last_read: usize, early: usize) -> bool {
    early > 0 && value <= early && last_read >= early
}

/// Plans for values of the given layouts and contents of their borders; value `v + 1` is made by node `v`, and
/// `last_read[v]` is the last node that reads value `v` (`usize::MAX` if it is wanted in the end). Every buffer has
/// `slack` elements behind what the values need. The first `early` nodes run image by image.
pub(crate) fn plan<Border: Copy + PartialEq>(
    kinds: &[(Layout, Border)],
    last_read: &[usize],
    group: usize,
    early: usize,
    slack: usize,
) -> Plan {
    let alone = |value: usize| early > 0 && value <= early;
    let mut len: Vec<usize> = Vec::new();
    let mut held: Vec<Vec<usize>> = Vec::new();
    let mut buffer = Vec::with_capacity(kinds.len());
    let mut images = Vec::with_capacity(kinds.len());
    for (value, kind) in kinds.iter().enumerate() {
        let crosses = crosses(value, last_read[value], early);
        let room = if alone(value) && !crosses { 1 } else { group };
        let needed = room * kind.0.image() + slack;
        // Node value - 1 makes the value: what it reads must stay.
        let free = |b: &usize| {
            let last: &Vec<usize> = &held[*b];
            last.last()
                .is_none_or(|&resident| !crosses && value > 0 && last_read[resident] < value - 1)
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
        images.push(room);
    }
    let mut clear = vec![false; kinds.len()];
    for residents in &held {
        let strangers = residents.iter().any(|&v| kinds[v] != kinds[residents[0]]);
        for (i, &value) in residents.iter().enumerate() {
            // Before the first comes the last of the group of images before, or of the image before.
            let before = residents[(i + residents.len() - 1) % residents.len()];
            let switches = early > 0 && (i == 0 || alone(before) != alone(value));
            clear[value] = kinds[before] != kinds[value] || (switches && strangers);
        }
    }
    Plan {
        buffer,
        clear,
        len,
        images,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn a_chain_needs_two_buffers_and_a_shortcut_a_third() {
        let layouts = [(Layout::new(Shape::new(8, 4, 4), 4), 0); 6];
        let chain = plan(&layouts, &[0, 1, 2, 3, 4, usize::MAX], 3, 0, 0);
        assert_eq!(chain.len, [3 * 128, 3 * 128]);
        assert_eq!(chain.clear, [false; 6]);
        let shortcut = plan(&layouts, &[0, 3, 2, 3, 4, usize::MAX], 1, 0, 0);
        assert_eq!(shortcut.len.len(), 3);
    }

    #[test]
    fn what_runs_image_by_image_needs_the_room_of_one_until_it_is_read_for_all() {
        let large = (Layout::new(Shape::new(8, 8, 8), 4), 0);
        let small = (Layout::new(Shape::new(8, 4, 4), 4), 0);
        // The input and what nodes 0 and 1 make are large; node 2's reader and the shortcut's are late.
        let kinds = [large, large, large, small, small, small];
        let last_read = [0, 1, 3, 4, 4, usize::MAX];
        let sizes = kinds.map(|(layout, _)| layout.shape.len());
        assert_eq!(early(&sizes, 8 * 8 * 8), 2);
        assert_eq!(early(&sizes, 8 * 8 * 8 + 1), 0);
        assert_eq!(early(&sizes, 1), 5);
        let made = plan(&kinds, &last_read, 3, 2, 0);
        assert!(crosses(2, last_read[2], 2) && !crosses(1, last_read[1], 2));
        let (input, first, second) = (made.buffer[0], made.buffer[1], made.buffer[2]);
        assert!(![input, first].contains(&second), "{made:?}");
        assert_eq!(made.len[second], 3 * 512);
        let others: usize = made.len.iter().sum::<usize>() - made.len[second];
        assert_eq!(
            others,
            512 + 512,
            "two early values, and room for three late ones in each"
        );
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
        let made = plan(&layouts, &last_read, 2, 0, 0);
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
            assert_eq!(made.clear[value], !alone, "{value}");
        }
    }
}
