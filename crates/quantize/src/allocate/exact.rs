//! The multiple-choice knapsack, exactly: of each group one option, so that the scores add up to the least while the costs stay within
//! a budget.
//!
//! ```text
//! minimise  sum_g score[g, o_g]    subject to  sum_g cost[g, o_g] <= budget                       (1)
//! ```
//!
//! Dynamic programming over the groups: what is kept of the choices among the first `g` groups is the front, of which none has both a
//! lower cost and a lower score (Dudzinski and Walukiewicz 1987). A state is dropped, too, when its score and the least that the
//! other groups can add by linear relaxation with what is left of the budget exceed a solution that is known already. Costs are whole
//! numbers, so that nothing depends on rounding but the scores' sums, which are taken in the order of the groups.

/// One way to choose for a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// What it takes of the budget.
    pub cost: u64,
    /// What it harms; finite and not negative.
    pub score: f64,
}

/// The number of the choice of each group that (1) asks for; of equal scores the first found, the same on every machine. None where
/// even the cheapest choices cost more than the budget. Every group has a choice.
pub fn least(groups: &[Vec<Choice>], budget: u64) -> Option<Vec<usize>> {
    let fronts: Vec<Vec<usize>> = groups.iter().map(|group| front(group)).collect();
    let cheapest = |g: usize| groups[g][fronts[g][0]].cost;
    let floor: u64 = (0..groups.len()).map(cheapest).sum();
    if floor > budget {
        return None;
    }
    let relaxed = Relaxed::new(groups, &fronts);
    let mut known = relaxed.rounded(groups, &fronts, budget);
    // Rounding of sums must not drop the best.
    let slack = 1e-9 * known.1.abs();
    let mut states = vec![State {
        cost: 0,
        score: 0.0,
        chosen: None,
    }];
    // Which choice led from which state of the group before.
    let mut trail: Vec<Vec<(usize, usize)>> = Vec::new();
    for (g, front) in fronts.iter().enumerate() {
        let mut next: Vec<State> = Vec::new();
        for (from, state) in states.iter().enumerate() {
            for &option in front {
                let choice = groups[g][option];
                let (cost, score) = (state.cost + choice.cost, state.score + choice.score);
                let rest = budget.checked_sub(cost);
                let bound = rest.and_then(|rest| relaxed.behind(g + 1, rest));
                if bound.is_some_and(|bound| score + bound <= known.1 + slack) {
                    next.push(State {
                        cost,
                        score,
                        chosen: Some((from, option)),
                    });
                }
            }
        }
        // Of equal costs the lower score, of those the first.
        next.sort_by(|a, b| a.cost.cmp(&b.cost).then(a.score.total_cmp(&b.score)));
        let mut least = f64::INFINITY;
        next.retain(|state| {
            let is_better = state.score < least;
            least = least.min(state.score);
            is_better
        });
        trail.push(next.iter().filter_map(|state| state.chosen).collect());
        states = next;
    }
    // The last state of a front has the least score.
    let Some(mut at) = states.len().checked_sub(1) else {
        return Some(std::mem::take(&mut known.0));
    };
    let mut chosen = vec![0; groups.len()];
    for (g, steps) in trail.iter().enumerate().rev() {
        let (from, option) = steps[at];
        chosen[g] = option;
        at = from;
    }
    Some(chosen)
}

/// Of the choices among some groups.
struct State {
    cost: u64,
    score: f64,
    chosen: Option<(usize, usize)>,
}

/// The choices of a group that are not beaten in both, by rising cost.
fn front(group: &[Choice]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..group.len()).collect();
    let key = |&i: &usize| group[i];
    order.sort_by(|a, b| {
        let (a, b) = (key(a), key(b));
        a.cost.cmp(&b.cost).then(a.score.total_cmp(&b.score))
    });
    let mut least = f64::INFINITY;
    order.retain(|&i| {
        let is_better = group[i].score < least;
        least = least.min(group[i].score);
        is_better
    });
    order
}

/// A step from one choice of a group to a dearer one on the lower hull of its costs and scores.
#[derive(Clone, Copy)]
struct Gain {
    group: usize,
    to: usize,
    cost: u64,
    score: f64,
}

impl Gain {
    fn slope(&self) -> f64 {
        self.score / self.cost as f64
    }
}

/// The linear relaxation of (1) over the groups from `g` on, for every `g`.
struct Relaxed {
    /// Costs and scores of the cheapest choices from `g` on.
    base: Vec<(u64, f64)>,
    /// By `g`, what costs more than that buys: running sums of the steps of all groups from `g` on, the best first.
    bought: Vec<Vec<(u64, f64)>>,
    /// All steps, the best first.
    gains: Vec<Gain>,
}

impl Relaxed {
    fn new(groups: &[Vec<Choice>], fronts: &[Vec<usize>]) -> Self {
        let mut gains: Vec<Gain> = Vec::new();
        let mut base = vec![(0, 0.0)];
        for (g, front) in fronts.iter().enumerate().rev() {
            let first = groups[g][front[0]];
            let (cost, score) = base[base.len() - 1];
            base.push((cost + first.cost, score + first.score));
            gains.extend(hull(g, &groups[g], front));
        }
        base.reverse();
        gains.sort_by(|a, b| {
            let steeper = b.slope().total_cmp(&a.slope());
            steeper.then(a.group.cmp(&b.group)).then(a.to.cmp(&b.to))
        });
        let bought = (0..=groups.len())
            .map(|g| {
                let mut sum = (0, 0.0);
                let own = gains.iter().filter(|gain| gain.group >= g);
                let running = own.map(|gain| {
                    sum = (sum.0 + gain.cost, sum.1 + gain.score);
                    sum
                });
                std::iter::once((0, 0.0))
                    .chain(running.collect::<Vec<_>>())
                    .collect()
            })
            .collect();
        Self {
            base,
            bought,
            gains,
        }
    }

    /// The least that the groups from `g` on can add with so much of the budget; none where it is too little.
    fn behind(&self, g: usize, rest: u64) -> Option<f64> {
        let (cost, score) = self.base[g];
        let rest = rest.checked_sub(cost)?;
        let bought = &self.bought[g];
        let whole = bought.partition_point(|&(cost, _)| cost <= rest) - 1;
        let (paid, saved) = bought[whole];
        let part = match bought.get(whole + 1) {
            Some(&(next, more)) => (more - saved) * ((rest - paid) as f64 / (next - paid) as f64),
            None => 0.0,
        };
        Some(score - saved - part)
    }

    /// A solution within the budget, and its score: every step that still fits, the best first.
    fn rounded(
        &self,
        groups: &[Vec<Choice>],
        fronts: &[Vec<usize>],
        budget: u64,
    ) -> (Vec<usize>, f64) {
        let mut chosen: Vec<usize> = fronts.iter().map(|front| front[0]).collect();
        let mut rest = budget - self.base[0].0;
        for gain in &self.gains {
            let group = &groups[gain.group];
            let more =
                group[gain.to].cost - group[chosen[gain.group]].cost.min(group[gain.to].cost);
            let is_further = group[gain.to].cost > group[chosen[gain.group]].cost;
            if is_further && more <= rest {
                rest -= more;
                chosen[gain.group] = gain.to;
            }
        }
        let score = chosen
            .iter()
            .zip(groups)
            .map(|(&o, group)| group[o].score)
            .sum();
        (chosen, score)
    }
}

/// The steps along the lower convex hull of a group's front.
fn hull(group: usize, choices: &[Choice], front: &[usize]) -> Vec<Gain> {
    let mut kept: Vec<usize> = Vec::new();
    let slope = |from: usize, to: usize| {
        let (from, to) = (choices[from], choices[to]);
        (from.score - to.score) / (to.cost - from.cost) as f64
    };
    for &point in front {
        while let [.., before, last] = kept[..] {
            if slope(before, last) > slope(last, point) {
                break;
            }
            kept.pop();
        }
        kept.push(point);
    }
    let step = |pair: &[usize]| Gain {
        group,
        to: pair[1],
        cost: choices[pair[1]].cost - choices[pair[0]].cost,
        score: choices[pair[0]].score - choices[pair[1]].score,
    };
    kept.windows(2).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of whole numbers below 1000.
    fn numbers(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(97);
            (state >> 33) % 1000
        }
    }

    fn total(groups: &[Vec<Choice>], chosen: &[usize]) -> (u64, f64) {
        let all = groups.iter().zip(chosen).map(|(group, &o)| group[o]);
        all.fold((0, 0.0), |sum, choice| {
            (sum.0 + choice.cost, sum.1 + choice.score)
        })
    }

    /// The least score by trying all.
    fn brute(groups: &[Vec<Choice>], budget: u64) -> Option<f64> {
        match groups.split_first() {
            None => Some(0.0),
            Some((group, others)) => {
                let each = group.iter().filter_map(|choice| {
                    let rest = budget.checked_sub(choice.cost)?;
                    Some(choice.score + brute(others, rest)?)
                });
                each.reduce(f64::min)
            }
        }
    }

    #[test]
    fn the_choice_is_the_best_of_all_and_within_the_budget() {
        let mut refused = 0;
        for seed in 0..300 {
            let mut next = numbers(seed);
            let groups: Vec<Vec<Choice>> = (0..1 + seed % 6)
                .map(|_| {
                    let own = |_| Choice {
                        cost: next() % 40 + 1,
                        score: next() as f64 / 16.0,
                    };
                    (0..1 + seed % 5).map(own).collect()
                })
                .collect();
            let budget = next() % 160;
            let expected = brute(&groups, budget);
            let found = least(&groups, budget);
            refused += usize::from(expected.is_none());
            assert_eq!(found.is_some(), expected.is_some(), "seed {seed}");
            if let (Some(found), Some(expected)) = (found, expected) {
                let (cost, score) = total(&groups, &found);
                assert!(cost <= budget, "seed {seed}");
                assert!(
                    (score - expected).abs() < 1e-9,
                    "seed {seed}: {score}, {expected}"
                );
            }
        }
        assert!((10..200).contains(&refused), "{refused}");
    }

    #[test]
    fn a_deep_network_takes_no_time() {
        let mut next = numbers(5);
        let groups: Vec<Vec<Choice>> = (0..160)
            .map(|_| {
                let weights = (next() + 1) * 64;
                let harm = next() as f64 + 1.0;
                let bits = [2, 3, 4, 5, 6, 8].map(|bits| Choice {
                    cost: weights * bits,
                    score: harm * 0.25f64.powi(bits as i32),
                });
                bits.to_vec()
            })
            .collect();
        let all: u64 = groups.iter().map(|group| group[5].cost / 8).sum();
        let found = least(&groups, all * 4).unwrap();
        let (cost, score) = total(&groups, &found);
        assert!(cost <= all * 4 && cost > all * 399 / 100, "{cost}");
        let uniform: f64 = groups.iter().map(|group| group[2].score).sum();
        assert!(score < uniform, "{score} {uniform}");
    }

    #[test]
    fn a_budget_for_everything_takes_the_best_and_none_is_refused() {
        let groups = vec![
            [(8, 3.0), (16, 1.0)]
                .map(|(cost, score)| Choice { cost, score })
                .to_vec();
            3
        ];
        assert_eq!(least(&groups, 48), Some(vec![1, 1, 1]));
        assert_eq!(least(&groups, 24), Some(vec![0, 0, 0]));
        assert_eq!(least(&groups, 23), None);
        assert_eq!(least(&[], 0), Some(Vec::new()));
    }
}
