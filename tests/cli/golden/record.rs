//! Golden files: reading, comparing, rewriting.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Values of a map that are written out beside its digest.
const SHOWN: usize = 12;

fn golden(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(path)
}

/// Whether files are written instead of compared.
pub(super) fn updates() -> bool {
    std::env::var("YOLO_UPDATE_GOLDENS").is_ok_and(|value| value == "1")
}

/// The text of a golden file.
pub(super) fn recorded(path: &str) -> String {
    let text = std::fs::read_to_string(golden(path));
    text.unwrap_or_else(|error| panic!("tests/golden/{path}: {error}; YOLO_UPDATE_GOLDENS=1 writes it"))
}

fn update(path: &str, text: &str) {
    let file = golden(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

/// Asserts that a file holds `text`, or writes it.
pub(super) fn compare_text(path: &str, text: &str) {
    if updates() {
        return update(path, text);
    }
    let expected = recorded(path);
    if expected == text {
        return;
    }
    let lines = expected.lines().zip(text.lines()).enumerate();
    let different = lines.into_iter().find(|(_, (was, is))| was != is);
    let (was, is) = (expected.lines().count(), text.lines().count());
    match different {
        Some((index, (was, is))) => {
            panic!("tests/golden/{path}:{}: it was\n{was}\nand is\n{is}", index + 1)
        }
        None => panic!("tests/golden/{path}: it had {was} lines and has {is}"),
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file with a digest per line.
pub(super) struct Digests {
    path: &'static str,
    lines: BTreeMap<String, String>,
}

impl Digests {
    pub(super) fn new(path: &'static str) -> Self {
        Self { path, lines: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, name: &str, bytes: &[u8]) {
        self.lines.insert(name.to_owned(), sha256(bytes));
    }

    pub(super) fn compare(&self) {
        let lines: String = self.lines.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        compare_text(self.path, &lines);
    }
}

/// Numbers that depend on the processor, in a file whose first line names the one that wrote it.
pub(super) struct Figures {
    path: &'static str,
    tolerance: f64,
    /// Compared on the same processor only.
    exact: Vec<(String, String)>,
    /// Compared everywhere.
    near: Vec<(String, Vec<f64>)>,
}

impl Figures {
    pub(super) fn new(path: &'static str, tolerance: f64) -> Self {
        Self { path, tolerance, exact: Vec::new(), near: Vec::new() }
    }

    /// A map: digest of its little-endian bytes, some of its values.
    pub(super) fn add(&mut self, name: &str, dims: &[usize; 4], values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add_text(name, &format!("{dims:?} {}", sha256(&bytes)));
        let step = values.len().div_ceil(SHOWN);
        let shown: Vec<f64> = values.iter().step_by(step).map(|value| f64::from(*value)).collect();
        self.add_numbers(name, &shown);
    }

    pub(super) fn add_text(&mut self, name: &str, text: &str) {
        self.exact.push((name.to_owned(), text.to_owned()));
    }

    pub(super) fn add_numbers(&mut self, name: &str, numbers: &[f64]) {
        self.near.push((name.to_owned(), numbers.to_vec()));
    }

    pub(super) fn compare(&self) {
        let mut text = format!("processor: {}\n", processor());
        for (name, line) in &self.exact {
            let _ = writeln!(text, "{name}: {line}");
        }
        for (name, numbers) in &self.near {
            let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
            let _ = writeln!(text, "{name} ~ {}", numbers.join(" "));
        }
        if updates() || recorded(self.path).lines().next() == text.lines().next() {
            return compare_text(self.path, &text);
        }
        eprintln!("tests/golden/{} is of another processor: numbers are compared, bytes are not", self.path);
        self.compare_numbers(&recorded(self.path));
    }

    fn compare_numbers(&self, recorded: &str) {
        let expected: BTreeMap<&str, Vec<f64>> = recorded
            .lines()
            .filter_map(|line| line.split_once(" ~ "))
            .map(|(name, numbers)| (name, numbers.split(' ').map(|n| n.parse().unwrap()).collect()))
            .collect();
        assert_eq!(expected.len(), self.near.len(), "tests/golden/{}", self.path);
        for (name, numbers) in &self.near {
            let expected = &expected[name.as_str()];
            assert_eq!(expected.len(), numbers.len(), "{name}");
            for (was, is) in expected.iter().zip(numbers) {
                let near = (was - is).abs() <= self.tolerance * was.abs().max(1.0);
                assert!(near, "tests/golden/{}: {name}: it was {was} and is {is}", self.path);
            }
        }
    }
}

/// What decides the last bits of a sum: vector unit, model, and the sizes of the caches, by which matrix products are
/// cut into blocks.
fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let caches: Vec<String> = (0..4)
        .filter_map(|index| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
            std::fs::read_to_string(path).ok().map(|size| size.trim().to_owned())
        })
        .collect();
    format!(
        "{}, {} {} {}, caches {}",
        yolo_runtime::Isa::detect(),
        field("vendor_id"),
        field("cpu family"),
        field("model"),
        caches.join(" ")
    )
}
