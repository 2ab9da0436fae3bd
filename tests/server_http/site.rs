//! The logs as files.

use std::io::Read as _;
use std::time::Duration;

use graven_log::{Kind, LogName, Visibility};
use graven_merkle::tile::{BundlePath, EntryBundle, tiles};
use graven_merkle::{NodeId, leaf_hash, node_hash};
use graven_proto::v1;

use crate::raw::{Answer, get, request};
use crate::service::{Service, entry, until};

const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A server with an empty private log, `audit`, and a public one of `count` entries.
async fn with_public(count: u64) -> Service {
    let service = Service::start().await;
    let name = LogName::new("open").unwrap();
    let log = service.engine.create_log(&name, Kind::Bytes, Visibility::Public).unwrap();
    let entries: Vec<_> = (0..count).map(entry).collect();
    // Bundle by bundle, so that what is sealed is let go from memory.
    for batch in entries.chunks(256) {
        let request =
            v1::AppendBatchRequest { log: "open".to_owned(), entries: batch.to_vec(), ..Default::default() };
        service.client().append_batch(request).await.unwrap();
    }
    service.engine.published(&log, count).await.unwrap();
    service
}

#[tokio::test]
async fn everything_within_the_published_tree_is_there_and_nothing_else() {
    let service = with_public(700).await;
    let at = service.address();
    let log = service.engine.log("open").unwrap();
    let head = log.head();
    let size = head.size();
    // Sealed or not, the answers are the same.
    for sealed in [0, 512] {
        until(|| log.sealed_size() >= sealed).await;
        let note = get(at, "/open/checkpoint", &[]).await;
        assert_eq!((note.status, &note.body[..]), (200, &head.note[..]));
        assert_eq!(note.header("content-type").unwrap(), "text/plain; charset=utf-8");
        assert_eq!(note.header("cache-control").unwrap(), "no-cache");

        let mut paths = 0;
        for tile in tiles(size) {
            let found = found(&get(at, &format!("/open/{tile}"), &[]).await, IMMUTABLE);
            let row: Vec<u8> = tile.node_ids().flat_map(|id| *hash(id).as_bytes()).collect();
            assert!(found == row, "{tile}");
            paths += 1;
        }
        assert_eq!(paths, 4);
        // Any narrower tile is there too: a checkpoint of that size was published once, or could have been.
        for (width, bundle) in [1, 44, 188, 255].map(|width| (width, BundlePath::new(2, width).unwrap())) {
            let at_most = u64::from(width) <= size.get() - 512;
            let answer = get(at, &format!("/open/{bundle}"), &[]).await;
            assert_eq!(answer.status, if at_most { 200 } else { 404 }, "{bundle}");
            if at_most {
                let bytes = found(&answer, IMMUTABLE);
                let entries = EntryBundle::parse(&bytes, width).unwrap();
                assert!(entries.entries().eq((512..).map(entry).take(width.into())), "{bundle}");
            }
        }
        for width in [1, 255] {
            let narrow = get(at, &format!("/open/tile/0/001.p/{width}"), &[]).await;
            assert_eq!(found(&narrow, IMMUTABLE).len(), width * 32);
        }
    }
    for beyond in [
        "tile/0/002",
        "tile/0/002.p/189",
        "tile/0/003.p/1",
        "tile/entries/002",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/entries/003.p/1",
        "tile/0/x999/x999/x999/x999/x999/999",
    ] {
        missing(&get(at, &format!("/open/{beyond}"), &[]).await);
    }
    service.stop().await;
}

/// A node of the tree of the test's entries.
fn hash(id: NodeId) -> graven_merkle::Hash {
    if id.level() == 0 {
        return leaf_hash(&entry(id.index()));
    }
    let [left, right] = [0, 1].map(|side| hash(NodeId::new(id.level() - 1, 2 * id.index() + side)));
    node_hash(&left, &right)
}

fn found(answer: &Answer, cached: &str) -> Vec<u8> {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type").unwrap(), "application/octet-stream");
    assert_eq!(answer.header("cache-control").unwrap(), cached);
    assert_eq!(answer.header("access-control-allow-origin").as_deref(), (cached == IMMUTABLE).then_some("*"));
    assert_eq!(answer.header("x-content-type-options").unwrap(), "nosniff");
    answer.body.clone()
}

fn missing(answer: &Answer) {
    assert_eq!((answer.status, answer.text()), (404, "not found\n"));
    assert_eq!(answer.header("cache-control").unwrap(), "no-store");
}

#[tokio::test]
async fn a_path_has_one_spelling() {
    let service = with_public(300).await;
    let at = service.address();
    for path in [
        "/",
        "/open",
        "/open/",
        "/open/checkpoint/",
        "//open/checkpoint",
        "/open//checkpoint",
        "/open/./checkpoint",
        "/open/../open/checkpoint",
        "/open/%63heckpoint",
        "/%6fpen/checkpoint",
        "/Open/checkpoint",
        "/open/tile/0/000/",
        "/open/tile/00/000",
        "/open/tile/0/0",
        "/open/tile/0/0000",
        "/open/tile/0/x000/000",
        "/open/tile/0/000.p/0",
        "/open/tile/0/000.p/256",
        "/open/tile/0/000.p/01",
        "/open/tile/0/000.p/+1",
        "/open/tile/-1/000",
        "/open/tile/64/000",
        "/open/tile/0/%30%30%30",
        "/open/tile/0/..%2f..%2fcheckpoint",
        "/open/tile/entries/../../../server",
        "/open/tile/data/000",
        "/healthz/",
        "/readyz/x",
        "/metrics",
        "/open/tile/0/x99999999999999999999999/000",
        "/-open/checkpoint",
    ] {
        missing(&get(at, path, &[]).await);
    }
    // What comes behind a question mark is no part of the path, and opens nothing.
    assert_eq!(get(at, "/open/checkpoint?x=1", &[]).await.status, 200);
    service.stop().await;
}

#[tokio::test]
async fn only_reading_is_understood() {
    let service = with_public(300).await;
    let at = service.address();
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let answer = request(at, method, "/open/checkpoint", &[], b"").await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("cache-control").unwrap(), "no-store");
        assert!(answer.header("allow").unwrap().contains("GET"));
    }
    let (head, whole) =
        (request(at, "HEAD", "/open/tile/0/000", &[], b"").await, get(at, "/open/tile/0/000", &[]).await);
    assert_eq!(
        (head.status, head.header("content-length").unwrap(), head.body.len()),
        (200, "8192".to_owned(), 0)
    );
    assert_eq!(whole.body.len(), 8192);
    let preflight = request(at, "OPTIONS", "/open/tile/0/000", &["Origin: https://a.example"], b"").await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-origin").unwrap()),
        (204, "*".to_owned())
    );
    service.stop().await;
}

#[tokio::test]
async fn bundles_are_compressed_for_those_who_ask() {
    let service = with_public(300).await;
    let at = service.address();
    let plain = get(at, "/open/tile/entries/000", &["Accept-Encoding: identity"]).await;
    let packed = get(at, "/open/tile/entries/000", &["Accept-Encoding: gzip"]).await;
    assert_eq!(packed.header("content-encoding").unwrap(), "gzip");
    assert!(packed.header("vary").unwrap().contains("accept-encoding"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain.body && packed.body.len() < plain.body.len());
    // Hashes do not compress.
    let tile = get(at, "/open/tile/0/000", &["Accept-Encoding: gzip"]).await;
    assert_eq!(tile.header("content-encoding"), None);
    service.stop().await;
}

#[tokio::test]
async fn what_has_rotted_on_disk_is_never_served() {
    let service = with_public(700).await;
    let at = service.address();
    let log = service.engine.log("open").unwrap();
    until(|| log.sealed_size() >= 512 && log.unsealed_bytes() < 256 * 9).await;
    for (rotten, refused) in [
        ("tile/entries/000", "tile/entries/000"),
        ("tile/0/001", "tile/0/001"),
        ("tile/0/001", "tile/entries/001"),
    ] {
        let path = log.site().join(rotten);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[17] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bad).unwrap();
        let answer = get(at, &format!("/open/{refused}"), &[]).await;
        assert_eq!(answer.status, 500, "{refused}");
        assert!(answer.text().contains("graven fsck"));
        assert_eq!(answer.header("cache-control").unwrap(), "no-store");
        std::fs::write(&path, good).unwrap();
        assert_eq!(get(at, &format!("/open/{refused}"), &[]).await.status, 200);
    }
    service.stop().await;
}

#[tokio::test]
async fn derived_nodes_that_are_wrong_do_no_harm() {
    // So many that the first tile of level 1 is sealed, and its nodes are read from what is derived.
    let service = with_public(65_536 + 256).await;
    let at = service.address();
    let log = service.engine.log("open").unwrap();
    until(|| log.sealed_size() == 65_536 + 256).await;
    let derived = service.data().join("logs/open/nodes/1");
    let mut bytes = std::fs::read(&derived).unwrap();
    assert!(bytes.len() > 8192);
    bytes.fill(0xa5);
    std::fs::write(&derived, bytes).unwrap();
    let tile = get(at, "/open/tile/0/007", &[]).await;
    assert_eq!((tile.status, tile.body.len()), (200, 8192));
    service.stop().await;
}

#[tokio::test]
async fn a_private_logs_resources_stay_out_of_shared_caches() {
    let service = Service::start().await;
    service.fill(300).await;
    let at = service.address();
    for path in ["/audit/checkpoint", "/audit/tile/0/000", "/audit/tile/entries/000"] {
        let answer = get(at, path, &[]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control").unwrap(), "private, no-cache");
        assert!(answer.header("vary").unwrap().contains("authorization"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    service.stop().await;
}

#[tokio::test]
async fn probes_tell_life_from_readiness() {
    let mut service = Service::start().await;
    let at = service.address();
    for path in ["/healthz", "/readyz"] {
        let answer = get(at, path, &[]).await;
        assert_eq!((answer.status, answer.text()), (200, "ok\n"));
        assert_eq!(answer.header("cache-control").unwrap(), "no-store");
    }
    service.begin_stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(tokio::net::TcpStream::connect(at).await.is_err(), "nobody new is let in");
    service.stop().await;
}
