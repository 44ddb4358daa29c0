//! Running statistics measured anew.

use burn::tensor::Tensor;
use yolo_model::Checkpoint;
use yolo_model::architecture::ConvRef;
use yolo_prune::{PruneError, reestimate_batch_norm};

use super::Batches;
use super::networks::{Map, convolve, device, pixels, raw_batches, tensor, tiny};

fn renew(checkpoint: &Checkpoint, batches: &Batches) -> Result<Checkpoint, PruneError> {
    let device = device().autodiff();
    let tensors = batches.iter().map(|(shape, pixels)| Ok(tensor(pixels, *shape).to_device(&device)));
    reestimate_batch_norm(checkpoint, tensors, &device)
}

fn stem(checkpoint: &Checkpoint) -> ConvRef {
    checkpoint.architecture.convs().into_iter().find(|conv| conv.name == "model.0").unwrap()
}

/// The stem sees the images themselves: its statistics are those of its convolution's outputs, the variance
/// corrected for the mean as PyTorch does, averaged over batches by their numbers of images.
#[test]
fn statistics_are_averages_over_batches() {
    let checkpoint = tiny(81);
    let batches = raw_batches(82);
    let conv = stem(&checkpoint);
    let weight = checkpoint.weights.f32s(&conv.weight()).unwrap();
    let (mut mean, mut variance, mut images) = (vec![0.0; 8], vec![0.0; 8], 0.0);
    for (shape, pixels) in &batches {
        let outputs = convolve(&Map::of(&tensor(pixels, *shape)), &conv.spec, weight, &[0.0; 8]);
        let (n, count) = (shape[0] as f64, outputs.len() as f64);
        images += n;
        for channel in 0..8 {
            let mu = outputs.iter().map(|y| y[channel]).sum::<f64>() / count;
            let squares: f64 = outputs.iter().map(|y| (y[channel] - mu).powi(2)).sum();
            mean[channel] += n * mu;
            variance[channel] += n * squares / (count - 1.0);
        }
    }
    let renewed = renew(&checkpoint, &batches).unwrap();
    for (what, expected) in [("running_mean", mean), ("running_var", variance)] {
        for (actual, sum) in renewed.weights.f32s(&conv.bn(what)).unwrap().iter().zip(expected) {
            let expected = sum / images;
            assert!(
                (f64::from(*actual) - expected).abs() < 1e-5 * expected.abs().max(0.1),
                "{what}: {actual} {expected}"
            );
        }
    }
    for (name, tensor) in renewed.weights.iter().filter(|(name, _)| !name.contains(".bn.running_")) {
        assert_eq!(Some(tensor), checkpoint.weights.get(name), "{name}");
    }
}

/// With its own statistics, every channel behind a normalisation has the mean β and the variance γ².
#[test]
fn what_is_normalised_has_the_mean_and_variance_of_the_affine_step() {
    let checkpoint = tiny(83);
    let batches = vec![([4, 64, 64], pixels([4, 64, 64], 84))];
    let renewed = renew(&checkpoint, &batches).unwrap();
    let conv = stem(&checkpoint);
    let fused = renewed.fuse().unwrap();
    let [weight, bias] = [conv.weight(), conv.bias()].map(|name| fused.weights.f32s(&name).unwrap().to_vec());
    let outputs = convolve(&Map::of(&tensor(&batches[0].1, batches[0].0)), &conv.spec, &weight, &bias);
    for channel in 0..8 {
        let mean = outputs.iter().map(|y| y[channel]).sum::<f64>() / outputs.len() as f64;
        let beta = f64::from(checkpoint.weights.f32s(&conv.bn("bias")).unwrap()[channel]);
        assert!((mean - beta).abs() < 1e-4, "{mean} {beta}");
    }
}

#[test]
fn refusals_and_what_has_no_statistics() {
    let checkpoint = tiny(85);
    let error = renew(&checkpoint, &Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "calibration: there are no images");
    let fused = checkpoint.fuse().unwrap();
    assert_eq!(renew(&fused, &raw_batches(86)).unwrap().weights, fused.weights);
    let mut damaged = checkpoint.clone();
    damaged.weights.get_mut("model.1.conv.weight").unwrap().f32s_mut().unwrap()[3] = f32::NAN;
    let error = renew(&damaged, &raw_batches(86)).unwrap_err();
    assert!(matches!(error, PruneError::NotFinite { .. }), "{error}");
    let failing = [Err::<Tensor<4>, _>(PruneError::NeedsImages)].into_iter();
    let error = reestimate_batch_norm(&checkpoint, failing, &device().autodiff()).unwrap_err();
    assert!(matches!(error, PruneError::NeedsImages));
}
