//! Interrupted downloads.

use yolo_fetch::{Event, Limits, Options, fetch};

use crate::server::{Asked, Reply, Server};
use crate::{Place, assert_says, known, options, payload, unknown};

#[test]
fn a_cut_connection_is_resumed() {
    let server = Server::new(|number, asked| {
        let reply = Reply::good(asked, &payload(), "\"a\"");
        if number < 2 { reply.cut_after(100_000) } else { reply }
    });
    for artefact in [known(&server.urls()), unknown(&server.urls())] {
        let place = Place::new();
        place.get(&artefact).unwrap();
        assert!(std::fs::read(&place.dest).unwrap() == payload());
    }
    assert_eq!(server.offsets()[..3], [None, Some(100_000), Some(200_000)]);
    assert_eq!(server.asked()[1].if_range.as_deref(), Some("\"a\""));
}

#[test]
fn a_stall_is_noticed_and_resumed() {
    let server = Server::new(|number, asked| {
        let reply = Reply::good(asked, &payload(), "\"a\"");
        if number == 0 { reply.silent_after(250_000) } else { reply }
    });
    let place = Place::new();
    let mut reasons = Vec::new();
    let mut note = |event: Event<'_>| {
        if let Event::Retrying { reason, .. } = event {
            reasons.push(reason.to_owned());
        }
    };
    let limits = Limits { read: std::time::Duration::from_millis(500), ..options().0.limits };
    let options = Options { limits, ..options().0 };
    fetch(&known(&server.urls()), &place.dest, &options, &mut note).unwrap();
    place.assert_complete();
    assert_eq!(server.offsets(), [None, Some(250_000)]);
    assert_eq!(reasons, ["no more bytes within the time limit after 250000 of 600000 bytes"]);
}

#[test]
fn what_an_earlier_run_left_is_resumed() {
    let server = Server::new(|number, asked| {
        let reply = Reply::good(asked, &payload(), "\"a\"");
        if number < 3 { reply.cut_after(50_000) } else { reply }
    });
    let place = Place::new();
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &[&server.url, "cut"]);
    assert_eq!(place.names(), ["file.bin.part", "file.bin.part.json"]);
    let part = std::fs::read(place.folder.path().join("file.bin.part")).unwrap();
    assert!(part == payload()[..150_000]);
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    assert_eq!(server.offsets()[3], Some(150_000));
}

#[test]
fn a_server_that_ignores_ranges_starts_over() {
    let server = Server::new(|_, _| Reply::new(200, &payload()).with("ETag", "\"a\""));
    let place = Place::new();
    place.leave_part(&payload()[..100_000], &server.urls()[0], Some("\"a\""));
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    assert_eq!(server.offsets(), [Some(100_000)]);
}

#[test]
fn a_changed_file_starts_over() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"new\""));
    let old = vec![9; 100_000];
    for artefact in [known(&server.urls()), unknown(&server.urls())] {
        let place = Place::new();
        place.leave_part(&old, &server.urls()[0], Some("\"old\""));
        place.get(&artefact).unwrap();
        assert!(std::fs::read(&place.dest).unwrap() == payload());
    }
    let asked = Asked {
        path: "/file.bin".to_owned(),
        range: Some("bytes=100000-".to_owned()),
        if_range: Some("\"old\"".to_owned()),
    };
    assert_eq!(server.asked(), [asked.clone(), asked]);
}

#[test]
fn a_server_that_ignores_if_range_is_caught() {
    // It sends the rest of a new file to follow the beginning of an old one.
    let server = Server::new(|_, asked| match asked.offset() {
        Some(offset) => Reply::rest(&payload(), offset).with("ETag", "\"new\""),
        None => Reply::new(200, &payload()).with("ETag", "\"new\""),
    });
    for artefact in [known(&server.urls()), unknown(&server.urls())] {
        let place = Place::new();
        place.leave_part(&[9; 100_000], &server.urls()[0], Some("\"old\""));
        place.get(&artefact).unwrap();
        assert!(std::fs::read(&place.dest).unwrap() == payload());
    }
}

#[test]
fn pieces_that_do_not_fit_are_thrown_away() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    // The right version by name, but other bytes: a damaged disk, for example.
    place.leave_part(&[9; 100_000], &server.urls()[0], Some("\"a\""));
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    assert_eq!(server.offsets(), [Some(100_000), None]);
}

#[test]
fn wrong_content_ranges_start_over() {
    for range in ["bytes 0-599999/600000", "bytes 99999-599999/600000", "bytes */600000", "", "x"] {
        let server = Server::new(move |_, asked| match asked.offset() {
            Some(offset) => Reply::rest(&payload(), offset).with("Content-Range", range),
            None => Reply::new(200, &payload()),
        });
        let place = Place::new();
        place.leave_part(&payload()[..100_000], &server.urls()[0], Some("\"a\""));
        place.get(&known(&server.urls())).unwrap();
        place.assert_complete();
        assert_eq!(server.offsets(), [Some(100_000), None], "{range}");
    }
}

#[test]
fn the_rest_of_a_file_of_another_size_is_refused() {
    let server = Server::new(|_, asked| {
        let range = format!("bytes {}-699999/700000", asked.offset().unwrap());
        Reply::rest(&payload(), 100_000).with("Content-Range", &range)
    });
    let place = Place::new();
    place.leave_part(&payload()[..100_000], &server.urls()[0], Some("\"a\""));
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &[&server.url, "700000 bytes instead of 600000"]);
    assert_eq!(place.names(), ["file.bin.part", "file.bin.part.json"]);
}

#[test]
fn bytes_of_another_run_are_not_taken_for_those_of_the_server() {
    // The server answers once with all of it, cut off, and the note must not outlive the bytes it was about.
    let server = Server::new(|_, _| Reply::new(200, &payload()).cut_after(0));
    let place = Place::new();
    place.leave_part(&payload()[..100_000], &server.urls()[0], Some("\"a\""));
    place.get(&unknown(&server.urls())).unwrap_err();
    assert!(place.names().is_empty());
}

/// The child of the next test: downloads until it is killed.
#[test]
fn child_that_downloads_until_it_is_killed() {
    let Ok(arguments) = std::env::var("YOLO_FETCH_TEST_CHILD") else { return };
    let (url, dest) = arguments.split_once('|').unwrap();
    let (mut options, _) = options();
    options.limits.read = std::time::Duration::from_secs(60);
    let _ = fetch(&known(&[url.to_owned()]), dest.as_ref(), &options, &mut |_| {});
}

struct KilledOnDrop(std::process::Child);

impl KilledOnDrop {
    fn kill(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn another_process_is_waited_for_and_its_part_is_resumed_when_it_is_killed() {
    let server = Server::new(|number, asked| {
        let reply = Reply::good(asked, &payload(), "\"a\"");
        if number == 0 { reply.silent_after(200_000) } else { reply }
    });
    let place = Place::new();
    let part = place.folder.path().join("file.bin.part");
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "resuming::child_that_downloads_until_it_is_killed"])
        .env("YOLO_FETCH_TEST_CHILD", format!("{}|{}", server.urls()[0], place.dest.display()))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut child = KilledOnDrop(child);
    let has_begun = || std::fs::metadata(&part).is_ok_and(|part| part.len() == 200_000);
    let begin = std::time::Instant::now();
    while !has_begun() {
        assert!(begin.elapsed().as_secs() < 20, "the child does not begin");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut was_waiting = false;
    let mut kill = |event: Event<'_>| {
        if let Event::Waiting { .. } = event {
            was_waiting = true;
            child.kill();
        }
    };
    fetch(&known(&server.urls()), &place.dest, &options().0, &mut kill).unwrap();
    assert!(was_waiting);
    place.assert_complete();
    assert_eq!(server.offsets(), [None, Some(200_000)]);
}

#[test]
fn a_part_that_was_not_asked_for_is_refused() {
    let server = Server::new(|_, _| Reply::rest(&payload(), 1000));
    let place = Place::new();
    let error = place.get(&known(&server.urls())).unwrap_err();
    assert_says(&error, &["other bytes than asked for"]);
    assert!(place.names().is_empty());
}

#[test]
fn out_of_range_is_complete_or_starts_over() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    // All of it is there; the size is not known, so the server is asked.
    let place = Place::new();
    place.leave_part(&payload(), "http://elsewhere/file.bin", None);
    let mut artefact = known(&server.urls());
    artefact.size = yolo_fetch::Size::About(600_000);
    place.get(&artefact).unwrap();
    place.assert_complete();
    assert_eq!(server.offsets(), [Some(600_000)]);
    // A server that does not have the bytes that are missing.
    let server = Server::new(|_, asked| match asked.offset() {
        Some(_) => Reply::out_of_range(50_000),
        None => Reply::new(200, &payload()),
    });
    let place = Place::new();
    place.leave_part(&payload()[..100_000], &server.urls()[0], Some("\"a\""));
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    assert_eq!(server.offsets(), [Some(100_000), None]);
}

#[test]
fn a_complete_part_needs_no_server() {
    let place = Place::new();
    let url = "http://127.0.0.1:9/file.bin";
    place.leave_part(&payload(), url, Some("\"a\""));
    place.get(&known(&[url.to_owned()])).unwrap();
    place.assert_complete();
}

#[test]
fn parts_that_cannot_be_continued_are_dropped() {
    let server = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    // Too long.
    let place = Place::new();
    place.leave_part(&vec![1; 700_000], &server.urls()[0], Some("\"a\""));
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    // Nothing says what it is of.
    let place = Place::new();
    std::fs::write(place.folder.path().join("file.bin.part"), [1; 1000]).unwrap();
    std::fs::write(place.folder.path().join("file.bin.part.json"), "half").unwrap();
    place.get(&known(&server.urls())).unwrap();
    place.assert_complete();
    // No checksum, and another URL or no version.
    for (url, etag) in [("http://elsewhere/file.bin", Some("\"a\"")), (&*server.urls()[0], None)] {
        let place = Place::new();
        place.leave_part(&[1; 1000], url, etag);
        place.get(&unknown(&server.urls())).unwrap();
        assert!(std::fs::read(&place.dest).unwrap() == payload());
    }
    assert_eq!(server.offsets(), [None; 4]);
}

#[test]
fn the_next_url_continues_what_the_first_began() {
    let first = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\"").cut_after(10_000));
    let second = Server::new(|_, asked| Reply::good(asked, &payload(), "\"b\""));
    let place = Place::new();
    place.get(&known(&[first.urls(), second.urls()].concat())).unwrap();
    place.assert_complete();
    assert_eq!(first.asked().len(), 3);
    assert_eq!(second.offsets(), [Some(30_000)]);
    assert_eq!(second.asked()[0].if_range, None);
}

#[test]
fn a_wrong_page_of_another_url_costs_nothing() {
    let page = Server::new(|_, _| Reply::new(200, b"<html>please log in</html>"));
    let good = Server::new(|_, asked| Reply::good(asked, &payload(), "\"a\""));
    let place = Place::new();
    place.leave_part(&payload()[..400_000], &good.urls()[0], Some("\"a\""));
    place.get(&known(&[page.urls(), good.urls()].concat())).unwrap();
    place.assert_complete();
    assert_eq!(good.offsets(), [Some(400_000)]);
}

#[test]
fn attempts_that_bring_much_do_not_count() {
    let server = Server::new(|_, asked| {
        let reply = Reply::good(asked, &payload(), "\"a\"");
        let missing = payload().len() - asked.offset().unwrap_or(0);
        reply.cut_after(missing.min(60_000))
    });
    let place = Place::new();
    let limits = Limits { progress_bytes: 50_000, ..options().0.limits };
    let options = Options { limits, ..options().0 };
    fetch(&known(&server.urls()), &place.dest, &options, &mut |_| {}).unwrap();
    place.assert_complete();
    assert_eq!(server.asked().len(), 10);
}

#[test]
fn starting_over_is_no_progress() {
    // It ignores ranges and never sends all: without a limit this would continue for ever.
    let server = Server::new(|_, _| Reply::new(200, &payload()).cut_after(500_000));
    let place = Place::new();
    let limits = Limits { progress_bytes: 50_000, ..options().0.limits };
    let options = Options { limits, ..options().0 };
    let error = fetch(&known(&server.urls()), &place.dest, &options, &mut |_| {}).unwrap_err();
    assert_says(&error, &["cut after 500000 of 600000 bytes"]);
    assert!(server.asked().len() <= 4);
}
