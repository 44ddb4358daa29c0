//! Keeping the packed weights within their budget: short convolutions are bought where they save most.

use crate::choice::{ConvReport, Family, KernelId};

/// Bytes of a convolution's weights on `kernel`, roughly.
fn bytes(report: &ConvReport, kernel: KernelId) -> f64 {
    let [out, input, height, width] = report.weight;
    let of_channels = |out: usize| (out * input * height * width * size_of::<f32>()) as f64;
    let weights = of_channels(out);
    // The last group of channels is filled up with zeros.
    let padded = of_channels(out.next_multiple_of(kernel.channels));
    match kernel.family {
        Family::Dense | Family::Depthwise => padded,
        Family::Winograd2 => padded * 16.0 / 9.0,
        Family::Winograd4 => padded * 36.0 / 9.0,
        Family::WinogradStrided => padded * 25.0 / 9.0,
        // Every weight that is left comes with the place of its tap.
        Family::Blocks | Family::Pair | Family::Quad | Family::Zip | Family::Patch => {
            2.0 * weights * (1.0 - report.sparsity)
        }
    }
}

/// Changes the choices until the weights take at most `limit` bytes, each time to the kernel that loses the least
/// time for the bytes that it saves; whether anything was changed.
pub(crate) fn keep_within(reports: &mut [ConvReport], limit: f64) -> bool {
    let mut total: f64 = reports.iter().map(|report| bytes(report, report.chosen)).sum();
    let mut is_changed = false;
    while total > limit {
        let moves = reports.iter().enumerate().flat_map(|(index, report)| {
            let time =
                |kernel: KernelId| report.candidates.iter().find(|(id, _)| *id == kernel).map(|(_, ms)| *ms);
            let (now, now_bytes) = (time(report.chosen).unwrap_or(0.0), bytes(report, report.chosen));
            let to = move |&(kernel, ms): &(KernelId, f64)| {
                let saved = now_bytes - bytes(report, kernel);
                (saved > 0.0).then(|| ((ms - now) / saved, index, kernel, saved))
            };
            report.candidates.iter().filter_map(to)
        });
        let Some((_, index, kernel, saved)) = moves.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        reports[index].chosen = kernel;
        total -= saved;
        is_changed = true;
    }
    is_changed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_least_useful_growth_is_given_up_first() {
        let report = |name: &str, short_ms: f64| {
            let [dense, short] = ["dense-8x3-p", "winograd2-8x3-p"].map(|id| id.parse::<KernelId>().unwrap());
            ConvReport {
                name: name.to_owned(),
                weight: [88, 10, 3, 3],
                stride: [1, 1],
                size: [8, 8],
                sparsity: 0.0,
                gflop: 0.1,
                candidates: vec![(short, short_ms), (dense, 2.0)],
                chosen: short,
            }
        };
        let mut reports = [report("a", 1.9), report("b", 1.0)];
        let weights = 88.0 * 10.0 * 9.0 * 4.0;
        assert!(!keep_within(&mut reports, weights * 4.0));
        assert!(keep_within(&mut reports, weights * 3.0));
        assert_eq!(reports[0].chosen.family, Family::Dense);
        assert_eq!(reports[1].chosen.family, Family::Winograd2);
        assert!(keep_within(&mut reports, weights), "as far as it goes");
        assert_eq!(reports[1].chosen.family, Family::Dense);
    }
}
