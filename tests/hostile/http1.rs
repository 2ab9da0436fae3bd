//! HTTP/1.1 by hand: what is sent is what is written, byte for byte.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Anything that bytes go over.
pub(crate) trait Wire: Read + Write {}

impl<T: Read + Write> Wire for T {}

/// A connection that is kept.
pub(crate) struct Connection(BufReader<Box<dyn Wire>>);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A TCP connection on which nothing waits for ever.
pub(crate) fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl Connection {
    pub(crate) fn new(wire: impl Wire + 'static) -> Self {
        Self(BufReader::new(Box::new(wire)))
    }

    /// To a server without TLS.
    pub(crate) fn plain(address: &str) -> Self {
        Self::new(dial(address))
    }

    /// `GET target`, with further header lines.
    pub(crate) fn get(&mut self, target: &str, headers: &[&str]) -> Answer {
        self.ask("GET", target, headers)
    }

    pub(crate) fn ask(&mut self, method: &str, target: &str, headers: &[&str]) -> Answer {
        let answer = self.try_ask(method, target, headers);
        answer.unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub(crate) fn try_ask(&mut self, method: &str, target: &str, headers: &[&str]) -> io::Result<Answer> {
        let headers: String = headers.iter().flat_map(|line| [line, "\r\n"]).collect();
        self.send(format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes())?;
        self.receive(method != "HEAD")
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)?;
        self.0.get_mut().flush()
    }

    /// Reads one answer.
    pub(crate) fn receive(&mut self, with_body: bool) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if with_body && !matches!(status, 204 | 304) {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
                let at = body.len();
                body.resize(at + length, 0);
                self.0.read_exact(&mut body[at..])?;
                self.line()?;
                if length == 0 {
                    return Ok(body);
                }
            }
        }
        let length = answer.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        body.resize(length, 0);
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    /// A header's value; several are joined as HTTP says.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All that is said of caching, in one text.
    pub(crate) fn caching(&self) -> String {
        let said = self.headers.iter().filter(|(name, _)| name == "cache-control");
        said.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// An error that no cache may keep.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        self.uncached();
    }

    /// Nothing that any cache may keep, and no success.
    #[track_caller]
    pub(crate) fn uncached(&self) {
        assert!(self.status >= 400, "{self:?}");
        assert_eq!(self.caching(), "no-store", "{self:?}");
        for name in ["expires", "etag", "last-modified", "age"] {
            assert!(self.header(name).is_none(), "{name}: {self:?}");
        }
    }

    /// A resource, with all that caches are told about it.
    #[track_caller]
    pub(crate) fn served(&self, caching: &str) {
        assert_eq!((self.status, self.caching().as_str()), (200, caching), "{self:?}");
        assert!(!self.body.is_empty());
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
