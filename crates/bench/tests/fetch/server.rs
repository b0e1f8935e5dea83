//! A file server on 127.0.0.1 that misbehaves as told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What it serves, and how badly.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub body: Vec<u8>,
    /// Named with each answer; `If-Range` is held against it.
    pub etag: Option<String>,
    /// Answers every request with all of the body.
    pub ignores_range: bool,
    /// Cuts the connection after this many bytes of the body, as often as the number says.
    pub cut: Option<(usize, usize)>,
    /// Answers this instead, as often as the number says.
    pub status: Option<(u16, usize)>,
    /// Where every path but `/file` leads.
    pub redirect: Option<String>,
    /// Leaves out `Content-Length`.
    pub hides_length: bool,
    /// Waits before each 4 KiB.
    pub pause: Duration,
}

impl Behaviour {
    pub fn of(body: &[u8]) -> Self {
        Self {
            body: body.to_vec(),
            etag: None,
            ignores_range: false,
            cut: None,
            status: None,
            redirect: None,
            hides_length: false,
            pause: Duration::ZERO,
        }
    }
}

/// Stops when dropped.
pub struct Server {
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let shared = (behaviour.clone(), requests.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let (behaviour, requests, stop) = shared;
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (behaviour, requests) = (behaviour.clone(), requests.clone());
                std::thread::spawn(move || {
                    // The client may go away at any time; that is what some tests are about.
                    let _ = serve(stream.unwrap(), &behaviour, &requests);
                });
            }
        });
        Self {
            address,
            behaviour,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Behaves differently from now on.
    pub fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    /// The headers of every request so far, in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    behaviour: &Mutex<Behaviour>,
    requests: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut text = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        text += &line.to_ascii_lowercase();
        text.push('\n');
    }
    requests.lock().unwrap().push(text.clone());
    let b = {
        let mut b = behaviour.lock().unwrap();
        let now = b.clone();
        if let Some((_, times)) = &mut b.status {
            *times = times.saturating_sub(1);
        } else if let Some((_, times)) = &mut b.cut {
            *times = times.saturating_sub(1);
        }
        now
    };
    answer(stream, &text, &b)
}

fn answer(mut stream: TcpStream, request: &str, b: &Behaviour) -> std::io::Result<()> {
    if let (Some(to), false) = (&b.redirect, request.starts_with("get /file ")) {
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        );
    }
    if let Some((status, 1..)) = b.status {
        return write!(
            stream,
            "HTTP/1.1 {status} So It Is\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsad\n"
        );
    }
    let header = |name: &str| {
        let line = request.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    let current = header("if-range:").is_none_or(|tag| Some(tag) == b.etag);
    let start = header("range:")
        .filter(|_| current && !b.ignores_range)
        .and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
    let total = b.body.len();
    let etag = (b.etag.as_ref()).map_or_else(String::new, |etag| format!("ETag: {etag}\r\n"));
    let from = start.unwrap_or(0);
    if from > 0 && from >= total {
        return write!(
            stream,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let (status, range) = match start {
        Some(from) => (
            "206 Partial Content",
            format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1),
        ),
        None => ("200 OK", String::new()),
    };
    let length = if b.hides_length {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", total - from)
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{etag}{range}{length}Connection: close\r\n\r\n"
    )?;
    let mut body = &b.body[from..];
    if let Some((bytes, 1..)) = b.cut {
        body = &body[..bytes.min(body.len())];
    }
    for chunk in body.chunks(4096) {
        std::thread::sleep(b.pause);
        stream.write_all(chunk)?;
    }
    Ok(())
}
