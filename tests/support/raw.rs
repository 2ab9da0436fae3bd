//! A server that says the same bytes to everybody.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::sleep,
};

/// Reads something, sends these bytes, and hangs up.
pub(crate) async fn saying(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let (bytes, listener) = (bytes.into(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                drop(stream.read(&mut [0; 16_384]).await);
                drop(stream.write_all(&bytes).await);
                drop(stream.shutdown().await);
                // Until the other side has read it: a connection that is reset loses what was sent last.
                sleep(Duration::from_millis(200)).await;
            });
        }
    });
    address
}
