//! Minimum and maximum of finite values. `f32::min` would drop a NaN silently; here none can occur ([`crate::Values`]).

/// `(min, max)` of a non-empty slice of finite values; (0, 0) of an empty one.
pub(crate) fn extremes(values: &[f32]) -> (f32, f32) {
    let Some(&first) = values.first() else {
        return (0.0, 0.0);
    };
    // Independent lanes: one running minimum would be a chain of dependent instructions.
    let (mut lows, mut highs) = ([first; 16], [first; 16]);
    let (blocks, rest) = values.as_chunks::<16>();
    for block in blocks {
        for lane in 0..16 {
            let v = block[lane];
            lows[lane] = if v < lows[lane] { v } else { lows[lane] };
            highs[lane] = if v > highs[lane] { v } else { highs[lane] };
        }
    }
    let low = lows
        .iter()
        .chain(rest)
        .fold(first, |low, &v| if v < low { v } else { low });
    let high = highs
        .iter()
        .chain(rest)
        .fold(first, |high, &v| if v > high { v } else { high });
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_found_wherever_they_are() {
        for n in [1, 2, 15, 16, 17, 33] {
            for at in 0..n {
                let mut values = vec![1.0; n];
                values[at] = 7.0;
                assert_eq!(extremes(&values).1, 7.0);
                values[at] = -7.0;
                assert_eq!(extremes(&values).0, -7.0);
            }
        }
    }
}
