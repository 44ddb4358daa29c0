//! A network's own answers as labels, and the gradient of the loss against them.
//!
//! With the probabilities `p` of logits `z`, by the logistic function or a softmax, the gradient of the cross-entropy
//! with labels `y` by `z` is `p − y`.

use yolo_model::{Answers, Channel};

/// How labels are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labels {
    /// The likelier answer.
    Pseudo,
    /// Drawn from the network's own probabilities.
    Drawn,
}

/// The gradient of the loss by every logit `[N, C, H, W]` of an output.
///
/// As in YOLOv5's loss, the classes and the box of a detection count as much as there is an object.
pub(super) fn slopes(
    logits: &[f32],
    [n, channels, height, width]: [usize; 4],
    answers: &Answers,
    labels: Labels,
    draws: &mut Draws,
) -> Vec<f32> {
    // Channels that are looked at together.
    let lengths: Vec<usize> = match answers {
        Answers::OneOf => vec![channels],
        Answers::YesNo => vec![1; channels],
        Answers::Detections(level) => level.groups.iter().map(Vec::len).collect(),
    };
    let cells = height * width;
    let mut slopes = vec![0.0; logits.len()];
    let mut first = 0;
    for (group, &length) in (0..n).flat_map(|_| lengths.iter().enumerate()) {
        let mut row = vec![0.0; length];
        for cell in 0..cells {
            let at = |channel: usize| (first + channel) * cells + cell;
            (0..length).for_each(|channel| row[channel] = logits[at(channel)]);
            match answers {
                Answers::OneOf => one_of(&mut row, labels, draws),
                Answers::YesNo => row[0] = yes_no(row[0], labels, draws),
                Answers::Detections(level) => detection(&mut row, &level.groups[group], labels, draws),
            }
            (0..length).for_each(|channel| slopes[at(channel)] = row[channel]);
        }
        first += length;
    }
    debug_assert_eq!(first, n * channels, "channels of the output");
    slopes
}

/// Replaces the logits of the possible answers to one question by the slopes.
fn one_of(row: &mut [f32], labels: Labels, draws: &mut Draws) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|z| *z = (*z - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|p| *p /= sum);
    let label = match labels {
        Labels::Pseudo => (0..row.len()).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])),
        Labels::Drawn => {
            let mut left = draws.unit();
            let drawn = row.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            drawn.or(row.len().checked_sub(1))
        }
    };
    if let Some(label) = label {
        row[label] -= 1.0;
    }
}

/// The slope of the logit of a yes-or-no question.
fn yes_no(logit: f32, labels: Labels, draws: &mut Draws) -> f32 {
    let p = sigmoid(logit);
    let is_yes = match labels {
        Labels::Pseudo => p > 0.5,
        Labels::Drawn => draws.unit() < p,
    };
    p - f32::from(u8::from(is_yes))
}

/// Replaces the logits of a detection by the slopes.
fn detection(row: &mut [f32], channels: &[Channel], labels: Labels, draws: &mut Draws) {
    let objectness = channels.iter().position(|channel| *channel == Channel::Objectness);
    let object = objectness.map_or(1.0, |channel| sigmoid(row[channel]));
    if objectness.is_none() {
        distances(row, channels, labels, draws);
    }
    for (value, channel) in row.iter_mut().zip(channels) {
        if matches!(channel, Channel::Bin { .. } | Channel::Distance(_)) {
            continue;
        }
        let is_answer = matches!(channel, Channel::Objectness | Channel::Class);
        let slope = match labels {
            // The predicted box is its own label, so its slope is zero.
            Labels::Pseudo if !is_answer => 0.0,
            _ => yes_no(*value, labels, draws),
        };
        *value = if *channel == Channel::Objectness { slope } else { object * slope };
    }
}

/// Replaces the logits of distances to sides by the slopes. The bins of a side are the answers to one question, which counts as
/// much as there is an object: by its likeliest class. A distance as it is has no distribution, so no slope.
fn distances(row: &mut [f32], channels: &[Channel], labels: Labels, draws: &mut Draws) {
    let classes = row.iter().zip(channels).filter(|(_, channel)| **channel == Channel::Class);
    let object = classes.map(|(logit, _)| sigmoid(*logit)).fold(0.0, f32::max);
    let mut first = 0;
    while first < channels.len() {
        let side = |channel: &Channel| match channel {
            Channel::Bin { side, .. } => Some(*side),
            _ => None,
        };
        let of = side(&channels[first]);
        let bins = channels[first..].iter().take_while(|channel| of.is_some() && side(channel) == of).count();
        match (of, labels) {
            (Some(_), Labels::Drawn) => {
                one_of(&mut row[first..first + bins], labels, draws);
                row[first..first + bins].iter_mut().for_each(|value| *value *= object);
            }
            // The predicted box is its own label.
            (Some(_), Labels::Pseudo) => row[first..first + bins].fill(0.0),
            (None, _) if matches!(channels[first], Channel::Distance(_)) => row[first] = 0.0,
            (None, _) => {}
        }
        first += bins.max(1);
    }
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// A fixed sequence of numbers in `[0, 1)` (xorshift64*), so that the same images give the same scores.
pub(super) struct Draws(u64);

impl Default for Draws {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Draws {
    /// The next number.
    pub(super) fn unit(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use yolo_model::{LevelChannels, Side};

    use super::*;

    fn slopes_of(logits: &[f32], answers: Answers, labels: Labels) -> Vec<f32> {
        slopes(logits, [1, logits.len(), 1, 1], &answers, labels, &mut Draws::default())
    }

    #[test]
    fn a_classifiers_likeliest_class_is_its_label() {
        // Softmax of ln 1, ln 2, ln 5 is 1/8, 2/8, 5/8.
        let logits = [1.0f32, 2.0, 5.0].map(f32::ln);
        let found = slopes_of(&logits, Answers::OneOf, Labels::Pseudo);
        for (slope, expected) in found.iter().zip([0.125, 0.25, 0.625 - 1.0]) {
            assert!((slope - expected).abs() < 1e-6, "{found:?}");
        }
        // Of equal ones the first.
        assert_eq!(slopes_of(&[0.0, 0.0], Answers::OneOf, Labels::Pseudo), [-0.5, 0.5]);
    }

    /// Cells are separate questions, and so are images.
    #[test]
    fn cells_of_a_map_are_separate_questions() {
        let logits = [0.0, 3.0, 1.0, 1.0, -2.0, 0.5, 0.0, 9.0f32];
        let mut draws = Draws::default();
        let whole = slopes(&logits, [2, 2, 1, 2], &Answers::OneOf, Labels::Pseudo, &mut draws);
        for (image, cell) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let at = |channel: usize| (image * 2 + channel) * 2 + cell;
            let alone = slopes_of(&[logits[at(0)], logits[at(1)]], Answers::OneOf, Labels::Pseudo);
            assert_eq!([whole[at(0)], whole[at(1)]], alone[..]);
        }
    }

    /// Every drawn label's slope sums to zero, and on average so does every class's.
    #[test]
    fn classes_are_drawn_by_their_probabilities() {
        let logits = [0.1f32, 0.3, 0.6].map(f32::ln);
        let mut draws = Draws::default();
        let mut sums = [0.0f64; 3];
        for _ in 0..20_000 {
            let drawn = slopes(&logits, [1, 3, 1, 1], &Answers::OneOf, Labels::Drawn, &mut draws);
            assert!(drawn.iter().sum::<f32>().abs() < 1e-6);
            sums.iter_mut().zip(drawn).for_each(|(sum, slope)| *sum += f64::from(slope));
        }
        // Five standard deviations of at most 0.5.
        assert!(sums.iter().all(|sum| (sum / 20_000.0).abs() < 5.0 * 0.5 / 20_000f64.sqrt()), "{sums:?}");
    }

    #[test]
    fn questions_with_yes_or_no_have_their_own_labels() {
        let found = slopes_of(&[0.0, 2.0, -2.0], Answers::YesNo, Labels::Pseudo);
        let p = sigmoid(2.0);
        assert_eq!(found, [0.5, p - 1.0, sigmoid(-2.0)]);
    }

    #[test]
    fn detections_count_as_much_as_there_is_an_object() {
        let size = [Channel::Width(8.0), Channel::Height(8.0)];
        let mut group = vec![Channel::CentreX, Channel::CentreY];
        group.extend(size.into_iter().chain([Channel::Objectness, Channel::Class]));
        let answers = Answers::Detections(LevelChannels { stride: 8.0, groups: vec![group] });
        let row = [0.3, -0.2, 1.0, 2.0, 1.5, -0.4];
        let found = slopes_of(&row, answers, Labels::Pseudo);
        let object = sigmoid(1.5);
        assert_eq!(found[..4], [0.0; 4]);
        assert_eq!(found[4..], [object - 1.0, object * sigmoid(-0.4)]);
    }

    /// Without an objectness the likeliest class says how much the bins of a side count, which are one question.
    #[test]
    fn bins_of_a_side_are_one_question() {
        let bins = |side: Side| (0..2).map(move |bin| Channel::Bin { side, bin });
        let mut group: Vec<Channel> = bins(Side::Left).chain(bins(Side::Top)).collect();
        group.extend([Channel::Distance(Side::Right), Channel::Class, Channel::Class]);
        let level = LevelChannels { stride: 8.0, groups: vec![group] };
        let row = [0.5, 0.5, 3.0, -3.0, 0.7, -1.0, 1.2];
        let classes = [sigmoid(-1.0), sigmoid(1.2) - 1.0];
        let pseudo = slopes_of(&row, Answers::Detections(level.clone()), Labels::Pseudo);
        assert_eq!(pseudo, [&[0.0; 5][..], &classes].concat());
        let drawn = slopes_of(&row, Answers::Detections(level), Labels::Drawn);
        assert!((drawn[0] + drawn[1]).abs() < 1e-6 && (drawn[2] + drawn[3]).abs() < 1e-6, "{drawn:?}");
        assert!((drawn[0].abs() - 0.5 * sigmoid(1.2)).abs() < 1e-6, "{drawn:?}");
        assert_eq!(drawn[4], 0.0);
    }
}
