//! Data sets from archives to the layout that the yaml files expect.

use std::path::Path;

use yolo_fetch::coco::{Part, coco_parts, fetch_coco_subset, fetch_parts};
use yolo_fetch::{Algorithm, Artefact, Checksum, Confidence, Options, Size};

use crate::archives::zip;
use crate::server::{Reply, Server};
use crate::{assert_says, names, options, sha256};

fn labels() -> Vec<u8> {
    let list = b"./images/val2017/000000000139.jpg\n./images/val2017/000000000285.jpg\n";
    zip(&[
        ("coco/", b""),
        ("coco/README.txt", b"?"),
        ("coco/labels/val2017/000000000139.txt", b"0 .5 .5 1 1\n"),
        ("coco/labels/train2017/000000000009.txt", b"0 .5 .5 1 1\n"),
        ("coco/val2017.txt", list),
        ("coco/train2017.txt", b"./images/train2017/000000000009.jpg\n"),
    ])
}

fn annotations() -> Vec<u8> {
    zip(&[
        ("annotations/instances_val2017.json", b"{}"),
        ("annotations/instances_train2017.json", b"{}"),
        ("annotations/captions_val2017.json", b"{}"),
    ])
}

fn images() -> Vec<u8> {
    zip(&[("val2017/", b""), ("val2017/000000000139.jpg", b"139"), ("val2017/000000000285.jpg", b"285")])
}

fn archive(name: &str) -> Vec<u8> {
    match name {
        "coco2017labels.zip" => labels(),
        "annotations_trainval2017.zip" => annotations(),
        _ => images(),
    }
}

/// The parts of COCO, of our small archives at `server`.
fn small_parts(server: &Server, train: bool) -> Vec<Part> {
    let small = |part: Part| {
        let name = part.archive.name.clone();
        let bytes = archive(&name);
        let archive = Artefact {
            urls: vec![format!("{}/{name}", server.url)],
            size: Size::Exact(bytes.len() as u64),
            checksum: Some(Checksum::new(Algorithm::Sha256, &sha256(&bytes), Confidence::Many)),
            name,
        };
        Part { archive, unpacked_bytes: 1000, ..part }
    };
    let parts = coco_parts(train).into_iter().filter(|part| part.id != "images/train2017");
    parts.map(small).collect()
}

fn server() -> Server {
    Server::new(|_, asked| Reply::good(asked, &archive(asked.path.trim_start_matches('/')), "\"a\""))
}

fn assert_layout(dest: &Path) {
    assert_eq!(std::fs::read(dest.join("images/val2017/000000000285.jpg")).unwrap(), b"285");
    assert!(dest.join("labels/val2017/000000000139.txt").is_file());
    assert!(dest.join("val2017.txt").is_file());
    assert_eq!(std::fs::read(dest.join("annotations/instances_val2017.json")).unwrap(), b"{}");
    assert!(!dest.join("annotations/captions_val2017.json").exists());
    assert!(!dest.join("README.txt").exists());
}

#[test]
fn coco_lands_in_its_layout_once() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("coco");
    let report = fetch_parts(&dest, &small_parts(&server, false), &options().0, &mut |_| {}).unwrap();
    assert_eq!(report.unpacked, ["labels/val2017", "annotations/val2017", "images/val2017"]);
    assert_layout(&dest);
    assert!(!dest.join("labels/train2017").exists());
    assert_eq!(names(&dest.join(".yolo-fetch")), ["lock", "unpacked.json"]);
    assert_eq!(names(folder.path()), ["coco"]);
    // Again: nothing to do, even without the network.
    let offline = Options { offline: true, ..options().0 };
    let report = fetch_parts(&dest, &small_parts(&server, false), &offline, &mut |_| {}).unwrap();
    assert_eq!((report.unpacked.len(), report.were_there.len()), (0, 3));
    assert_eq!(server.asked().len(), 3);
    // What was deleted comes back, and nothing else is fetched.
    std::fs::remove_dir_all(dest.join("images")).unwrap();
    fetch_parts(&dest, &small_parts(&server, false), &options().0, &mut |_| {}).unwrap();
    assert_layout(&dest);
    assert_eq!(server.asked().len(), 4);
    // The training split is added from the archives it is in.
    let report = fetch_parts(&dest, &small_parts(&server, true), &options().0, &mut |_| {}).unwrap();
    assert_eq!(report.unpacked, ["labels/train2017", "annotations/train2017"]);
    assert!(dest.join("labels/train2017/000000000009.txt").is_file() && dest.join("train2017.txt").is_file());
}

#[test]
fn local_archives_are_used_where_they_lie() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let (dest, local) = (folder.path().join("coco"), folder.path().join("zips"));
    std::fs::create_dir(&local).unwrap();
    for name in ["coco2017labels.zip", "annotations_trainval2017.zip", "val2017.zip"] {
        std::fs::write(local.join(name), archive(name)).unwrap();
    }
    let options = Options { offline: true, local_files: vec![local.clone()], ..options().0 };
    fetch_parts(&dest, &small_parts(&server, false), &options, &mut |_| {}).unwrap();
    assert_layout(&dest);
    assert!(server.asked().is_empty());
    assert_eq!(names(&local).len(), 3);
    // A wrong one is refused, with its path.
    std::fs::remove_dir_all(&dest).unwrap();
    std::fs::write(local.join("val2017.zip"), "wrong").unwrap();
    let error = fetch_parts(&dest, &small_parts(&server, false), &options, &mut |_| {}).unwrap_err();
    assert_says(&error, &["zips/val2017.zip", "5 bytes"]);
    assert!(!dest.join("images").exists());
}

#[test]
fn everything_missing_is_named_offline_and_nothing_is_made() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("coco");
    let options = Options { offline: true, ..options().0 };
    let error = fetch_parts(&dest, &small_parts(&server, true), &options, &mut |_| {}).unwrap_err();
    let url = |name: &str| format!("{}/{name}", server.url);
    let urls = ["coco2017labels.zip", "annotations_trainval2017.zip", "val2017.zip"].map(url);
    assert_says(&error, &[&urls.join(" and ")]);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn an_interrupted_fetch_goes_on() {
    // The last archive is cut off until its URL is given up.
    let server = Server::new(|number, asked| {
        let body = archive(asked.path.trim_start_matches('/'));
        let reply = Reply::good(asked, &body, "\"a\"");
        if (2..5).contains(&number) { reply.cut_after(20) } else { reply }
    });
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("coco");
    let error = fetch_parts(&dest, &small_parts(&server, false), &options().0, &mut |_| {}).unwrap_err();
    assert_says(&error, &["val2017.zip", "cut after 60"]);
    assert!(!dest.join("images").exists() && dest.join("val2017.txt").is_file());
    let report = fetch_parts(&dest, &small_parts(&server, false), &options().0, &mut |_| {}).unwrap();
    assert_eq!(report.unpacked, ["images/val2017"]);
    assert_eq!(server.offsets().last(), Some(&Some(60)));
    assert_layout(&dest);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_links_to_another_disk_is_filled() {
    // Where there is no second disk, this is an ordinary link.
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(other.path(), folder.path().join("images")).unwrap();
    fetch_parts(folder.path(), &small_parts(&server, false), &options().0, &mut |_| {}).unwrap();
    assert_layout(folder.path());
    assert_eq!(names(&other.path().join("val2017")), ["000000000139.jpg", "000000000285.jpg"]);
}

#[test]
fn leftovers_of_an_interrupted_run_go() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("coco");
    let left = dest.join(".yolo-fetch/tmp-1-0/images/val2017");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("000000000139.jpg"), "half").unwrap();
    fetch_parts(&dest, &small_parts(&server, false), &options().0, &mut |_| {}).unwrap();
    assert_layout(&dest);
    assert_eq!(names(&dest.join(".yolo-fetch")), ["lock", "unpacked.json"]);
}

#[test]
fn a_data_set_that_was_there_is_recognised() {
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let mut part = small_parts(&server, false).remove(0);
    part.present = &[("labels/val2017", 2), ("val2017.txt", 1)];
    let labels = folder.path().join("labels/val2017");
    std::fs::create_dir_all(&labels).unwrap();
    for name in ["a.txt", "b.txt"] {
        std::fs::write(labels.join(name), "mine").unwrap();
    }
    std::fs::write(folder.path().join("val2017.txt"), "mine").unwrap();
    let report = fetch_parts(folder.path(), &[part], &options().0, &mut |_| {}).unwrap();
    assert_eq!(report.were_there, ["labels/val2017"]);
    assert!(server.asked().is_empty());
}

#[test]
fn a_subset_is_fetched_image_by_image() {
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path();
    fetch_parts(dest, &small_parts(&server(), false)[..2], &options().0, &mut |_| {}).unwrap();
    // Labels and annotations are there, so only the image is asked for: at the mirror first.
    let mirror = Server::new(|_, asked| Reply::good(asked, asked.path.as_bytes(), "\"a\""));
    let options = Options { mirror: Some(mirror.url.clone()), ..options().0 };
    for _ in 0..2 {
        let list = fetch_coco_subset(dest, 1, &options, &mut |_| {}).unwrap();
        assert_eq!(list, dest.join("val2017-1.txt"));
        assert_eq!(std::fs::read_to_string(list).unwrap(), "./images/val2017/000000000139.jpg\n");
        assert_eq!(names(&dest.join("images/val2017")), ["000000000139.jpg"]);
    }
    assert_eq!(mirror.asked().len(), 1);
    // A list that leads elsewhere is not followed.
    std::fs::write(dest.join("val2017.txt"), "./images/val2017/../../../evil.jpg\n").unwrap();
    let error = fetch_coco_subset(dest, 1, &options, &mut |_| {}).unwrap_err();
    assert_says(&error, &["val2017.txt", "names no image"]);
}
