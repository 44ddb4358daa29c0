//! What packing saves once weights are gone.

use yolo_model::Checkpoint;
use yolo_model::weights::{FloatFormat, PackOptions};
use yolo_prune::{Method, PruneOptions, Sparsity, apply, plan};

use super::network;

#[test]
fn packed_files_are_as_small_as_promised_and_give_every_bit_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    // Half precision, as released files have it.
    network().save(&path, FloatFormat::F16).unwrap();
    let dense = Checkpoint::load(&path).unwrap();
    for (amount, largest, largest_int8) in [(0.5, 0.62, 0.37), (0.75, 0.36, 0.24)] {
        let plan = plan(&dense, &PruneOptions::new(Method::Global, amount)).unwrap();
        let pruned = apply(&dense, &plan).unwrap();
        let dense_bytes = pruned.file_bytes(FloatFormat::F16).unwrap();
        pruned.save(&path, FloatFormat::F16).unwrap();
        assert_eq!(dense_bytes, std::fs::metadata(&path).unwrap().len());
        let ratio = |options: PackOptions| {
            pruned.save_packed(&path, options).unwrap();
            std::fs::metadata(&path).unwrap().len() as f64 / dense_bytes as f64
        };
        let int8 = ratio(PackOptions { int8: true, half: false });
        let zeros = |checkpoint: &Checkpoint| Sparsity::of(checkpoint).unwrap().conv_zeros;
        assert_eq!(zeros(&Checkpoint::load(&path).unwrap()), zeros(&pruned));
        let lossless = ratio(PackOptions::default());
        eprintln!("{amount}: {lossless:.4} of the dense file, {int8:.4} in eight bits");
        assert!(lossless <= largest && int8 <= largest_int8, "{lossless} {int8}");
        let back = Checkpoint::load(&path).unwrap();
        assert_eq!(back.pruning, pruned.pruning);
        assert_eq!(back.architecture, pruned.architecture);
        assert!(back.weights.names().eq(pruned.weights.names()));
        for ((name, a), (_, b)) in back.weights.iter().zip(pruned.weights.iter()) {
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            match (a.f32s(), b.f32s()) {
                (Ok(a), Ok(b)) => assert!(bits(a) == bits(b), "{name}"),
                _ => assert_eq!(a, b, "{name}"),
            }
        }
    }
}
