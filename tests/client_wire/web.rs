//! Auditing a log by its tiles on the web: from a good site, and from sites that fail, lie and lead astray.

use std::{
    convert::Infallible,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use graven_client::{
    BearerToken, ClientIdentity, ConnectError, DialError, RetryPolicy, RootCertificates, Roots, TlsProblem,
    WebError, WebOptions, WebSite,
    audit::{self, Finding, MAX_RESOURCE_BYTES, SiteError, TileSource},
};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};

use crate::{
    certificates::Ca,
    raw,
    site::Site,
    tls::{Asks, ShownCertificate, serve},
};

const SECRET: &str = "gvn_0123456789abcdef";

type Body = BoxBody<Bytes, Infallible>;

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Answers instead of the folder, where it has an answer to this path.
type Quirk = Arc<dyn Fn(&str) -> Option<Response<Body>> + Send + Sync>;

/// A web server over a log's folder.
#[derive(Clone)]
struct Web {
    folder: PathBuf,
    quirk: Quirk,
    delay: Duration,
    seen: Arc<Mutex<Seen>>,
}

/// What it was asked.
#[derive(Default)]
struct Seen {
    paths: Vec<String>,
    headers: Vec<HeaderMap>,
    certificates: Vec<bool>,
    under_way: usize,
    most_under_way: usize,
}

impl Web {
    fn new(site: &Site) -> Self {
        let (folder, seen) = (site.folder().to_owned(), Arc::default());
        Self { folder, quirk: Arc::new(|_| None), delay: Duration::ZERO, seen }
    }

    fn with(self, quirk: impl Fn(&str) -> Option<Response<Body>> + Send + Sync + 'static) -> Self {
        Self { quirk: Arc::new(quirk), ..self }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn asked_for(&self, path: &str) -> usize {
        self.seen().paths.iter().filter(|asked| *asked == path).count()
    }

    async fn serve(&self) -> SocketAddr {
        serve(tower::service_fn(self.handler()), None).await
    }

    /// Serves by TLS, under the name `localhost`.
    async fn serve_tls(&self, ca: &Ca, asks: Asks<'_>, protocols: &[&str]) -> String {
        let config = ca.issue("localhost").server(asks, protocols);
        let address = serve(tower::service_fn(self.handler()), Some(config)).await;
        format!("https://localhost:{}", address.port())
    }

    fn handler(&self) -> impl Fn(Request<Incoming>) -> Answering + Clone + Send + use<> {
        let web = self.clone();
        move |request| {
            let web = web.clone();
            Box::pin(async move { Ok(web.answer(request).await) })
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        {
            let mut seen = self.seen();
            seen.paths.push(path.clone());
            seen.headers.push(request.headers().clone());
            seen.certificates.push(request.extensions().get() == Some(&ShownCertificate(true)));
            seen.under_way += 1;
            seen.most_under_way = seen.most_under_way.max(seen.under_way);
        }
        tokio::time::sleep(self.delay).await;
        self.seen().under_way -= 1;
        (self.quirk)(&path).unwrap_or_else(|| match fs::read(self.folder.join(&path)) {
            Ok(bytes) if path.starts_with("tile/entries/") => gzipped(&bytes),
            Ok(bytes) => whole(bytes),
            Err(_) => status(404),
        })
    }
}

fn whole(bytes: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(bytes.into()).boxed())
}

fn gzipped(bytes: &[u8]) -> Response<Body> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    let mut response = whole(encoder.finish().unwrap());
    response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    response
}

fn status(status: u16) -> Response<Body> {
    let mut response = whole("no log is this long a text");
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn with(mut response: Response<Body>, name: &'static str, value: &str) -> Response<Body> {
    response.headers_mut().insert(name, value.parse().unwrap());
    response
}

fn redirect(to: &str) -> Response<Body> {
    with(status(302), "location", to)
}

/// A body without an end, and without a length.
fn endless() -> Response<Body> {
    let frames = std::iter::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[7; 65_536]))));
    Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed())
}

fn options() -> WebOptions {
    let retries =
        RetryPolicy { attempts: 3, first_delay: Duration::from_millis(5), ..RetryPolicy::default() };
    WebOptions { retries, ..WebOptions::default() }
}

fn trusting(ca: &Ca) -> WebOptions {
    let roots = RootCertificates::from_pem(ca.pem().as_bytes()).unwrap();
    WebOptions { roots: Roots::Only(roots), ..options() }
}

fn with_token(options: WebOptions) -> WebOptions {
    WebOptions { token: Some(BearerToken::new(SECRET).unwrap()), ..options }
}

async fn audit(url: &str, site: &Site, options: WebOptions) -> Result<u64, SiteError> {
    let (source, trust) = (WebSite::new(url, options).unwrap(), site.trust());
    let audit = move || audit::site(&source, &trust, |_| ()).map(|audited| audited.entries());
    tokio::task::spawn_blocking(audit).await.unwrap()
}

/// Fetches one resource, and what went wrong with it.
async fn fetch(url: &str, options: WebOptions) -> Result<Option<Vec<u8>>, WebError> {
    let source = WebSite::new(url, options).unwrap();
    let fetched = tokio::task::spawn_blocking(move || source.fetch("checkpoint")).await.unwrap();
    fetched.map_err(|error| *error.into_inner().unwrap().downcast().unwrap())
}

/// The same, without saying how often it was tried.
async fn failure(url: &str, options: WebOptions) -> WebError {
    match fetch(url, options).await.unwrap_err() {
        WebError::Repeated { last, .. } => *last,
        once => once,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_the_web_passes_over_every_protocol() {
    let (site, ca) = (Site::new(20_000), Ca::new());
    let web = Web::new(&site);
    let plain = format!("http://{}", web.serve().await);
    assert_eq!(audit(&plain, &site, options()).await.unwrap(), 20_000);
    assert_eq!(audit(&format!("{plain}/"), &site, options()).await.unwrap(), 20_000);
    for protocols in [&["h2", "http/1.1"][..], &["http/1.1"], &[]] {
        let url = web.serve_tls(&ca, Asks::No, protocols).await;
        assert_eq!(audit(&url, &site, trusting(&ca)).await.unwrap(), 20_000, "{protocols:?}");
    }
    let seen = web.seen();
    assert!(seen.headers.iter().all(|headers| headers["accept-encoding"] == "gzip"));
    assert!(
        seen.headers.iter().all(|headers| headers["user-agent"].to_str().unwrap().starts_with("graven-"))
    );
    assert!(seen.headers.iter().all(|headers| !headers.contains_key("authorization")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_site_serves_is_checked() {
    let site = Site::new(700);
    let url = format!("http://{}", Web::new(&site).serve().await);
    site.change("tile/entries/001", |bytes| bytes[5] ^= 1);
    let error = audit(&url, &site, options()).await.unwrap_err();
    assert!(matches!(&error, SiteError::Found(found) if found.first_index() == Some(256)), "{error}");
    site.change("tile/entries/001", |bytes| bytes.truncate(100));
    let error = audit(&url, &site, options()).await.unwrap_err();
    assert!(
        matches!(&error, SiteError::Found(found) if matches!(**found, Finding::Bundle { .. })),
        "{error}"
    );
    fs::remove_file(site.path("checkpoint")).unwrap();
    let error = audit(&url, &site, options()).await.unwrap_err();
    assert!(matches!(&error, SiteError::Found(found) if **found == Finding::NoCheckpoint), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_tiles_stand_in_for_partial_ones_that_are_gone() {
    let (small, large) = (Site::new(700), Site::new(768));
    for path in ["tile/entries/002", "tile/0/002"] {
        small.write(path, &fs::read(large.path(path)).unwrap());
        fs::remove_file(small.path(&format!("{path}.p/188"))).unwrap();
    }
    let gone = Web::new(&small).with(|path| path.starts_with("tile/0/002.p").then(|| status(410)));
    let url = format!("http://{}", gone.serve().await);
    assert_eq!(audit(&url, &small, options()).await.unwrap(), 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_not_bound_by_one_answer_after_the_other() {
    let site = Site::new(64 * 256);
    let web = Web { delay: Duration::from_millis(20), ..Web::new(&site) };
    let url = format!("http://{}", web.serve().await);
    assert_eq!(audit(&url, &site, options()).await.unwrap(), 64 * 256);
    let most = web.seen().most_under_way;
    // The one more is for the tiles above.
    assert!((16..=options().in_flight + 1).contains(&most), "{most} at once");
    let few = WebOptions { in_flight: 2, ..options() };
    web.seen().most_under_way = 0;
    assert_eq!(audit(&url, &site, few).await.unwrap(), 64 * 256);
    assert!((2..=3).contains(&web.seen().most_under_way));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_busy_is_asked_again_when_it_says() {
    let site = Site::new(700);
    let tried = Arc::new(Mutex::new(0));
    let web = Web::new(&site).with(move |path| {
        let mut tried = tried.lock().unwrap();
        *tried += u32::from(path == "tile/entries/001");
        match (path, *tried) {
            ("tile/entries/001", 1) => Some(status(503)),
            ("tile/entries/001", 2) => Some(with(status(429), "retry-after", "1")),
            _ => None,
        }
    });
    let url = format!("http://{}", web.serve().await);
    let begun = Instant::now();
    assert_eq!(audit(&url, &site, options()).await.unwrap(), 700);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(web.asked_for("tile/entries/001"), 3);

    // Not for ever, not where it would take too long, and not where it is no use.
    for (code, after, attempts, says) in [
        (500, "0", 3, "500 Internal Server Error, after 3 attempts"),
        (503, "86400", 1, "503 Service Unavailable"),
        (401, "0", 1, "401 Unauthorized: give a token"),
        (403, "0", 1, "403 Forbidden: what was given"),
    ] {
        let busy = Web::new(&site).with(move |_| Some(with(status(code), "retry-after", after)));
        let error = audit(&format!("http://{}", busy.serve().await), &site, options()).await.unwrap_err();
        assert!(matches!(error, SiteError::Io { .. }) && error.to_string().contains(says), "{error}");
        assert_eq!(busy.asked_for("checkpoint"), attempts);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_bounded_as_sent_and_as_unpacked() {
    let site = Site::new(3);
    let answers: [fn() -> Response<Body>; 3] =
        [endless, || whole(vec![0; MAX_RESOURCE_BYTES + 1]), || gzipped(&vec![0; MAX_RESOURCE_BYTES + 1])];
    for answer in answers {
        let web = Web::new(&site).with(move |_| Some(answer()));
        let error = fetch(&format!("http://{}", web.serve().await), options()).await.unwrap_err();
        assert!(matches!(error, WebError::TooLong(_)), "{error}");
        assert_eq!(web.asked_for("checkpoint"), 1);
    }
    for answer in [|| whole(vec![0; 1001]), || gzipped(&[0; 1001])] {
        let web = Web::new(&site).with(move |_| Some(answer()));
        let short = WebOptions { longest_bytes: 1000, ..options() };
        let error = fetch(&format!("http://{}", web.serve().await), short).await.unwrap_err();
        assert!(matches!(error, WebError::TooLong(1000)), "{error}");
    }
    let odd = Web::new(&site).with(|_| Some(with(whole("x"), "content-encoding", "br")));
    let error = failure(&format!("http://{}", odd.serve().await), options()).await;
    assert!(matches!(&error, WebError::Encoding(named) if named == "br"), "{error}");
    let damaged = Web::new(&site).with(|_| Some(with(whole("no gzip"), "content-encoding", "gzip")));
    let error = failure(&format!("http://{}", damaged.serve().await), options()).await;
    assert!(matches!(error, WebError::Gzip(_)), "{error}");

    let head = format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(1 << 20));
    let error = failure(&format!("http://{}", raw::saying(head).await), options()).await;
    assert!(matches!(error, WebError::Interrupted(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_or_never_comes_is_no_answer() {
    let short = raw::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
    let error = fetch(&format!("http://{short}"), options()).await.unwrap_err();
    let WebError::Repeated { attempts: 3, last } = &error else { panic!("{error}") };
    assert!(matches!(**last, WebError::Interrupted(_)), "{error}");

    let slow = Web { delay: Duration::from_secs(60), ..Web::new(&Site::new(1)) };
    let hasty = WebOptions { attempt_timeout: Duration::from_millis(50), ..options() };
    let error = failure(&format!("http://{}", slow.serve().await), hasty).await;
    assert!(matches!(error, WebError::TimedOut(_)), "{error}");
    assert_eq!(slow.asked_for("checkpoint"), 3);

    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = failure(&format!("http://{free}"), options()).await;
    assert!(matches!(error, WebError::Dial(DialError::Unreachable(_))), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_to_the_site_and_to_nobody_else() {
    let (site, ca, clients) = (Site::new(700), Ca::new(), Ca::new());
    // Wherever it leads: another port is another site.
    let trap = Web::new(&site);
    let elsewhere = trap.serve_tls(&ca, Asks::For(&clients), &["h2"]).await;
    let target = elsewhere.clone();
    let web = Web::new(&site).with(move |path| match path {
        "tile/entries/001" => Some(redirect(&format!("{target}/{path}?signature=1"))),
        "tile/0/001" => Some(redirect("/moved/tile/0/001")),
        _ => None,
    });
    site.write("moved/tile/0/001", &fs::read(site.path("tile/0/001")).unwrap());
    let url = web.serve_tls(&ca, Asks::For(&clients), &["h2"]).await;
    let shown = clients.issue("auditor");
    let identity = ClientIdentity::from_pem(shown.certificate.as_bytes(), shown.key.as_bytes()).unwrap();
    let options = WebOptions { identity: Some(identity), ..with_token(trusting(&ca)) };
    assert!(!format!("{options:?}").contains(SECRET));
    assert_eq!(audit(&url, &site, options).await.unwrap(), 700);

    let (home, away) = (web.seen(), trap.seen());
    let expected = format!("Bearer {SECRET}");
    assert!(home.headers.iter().all(|headers| headers["authorization"] == expected.as_str()));
    assert!(home.certificates.iter().all(|shown| *shown));
    assert_eq!(home.paths.iter().filter(|path| *path == "moved/tile/0/001").count(), 1);
    assert_eq!(away.paths, ["tile/entries/001"]);
    assert!(!away.headers[0].contains_key("authorization") && !away.certificates[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_end_and_never_lead_to_plaintext() {
    let (site, ca) = (Site::new(3), Ca::new());
    let trap = Web::new(&site);
    let plain = format!("http://{}/checkpoint", trap.serve().await);
    let web = Web::new(&site).with(move |_| Some(redirect(&plain)));
    let url = web.serve_tls(&ca, Asks::No, &["h2"]).await;
    let error = failure(&url, with_token(trusting(&ca))).await;
    assert!(matches!(error, WebError::RedirectedToPlaintext(_)), "{error}");
    assert_eq!(trap.seen().paths.len(), 0);

    // Without encryption there is nothing to lose, except the token.
    let plain = format!("http://localhost:{}/checkpoint", trap.serve().await.port());
    let web = Web::new(&site).with(move |_| Some(redirect(&plain)));
    let url = format!("http://{}", web.serve().await);
    assert!(fetch(&url, with_token(options())).await.unwrap().is_some());
    assert!(web.seen().headers[0].contains_key("authorization"));
    assert!(!trap.seen().headers[0].contains_key("authorization"));

    let circle = Web::new(&site).with(|_| Some(redirect("/checkpoint")));
    let error = failure(&format!("http://{}", circle.serve().await), options()).await;
    assert!(matches!(error, WebError::TooManyRedirects), "{error}");
    assert_eq!(circle.asked_for("checkpoint"), 6);
    let nowhere = Web::new(&site).with(|_| Some(status(301)));
    let error = failure(&format!("http://{}", nowhere.serve().await), options()).await;
    assert!(matches!(error, WebError::RedirectedNowhere), "{error}");
    let file = Web::new(&site).with(|_| Some(redirect("file:///etc/passwd")));
    let error = failure(&format!("http://{}", file.serve().await), options()).await;
    assert!(matches!(error, WebError::Address(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_needs_https_and_a_site_that_is_believed() {
    let refused = |url: &str, options| WebSite::new(url, options).unwrap_err();
    let far = "http://log.example.com/audit";
    assert!(matches!(refused(far, with_token(options())), ConnectError::TokenInPlaintext(_)));
    // Without one, plaintext is fine: an audit checks what comes.
    WebSite::new(far, options()).unwrap();
    assert!(matches!(refused("log.example.com", options()), ConnectError::Address(_)));
    assert!(matches!(refused("ftp://log.example.com", options()), ConnectError::Scheme(_)));

    let (web, ca) = (Web::new(&Site::new(3)), Ca::new());
    let url = web.serve_tls(&ca, Asks::No, &["h2"]).await;
    let error = failure(&url, with_token(trusting(&Ca::new()))).await;
    assert!(matches!(error, WebError::Dial(DialError::Tls(TlsProblem::Untrusted))), "{error}");
    assert_eq!(web.seen().paths.len(), 0);
}
