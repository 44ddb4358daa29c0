//! One choice for every layer, with the least total error within a budget: a multiple-choice knapsack.

use super::error::AllocationError;

/// What a layer can choose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// What it takes of the budget.
    pub cost: f64,
    /// Its error.
    pub error: f64,
}

/// Partial solutions that are kept after each layer.
const LABELS: usize = 10_000;

/// Part of the budget by which a sum may exceed it, for the rounding of floating-point sums.
const ROUNDING: f64 = 1e-12;

/// Chooses one of `options[layer]` for every layer so that the sum of the costs stays within `budget` and the
/// sum of the errors is least. Returns the index of each choice.
///
/// A dynamic programme over the layers that keeps the partial solutions which no other beats in both cost and
/// error. Costs are added as they are, so the budget is never exceeded. The result is the optimum as long as
/// no more than 10 000 such solutions are open after a layer. Otherwise the best of each of 10 000 buckets of
/// cost is kept, and the result is not worse than the optimum for a budget smaller by 1/10 000 per layer.
///
/// # Errors
/// A layer without choices, costs or errors that are not finite, a budget below the least cost possible.
pub fn choose(options: &[Vec<Choice>], budget: f64) -> Result<Vec<usize>, AllocationError> {
    choose_among(options, budget, LABELS)
}

/// A partial solution: the choices of the layers so far.
#[derive(Clone, Copy)]
struct Label {
    cost: f64,
    error: f64,
    /// Index among the labels after the layer before.
    parent: usize,
    choice: usize,
}

fn choose_among(options: &[Vec<Choice>], budget: f64, labels: usize) -> Result<Vec<usize>, AllocationError> {
    let least = least_costs(options)?;
    let limit = budget + ROUNDING * budget.abs();
    // NaN is not a budget.
    if least[0].partial_cmp(&limit).is_none_or(|order| order.is_gt()) {
        return Err(AllocationError::Budget { budget, least: least[0] });
    }
    let mut stages = vec![vec![Label { cost: 0.0, error: 0.0, parent: 0, choice: 0 }]];
    for (layer, choices) in options.iter().enumerate() {
        let left = limit - least[layer + 1];
        let mut open = extend(&stages[layer], choices, left);
        if open.is_empty() {
            // Sums in another order may differ in the last bit: the cheapest way is always open.
            open = extend(&stages[layer], choices, f64::INFINITY);
            open.sort_by(|a, b| a.cost.total_cmp(&b.cost));
            open.truncate(1);
        }
        if open.len() > labels {
            open = thin(&open, labels);
        }
        stages.push(undominated(open));
    }
    Ok(trace(&stages))
}

/// What the layers from each index on cost at least, with a 0 at the end.
fn least_costs(options: &[Vec<Choice>]) -> Result<Vec<f64>, AllocationError> {
    let mut least = vec![0.0; options.len() + 1];
    for (layer, choices) in options.iter().enumerate().rev() {
        let finite = choices.iter().all(|choice| choice.cost.is_finite() && choice.error.is_finite());
        if choices.is_empty() || !finite {
            return Err(AllocationError::Choice(layer));
        }
        least[layer] =
            least[layer + 1] + choices.iter().map(|choice| choice.cost).fold(f64::INFINITY, f64::min);
    }
    Ok(least)
}

/// Every label with every choice, as far as the budget `left` for them allows.
fn extend(labels: &[Label], choices: &[Choice], left: f64) -> Vec<Label> {
    let mut open = Vec::new();
    for (parent, label) in labels.iter().enumerate() {
        for (choice, Choice { cost, error }) in choices.iter().enumerate() {
            if label.cost + cost <= left {
                open.push(Label { cost: label.cost + cost, error: label.error + error, parent, choice });
            }
        }
    }
    open
}

/// The label of the least error in each bucket of cost.
fn thin(open: &[Label], buckets: usize) -> Vec<Label> {
    let costs = || open.iter().map(|label| label.cost);
    let (low, high) = (costs().fold(f64::INFINITY, f64::min), costs().fold(f64::NEG_INFINITY, f64::max));
    let mut best: Vec<Option<&Label>> = vec![None; buckets];
    for label in open {
        // All costs may be equal: then everything falls into the first bucket.
        let share = if high > low { (label.cost - low) / (high - low) } else { 0.0 };
        let bucket = &mut best[((share * buckets as f64) as usize).min(buckets - 1)];
        if bucket.is_none_or(|best| (label.error, label.cost) < (best.error, best.cost)) {
            *bucket = Some(label);
        }
    }
    best.into_iter().flatten().copied().collect()
}

/// The labels that cost less than every label of no larger error, in the order of their costs.
fn undominated(mut open: Vec<Label>) -> Vec<Label> {
    open.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.error.total_cmp(&b.error)));
    let mut least = f64::INFINITY;
    open.retain(|label| {
        let better = label.error < least;
        least = least.min(label.error);
        better
    });
    open
}

/// The choices that led to the last label, which has the least error.
fn trace(stages: &[Vec<Label>]) -> Vec<usize> {
    let mut choices = Vec::with_capacity(stages.len() - 1);
    let mut index = stages[stages.len() - 1].len() - 1;
    for stage in stages[1..].iter().rev() {
        choices.push(stage[index].choice);
        index = stage[index].parent;
    }
    choices.reverse();
    choices
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn total(options: &[Vec<Choice>], chosen: &[usize]) -> Choice {
        let each = options.iter().zip(chosen).map(|(choices, index)| choices[*index]);
        each.fold(Choice { cost: 0.0, error: 0.0 }, |sum, choice| Choice {
            cost: sum.cost + choice.cost,
            error: sum.error + choice.error,
        })
    }

    /// The least error of all combinations within the budget.
    fn by_force(options: &[Vec<Choice>], budget: f64) -> Option<f64> {
        let Some((first, rest)) = options.split_first() else { return (budget >= -1e-9).then_some(0.0) };
        let with = |choice: &Choice| Some(choice.error + by_force(rest, budget - choice.cost)?);
        first.iter().filter_map(with).min_by(f64::total_cmp)
    }

    fn options() -> impl Strategy<Value = Vec<Vec<Choice>>> {
        let cost = prop_oneof![(0u8..20).prop_map(f64::from), 0.0..20.0f64];
        let choice = (cost, 0.0..10.0f64).prop_map(|(cost, error)| Choice { cost, error });
        prop::collection::vec(prop::collection::vec(choice, 1..6), 1..6)
    }

    #[test]
    fn a_trap_for_the_greedy() {
        let choices =
            |pairs: &[(f64, f64)]| pairs.iter().map(|&(cost, error)| Choice { cost, error }).collect();
        let options: Vec<Vec<Choice>> = vec![
            choices(&[(0.0, 10.0), (6.0, 0.0)]),
            choices(&[(0.0, 7.0), (5.0, 0.0)]),
            choices(&[(0.0, 7.0), (5.0, 0.0)]),
        ];
        // The best single step, the first layer's, leaves no room for the other two.
        assert_eq!(choose(&options, 10.0).unwrap(), [0, 1, 1]);
        assert_eq!(choose(&options, 9.0).unwrap(), [1, 0, 0]);
        assert_eq!(choose(&options, 0.0).unwrap(), [0, 0, 0]);
    }

    #[test]
    fn what_cannot_be_completed_takes_no_label() {
        let choice = |cost, error| Choice { cost, error };
        let options = [vec![choice(0.0, 10.0), choice(6.0, 0.0)], vec![choice(5.0, 0.0)]];
        assert_eq!(choose_among(&options, 8.0, 1).unwrap(), [0, 0]);
    }

    #[test]
    fn bad_input_is_named() {
        let choice = |cost, error| vec![Choice { cost, error }];
        let options = [choice(3.0, 0.0), choice(4.0, 0.0)];
        assert_eq!(choose(&options, 6.0), Err(AllocationError::Budget { budget: 6.0, least: 7.0 }));
        assert_eq!(choose(&options, 7.0), Ok(vec![0, 0]));
        assert!(matches!(choose(&options, f64::NAN), Err(AllocationError::Budget { .. })));
        assert_eq!(choose(&[], 0.0), Ok(vec![]));
        for bad in [vec![], choice(f64::NAN, 0.0), choice(0.0, f64::INFINITY)] {
            assert_eq!(choose(&[choice(0.0, 0.0), bad], 1.0), Err(AllocationError::Choice(1)));
        }
    }

    proptest! {
        #[test]
        fn the_optimum_of_all_combinations(options in options(), budget in 0.0..80.0f64) {
            match (choose(&options, budget), by_force(&options, budget)) {
                (Ok(chosen), Some(best)) => {
                    let Choice { cost, error } = total(&options, &chosen);
                    prop_assert!(cost <= budget + 1e-9);
                    prop_assert!((error - best).abs() < 1e-9, "{error} {best}");
                }
                (Err(AllocationError::Budget { least, .. }), None) => prop_assert!(least > budget),
                other => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn few_labels_lose_at_most_a_bucket_per_layer(options in options(), budget in 0.0..80.0f64) {
            const FEW: usize = 20;
            let Ok(chosen) = choose_among(&options, budget, FEW) else { return Ok(()) };
            let Choice { cost, error } = total(&options, &chosen);
            prop_assert!(cost <= budget + 1e-9);
            let smaller = budget - budget * options.len() as f64 / FEW as f64;
            if let Some(best) = by_force(&options, smaller) {
                prop_assert!(error <= best + 1e-9, "{error} {best}");
            }
        }
    }
}
