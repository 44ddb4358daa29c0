//! Known weights that are not here: downloaded, checked, kept.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::{Case, Outcome, shared};
use crate::training_support::{files, shapes};

/// A server on the loopback that answers every request with one file, and refuses to be a proxy.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn new(file: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that went away is no matter.
                let _ = answer(stream.unwrap(), &file, &noted);
            }
        });
        Self { url, asked }
    }

    /// The paths that were asked for.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A run that finds this server as the mirror, and as the proxy on the way to all others.
    fn run(&self, case: &Case, args: &str) -> Outcome {
        let variables = [
            ("YOLO_MIRROR", format!("{}/", self.url)),
            ("ALL_PROXY", self.url.clone()),
            ("HTTPS_PROXY", self.url.clone()),
            ("HTTP_PROXY", self.url.clone()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ];
        case.run_with(&args.split_whitespace().collect::<Vec<_>>(), &variables)
    }
}

fn answer(mut stream: TcpStream, file: &[u8], asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut words = request.split(' ');
    if words.next() != Some("GET") {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    asked.lock().unwrap().push(words.next().unwrap_or_default().to_owned());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(file)
}

/// Weights below the cache, as `NAME`; the lock does not count.
fn cached(case: &Case) -> Vec<String> {
    let all = files(case, "cache").into_keys();
    all.filter(|name| name.contains("yolov5") || name.ends_with(".part")).collect()
}

#[test]
fn offline_says_where_it_looked_and_what_to_do() {
    let case = shapes(2, 2);
    for command in ["train", "prune-finetune"] {
        let args = format!("{command} --weights yolov5n --data in/shapes/demo.yaml --imgsz 64 --offline");
        let parts = ["yolov5n: no such file", "weights/yolov5n.pt", "without --offline downloads it"];
        case.run(&args).fails(&parts);
    }
    case.run("info --weights yolov5n --offline").fails(&["yolov5n: no such file", "--offline"]);
    case.run("info --weights yolov9 --offline").fails(&["yolov9: no such file; check --weights"]);
}

#[test]
fn a_wrong_file_is_refused_and_not_kept() {
    let case = Case::empty();
    // The right size, so that only the checksum tells.
    let server = Server::new(vec![7; 4_062_133]);
    let outcome = server.run(&case, "info --weights yolov5n");
    outcome.fails(&["yolov5n", "its download failed", &server.url, "SHA-256"]);
    assert_eq!(server.asked(), ["/yolov5n.pt"]);
    assert!(cached(&case).is_empty(), "{:?}", cached(&case));
}

#[test]
fn the_right_file_is_used_and_downloaded_once() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let case = shapes(2, 2);
    let server = Server::new(std::fs::read(&weights).unwrap());
    let info = server.run(&case, "info --weights yolov5n --json").ok().shows(&["downloading it to"]);
    assert_eq!(info.json()["model"]["parameters"], 1_872_157);
    assert_eq!(server.asked(), ["/yolov5n.pt"]);
    let [kept] = &cached(&case)[..] else { panic!("{:?}", cached(&case)) };
    assert!(Path::new(kept).ends_with("weights/yolov5n.pt"));
    assert!(case.read(&format!("cache/{kept}")) == std::fs::read(&weights).unwrap());
    for name in ["yolov5n", "yolov5n.pt"] {
        let again = server.run(&case, &format!("info --weights {name} --json")).ok();
        assert_eq!(again.json()["model"], info.json()["model"]);
        case.run(&format!("info --weights {name} --offline")).ok();
    }
    let train = "train --weights yolov5n.pt --data in/shapes/demo.yaml --imgsz 64 --epochs 1 --batch-size 2";
    server.run(&case, train).ok().shows(&["Transferred 342 of 349 tensors", "Results saved"]);
    assert_eq!(server.asked().len(), 1, "downloaded again");
}

#[test]
fn weights_in_the_folder_weights_come_first() {
    let Some(weights) = shared("weights/yolov5n.pt") else { return };
    let case = Case::empty();
    case.write("weights/yolov5n.pt", std::fs::read(weights).unwrap());
    let info = case.run("info --weights yolov5n --json --offline").ok().json();
    assert_eq!(info["model"]["weights"], "weights/yolov5n.pt");
}
