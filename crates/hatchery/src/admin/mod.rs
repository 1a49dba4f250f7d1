//! The admin listener: a page to look at, the same as JSON, and what probes and Prometheus ask for.
//!
//! It is a task beside the front end, as the control socket is: whoever is slow here holds up nobody.
//! It only shows, and listens on this machine alone. The HTTP it speaks is the least that browsers
//! and scrapers need: one request a connection, read within limits.

mod request;
mod socket;
mod view;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::request::{HEAD_BYTES_MAX, Refusal, Request, head_len, is_own_name, parse};
use crate::control::{Control, ControlError, Phase};

pub(crate) use self::socket::{open_admin, serve_admin};

/// The page, whole.
const PAGE: &str = include_str!("page.html");

/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take to leave.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the front end may take to say how it is.
const LOOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What goes with every answer: nothing may be loaded from elsewhere, nor kept.
const HEADERS: &str = "Cache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; img-src data:; frame-ancestors 'none'\r\n\
    Connection: close\r\n";

/// An answer.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Page {
    fn plain(status: &'static str, words: &str) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: format!("{words}\n"),
        }
    }

    fn of(kind: &'static str, body: String) -> Self {
        Self {
            status: "200 OK",
            kind,
            body,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let length = body.len();
        let allow = if status.starts_with("405") {
            "Allow: GET\r\n"
        } else {
            ""
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{allow}{HEADERS}\r\n"
        );
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

impl From<Refusal> for Page {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => Self::plain("400 Bad Request", "this is no request"),
            Refusal::Body => Self::plain("400 Bad Request", "a request has no body here"),
            Refusal::Method => Self::plain("405 Method Not Allowed", "only GET is allowed"),
            Refusal::Version => {
                Self::plain("505 HTTP Version Not Supported", "HTTP/1.1 is spoken here")
            }
        }
    }
}

/// What a listener serves.
#[derive(Debug)]
struct Desk {
    control: Control,
    /// Whether anybody on this machine may connect, so that a browser could be led here.
    is_tcp: bool,
}

/// Answers the one request of a connection.
async fn talk(mut stream: TcpStream, desk: Arc<Desk>) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let page = match timeout(REQUEST_TIMEOUT, read_head(&mut stream, &mut head)).await {
        Ok(Ok(0)) => return Ok(()),
        Ok(Ok(length)) => match parse(&head[..length]) {
            Ok(request) => desk.answer(request).await,
            Err(refusal) => refusal.into(),
        },
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Page::plain(
            "431 Request Header Fields Too Large",
            "the request is too long",
        ),
        Ok(Err(error)) => return Err(error),
        Err(_) => Page::plain("408 Request Timeout", "the request did not arrive"),
    };
    let bytes = page.to_bytes();
    let sent = timeout(ANSWER_TIMEOUT, async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    });
    sent.await.unwrap_or_else(|late| Err(late.into()))
}

/// Reads until the head is whole, and returns its length; 0 if the client ends first.
async fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        if let Some(length) = head_len(head) {
            return Ok(length);
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(head).await? == 0 {
            return Ok(0);
        }
    }
}

impl Desk {
    async fn answer(&self, request: Request<'_>) -> Page {
        let is_led_here = self.is_tcp && !request.host.is_none_or(is_own_name);
        if is_led_here {
            return Page::plain(
                "403 Forbidden",
                "this server is asked by its address, or as localhost",
            );
        }
        match request.path {
            "/" => Page::of("text/html; charset=utf-8", PAGE.to_owned()),
            "/status.json" => shown(self.status().await),
            "/metrics" => shown(self.metrics().await),
            "/healthz" => self.health().await,
            "/readyz" => self.readiness().await,
            _ => Page::plain(
                "404 Not Found",
                "there are /, /status.json, /metrics, /healthz and /readyz",
            ),
        }
    }

    async fn status(&self) -> Result<Page, ControlError> {
        let server = self.control.status().await?;
        let workers = self.control.workers().await?;
        let board = self.control.board();
        let status = view::status(&board.look(), &server, &workers, &board.events());
        Ok(Page::of("application/json", status.to_string()))
    }

    async fn metrics(&self) -> Result<Page, ControlError> {
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        Ok(Page::of(kind, self.control.metrics().await?))
    }

    /// Whether the front end's loop turns.
    async fn health(&self) -> Page {
        match timeout(LOOP_TIMEOUT, self.control.status()).await {
            Ok(Ok(_)) => Page::plain("200 OK", "ok"),
            _ => Page::plain("503 Service Unavailable", "the front end does not answer"),
        }
    }

    /// Whether a connection would be served.
    async fn readiness(&self) -> Page {
        let Ok(Ok(status)) = timeout(LOOP_TIMEOUT, self.control.status()).await else {
            return Page::plain("503 Service Unavailable", "the front end does not answer");
        };
        match status.phase {
            Phase::Draining | Phase::Ending => {
                Page::plain("503 Service Unavailable", "the server ends")
            }
            _ if status.ready == 0 => Page::plain("503 Service Unavailable", "no worker is ready"),
            _ => Page::plain("200 OK", "ready"),
        }
    }
}

fn shown(page: Result<Page, ControlError>) -> Page {
    page.unwrap_or_else(|error| Page::plain("503 Service Unavailable", &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is() {
        let bytes = Page::plain("200 OK", "ok").to_bytes();

        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("\r\nContent-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nok\n"), "{text}");
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let links = ["src=\"", "@import", "url(", "http-equiv"];
        let found: Vec<_> = links.iter().filter(|link| PAGE.contains(**link)).collect();

        assert!(found.is_empty(), "{found:?}");
        // The one address is the name of SVG, which nobody visits.
        assert!(
            PAGE.split("http")
                .skip(1)
                .all(|rest| rest.starts_with("://www.w3.org/2000/svg"))
        );
    }
}
