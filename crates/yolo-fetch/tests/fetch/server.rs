//! An HTTP server on the loopback whose every answer is made to order.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was asked: the path and the two headers that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) if_range: Option<String>,
}

impl Asked {
    /// First byte of the range asked for.
    pub(crate) fn offset(&self) -> Option<usize> {
        let range = self.range.as_deref()?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// An answer.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Sent before the connection is closed or falls silent.
    sent: usize,
    silence: Duration,
}

impl Reply {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        let reply = Self { status, sent: body.len(), body: body.to_vec(), ..Self::default() };
        reply.with("Content-Length", &body.len().to_string())
    }

    /// What a good server answers: the range asked for, unless the file is not `etag` any more.
    pub(crate) fn good(asked: &Asked, body: &[u8], etag: &str) -> Self {
        let is_same = asked.if_range.as_deref().is_none_or(|version| version == etag);
        let reply = match asked.offset().filter(|_| is_same) {
            Some(offset) if offset >= body.len() => Self::out_of_range(body.len()),
            Some(offset) => Self::rest(body, offset),
            None => Self::new(200, body),
        };
        reply.with("ETag", etag)
    }

    pub(crate) fn rest(body: &[u8], offset: usize) -> Self {
        let range = format!("bytes {offset}-{}/{}", body.len() - 1, body.len());
        Self::new(206, &body[offset..]).with("Content-Range", &range)
    }

    pub(crate) fn out_of_range(total: usize) -> Self {
        Self::new(416, b"").with("Content-Range", &format!("bytes */{total}"))
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::new(302, b"").with("Location", to)
    }

    /// Sets a header, or removes it if `value` is empty.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Closes the connection after `n` bytes of the body.
    pub(crate) fn cut_after(self, n: usize) -> Self {
        Self { sent: n, ..self }
    }

    /// Falls silent after `n` bytes of the body.
    pub(crate) fn silent_after(self, n: usize) -> Self {
        Self { sent: n, silence: Duration::from_secs(5), ..self }
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} Made to order\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(&self.body[..self.sent])?;
        stream.flush()?;
        std::thread::sleep(self.silence);
        Ok(())
    }
}

/// A running server; it ends with the test's process.
pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers each request, of which it is told the number, as `answer` says.
    pub(crate) fn new(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &noted, &*answer));
            }
        });
        Self { url, asked }
    }

    /// URLs of one file here.
    pub(crate) fn urls(&self) -> [String; 1] {
        [format!("{}/file.bin", self.url)]
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// First bytes of the ranges asked for, request by request.
    pub(crate) fn offsets(&self) -> Vec<Option<usize>> {
        self.asked().iter().map(Asked::offset).collect()
    }
}

fn serve(mut stream: TcpStream, noted: &Mutex<Vec<Asked>>, answer: &dyn Fn(usize, &Asked) -> Reply) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let mut asked = Asked { path, ..Asked::default() };
    for line in lines {
        let Ok(line) = line else { return };
        match line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())) {
            Some((name, value)) if name == "range" => asked.range = Some(value),
            Some((name, value)) if name == "if-range" => asked.if_range = Some(value),
            Some(_) => {}
            None => break,
        }
    }
    let number = {
        let mut noted = noted.lock().unwrap();
        noted.push(asked.clone());
        noted.len() - 1
    };
    // A client that hung up is what some tests are about.
    let _ = answer(number, &asked).send(&mut stream);
}
