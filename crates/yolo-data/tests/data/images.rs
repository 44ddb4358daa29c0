//! Images against what OpenCV makes of the same bytes: decoding, resizing, letterboxing, loading.

mod decode;
mod geometry;
mod load;
mod resize;

use std::path::PathBuf;

/// FNV-1a, 64 bits, as hexadecimal digits: what the fixture generators write.
fn fnv1a64(data: impl IntoIterator<Item = u8>) -> String {
    let hash = data
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json(name: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
}

/// The small COCO subset, where this machine has it: `YOLO_COCO_TINY`, or the shared folder of the project.
fn coco_tiny() -> Option<PathBuf> {
    let root = std::env::var_os("YOLO_COCO_TINY")
        .map_or_else(|| PathBuf::from("/work/shared/data/coco-tiny"), PathBuf::from);
    if root.is_dir() {
        return Some(root);
    }
    eprintln!("skipped: no coco-tiny at {}; set YOLO_COCO_TINY", root.display());
    None
}
