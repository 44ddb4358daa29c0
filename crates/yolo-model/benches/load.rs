//! How long a released checkpoint takes to read, and our own file of the same weights.

use std::collections::BTreeMap;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use yolo_model::weights::{FloatFormat, read_safetensors, read_torch, write_safetensors};

fn load(criterion: &mut Criterion) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/weights/yolov5n.pt");
    let Ok(checkpoint) = read_torch(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return;
    };
    criterion.bench_function("read_torch/yolov5n", |bencher| bencher.iter(|| read_torch(&path)));
    let Ok(folder) = tempfile::tempdir() else { return };
    let file = folder.path().join("yolov5n.safetensors");
    criterion.bench_function("write_safetensors/yolov5n/f16", |bencher| {
        bencher.iter(|| write_safetensors(&file, &checkpoint.state, &BTreeMap::new(), FloatFormat::F16));
    });
    criterion
        .bench_function("read_safetensors/yolov5n/f16", |bencher| bencher.iter(|| read_safetensors(&file)));
}

criterion_group!(benches, load);
criterion_main!(benches);
