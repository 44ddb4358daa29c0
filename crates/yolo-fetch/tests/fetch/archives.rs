//! Unpacking: good archives, broken ones and hostile ones.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use yolo_fetch::extract::{Extracted, extract};
use yolo_fetch::{FetchError, Options};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::{assert_says, names, options};

/// A zip archive of these entries; names that end in `/` are folders.
pub(crate) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in entries {
        if name.ends_with('/') {
            writer.add_directory(*name, deflated).unwrap();
        } else {
            writer.start_file(*name, deflated).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// `bytes` with every `from` replaced, as a hostile writer would put names that ours refuses.
fn forged(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut forged = bytes.to_vec();
    let places: Vec<usize> =
        (0..=bytes.len() - from.len()).filter(|i| bytes[*i..].starts_with(from)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|i| forged[i..i + to.len()].copy_from_slice(to));
    forged
}

struct Unpacking {
    folder: tempfile::TempDir,
    dest: PathBuf,
}

impl Unpacking {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dest = folder.path().join("data");
        Self { folder, dest }
    }

    fn run(&self, archive: &[u8], options: &Options) -> yolo_fetch::Result<Extracted> {
        let path = self.folder.path().join("a.zip");
        std::fs::write(&path, archive).unwrap();
        extract(&path, &self.dest, &|name| Some(PathBuf::from(name)), options, &mut |_| {})
    }

    fn refuse(&self, archive: &[u8], says: &[&str]) {
        let error = self.run(archive, &options().0).unwrap_err();
        assert!(matches!(error, FetchError::Archive { .. }), "{error}");
        assert_says(&error, &[&["a.zip"], says].concat());
        assert!(!self.dest.exists() || names(&self.dest).is_empty(), "{:?}", names(&self.dest));
        let around = names(self.folder.path());
        assert!(around.iter().all(|name| ["a.zip", "data"].contains(&&**name)), "{around:?}");
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn an_archive_is_unpacked_and_nothing_else_is_left() {
    let unpacking = Unpacking::new();
    let archive = zip(&[("a/", b""), ("a/b/1.txt", b"one"), ("a/b/2.txt", b"two"), ("top.txt", b"")]);
    let extracted = unpacking.run(&archive, &options().0).unwrap();
    let files: Vec<_> = extracted.files.iter().map(|(path, n)| (path.to_str().unwrap(), *n)).collect();
    assert_eq!(files, [("", 1), ("a/b", 2)]);
    assert!(extracted.kept.is_empty());
    assert_eq!(names(&unpacking.dest), ["a", "top.txt"]);
    assert_eq!(read(&unpacking.dest.join("a/b/2.txt")), "two");
}

#[test]
fn files_that_were_there_stay() {
    let unpacking = Unpacking::new();
    std::fs::create_dir_all(unpacking.dest.join("a")).unwrap();
    for (name, content) in [("a/same.txt", "same"), ("a/edited.txt", "mine"), ("a/other.txt", "other")] {
        std::fs::write(unpacking.dest.join(name), content).unwrap();
    }
    let archive =
        zip(&[("a/same.txt", b"same"), ("a/edited.txt", b"ours"), ("a/new.txt", b"new"), ("b/1.txt", b"1")]);
    let extracted = unpacking.run(&archive, &options().0).unwrap();
    assert_eq!(extracted.kept, [unpacking.dest.join("a/edited.txt")]);
    assert_eq!(read(&unpacking.dest.join("a/edited.txt")), "mine");
    assert_eq!(read(&unpacking.dest.join("a/new.txt")), "new");
    assert_eq!(names(&unpacking.dest.join("a")), ["edited.txt", "new.txt", "other.txt", "same.txt"]);
    assert_eq!(names(&unpacking.dest), ["a", "b"]);
}

#[test]
fn a_file_where_a_folder_should_be_is_an_error() {
    let unpacking = Unpacking::new();
    std::fs::create_dir_all(&unpacking.dest).unwrap();
    std::fs::write(unpacking.dest.join("a"), "mine").unwrap();
    let error = unpacking.run(&zip(&[("a/1.txt", b"1")]), &options().0).unwrap_err();
    assert_says(&error, &["data/a", "out of the way"]);
    assert_eq!(read(&unpacking.dest.join("a")), "mine");
    assert_eq!(names(&unpacking.dest), ["a"]);
}

#[test]
fn entries_that_point_outside_are_refused() {
    let unpacking = Unpacking::new();
    let archive = zip(&[("good.txt", b"good"), ("aa/bb/evil.txt", b"evil")]);
    for evil in ["../../evil.txt", "/a/bb/evil.txt", "aa/../evil.txt", "C:\\bb/evil.txt", "..\\bb/evil.txt"] {
        unpacking.refuse(&forged(&archive, b"aa/bb/evil.txt", evil.as_bytes()), &["evil.txt", "outside"]);
    }
}

#[test]
fn links_are_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc", SimpleFileOptions::default()).unwrap();
    let archive = writer.finish().unwrap().into_inner();
    Unpacking::new().refuse(&archive, &["link", "not a plain file"]);
}

#[test]
fn names_are_taken_once() {
    let archive = zip(&[("1.txt", b"one"), ("2.txt", b"two")]);
    let unpacking = Unpacking::new();
    // The reader takes the last of two equal names, or we refuse; either way no file is written twice.
    match unpacking.run(&forged(&archive, b"2.txt", b"1.txt"), &options().0) {
        Ok(extracted) => assert_eq!(extracted.files.values().sum::<usize>(), 1),
        Err(error) => assert_says(&error, &["twice"]),
    }
}

#[test]
fn truncated_and_damaged_archives_are_refused() {
    let text: Vec<u8> = (0..5000u32).flat_map(|i| i.to_string().into_bytes()).collect();
    let archive = zip(&[("1.txt", &text), ("2.txt", &text)]);
    let unpacking = Unpacking::new();
    for n in [0, 10, archive.len() / 2, archive.len() - 1] {
        unpacking.refuse(&archive[..n], &["zip"]);
    }
    let mut damaged = archive.clone();
    damaged[200] ^= 0xff;
    unpacking.refuse(&damaged, &["1.txt"]);
}

#[test]
fn more_bytes_than_declared_are_refused() {
    let text = vec![b'x'; 5000];
    let archive = zip(&[("1.txt", &text)]);
    // 5000 as the archive spells it, in both places.
    let lying = forged(&archive, &5000u32.to_le_bytes(), &100u32.to_le_bytes());
    Unpacking::new().refuse(&lying, &["1.txt"]);
    let lying = forged(&archive, &5000u32.to_le_bytes(), &5001u32.to_le_bytes());
    Unpacking::new().refuse(&lying, &["1.txt"]);
}

#[test]
fn archives_that_grow_absurdly_are_refused() {
    let zeros = vec![0; 80 << 20];
    Unpacking::new().refuse(&zip(&[("1.txt", &zeros)]), &["claim to hold"]);
}

#[test]
fn a_full_disk_is_noticed_before_unpacking() {
    let unpacking = Unpacking::new();
    let options = Options { free_space: Arc::new(|_| Some(1000)), ..options().0 };
    let error = unpacking.run(&zip(&[("1.txt", b"one")]), &options).unwrap_err();
    assert!(matches!(error, FetchError::DiskSpace { .. }));
    assert!(names(&unpacking.dest).is_empty());
}
