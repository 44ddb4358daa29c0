//! What can be downloaded: names, URLs, sizes and checksums.
//!
//! None of the publishers states checksums. Those here were observed; [`Confidence`] says by how many.

/// A file that can be downloaded and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// The file's name, without folders.
    pub name: String,
    /// Where it can be had, best first.
    pub urls: Vec<String>,
    /// How big it is.
    pub size: Size,
    /// What it hashes to. Where this is absent or no SHA-256, the SHA-256 of the first download is recorded in
    /// `NAME.sha256` and later downloads have to match it.
    pub checksum: Option<Checksum>,
}

/// The size of an [`Artefact`] in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Known to the byte; anything else is refused.
    Exact(u64),
    /// Known roughly: for the check of free space, and to refuse what is more than four times as big.
    About(u64),
}

impl Size {
    /// The bytes, or about the bytes.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Exact(bytes) | Self::About(bytes) => bytes,
        }
    }

    /// The bytes, where they are known exactly.
    pub fn exact(self) -> Option<u64> {
        match self {
            Self::Exact(bytes) => Some(bytes),
            Self::About(_) => None,
        }
    }

    /// The most bytes to accept.
    pub(crate) fn limit(self) -> u64 {
        match self {
            Self::Exact(bytes) => bytes,
            Self::About(bytes) => bytes.saturating_mul(4),
        }
    }
}

/// A checksum and how sure it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The function.
    pub algorithm: Algorithm,
    /// Its value in lower-case hexadecimal.
    pub hex: String,
    /// How many sources agree on it.
    pub confidence: Confidence,
}

/// A checksum's function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5: tells accidents, not attacks.
    Md5,
}

/// How many independent sources state a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// One.
    Single,
    /// Two or three.
    Few,
    /// More.
    Many,
}

/// Released weights by size letter: bytes, SHA-256, confidence.
const WEIGHTS: [(&str, u64, &str, Confidence); 5] = [
    ("n", 4_062_133, "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3", Confidence::Many),
    ("s", 14_808_437, "8b3b748c1e592ddd8868022e8732fde20025197328490623cc16c6f24d0782ee", Confidence::Many),
    ("m", 42_806_829, "61d933360ba5a7733a36764996c800287d973889d875227f5beedd2473a97a56", Confidence::Few),
    ("l", 93_622_629, "2f603b7354c25454d1270663a14d8ddc1eea98e5eebc1d84ce0c6e3150fa155f", Confidence::Few),
    ("x", 174_114_333, "9f27a794fa0308e2606f90565164571d6f0a0ba18a3ce2e5e5d323b71c157859", Confidence::Few),
];

/// The weights for 1280 pixels: about how many bytes. No checksum is known.
const WEIGHTS_P6: [(&str, u64); 5] =
    [("n6", 7_000_000), ("s6", 26_000_000), ("m6", 72_000_000), ("l6", 155_000_000), ("x6", 283_000_000)];

/// Released files of the Ultralytics family: what a name starts with, what follows the size's letter, the release that has
/// them, and about how many million bytes sizes n, s, m, l, x have. No checksum is known.
const SCALED: [(&str, &str, &str, [u64; 5]); 5] = [
    ("yolov8", "", "v8.3.0", [7, 23, 52, 88, 137]),
    ("yolo11", "", "v8.3.0", [6, 20, 41, 52, 115]),
    ("yolo26", "", "v8.4.0", [6, 21, 45, 54, 119]),
    ("yolov5", "u", "v8.3.0", [6, 19, 51, 107, 195]),
    ("yolov5", "6u", "v8.3.0", [9, 31, 83, 173, 312]),
];
const LETTERS: [&str; 5] = ["n", "s", "m", "l", "x"];
const SCALED_RELEASES: &str = "https://github.com/ultralytics/assets/releases/download";

const RELEASE: &str = "https://github.com/ultralytics/yolov5/releases/download/v7.0";
const MIRROR_OF_WEIGHTS: &str = "https://huggingface.co/Ultralytics/YOLOv5/resolve/main";
/// The plain host has no valid certificate, so the bucket's own address comes first.
const COCO_HOSTS: [&str; 2] =
    ["https://s3.amazonaws.com/images.cocodataset.org", "http://images.cocodataset.org"];
/// A copy of the archives whose checksums are the same.
const COCO_MIRROR: &str = "https://huggingface.co/datasets/pcuenq/coco-2017-mirror/resolve/a4cd8b69bd45a35e9a0a9c8692f3a7f4f23321fe";
const ASSETS: [&str; 2] = [
    "https://github.com/ultralytics/assets/releases/download/v0.0.0",
    "https://github.com/ultralytics/yolov5/releases/download/v1.0",
];

/// Every name that [`weights`] knows.
pub fn weight_names() -> impl Iterator<Item = String> {
    let letters = WEIGHTS.iter().map(|(letter, ..)| *letter);
    let yolov5 =
        letters.chain(WEIGHTS_P6.iter().map(|(letter, _)| *letter)).map(|letter| format!("yolov5{letter}"));
    let scaled = SCALED.iter().flat_map(|(prefix, suffix, ..)| {
        LETTERS.into_iter().map(move |letter| format!("{prefix}{letter}{suffix}"))
    });
    yolov5.chain(scaled)
}

/// A file of [`SCALED`].
fn scaled_weights(stem: &str) -> Option<Artefact> {
    SCALED.iter().find_map(|(prefix, suffix, release, sizes)| {
        let letter = stem.strip_prefix(prefix)?.strip_suffix(suffix)?;
        let size = sizes[LETTERS.iter().position(|known| *known == letter)?];
        let name = format!("{stem}.pt");
        let urls = vec![format!("{SCALED_RELEASES}/{release}/{name}")];
        Some(Artefact { name, urls, size: Size::About(size * 1_000_000), checksum: None })
    })
}

/// Released weights, by `yolov5n`, `yolov5n.pt` or `n`; sizes n, s, m, l, x and n6, s6, m6, l6, x6. Those of YOLOv8, YOLO11,
/// YOLO26 and YOLOv5u by their full names, `yolo11s`, `yolov5n6u.pt`.
pub fn weights(name: &str) -> Option<Artefact> {
    let stem = name.strip_suffix(".pt").unwrap_or(name);
    if let Some(scaled) = scaled_weights(stem) {
        return Some(scaled);
    }
    let letter = stem.strip_prefix("yolov5").unwrap_or(stem);
    let known = WEIGHTS.iter().find(|(known, ..)| *known == letter);
    let (size, checksum) = match known {
        Some((_, bytes, hex, confidence)) => {
            (Size::Exact(*bytes), Some(Checksum::new(Algorithm::Sha256, hex, *confidence)))
        }
        None => (Size::About(WEIGHTS_P6.iter().find(|(known, _)| *known == letter)?.1), None),
    };
    let file = format!("yolov5{letter}.pt");
    // What cannot be checked comes from the publisher only.
    let mirror = checksum.is_some().then_some(MIRROR_OF_WEIGHTS);
    let urls = std::iter::once(RELEASE).chain(mirror).map(|host| format!("{host}/{file}")).collect();
    Some(Artefact { name: file, urls, size, checksum })
}

/// `val2017.zip`: 5000 images.
pub fn coco_val_images() -> Artefact {
    let sha256 = "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05";
    coco("zips", "val2017.zip", 815_585_330, sha256)
}

/// `train2017.zip`: 118287 images.
pub fn coco_train_images() -> Artefact {
    let sha256 = "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929";
    coco("zips", "train2017.zip", 19_336_861_798, sha256)
}

/// `annotations_trainval2017.zip`: the JSON files of COCO.
pub fn coco_annotations() -> Artefact {
    let sha256 = "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268";
    coco("annotations", "annotations_trainval2017.zip", 252_907_541, sha256)
}

/// `coco2017labels.zip`: the boxes of COCO as YOLO label files, and the lists of images.
pub fn coco_labels() -> Artefact {
    let checksum = Checksum::new(Algorithm::Md5, "db23085d5ebf5d1ca33f304eab7bdd87", Confidence::Single);
    asset("coco2017labels.zip", Size::About(46_000_000), checksum)
}

/// `coco128.zip`: the first 128 images of COCO train2017, with labels.
pub fn coco128() -> Artefact {
    let sha256 = "61e5e3028863d8ffc3b81d6a514603954889f0edd5e4b44c4ce60b2da99aeb8e";
    asset("coco128.zip", Size::Exact(6_983_030), Checksum::new(Algorithm::Sha256, sha256, Confidence::Many))
}

/// A single image of COCO, for example `val2017/000000000139.jpg`. No checksum is known.
pub fn coco_image(split: &str, file: &str) -> Artefact {
    let urls = COCO_HOSTS.iter().map(|host| format!("{host}/{split}/{file}")).collect();
    Artefact { name: file.to_owned(), urls, size: Size::About(1 << 20), checksum: None }
}

fn coco(folder: &str, name: &str, bytes: u64, sha256: &str) -> Artefact {
    let official = COCO_HOSTS.iter().map(|host| format!("{host}/{folder}/{name}"));
    Artefact {
        name: name.to_owned(),
        urls: official.chain([format!("{COCO_MIRROR}/{name}")]).collect(),
        size: Size::Exact(bytes),
        checksum: Some(Checksum::new(Algorithm::Sha256, sha256, Confidence::Many)),
    }
}

fn asset(name: &str, size: Size, checksum: Checksum) -> Artefact {
    let urls = ASSETS.iter().map(|host| format!("{host}/{name}")).collect();
    Artefact { name: name.to_owned(), urls, size, checksum: Some(checksum) }
}

impl Checksum {
    /// A checksum of lower-case hexadecimal digits.
    pub fn new(algorithm: Algorithm, hex: &str, confidence: Confidence) -> Self {
        Self { algorithm, hex: hex.to_owned(), confidence }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn weights_are_found_by_letter_name_and_file() {
        let nano = weights("n").unwrap();
        assert_eq!(nano.urls[0], format!("{RELEASE}/yolov5n.pt"));
        assert_eq!(Some(&nano), weights("yolov5n").as_ref());
        assert_eq!(Some(&nano), weights("yolov5n.pt").as_ref());
        assert_eq!(weights("x6").unwrap().checksum, None);
        assert_eq!(weights("x6").unwrap().urls.len(), 1);
        for unknown in ["", "yolov5", "yolov8", "yolov8n6", "yolo12n", "n7", "../n", "yolov5n.pt.pt"] {
            assert_eq!(weights(unknown), None, "{unknown}");
        }
        let small = weights("yolo26s.pt").unwrap();
        assert_eq!(small.urls, [format!("{SCALED_RELEASES}/v8.4.0/yolo26s.pt")]);
        assert_eq!(weights("yolov5n6u").unwrap().name, "yolov5n6u.pt");
        assert!(weight_names().all(|name| weights(&name).is_some()));
    }

    #[test]
    fn checksums_are_well_formed() {
        let mut all =
            vec![coco_val_images(), coco_train_images(), coco_annotations(), coco_labels(), coco128()];
        all.extend(weight_names().filter_map(|name| weights(&name)));
        for artefact in all {
            assert!(artefact.urls.iter().all(|url| url.ends_with(&format!("/{}", artefact.name))));
            let Some(checksum) = artefact.checksum else { continue };
            let digits = match checksum.algorithm {
                Algorithm::Md5 => 32,
                Algorithm::Sha256 => 64,
                Algorithm::Sha512 => 128,
            };
            assert_eq!(checksum.hex.len(), digits, "{}", artefact.name);
            assert!(checksum.hex.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        }
    }
}
