//! The mask of a structure that loses the smallest scores.

use super::error::PatternError;
use super::structure::{Structure, kept_of};
use crate::mask::Mask;
use crate::select::cut;

/// The scores of one weight tensor.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// One score for each weight, row-major, at least 0 and not NaN; larger means more important.
    pub values: &'a [f32],
    /// Shape of the weight, `[out, in, kh, kw]`.
    pub shape: [usize; 4],
}

/// The mask of one tensor; see [`masks`].
///
/// # Errors
/// As [`masks`].
pub fn mask(scores: Scores<'_>, structure: Structure, count: usize) -> Result<Mask, PatternError> {
    Ok(masks(&[scores], structure, count)?.swap_remove(0))
}

/// The masks of tensors whose weights compete with each other for `count` places among those that go.
///
/// - [`Structure::Unstructured`]: exactly `count` weights go, smallest scores first, equal ones in the order
///   of the tensors and of their elements.
/// - [`Structure::NofM`]: the structure decides how many are removed; `count` is ignored. In each group the
///   smallest scores go, of equal ones the first.
/// - [`Structure::Block`]: the score of a block is the mean of its weights' scores, so that short blocks
///   compete on equal terms. Blocks go in ascending order, equal ones in the order of the tensors and of
///   their first elements, until the number of weights that went is nearest to `count`; of two equally near
///   numbers the smaller. It differs from `count` by at most half the weights of a block; [`Mask::pruned`]
///   tells. Masks for a larger `count` contain those for a smaller.
///
/// # Errors
/// A structure out of range, scores that do not fill their shape, a `count` above the number of weights.
pub fn masks(tensors: &[Scores<'_>], structure: Structure, count: usize) -> Result<Vec<Mask>, PatternError> {
    structure.check()?;
    check_shapes(tensors)?;
    let total = tensors.iter().map(|tensor| tensor.values.len()).sum();
    if count > total && !matches!(structure, Structure::NofM { .. }) {
        return Err(PatternError::Count { count, total });
    }
    Ok(match structure {
        Structure::Unstructured => unstructured(tensors, count),
        Structure::NofM { n, m } => tensors.iter().map(|tensor| n_of_m(tensor, n, m)).collect(),
        Structure::Block { .. } => blocks(tensors, structure, count),
    })
}

pub(super) fn check_shapes(tensors: &[Scores<'_>]) -> Result<(), PatternError> {
    for (tensor, Scores { values, shape }) in tensors.iter().enumerate() {
        if values.len() != shape.iter().product::<usize>() {
            return Err(PatternError::Shape { tensor, scores: values.len(), shape: *shape });
        }
    }
    Ok(())
}

fn unstructured(tensors: &[Scores<'_>], count: usize) -> Vec<Mask> {
    let mut cut = cut(tensors.iter().map(|tensor| tensor.values), count);
    let mask = |tensor: &Scores<'_>| {
        let mut mask = Mask::keep_all(tensor.values.len());
        cut.take(tensor.values).into_iter().for_each(|index| mask.prune(index));
        mask
    };
    tensors.iter().map(mask).collect()
}

fn n_of_m(tensor: &Scores<'_>, n: usize, m: usize) -> Mask {
    let mut mask = Mask::keep_all(tensor.values.len());
    let mut order = Vec::with_capacity(m);
    Structure::NofM { n, m }.tiles(tensor.shape).for_each(|members| {
        order.clear();
        order.extend(members.iter().map(|index| (sort_key(tensor.values[*index]), *index)));
        order.sort_unstable();
        let gone = members.len() - kept_of(n, m, members.len());
        order[..gone].iter().for_each(|(_, index)| mask.prune(*index));
    });
    mask
}

/// A block that competes. The order of the fields is the order in which blocks go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    score: u32,
    /// Its place among the blocks of all tensors.
    position: usize,
    size: u32,
}

fn blocks(tensors: &[Scores<'_>], structure: Structure, count: usize) -> Vec<Mask> {
    let mut blocks =
        Vec::with_capacity(tensors.iter().map(|tensor| structure.tiles(tensor.shape).count()).sum());
    for Scores { values, shape } in tensors {
        structure.tiles(*shape).for_each(|members| {
            let sum: f64 = members.iter().map(|index| f64::from(values[*index])).sum();
            let mean = (sum / members.len() as f64) as f32;
            blocks.push(Block { score: sort_key(mean), position: blocks.len(), size: members.len() as u32 });
        });
    }
    let gone = nearest_prefix(&mut blocks, count);
    let mut stays = Mask::keep_all(blocks.len());
    blocks[..gone].iter().for_each(|block| stays.prune(block.position));

    let mut position = 0;
    let mask = |tensor: &Scores<'_>| {
        let mut mask = Mask::keep_all(tensor.values.len());
        structure.tiles(tensor.shape).for_each(|members| {
            if !stays.keeps(position) {
                members.iter().for_each(|index| mask.prune(*index));
            }
            position += 1;
        });
        mask
    };
    tensors.iter().map(mask).collect()
}

/// Moves the smallest blocks to the front and returns how many of them together come nearest to `count`
/// weights.
fn nearest_prefix(blocks: &mut [Block], count: usize) -> usize {
    // A quickselect by weight, linear in the number of blocks. The blocks before `start` go and leave `left`
    // weights; with those before `end` more than `count` would go, unless that is all.
    let (mut start, mut end, mut left) = (0, blocks.len(), count);
    while end - start > 1 {
        let middle = (end - start) / 2;
        let open = &mut blocks[start..end];
        open.select_nth_unstable(middle);
        let weights: usize = open[..middle].iter().map(|block| block.size as usize).sum();
        if weights <= left {
            start += middle;
            left -= weights;
        } else {
            end = start + middle;
        }
    }
    let one_more = blocks.get(start).is_some_and(|block| (block.size as usize) < 2 * left);
    start + usize::from(one_more)
}

/// Scores order like their bits once the sign is off.
fn sort_key(score: f32) -> u32 {
    score.abs().to_bits()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::structure::holds;
    use super::*;
    use proptest::prelude::*;

    const BLOCKS: [Structure; 3] = [
        Structure::Block { out: 4, inp: 1 },
        Structure::Block { out: 1, inp: 4 },
        Structure::Block { out: 2, inp: 3 },
    ];

    fn gone(mask: &Mask) -> Vec<usize> {
        (0..mask.len()).filter(|index| !mask.keeps(*index)).collect()
    }

    #[test]
    fn two_of_four_by_hand() {
        // Two taps: tap 0 reads 1 5 2 7 9, tap 1 reads 4 4 4 4 0. The fifth channel is a group of its own.
        let values = [1.0, 4.0, 5.0, 4.0, 2.0, 4.0, 7.0, 4.0, 9.0, 0.0];
        let scores = Scores { values: &values, shape: [1, 5, 1, 2] };
        let mask = mask(scores, Structure::NofM { n: 2, m: 4 }, 0).unwrap();
        assert_eq!(gone(&mask), [0, 1, 3, 4]);
    }

    #[test]
    fn blocks_by_hand() {
        // Output channels 0 to 3 and a short block of 4; two input channels.
        let values = [1.0, 9.0, 1.0, 9.0, 1.0, 9.0, 9.0, 9.0, 2.0, 4.0];
        let scores = Scores { values: &values, shape: [5, 2, 1, 1] };
        let four = Structure::Block { out: 4, inp: 1 };
        let gone_at = |count| gone(&mask(scores, four, count).unwrap());
        // Means 3, 9, 2, 4: element 8 goes first, then column 0, element 9, column 1.
        assert!(gone_at(0).is_empty());
        assert_eq!(gone_at(1), [8]);
        assert_eq!(gone_at(3), [8]);
        assert_eq!(gone_at(4), [0, 2, 4, 6, 8]);
        assert_eq!(gone_at(6), [0, 2, 4, 6, 8, 9]);
        assert_eq!(gone_at(10).len(), 10);
    }

    #[test]
    fn bad_input_is_named() {
        let scores = Scores { values: &[1.0; 6], shape: [1, 7, 1, 1] };
        let shape = PatternError::Shape { tensor: 0, scores: 6, shape: [1, 7, 1, 1] };
        assert_eq!(mask(scores, Structure::Unstructured, 0), Err(shape));
        let scores = Scores { shape: [1, 6, 1, 1], ..scores };
        for structure in [Structure::Unstructured, BLOCKS[0]] {
            assert_eq!(mask(scores, structure, 7), Err(PatternError::Count { count: 7, total: 6 }));
        }
        assert!(mask(scores, Structure::NofM { n: 2, m: 4 }, 7).is_ok());
        assert_eq!(mask(scores, Structure::NofM { n: 4, m: 4 }, 1), Err(PatternError::NofM { n: 4, m: 4 }));
        assert_eq!(masks(&[], Structure::Unstructured, 0), Ok(vec![]));
    }

    /// One to three tensors with many equal scores.
    fn tensors() -> impl Strategy<Value = Vec<(Vec<f32>, [usize; 4])>> {
        let tensor = (1usize..7, 1usize..10, 1usize..3, 1usize..3).prop_flat_map(|(out, inp, kh, kw)| {
            let score = (0u8..6).prop_map(|v| f32::from(v) * 0.37);
            (prop::collection::vec(score, out * inp * kh * kw), Just([out, inp, kh, kw]))
        });
        prop::collection::vec(tensor, 1..4)
    }

    fn views(tensors: &[(Vec<f32>, [usize; 4])]) -> Vec<Scores<'_>> {
        tensors.iter().map(|(values, shape)| Scores { values, shape: *shape }).collect()
    }

    /// Blocks sorted in full and taken one by one while that comes nearer to `count`.
    fn blocks_by_sorting(tensors: &[Scores<'_>], structure: Structure, count: usize) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        for (t, Scores { values, shape }) in tensors.iter().enumerate() {
            structure.tiles(*shape).for_each(|members| {
                let sum: f64 = members.iter().map(|index| f64::from(values[*index])).sum();
                all.push(((sum / members.len() as f64) as f32, t, members.to_vec()));
            });
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut gone = vec![Vec::new(); tensors.len()];
        let mut sum = 0usize;
        for (_, t, members) in all {
            if (sum + members.len()).abs_diff(count) >= sum.abs_diff(count) {
                break;
            }
            sum += members.len();
            gone[t].extend(members);
        }
        gone.iter_mut().for_each(|gone| gone.sort_unstable());
        gone
    }

    proptest! {
        #[test]
        fn single_weights_go_in_the_order_of_a_stable_sort(tensors in tensors(), fraction in 0.0..=1.0f64) {
            let views = views(&tensors);
            let mut all: Vec<(f32, usize, usize)> = Vec::new();
            for (t, view) in views.iter().enumerate() {
                all.extend(view.values.iter().enumerate().map(|(index, score)| (*score, t, index)));
            }
            let count = (all.len() as f64 * fraction) as usize;
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let masks = masks(&views, Structure::Unstructured, count).unwrap();
            prop_assert_eq!(masks.iter().map(Mask::pruned).sum::<usize>(), count);
            prop_assert!(all[..count].iter().all(|(_, t, index)| !masks[*t].keeps(*index)));
        }

        #[test]
        fn blocks_go_as_if_sorted(tensors in tensors(), fraction in 0.0..=1.0f64, which in 0usize..3) {
            let (views, structure) = (views(&tensors), BLOCKS[which]);
            let total: usize = views.iter().map(|view| view.values.len()).sum();
            let count = (total as f64 * fraction) as usize;
            let masks = masks(&views, structure, count).unwrap();
            let expected = blocks_by_sorting(&views, structure, count);
            prop_assert_eq!(masks.iter().map(gone).collect::<Vec<_>>(), expected);
            for (mask, view) in masks.iter().zip(&views) {
                prop_assert!(holds(mask, view.shape, structure));
            }
            let pruned: usize = masks.iter().map(Mask::pruned).sum();
            prop_assert!(pruned.abs_diff(count) <= 3, "{pruned} for {count}");
        }

        #[test]
        fn no_other_n_of_m_mask_keeps_more(tensors in tensors(), n in 1usize..4) {
            let (view, structure) = (views(&tensors)[0], Structure::NofM { n, m: 4 });
            let mask = mask(view, structure, 0).unwrap();
            prop_assert!(holds(&mask, view.shape, structure));
            prop_assert_eq!(Some(mask.pruned()), structure.fixed_count(view.shape));
            structure.tiles(view.shape).for_each(|members| {
                let kept = members.iter().filter(|index| mask.keeps(**index));
                let least = kept.map(|index| view.values[*index]).fold(f32::INFINITY, f32::min);
                let lost = members.iter().filter(|index| !mask.keeps(**index));
                assert!(lost.map(|index| view.values[*index]).all(|score| score <= least));
            });
        }
    }
}
