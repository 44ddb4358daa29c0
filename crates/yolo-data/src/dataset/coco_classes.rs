//! COCO's 80 classes and the category ids that detections are written with.

pub use yolo_eval::coco::files::image_id;

/// Category id in COCO's annotation files of each of the 80 classes: 1…90 with ten ids unused.
pub const COCO80_TO_91: [u8; 80] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 31, 32,
    33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59,
    60, 61, 62, 63, 64, 65, 67, 70, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 84, 85, 86, 87, 88, 89, 90,
];

/// The names of COCO's 80 classes, in order of their index.
#[rustfmt::skip]
pub const COCO80_NAMES: [&str; 80] = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_one_to_ninety_without_the_ten_unused_ids() {
        let unused = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83];
        assert!((1..=90).filter(|id| !unused.contains(id)).eq(COCO80_TO_91));
    }

    #[test]
    fn image_ids_are_numeric_stems() {
        assert_eq!(image_id("000000000139"), Some(139));
        for stem in ["", "a1", "-1", "1.5", "+1", "99999999999999999999"] {
            assert_eq!(image_id(stem), None);
        }
    }
}
