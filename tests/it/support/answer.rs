//! Answers of HTTP/1.1.

use std::io::{self, BufRead};

/// What a client was answered.
pub(crate) struct Answer {
    pub(crate) body: String,
    /// Whether the server will close the connection.
    pub(crate) closes: bool,
}

impl Answer {
    /// Reads an answer, which has to be a good one, and nothing after it.
    pub(crate) fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let status = read_line(input)?;
        assert!(status.starts_with("http/1.1 200 "), "{status}");
        let (mut len, mut closes) = (0, false);
        loop {
            let header = read_line(input)?;
            match header.split_once(": ") {
                None => break,
                Some(("content-length", text)) => len = text.parse().expect("it is a number"),
                Some(("connection", text)) => closes = text == "close",
                Some(_) => {}
            }
        }
        let mut body = vec![0; len];
        input.read_exact(&mut body)?;
        let body = String::from_utf8(body).expect("it is text");
        Ok(Self { body, closes })
    }
}

fn read_line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match input.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_lowercase()),
    }
}
