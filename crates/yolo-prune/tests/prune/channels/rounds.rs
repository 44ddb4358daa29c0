//! Pruning in rounds.

use yolo_prune::PruneError;
use yolo_prune::channels::{
    ChannelOptions, ChannelScores, Quantity, Target, in_rounds, remove, round_targets, select,
};

use super::networks::yolov5n;

#[test]
fn rounds_lead_to_the_target_in_equal_proportions() {
    let dense = yolov5n();
    let before = dense.architecture.summary().gflops;
    let options = ChannelOptions {
        round_to: 8,
        max_fraction: 0.5,
        ..ChannelOptions::new(Target::less(Quantity::Gflops, 0.5))
    };
    let targets = round_targets(&dense.architecture, options.target, 3, None).unwrap();
    let limits: Vec<f64> = targets
        .iter()
        .map(|target| match target {
            Target::AtMost { of: Quantity::Gflops, limit } => *limit / before,
            other => panic!("{other:?}"),
        })
        .collect();
    for (limit, expected) in limits.iter().zip([0.5f64.cbrt(), 0.5f64.cbrt().powi(2), 0.5]) {
        assert!((limit - expected).abs() < 1e-12, "{limit} {expected}");
    }

    let mut scored = Vec::new();
    let (last, plans) = in_rounds::<_, PruneError>(
        &dense,
        &options,
        3,
        None,
        |network| {
            scored.push(network.architecture.summary().gflops / before);
            Ok(ChannelScores::l2(network, false)?.normalised())
        },
        remove,
    )
    .unwrap();
    assert_eq!(plans.len(), 3);
    // Each round scored what the one before left, which met its target.
    assert_eq!(scored[0], 1.0);
    for (reached, limit) in
        scored[1..].iter().chain([&(last.architecture.summary().gflops / before)]).zip(&limits)
    {
        assert!(reached <= limit && *reached > limit - 0.03, "{reached} {limit}");
    }
    // One plan does the same, and no group lost more than half of what it had at the start.
    let all = plans[0].then(&plans[1]).unwrap().then(&plans[2]).unwrap();
    let at_once = remove(&dense, &all).unwrap();
    assert_eq!(at_once.weights, last.weights);
    assert!(all.groups.iter().all(|group| 2 * group.kept.len() >= group.width));
    assert_eq!(all.choice.as_ref().unwrap().before, plans[0].choice.as_ref().unwrap().before);
    // Scores of what is left differ from scores of the start.
    let single =
        select(&dense.architecture, &ChannelScores::l2(&dense, false).unwrap().normalised(), &options, None)
            .unwrap();
    assert_ne!(single.groups, all.groups);
}

#[test]
fn no_rounds_and_failing_steps_are_errors() {
    let dense = yolov5n();
    let options = ChannelOptions::new(Target::less(Quantity::Gflops, 0.5));
    assert!(round_targets(&dense.architecture, options.target, 0, None).is_err());
    let failing = in_rounds::<_, PruneError>(
        &dense,
        &options,
        2,
        None,
        |network| ChannelScores::l1(network, false),
        |_, _| Err(PruneError::NothingLeft),
    );
    assert!(matches!(failing, Err(PruneError::NothingLeft)));
}
