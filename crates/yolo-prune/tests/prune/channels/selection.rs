//! Selection: targets are met from below, exactly as rounding allows, and everything else is said.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::{Architecture, Layout};
use yolo_prune::channels::{
    Adjustment, ChannelOptions, ChannelPlan, ChannelScores, Coupling, Criterion, Quantity, Scope, Size,
    Target, select,
};
use yolo_prune::{Pattern, PruneError};

use super::networks::tiny_architecture;

fn random_scores(architecture: &Architecture, seed: u64) -> ChannelScores {
    let mut rng = StdRng::seed_from_u64(seed);
    let of_group = |channels: usize| (0..channels).map(|_| f64::from(rng.random_range(0u8..40))).collect();
    let groups = Coupling::of(architecture).groups.into_iter();
    let mut of_group = of_group;
    ChannelScores {
        criterion: Criterion::L1,
        groups: groups.map(|group| (group.name, of_group(group.channels))).collect(),
    }
}

/// A stand-in for a table: something that is neither parameters nor operations.
fn latency(layout: &dyn Layout) -> f64 {
    let convs = layout.convs();
    convs.iter().map(|c| 0.01 + 1e-4 * (c.spec.in_channels.max(8) * c.spec.out_channels.max(8)) as f64).sum()
}

fn measure(of: Quantity, layout: &dyn Layout) -> f64 {
    let size = Size::of(layout, Some(&latency));
    match of {
        Quantity::Channels => size.channels as f64,
        Quantity::Parameters => size.parameters as f64,
        Quantity::Gflops => size.gflops,
        Quantity::Milliseconds => size.milliseconds.unwrap(),
    }
}

/// Whether `kept` of `width` is a width that rounding to `unit` allows.
fn is_allowed(kept: usize, width: usize, unit: usize) -> bool {
    kept == width || (kept >= unit && kept.is_multiple_of(unit))
}

/// The next wider plan of a group, by its scores alone.
fn widened(plan: &ChannelPlan, index: usize, scores: &ChannelScores, unit: usize) -> Option<ChannelPlan> {
    let mut wider = plan.clone();
    let group = &mut wider.groups[index];
    let next = (group.kept.len() + 1..=group.width).find(|&n| is_allowed(n, group.width, unit))?;
    let own = &scores.groups[&group.group];
    let mut order: Vec<usize> = (0..group.width).collect();
    order.sort_by(|&a, &b| own[b].total_cmp(&own[a]).then(b.cmp(&a)));
    group.kept = order[..next].to_vec();
    Some(wider)
}

fn check(architecture: &Architecture, scores: &ChannelScores, options: &ChannelOptions) -> ChannelPlan {
    let plan = select(architecture, scores, options, Some(&latency)).unwrap();
    let of = options.target.quantity();
    let before = measure(of, architecture);
    let budget = match options.target {
        Target::Less { fraction, .. } => before * (1.0 - fraction),
        Target::AtMost { limit, .. } => limit,
    };
    let reached = measure(of, &*plan.layout(architecture).unwrap());
    assert!(reached <= budget, "{reached} of {budget}");
    let choice = plan.choice.as_ref().unwrap();
    assert_eq!(choice.before, Size::of(architecture, Some(&latency)));
    assert_eq!(choice.after, Size::of(&*plan.layout(architecture).unwrap(), Some(&latency)));
    for (index, group) in plan.groups.iter().enumerate() {
        assert!(is_allowed(group.kept.len(), group.width, options.round_to), "{group:?}");
        assert!(group.kept.is_sorted());
        // Within a group the best stay; of equal ones the last.
        let own = &scores.groups[&group.group];
        for gone in (0..group.width).filter(|channel| !group.kept.contains(channel)) {
            let is_better = |&kept: &usize| (own[kept], kept) > (own[gone], gone);
            assert!(group.kept.iter().all(is_better), "{}: {gone}", group.group);
        }
        // No step more fits.
        if let Some(wider) = widened(&plan, index, scores, options.round_to) {
            assert!(measure(of, &*wider.layout(architecture).unwrap()) > budget, "{}", group.group);
        }
    }
    plan
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn targets_are_met_and_no_step_more_fits(
        seed in any::<u64>(),
        of in prop::sample::select(vec![
            Quantity::Channels, Quantity::Parameters, Quantity::Gflops, Quantity::Milliseconds,
        ]),
        scope in prop::sample::select(vec![Scope::Group, Scope::Global]),
        round_to in prop::sample::select(vec![1, 2, 4, 8]),
        fraction in 0.0f64..0.6,
    ) {
        let architecture = tiny_architecture();
        let options =
            ChannelOptions { scope, round_to, ..ChannelOptions::new(Target::less(of, fraction)) };
        let scores = random_scores(&architecture, seed);
        let reachable = measure(of, &*narrowest(&architecture, round_to)) <= measure(of, &architecture) * (1.0 - fraction);
        if reachable {
            check(&architecture, &scores, &options);
        } else {
            let error = select(&architecture, &scores, &options, Some(&latency)).unwrap_err();
            prop_assert!(matches!(error, PruneError::ChannelTarget { .. }), "{}", error);
        }
    }
}

/// The network with one unit of every group, or all of it where that is less.
fn narrowest(architecture: &Architecture, unit: usize) -> Box<dyn Layout> {
    let mut plan = ChannelPlan::identity(architecture);
    plan.groups.iter_mut().for_each(|group| group.kept.truncate(unit));
    plan.layout(architecture).unwrap()
}

#[test]
fn released_sizes_reach_half_of_everything() {
    for name in ["yolov5n", "yolov5s", "yolov5x6"] {
        let architecture = Architecture::variant(name, None).unwrap();
        let scores = random_scores(&architecture, 1);
        for (of, round_to) in [(Quantity::Gflops, 8), (Quantity::Parameters, 16), (Quantity::Channels, 8)] {
            let options = ChannelOptions { round_to, ..ChannelOptions::new(Target::less(of, 0.5)) };
            let plan = check(&architecture, &scores, &options);
            let choice = plan.choice.unwrap();
            let reached = match of {
                Quantity::Channels => choice.after.channels as f64 / choice.before.channels as f64,
                Quantity::Parameters => choice.after.parameters as f64 / choice.before.parameters as f64,
                _ => choice.after.gflops / choice.before.gflops,
            };
            println!("{name} half of the {}, multiples of {round_to}: {reached:.4} left", of.unit());
            assert!((0.49..=0.5).contains(&reached), "{name} {of:?}: {reached}");
        }
    }
}

/// Per group, each loses the same fraction, whatever the scale of its scores.
#[test]
fn groups_lose_the_same_fraction_if_they_do_not_compete() {
    let architecture = Architecture::variant("yolov5n", None).unwrap();
    let mut scores = random_scores(&architecture, 2);
    for (index, own) in scores.groups.values_mut().enumerate() {
        own.iter_mut().for_each(|score| *score *= 10f64.powi(index as i32 % 7));
    }
    let target = Target::less(Quantity::Channels, 0.25);
    let options = ChannelOptions { scope: Scope::Group, ..ChannelOptions::new(target) };
    let plan = check(&architecture, &scores, &options);
    for group in &plan.groups {
        assert_eq!(group.kept.len() * 4, group.width * 3, "{}", group.group);
    }
    // All groups against each other: those with small scores go first.
    let plan = check(&architecture, &scores, &ChannelOptions::new(target));
    let least = plan.groups.iter().map(|group| group.kept.len() as f64 / group.width as f64);
    assert!(least.fold(1.0, f64::min) < 0.3);
    // Normalised, the scale does not matter.
    let plan = check(&architecture, &scores.normalised(), &ChannelOptions::new(target));
    let least = plan.groups.iter().map(|group| group.kept.len() as f64 / group.width as f64);
    assert!(least.fold(1.0, f64::min) > 0.4);
}

#[test]
fn what_rounding_and_limits_change_is_listed() {
    let architecture = Architecture::variant("yolov5n", None).unwrap();
    let scores = random_scores(&architecture, 3);
    let options = ChannelOptions {
        round_to: 16,
        max_fraction: 0.75,
        least: BTreeMap::from([("model.7".to_owned(), 200)]),
        exclude: vec![Pattern::new("model.4.m.*.cv1"), Pattern::new("model.24")],
        ..ChannelOptions::new(Target::less(Quantity::Gflops, 0.5))
    };
    let plan = select(&architecture, &scores, &options, None).unwrap();
    let choice = plan.choice.as_ref().unwrap();
    let coupling = Coupling::of(&architecture);
    assert_eq!(plan.groups.len() + choice.skipped.len(), coupling.groups.len());
    let reason = |name: &str| choice.skipped.iter().find(|s| s.group == name).map(|s| s.reason.as_str());
    assert_eq!(reason("model.0"), Some("its 16 channels are not more than one unit of 16"));
    assert_eq!(reason("model.4.m.1.cv1"), Some("excluded by \"model.4.m.*.cv1\""));
    for group in &plan.groups {
        let kept = group.kept.len();
        assert!(4 * kept >= group.width && is_allowed(kept, group.width, 16), "{group:?}");
        let adjusted = choice.adjusted.iter().find(|adjusted| adjusted.group == group.group);
        if let Some(adjusted) = adjusted {
            assert_eq!(adjusted.kept, kept);
            assert_ne!(adjusted.wanted, kept);
        }
    }
    let seven = plan.groups.iter().find(|group| group.group == "model.7").unwrap();
    assert!(seven.kept.len() >= 208);
    let whys: Vec<Adjustment> = choice.adjusted.iter().map(|adjusted| adjusted.why).collect();
    assert!(whys.contains(&Adjustment::Rounded) && whys.contains(&Adjustment::Floor), "{whys:?}");
}

/// A criterion that calls a whole group worthless leaves one unit of it, not none and not all.
#[test]
fn a_worthless_group_keeps_one_unit() {
    let architecture = Architecture::variant("yolov5n", None).unwrap();
    let mut scores = random_scores(&architecture, 4);
    scores.groups.get_mut("model.6.cv2").unwrap().fill(0.0);
    for (round_to, kept) in [(1, 1), (8, 8), (16, 16)] {
        let options = ChannelOptions { round_to, ..ChannelOptions::new(Target::less(Quantity::Gflops, 0.4)) };
        let plan = select(&architecture, &scores, &options, None).unwrap();
        let group = plan.groups.iter().find(|group| group.group == "model.6.cv2").unwrap();
        assert_eq!(group.kept.len(), kept, "{round_to}");
    }
}

#[test]
fn invalid_and_unreachable_targets_are_refused() {
    let architecture = tiny_architecture();
    let scores = random_scores(&architecture, 5);
    let error = |edit: &dyn Fn(&mut ChannelOptions)| {
        let mut options = ChannelOptions::new(Target::less(Quantity::Gflops, 0.3));
        edit(&mut options);
        let message = select(&architecture, &scores, &options, None).unwrap_err().to_string();
        assert!(!message.contains('\n'));
        message
    };
    let at_most = |of, limit| Target::AtMost { of, limit };
    type Edit<'a> = &'a dyn Fn(&mut ChannelOptions);
    let cases: [(Edit, &str); 10] = [
        (&|o| o.target = Target::less(Quantity::Gflops, 1.0), "at least 0 and below 1, not 1"),
        (&|o| o.target = Target::less(Quantity::Channels, -0.1), "at least 0 and below 1, not -0.1"),
        (&|o| o.target = Target::less(Quantity::Channels, f64::NAN), "at least 0 and below 1"),
        (&|o| o.target = at_most(Quantity::Gflops, 0.0), "0 GFLOPs cannot be what is left"),
        (&|o| o.target = at_most(Quantity::Parameters, 50.0), "50.000000 parameters are asked for, but"),
        (&|o| o.target = at_most(Quantity::Milliseconds, 5.0), "milliseconds need a table"),
        (&|o| o.round_to = 0, "multiples of 0"),
        (&|o| o.max_fraction = 1.5, "between 0 and 1, not 1.5"),
        (&|o| o.exclude = vec![Pattern::new("modle.1")], "\"modle.1\" matches no convolution"),
        (&|o| o.exclude = vec![Pattern::new("*")], "exclude every convolution"),
    ];
    for (edit, expected) in cases {
        let message = error(edit);
        assert!(message.contains(expected), "{message}");
    }
    assert!(error(&|o| o.round_to = 64).contains("not more than one unit of 64"));
    let nan = |_: &dyn Layout| f64::NAN;
    let options = ChannelOptions::new(at_most(Quantity::Milliseconds, 5.0));
    let message = select(&architecture, &scores, &options, Some(&nan)).unwrap_err().to_string();
    assert!(message.contains("the latency table gives NaN ms"), "{message}");
    let other = random_scores(&Architecture::variant("yolov5n", None).unwrap(), 5);
    let options = ChannelOptions::new(Target::less(Quantity::Gflops, 0.3));
    let error = select(&architecture, &other, &options, None).unwrap_err();
    assert!(matches!(error, PruneError::ChannelScores { .. }), "{error}");
}
