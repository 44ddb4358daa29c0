//! Whole downloads, and servers that fail.

use std::sync::Arc;
use std::time::Duration;

use yolo_fetch::{Event, FetchError, Options, fetch, fetch_weights};

use crate::server::{Reply, Server};
use crate::{Place, assert_says, known, options, payload, sha256, unknown, word};

#[test]
fn a_file_arrives_and_is_not_asked_for_again() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    let mut events = Vec::new();
    let artefact = known(&server.urls());
    let mut note = |event: Event<'_>| {
        if let Event::Downloading { done, total, .. } = event {
            events.push((done, total));
        }
    };
    let fetched = fetch(&artefact, &place.dest, &options().0, &mut note).unwrap();
    assert_eq!((&fetched.path, fetched.was_there), (&place.dest, false));
    assert_eq!(fetched.sha256, sha256(&payload()));
    place.assert_complete();
    assert_eq!(events.first(), Some(&(0, Some(600_000))));
    assert_eq!(events.last(), Some(&(600_000, Some(600_000))));
    assert!(events.is_sorted());
    assert!(place.get(&artefact).unwrap().was_there);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn missing_folders_are_made() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    let dest = place.folder.path().join("a/b/file.bin");
    fetch(&known(&server.urls()), &dest, &options().0, &mut |_| {}).unwrap();
    assert!(std::fs::read(dest).unwrap() == payload());
}

#[test]
fn a_file_without_announced_length_arrives() {
    let server = Server::new(|_, _| Reply::new(200, &payload()).with("Content-Length", ""));
    let place = Place::new();
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    // Without a checksum nobody could tell half of it from all of it.
    let place = Place::new();
    let error = place.get(&unknown(&server.urls())).unwrap_err();
    assert_says(&error, &[&server.url, "does not say where the file ends"]);
    assert!(place.names().is_empty());
}

#[test]
fn chunks_arrive_whole_or_not_at_all() {
    let chunked = |end: &str| {
        let body = [b"927c0\r\n", payload().as_slice(), b"\r\n", end.as_bytes()].concat();
        Reply::new(200, &body).with("Content-Length", "").with("Transfer-Encoding", "chunked")
    };
    let server = Server::new(move |number, _| chunked(if number == 0 { "" } else { "0\r\n\r\n" }));
    let place = Place::new();
    place.get(&unknown(&server.urls())).unwrap();
    assert_eq!(server.asked().len(), 2);
    assert_eq!(place.names(), ["file.bin", "file.bin.sha256"]);
    assert!(std::fs::read(&place.dest).unwrap() == payload());
}

#[test]
fn server_errors_pass() {
    let server = Server::new(|number, asked| match number {
        0 => Reply::new(500, b"sorry"),
        1 => Reply::new(503, b"wait").with("Retry-After", "7"),
        _ => Reply::good(asked, &payload(), "\"a\""),
    });
    let place = Place::new();
    let (options, pauses) = options();
    fetch(&known(&server.urls()), &place.dest, &options, &mut |_| {}).unwrap();
    place.assert_complete();
    let pauses = pauses.lock().unwrap();
    assert!(pauses[0] >= Duration::from_millis(750) && pauses[0] <= Duration::from_millis(1250));
    assert_eq!(pauses[1..], [Duration::from_secs(7)]);
}

#[test]
fn three_server_errors_are_enough() {
    let server = Server::new(|_, _| Reply::new(500, b"sorry"));
    let place = Place::new();
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &[&server.urls()[0], "500", "run again"]);
    assert_eq!(server.asked().len(), 3);
    assert!(place.names().is_empty());
}

#[test]
fn not_found_is_final_and_the_next_url_is_taken() {
    let bad = Server::new(|_, _| Reply::new(404, b"no"));
    let good = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    let error = place.get(&known(&bad.urls())).unwrap_err();
    assert_says(&error, &[&bad.urls()[0], "404"]);
    assert!(place.names().is_empty());
    let mut words = Vec::new();
    let artefact = known(&[bad.urls(), good.urls()].concat());
    fetch(&artefact, &place.dest, &options().0, &mut |event| words.push(word(&event))).unwrap();
    assert_eq!(words[..2], ["next", "downloading"]);
    assert_eq!(bad.asked().len(), 2);
    place.assert_complete();
}

#[test]
fn a_given_mirror_comes_first() {
    let mirror = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let usual = Server::new(|_, _| Reply::new(404, b"no"));
    let place = Place::new();
    let options = Options { mirror: Some(format!("{}/coco/", mirror.url)), ..options().0 };
    fetch(&known(&usual.urls()), &place.dest, &options, &mut |_| {}).unwrap();
    assert_eq!(mirror.asked()[0].path, "/coco/file.bin");
    assert!(usual.asked().is_empty());
}

#[test]
fn a_refused_connection_is_an_error_of_one_line() {
    let place = Place::new();
    // Port 9 is for discarding, and closed.
    let error = place.get(&known(&["http://me:secret@127.0.0.1:9/file.bin".to_owned()])).unwrap_err();
    assert_says(&error, &["http://127.0.0.1:9/file.bin"]);
    assert!(!error.to_string().contains("secret"));
    assert!(place.names().is_empty());
}

#[test]
fn a_redirect_is_followed_anew_by_every_attempt() {
    let target = Server::new(|number, asked| {
        let reply = Reply::good(asked, &payload(), "\"a\"");
        if number == 0 { reply.cut_after(200_000) } else { reply }
    });
    let to = target.url.clone();
    let server = Server::new(move |number, _| Reply::redirect(&format!("{to}/signed-{number}")));
    let place = Place::new();
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    let paths: Vec<String> = target.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/signed-0", "/signed-1"]);
    assert_eq!(target.offsets(), [None, Some(200_000)]);
    assert_eq!(target.asked()[1].if_range.as_deref(), Some("\"a\""));
}

#[test]
fn redirects_in_circles_end() {
    let server = Server::new(|_, _| Reply::redirect("/file.bin"));
    let place = Place::new();
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &[&server.url, "circles"]);
    assert!(place.names().is_empty());
}

#[test]
fn a_wrong_file_of_the_right_size_is_refused() {
    let mut wrong = payload();
    wrong[300_000] ^= 1;
    let server = Server::new(move |_, asked| Reply::good(asked, &wrong, "\"a\""));
    let place = Place::new();
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &[&server.urls()[0], "SHA-256", &sha256(&payload())]);
    assert!(matches!(error, FetchError::Wrong { .. }));
    assert!(place.names().is_empty());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_file_of_the_wrong_size_is_refused_unread() {
    for size in [599_999, 600_001] {
        let body = [payload(), vec![0]].concat()[..size].to_vec();
        let server = Server::new(move |_, asked| Reply::good(asked, &body, "\"a\""));
        let place = Place::new();
        let error = place.get(&known(&server.urls())).unwrap_err();
        assert_says(&error, &[&server.url, &size.to_string(), "600000"]);
        assert!(place.names().is_empty());
    }
}

#[test]
fn a_body_without_end_is_refused() {
    let body = vec![7; 5_000_000];
    let server = Server::new(move |_, _| Reply::new(200, &body).with("Content-Length", ""));
    let place = Place::new();
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &[&server.url, "more than the 600000 bytes"]);
    assert!(place.names().is_empty());
    let body = vec![7; 5_000_000];
    let server = Server::new(move |_, _| Reply::new(200, &body));
    assert_says(&place.get(&unknown(&server.urls())).unwrap_err(), &["more than the 2000000 bytes"]);
}

#[test]
fn a_compressed_answer_is_refused() {
    let server = Server::new(|_, _| Reply::new(200, &payload()).with("Content-Encoding", "gzip"));
    let place = Place::new();
    assert_says(&place.get(&known(&server.urls())).unwrap_err(), &["compressed"]);
}

#[test]
fn a_full_disk_is_noticed_before_the_first_byte() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    let options = Options { free_space: Arc::new(|_| Some(600_000)), ..options().0 };
    let error = fetch(&known(&server.urls()), &place.dest, &options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, FetchError::DiskSpace { free: 600_000, .. }));
    assert_says(&error, &["600000 free"]);
    assert!(server.asked().is_empty());
    assert!(place.names().is_empty());
}

#[test]
fn nothing_is_asked_for_offline() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    let options = Options { offline: true, ..options().0 };
    let error = fetch(&known(&server.urls()), &place.dest, &options, &mut |_| {}).unwrap_err();
    assert_says(&error, &["file.bin", &server.url]);
    let error = fetch_weights("s", place.folder.path(), &options, &mut |_| {}).unwrap_err();
    assert_says(&error, &["yolov5s.pt", "https://github.com/"]);
    let error = fetch_weights("yolo12n", place.folder.path(), &options, &mut |_| {}).unwrap_err();
    assert_says(&error, &["yolo12n", "yolov5x6"]);
    assert!(server.asked().is_empty());
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);
}

#[test]
fn threads_at_once_download_once() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    let artefact = known(&server.urls());
    let were_there: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| place.get(&artefact).unwrap().was_there)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(were_there.iter().filter(|was_there| !**was_there).count(), 1);
    assert_eq!(server.asked().len(), 1);
    place.assert_complete();
}
