//! What is there already, local copies, and files nobody knows a checksum of.

use md5::{Digest, Md5};
use yolo_fetch::{Algorithm, Checksum, Confidence, FetchError, Options, fetch};

use crate::server::{Reply, Server};
use crate::{Place, assert_says, known, options, payload, sha256, unknown};

#[test]
fn another_file_in_its_place_is_left_alone() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    std::fs::write(&place.dest, "mine").unwrap();
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &["file.bin", "4 bytes instead of 600000", "left alone"]);
    assert_eq!(std::fs::read(&place.dest).unwrap(), b"mine");
    assert_eq!(place.names(), ["file.bin"]);
    assert!(server.asked().is_empty());
}

#[test]
fn the_first_download_is_recorded_and_later_ones_have_to_match() {
    let server = Server::new(|number, asked| {
        let mut body = payload();
        body[5] ^= u8::from(number == 1);
        Reply::good(asked, &body, &format!("\"{number}\""))
    });
    let place = Place::new();
    let artefact = unknown(&server.urls());
    place.get(&artefact).unwrap();
    let record = place.folder.path().join("file.bin.sha256");
    let line = format!("{}  file.bin\n", sha256(&payload()));
    assert_eq!(std::fs::read_to_string(&record).unwrap(), line);
    std::fs::remove_file(&place.dest).unwrap();
    let error = place.get(&artefact).unwrap_err();
    assert_says(&error, &[&server.url, &sha256(&payload()), "delete", "file.bin.sha256"]);
    assert_eq!(place.names(), ["file.bin.sha256"]);
    place.get(&artefact).unwrap();
    assert!(place.get(&artefact).unwrap().was_there);
    // The record also guards what lies there.
    std::fs::write(&place.dest, "changed").unwrap();
    assert_says(&place.get(&artefact).unwrap_err(), &["file.bin", "left alone"]);
}

#[test]
fn a_weak_checksum_is_checked_and_recorded() {
    let md5: String = Md5::digest(payload()).iter().map(|byte| format!("{byte:02x}")).collect();
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    let mut artefact = unknown(&server.urls());
    artefact.checksum = Some(Checksum::new(Algorithm::Md5, &md5, Confidence::Single));
    place.get(&artefact).unwrap();
    assert_eq!(place.names(), ["file.bin", "file.bin.sha256"]);
    // A wrong one says how to continue if only it is wrong.
    let place = Place::new();
    artefact.checksum = Some(Checksum::new(Algorithm::Md5, &"0".repeat(32), Confidence::Single));
    let error = place.get(&artefact).unwrap_err();
    let accept = format!("accept SHA-256 {}", sha256(&payload()));
    assert_says(&error, &["MD5", &md5, "one source", &accept]);
    assert!(place.names().is_empty());
    let options = Options { accept_sha256: vec![sha256(&payload())], ..options().0 };
    fetch(&artefact, &place.dest, &options, &mut |_| {}).unwrap();
    assert!(std::fs::read(&place.dest).unwrap() == payload());
}

#[test]
fn a_local_copy_is_checked_and_taken() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let local = elsewhere.path().join("file.bin");
    let artefact = known(&["http://127.0.0.1:9/file.bin".to_owned()]);
    for local_files in [vec![local.clone()], vec![elsewhere.path().to_owned()]] {
        let options = Options { offline: true, local_files, ..options().0 };
        std::fs::write(&local, "another").unwrap();
        let error = fetch(&artefact, &place.dest, &options, &mut |_| {}).unwrap_err();
        assert!(matches!(error, FetchError::Wrong { .. }), "{error}");
        assert_says(&error, &[&local.display().to_string()]);
        assert!(place.names().is_empty());
        std::fs::write(&local, payload()).unwrap();
        fetch(&artefact, &place.dest, &options, &mut |_| {}).unwrap();
        place.assert_complete();
        assert!(local.is_file());
        std::fs::remove_file(&place.dest).unwrap();
    }
}
