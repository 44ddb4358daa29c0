//! Moments against those of explicit columns.
#![allow(clippy::unwrap_used)]
use super::*;
use burn::tensor::{Device, TensorData};

/// Two batches of two and one image, 2 channels of 5×4.
fn batches(scale: f32) -> Vec<Tensor<4>> {
    let device = Device::flex();
    let batch = |n: usize, salt: usize| {
        let values: Vec<f32> = (0..n * 40)
            .map(|i| (((i * 37 + salt * 11) % 23) as f32 - 9.0) * scale + (i % 3) as f32)
            .collect();
        Tensor::from_data(TensorData::new(values, [n, 2, 5, 4]), &device)
    };
    vec![batch(2, 0), batch(1, 5)]
}

fn all_columns(batches: &[Tensor<4>], spec: &ConvSpec) -> Vec<Vec<f64>> {
    let mut all = Vec::new();
    for batch in batches {
        let values = host_values(batch.clone()).unwrap();
        for image in values.chunks(40) {
            let positions: Vec<usize> = (0..20).collect();
            let columns = columns(image, [5, 4], spec, &positions);
            for p in 0..20 {
                all.push((0..columns.rows).map(|row| f64::from(columns.values[row * 20 + p])).collect());
            }
        }
    }
    all
}

#[test]
fn moments_are_those_of_the_columns() {
    let spec = ConvSpec::new(2, 1, 3, 1);
    let (dense, pruned) = (batches(0.1), batches(0.07));
    let moments = Moments::measure(&spec, &dense, Some(&pruned)).unwrap();
    let (x, y) = (all_columns(&dense, &spec), all_columns(&pruned, &spec));
    let n = x.len() as f64;
    let mean = |c: &[Vec<f64>], i: usize| c.iter().map(|c| c[i]).sum::<f64>() / n;
    let second = |a: &[Vec<f64>], b: &[Vec<f64>], i: usize, j: usize| {
        let (ma, mb) = (mean(a, i), mean(b, j));
        a.iter().zip(b).map(|(a, b)| (a[i] - ma) * (b[j] - mb)).sum::<f64>() / n
    };
    for i in 0..18 {
        assert!((moments.mean[i] - mean(&y, i)).abs() < 1e-6);
        assert!((moments.dense_mean[i] - mean(&x, i)).abs() < 1e-6);
        let square = y.iter().map(|c| c[i] * c[i]).sum::<f64>() / n;
        assert!((moments.mean_squares()[i] - square).abs() < 1e-5);
        for j in 0..18 {
            assert!((moments.gram[i * 18 + j] - second(&y, &y, i, j)).abs() < 1e-5);
            let cross = moments.cross.as_ref().unwrap()[i * 18 + j];
            assert!((cross - second(&x, &y, i, j)).abs() < 1e-5);
        }
    }
}
