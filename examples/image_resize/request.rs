//! As much of HTTP as the service needs: one request, with a body of a known length.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// The longest line of a request, and the longest head.
const HEAD_BYTES_MAX: u64 = 16 << 10;

/// The largest image as it is sent.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// The width if the request names none.
const WIDTH: u32 = 128;

/// An image, and what it is to become.
pub(crate) struct Request {
    pub(crate) width: u32,
    pub(crate) body: Vec<u8>,
}

/// Reads a request; the error is for the client.
pub(crate) fn read(client: &mut TcpStream) -> Result<Request, String> {
    let mut to_client = &*client;
    let mut from_client = BufReader::new(&*client);
    let (width, length, expects) = head(&mut (&mut from_client).take(HEAD_BYTES_MAX))?;
    if length > BODY_BYTES_MAX {
        return Err(format!("the image has more than {BODY_BYTES_MAX} bytes\n"));
    }
    if expects {
        let go_on = to_client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        go_on.map_err(|error| format!("{error}\n"))?;
    }
    let mut body = Vec::new();
    let read = from_client.take(length).read_to_end(&mut body);
    match read.map(u64::try_from) {
        Ok(Ok(read)) if read == length => Ok(Request { width, body }),
        _ => Err("the image is not whole\n".to_owned()),
    }
}

/// Reads the head: the width, the length of the body, and whether the client waits to be told to send it.
fn head(input: &mut impl BufRead) -> Result<(u32, u64, bool), String> {
    let mut lines = input.lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let target = first.strip_prefix("POST ").ok_or("POST an image\n")?;
    let width = match target
        .split([' ', '?', '&'])
        .find_map(|part| part.strip_prefix("width="))
    {
        None => WIDTH,
        Some(width) => width.parse().map_err(|_| "width is a number\n")?,
    };
    let (mut length, mut expects) = (None, false);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            let length = length.ok_or("Content-Length is needed\n")?;
            return Ok((width, length, expects));
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "expect" => expects = true,
            _ => {}
        }
    }
    Err("the head of the request is too long, or not whole\n".to_owned())
}
