//! The site of a log, on plain HTTP: it serves its files, or whatever a test wants instead.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What the site answers.
#[derive(Clone)]
pub(crate) enum Says {
    /// Its files, by their path.
    Files(HashMap<String, Vec<u8>>),
    /// These bytes, whatever is asked for.
    Bytes(Vec<u8>),
    /// Zeros without end.
    Endless,
    /// A byte now and then.
    Trickle,
}

pub(crate) struct Web {
    pub(crate) url: String,
    says: Arc<Mutex<Says>>,
}

impl Web {
    /// Serves for as long as the test runs.
    pub(crate) fn serve(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/log", listener.local_addr().unwrap());
        let web = Self { url, says: Arc::new(Mutex::new(says)) };
        let says = web.says.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let says = says.lock().unwrap().clone();
                thread::spawn(move || answer(&stream, &says));
            }
        });
        web
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

/// Whoever asked may hang up at any time.
fn answer(mut stream: &TcpStream, says: &Says) -> Option<()> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let path = head.first()?.split(' ').nth(1)?.strip_prefix("/log/")?;
    let mut send = |bytes: &[u8]| stream.write_all(bytes).ok();
    let body = match says {
        Says::Files(files) => files.get(path),
        Says::Bytes(bytes) => Some(bytes),
        Says::Endless | Says::Trickle => {
            send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            loop {
                if matches!(says, Says::Endless) {
                    send(&[0; 1 << 16])?;
                } else {
                    send(b"0")?;
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.map_or(&[][..], Vec::as_slice);
    let length = body.len();
    send(format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n").as_bytes())?;
    send(body)
}
