//! Bad input: one line that says what is wrong.

use yolo_model::weights::HostTensor;
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::{
    Allocation, CalibrationImages, ImageBatch, Limit, Method, Pattern, PruneError, PruneOptions, Repair,
    Structure, Unit, apply, plan,
};

use super::calibrated;
use super::networks::{random, raw_batches, tiny};

fn refused(dense: &Checkpoint, options: &PruneOptions) -> PruneError {
    let error = calibrated(dense, options, &raw_batches(111)).unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[test]
fn amounts_outside_the_range() {
    let dense = tiny(112);
    for method in Method::ALL {
        for amount in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            let error = refused(&dense, &PruneOptions::new(method, amount));
            assert!(matches!(error, PruneError::Allocation { .. }), "{method:?} {amount}: {error}");
            let text = format!("the amount to prune must be at least 0 and less than 1, not {amount}");
            assert!(error.to_string().starts_with(&text), "{error}");
        }
    }
}

#[test]
fn patterns_that_match_nothing_or_everything() {
    let dense = tiny(113);
    let base = PruneOptions::new(Method::Wanda, 0.5);
    let exclude = |pattern: &str| PruneOptions { exclude: vec![Pattern::new(pattern)], ..base.clone() };
    let limits = [(Pattern::new("modle.3"), Limit::default())].into_iter().collect();
    for options in [exclude("modle.3"), PruneOptions { limits, ..base.clone() }] {
        let text = refused(&dense, &options).to_string();
        assert_eq!(text, "the pattern \"modle.3\" matches no convolution; names look like model.0");
    }
    assert!(matches!(refused(&dense, &exclude("*")), PruneError::NothingLeft));
    let structure = Structure::NofM { n: 31, m: 63 };
    assert!(matches!(refused(&dense, &PruneOptions { structure, ..base }), PruneError::NothingFits { .. }));
}

#[test]
fn invalid_limits_and_limits_that_do_not_allow_the_amount() {
    let dense = tiny(114);
    for method in [Method::Layer, Method::Global, Method::Sensitivity, Method::Reconstruction] {
        let base = PruneOptions::new(method, 0.5);
        for (least, most) in [(0.5, 0.4), (-0.1, 1.0), (f64::NAN, 1.0)] {
            let limits = [(Pattern::new("model.3"), Limit { least, most })].into_iter().collect();
            let text = refused(&dense, &PruneOptions { limits, ..base.clone() }).to_string();
            assert!(text.starts_with("model.3: "), "{text}");
        }
        if method != Method::Layer {
            let text = refused(&dense, &PruneOptions { max_sparsity: 0.3, ..base }).to_string();
            assert!(text.contains("the limits of the layers allow"), "{text}");
        }
    }
}

#[test]
fn images_that_are_missing_or_misshapen() {
    let error = |batches: Vec<ImageBatch>| CalibrationImages::new(batches).unwrap_err().to_string();
    assert_eq!(error(Vec::new()), "calibration: there are no images");
    let batch = |len: usize, n: usize| ImageBatch { pixels: vec![0; len], n, height: 32, width: 64 };
    assert_eq!(error(vec![batch(0, 0)]), "calibration: there are no images");
    assert_eq!(error(vec![batch(6145, 1)]), "calibration: 6145 bytes are not 1 images of 32×64");
    assert_eq!(
        error(vec![batch(6144, 1), batch(6144, 2)]),
        "calibration: 6144 bytes are not 2 images of 32×64"
    );
    let images = CalibrationImages::new([batch(0, 0), batch(6144, 1)]).unwrap();
    assert_eq!((images.len(), images.batches().len(), images.is_empty()), (1, 1, false));

    let dense = tiny(115);
    let base = PruneOptions::new(Method::Layer, 0.5);
    let needing = [
        PruneOptions { repair: Some(Repair::Bias), ..base.clone() },
        PruneOptions { repair: Some(Repair::Reconstruct), ..base.clone() },
        PruneOptions { allocation: Some(Allocation::Sensitivity), ..base },
    ];
    let methods = [Method::Sensitivity, Method::Snip, Method::Taylor, Method::Wanda, Method::Reconstruction];
    let methods = methods.map(|method| PruneOptions::new(method, 0.5));
    for options in needing.iter().chain(&methods) {
        assert!(matches!(plan(&dense, options), Err(PruneError::NeedsImages)), "{options:?}");
    }
}

#[test]
fn scores_that_compete_know_no_flops() {
    let dense = tiny(116);
    for method in [Method::Global, Method::Lamp, Method::Snip, Method::Reconstruction] {
        let options = PruneOptions { unit: Unit::Flops, ..PruneOptions::new(method, 0.5) };
        assert!(matches!(refused(&dense, &options), PruneError::Unit { .. }), "{method:?}");
    }
}

#[test]
fn plans_for_other_networks() {
    let dense = tiny(117);
    let fused = dense.fuse().unwrap();
    let other = random(Architecture::variant("yolov5n", Some(2)).unwrap(), 118);
    for repair in [Repair::None, Repair::Reconstruct] {
        let options = PruneOptions { repair: Some(repair), ..PruneOptions::new(Method::Layer, 0.5) };
        let plan = calibrated(&dense, &options, &raw_batches(119)).unwrap();
        let error = apply(&other, &plan).unwrap_err().to_string();
        assert!(error.starts_with("model.") && !error.contains('\n'), "{error}");
    }
    // The biases that were fitted are those of batch normalisation.
    let options = PruneOptions { repair: Some(Repair::Bias), ..PruneOptions::new(Method::Layer, 0.5) };
    let plan = calibrated(&dense, &options, &raw_batches(119)).unwrap();
    let error = apply(&*fused, &plan).unwrap_err().to_string();
    assert!(error.contains(".bn.bias"), "{error}");
}

#[test]
fn weights_that_are_not_numbers() {
    for value in [f32::NAN, f32::INFINITY] {
        let mut damaged = tiny(120);
        damaged.weights.get_mut("model.3.conv.weight").unwrap().f32s_mut().unwrap()[7] = value;
        for method in Method::ALL {
            let error = refused(&damaged, &PruneOptions::new(method, 0.5));
            let text = error.to_string();
            assert!(
                text.starts_with("model.3.conv.weight: 1 weights are NaN or infinite"),
                "{method:?}: {text}"
            );
        }
    }
}

/// Weights that are numbers and outputs that are none: a bias that is not looked at when weights are ranked, and one
/// so large that squares overflow.
#[test]
fn activations_that_are_not_numbers() {
    for value in [f32::NAN, f32::INFINITY, 1e30] {
        for (name, repair) in [("model.1.bn.bias", Repair::Reconstruct), ("model.1.bn.bias", Repair::Bias)] {
            let mut damaged = tiny(121);
            damaged.weights.get_mut(name).unwrap().f32s_mut().unwrap()[2] = value;
            for method in
                [Method::Layer, Method::Sensitivity, Method::Snip, Method::Wanda, Method::Reconstruction]
            {
                let options = PruneOptions { repair: Some(repair), ..PruneOptions::new(method, 0.5) };
                match calibrated(&damaged, &options, &raw_batches(111)) {
                    Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
                    Ok(plan) => {
                        assert!(value == 1e30, "{value} {method:?} {repair:?} went through");
                        let values = plan.updates.iter().flat_map(|update| &update.values);
                        assert!(values.clone().all(|value| value.is_finite()));
                    }
                }
            }
        }
    }
}

#[test]
fn tensors_that_are_missing() {
    let mut lacking = tiny(122);
    lacking.weights.remove("model.3.bn.running_var");
    for method in [Method::Layer, Method::Wanda, Method::Reconstruction] {
        let text = refused(&lacking, &PruneOptions::new(method, 0.5)).to_string();
        assert!(text.contains("model.3.bn.running_var"), "{text}");
    }
    let mut short = tiny(123);
    short.weights.insert("model.3.bn.weight", HostTensor::from_f32s(vec![3], vec![1.0; 3]));
    let text = refused(&short, &PruneOptions::new(Method::Reconstruction, 0.5)).to_string();
    assert!(text.contains("model.3.bn.weight"), "{text}");
}
