//! A real cache in front of the server: nginx, which keeps whatever it may.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use crate::{
    house::{Credential, ENTRIES, House, OPEN},
    http1::{Answer, Connection},
    until,
};

/// nginx, killed when the test is over.
struct Proxy {
    child: Child,
    address: String,
}

impl Proxy {
    fn start(house: &House, upstream: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let folder = house.bench.path("proxy");
        fs::create_dir(&folder).unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
            .collect();
        let folder_name = folder.display();
        let settings = format!(
            "daemon off; master_process off; pid {folder_name}/pid; error_log stderr;
             events {{}}
             http {{
               access_log off;
               {temporary}
               proxy_cache_path {folder_name}/cache keys_zone=logs:1m;
               server {{
                 listen {address};
                 location / {{
                   proxy_pass http://{upstream};
                   proxy_cache logs;
                   add_header x-cache $upstream_cache_status always;
                 }}
               }}
             }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, settings).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(&file);
        let child = nginx.stdout(Stdio::null()).spawn().unwrap();
        until(|| TcpStream::connect(&address).is_ok());
        Self { child, address }
    }

    /// `GET` through the proxy: the answer, and what the proxy says of its cache.
    fn get(&self, target: &str, lines: &[&str]) -> (Answer, String) {
        let answer = Connection::plain(&self.address).get(target, lines);
        let cache = answer.header("x-cache").unwrap_or("-").to_owned();
        (answer, cache)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "needs nginx"]
fn a_cache_in_front_keeps_what_is_public_and_nothing_else() {
    let house = House::new();
    let [reader, appender] =
        [("reader", "read:*"), ("appender", "append:*")].map(|(name, grant)| Credential::new(name, &[grant]));
    house.know(&[&reader, &appender], "");
    let (before, after) = (OPEN.split("[tls]").next().unwrap(), OPEN.split("[access]").nth(1).unwrap());
    house.bench.write("graven.toml", format!("{before}[access]{after}"));
    let server = house.serve();
    let proxy = Proxy::start(&house, server.address());
    let get = |target: &str, lines: &[&str]| proxy.get(target, lines);

    // It is a cache: what is public and immutable comes from the server once.
    assert_eq!(get("/open/tile/0/000", &[]).1, "MISS");
    let (answer, cache) = get("/open/tile/0/000", &[]);
    assert_eq!((answer.status, cache.as_str()), (200, "HIT"));

    // What is private is kept from the cache, in whatever order people come.
    for target in ["/audit/tile/0/000", "/audit/tile/entries/000", "/audit/checkpoint"] {
        for _ in 0..3 {
            get(target, &[]).0.refused(401);
            let (answer, cache) = get(target, &[&reader.line()]);
            assert_eq!((answer.status, cache.as_str()), (200, "MISS"), "{target}");
            get(target, &[&appender.line()]).0.refused(403);
        }
    }
    // A token changes nothing about what is public: it may be kept, and holds nothing of the caller.
    assert_eq!(get("/open/tile/0/001.p/44", &[&reader.line()]).0.status, 200);
    assert_eq!(get("/open/tile/0/001.p/44", &[]).0.status, 200);

    // Each client gets an encoding that it understands.
    let (packed, _) = get("/open/tile/entries/000", &["accept-encoding: gzip"]);
    let (plain, _) = get("/open/tile/entries/000", &[]);
    assert_eq!((packed.header("content-encoding"), plain.header("content-encoding")), (Some("gzip"), None));
    assert!(plain.body.windows(9).any(|window| window == b"entry 255"));
    assert_eq!(get("/open/tile/entries/000", &[]).0.body, plain.body);
    let (again, _) = get("/open/tile/entries/000", &["accept-encoding: gzip"]);
    assert_eq!(again.body, packed.body);

    // A tile that is not there yet is there as soon as it is published, and the newest checkpoint is what is read.
    let next = format!("/open/tile/0/001.p/{}", ENTRIES - 256 + 1);
    for _ in 0..2 {
        get(&next, &[]).0.refused(404);
    }
    let head = get("/open/checkpoint", &[]).0.text();
    let mut append = house.bench.command(&format!("append --server {} --log open entries", server.url()));
    assert!(append.env("GRAVEN_TOKEN", &appender.token).status().unwrap().success());
    until(|| get("/open/checkpoint", &[]).0.text() != head);
    get(&next, &[]).0.served("public, max-age=31536000, immutable");
}
