//! Layer-wise reconstruction (experiment).
#![allow(missing_docs, clippy::unwrap_used)]

use burn::tensor::Device;
use rayon::prelude::*;
use std::collections::BTreeMap;
use yolo_model::Checkpoint;

use crate::calibration::{CalibrationImages, ConvValues, Moments, walk};
use crate::error::Result;
use crate::mask::Mask;

fn env(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Cholesky in place, lower, row-major n×n.
fn cholesky(a: &mut [f64], n: usize) {
    for j in 0..n {
        for i in j..n {
            let (ri, rj) = (i * n, j * n);
            let dot: f64 = a[ri..ri + j].iter().zip(&a[rj..rj + j]).map(|(x, y)| x * y).sum();
            if i == j {
                a[ri + j] = (a[ri + j] - dot).max(1e-30).sqrt();
            } else {
                a[ri + j] = (a[ri + j] - dot) / a[rj + j];
            }
        }
    }
}
fn solve(l: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        let dot: f64 = l[i * n..i * n + i].iter().zip(&b[..i]).map(|(x, y)| x * y).sum();
        b[i] = (b[i] - dot) / l[i * n + i];
    }
    for i in (0..n).rev() {
        b[i] /= l[i * n + i];
        let bi = b[i];
        for j in 0..i {
            b[j] -= l[i * n + j] * bi;
        }
    }
}

pub fn refit_masks(
    fused: &Checkpoint,
    masks: &BTreeMap<String, Mask>,
    images: &CalibrationImages,
    device: &Device,
) -> Result<BTreeMap<String, (Vec<f32>, Vec<f32>)>> {
    let lambda = env("LAMBDA", 0.01);
    let asym = env("ASYM", 1.0);
    let mode = env("MODE", 2.0); // 0 nothing, 1 bias only, 2 refit
    let mut out = BTreeMap::new();
    walk(fused, images, device, |visit| {
        let conv = visit.conv;
        let name = conv.weight();
        let Some(mask) = masks.get(&name) else { return Ok(None) };
        let w = fused.weights.f32s(&name)?;
        let b = fused.weights.f32s(&conv.bias())?;
        let t = std::time::Instant::now();
        let m = Moments::measure(&conv.spec, visit.dense, visit.pruned)?;
        let t1 = t.elapsed();
        let k = m.k;
        let rows = conv.spec.out_channels;
        let mean_diag = (0..k).map(|i| m.gram[i * k + i]).sum::<f64>() / k as f64;
        let lam = lambda * mean_diag + 1e-12;
        let mut g = m.gram.clone();
        for i in 0..k {
            g[i * k + i] += lam;
        }
        let gref = &g;
        let results: Vec<(Vec<f32>, f32)> = (0..rows)
            .into_par_iter()
            .map(|r| {
                let w0: Vec<f64> = w[r * k..(r + 1) * k].iter().map(|v| f64::from(*v)).collect();
                // rhs = w0 (C + lam I)
                let mut rhs = vec![0.0; k];
                let src = match (&m.cross, asym > 0.0) {
                    (Some(c), true) => c,
                    _ => &m.gram,
                };
                for i in 0..k {
                    if w0[i] != 0.0 {
                        let wi = w0[i];
                        for (x, c) in rhs.iter_mut().zip(&src[i * k..(i + 1) * k]) {
                            *x += wi * c;
                        }
                    }
                    rhs[i] += 0.0;
                }
                for i in 0..k {
                    rhs[i] += lam * w0[i];
                }
                let keep: Vec<usize> = (0..k).filter(|i| mask.keeps(r * k + i)).collect();
                let mut new = vec![0.0f64; k];
                if mode >= 2.0 {
                    let s = keep.len();
                    let mut a = vec![0.0; s * s];
                    for (ii, &i) in keep.iter().enumerate() {
                        for (jj, &j) in keep.iter().enumerate() {
                            a[ii * s + jj] = gref[i * k + j];
                        }
                    }
                    cholesky(&mut a, s);
                    let mut x: Vec<f64> = keep.iter().map(|&i| rhs[i]).collect();
                    solve(&a, s, &mut x);
                    for (ii, &i) in keep.iter().enumerate() {
                        new[i] = x[ii];
                    }
                } else {
                    for &i in &keep {
                        new[i] = w0[i];
                    }
                }
                let shift: f64 = if mode >= 1.0 {
                    (0..k).map(|i| w0[i] * m.dense_mean[i] - new[i] * m.mean[i]).sum()
                } else {
                    0.0
                };
                (new.iter().map(|v| *v as f32).collect(), (f64::from(b[r]) + shift) as f32)
            })
            .collect();
        let weight: Vec<f32> = results.iter().flat_map(|r| r.0.iter().copied()).collect();
        let bias: Vec<f32> = results.iter().map(|r| r.1).collect();
        if std::env::var("VERBOSE").is_ok() {
            eprintln!("{name} k {k} rows {rows} pruned {:.2} moments {t1:?} total {:?}", mask.pruned() as f64 / mask.len() as f64, t.elapsed());
        }
        out.insert(name, (weight.clone(), bias.clone()));
        Ok(Some(ConvValues { weight, bias }))
    })?;
    Ok(out)
}
