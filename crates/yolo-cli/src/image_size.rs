//! `--imgsz` and the strides of a network. One rule for every command: a side is rounded up to a multiple of the
//! largest stride.

/// The side that is at least `wanted` and fits `stride`.
pub(crate) fn fitting(wanted: usize, stride: usize) -> usize {
    wanted.next_multiple_of(stride)
}

/// The same for a network that is trained, which needs two cells of the coarsest level.
pub(crate) fn fitting_training(wanted: usize, stride: usize) -> usize {
    fitting(wanted, stride).max(2 * stride)
}

/// [`fitting`] for the sides that were asked for, with a warning if that makes them larger.
pub(crate) fn fitted<const N: usize>(wanted: [usize; N], stride: usize) -> [usize; N] {
    warned(wanted, stride, wanted.map(|side| fitting(side, stride)))
}

/// [`fitting_training`], with a warning if the side becomes larger.
pub(crate) fn fitted_training(wanted: usize, stride: usize) -> usize {
    let [side] = warned([wanted], stride, [fitting_training(wanted, stride)]);
    side
}

fn warned<const N: usize>(wanted: [usize; N], stride: usize, fitting: [usize; N]) -> [usize; N] {
    if fitting != wanted {
        let text = |sides: [usize; N]| sides.map(|side| side.to_string()).join(" ");
        let reason = match wanted.iter().all(|side| side.is_multiple_of(stride)) {
            true => "is too small for",
            false => "is not a multiple of",
        };
        let (wanted, fitting) = (text(wanted), text(fitting));
        tracing::warn!("--imgsz {wanted} {reason} the stride {stride}: using {fitting}");
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_rounded_up_to_the_stride() {
        assert_eq!(fitted([100, 640], 32), [128, 640]);
        assert_eq!((fitted_training(32, 32), fitted_training(65, 32)), (64, 96));
    }
}
