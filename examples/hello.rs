//! A whole echo server: what you send comes back in upper case.
//!
//! ```text
//! cargo run --example hello
//! ```
//!
//! Then, in another terminal, `echo hello | nc -N 127.0.0.1 8080` prints `HELLO`. Look at what
//! `ps xf` shows: the main process, the fork server and its four workers. Kill a worker with
//! `kill -9`, and another takes its place while the service goes on. Ctrl-C ends the server: it
//! takes no new connections, and the workers finish those they have.
#![forbid(unsafe_code)]

#[hatchery::main]
async fn main() -> hatchery::Result<()> {
    hatchery::Server::builder()
        .bind("127.0.0.1:8080")
        .workers(4)
        .serve(|mut conn: hatchery::Connection| async move {
            let mut buf = vec![0; 4096];
            loop {
                let n = conn.read(&mut buf).await?;
                if n == 0 {
                    return Ok(());
                }
                buf[..n].make_ascii_uppercase();
                conn.write_all(&buf[..n]).await?;
            }
        })
        .await
}
