//! Hostile bodies: what is no form is refused as RFC 6749 says, whatever stands in it.

use serde_json::json;

use crate::facade::{CHECKER, Town};

#[tokio::test]
async fn what_is_no_form_is_refused_in_json_and_repeats_nothing() {
    let town = Town::new().await;
    let long = format!("token={}", "x".repeat(9000));
    let huge = format!("token=x&pad={}", "x".repeat(40 << 10));
    let many = format!("token=x{}", "&a=b".repeat(100));
    let bodies: [(&[u8], u16); 13] = [
        (b"", 400),
        (b"token", 400),
        (b"token=", 400),
        (b"TOKEN=canary", 400),
        (b"token=canary&token=canary", 400),
        (b"token=can+ary", 400),
        (b"token=canary%", 400),
        (b"token=canary%zz", 400),
        (b"token=%00canary", 400),
        (b"token=\xffcanary", 400),
        (long.as_bytes(), 400),
        (huge.as_bytes(), 413),
        (many.as_bytes(), 400),
    ];
    for endpoint in ["introspect", "revoke"] {
        let path = format!("/audit/oauth/{endpoint}");
        let head = format!("content-type: application/x-www-form-urlencoded\r\nauthorization: {CHECKER}\r\n");
        for (body, status) in bodies {
            let answer = town.send("POST", &path, &head, body).await;
            let shown = String::from_utf8_lossy(body);
            assert_eq!(answer.status, status, "{endpoint} {shown:.80}: {answer:?}");
            assert_eq!(answer.body["error"], "invalid_request", "{shown:.80}");
            assert!(answer.head.contains("cache-control: no-store"));
            assert!(!answer.body.to_string().contains("canary"), "{answer:?}");
        }
        for kind in ["", "content-type: application/json\r\n", "content-type: multipart/form-data\r\n"] {
            let head = format!("{kind}authorization: {CHECKER}\r\n");
            let answer = town.send("POST", &path, &head, b"token=canary").await;
            assert_eq!((answer.status, &answer.body["error"]), (415, &json!("invalid_request")));
        }
        for method in ["GET", "PUT", "OPTIONS", "DELETE"] {
            let answer = town.send(method, &path, &head, b"").await;
            assert_eq!(answer.status, 405);
            assert!(answer.head.contains("allow: post"));
        }
        // In the address it would stand in logs of proxies, and is not looked at.
        let answer = town.send("POST", &format!("{path}?token=canary"), &head, b"").await;
        assert_eq!(answer.status, 400);
        for path in [
            "/audit/oauth",
            "/audit/oauth/",
            "/audit/oauth/x",
            "/a/b/oauth/introspect",
            "/Audit/oauth/introspect",
        ] {
            let answer = town.send("POST", path, &head, b"token=canary").await;
            assert!([404, 405].contains(&answer.status), "{path}: {answer:?}");
        }
    }
    // A body that never comes holds nothing up: its sender goes, and others are answered.
    let waiting = tokio::net::TcpStream::connect(town.house.url.trim_start_matches("http://")).await.unwrap();
    let answer = town.introspect("unknown").await;
    assert_eq!(answer, json!({"active": false}));
    drop(waiting);
    town.house.stop().await;
}
