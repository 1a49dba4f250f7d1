//! RESP2 as bytes: requests as they arrive, in whatever pieces, and replies.
//!
//! What a request asks for is not known here.

use std::fmt;

/// The longest line: an inline command, or the length of something.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The most words that a request may have.
const WORDS_MAX: usize = 64 << 10;

/// The longest word.
const WORD_BYTES_MAX: usize = 16 << 20;

/// The longest request.
const REQUEST_BYTES_MAX: usize = 32 << 20;

/// The words of a request, and how many bytes it was.
type Request<'a> = (Vec<&'a [u8]>, usize);

/// Why the bytes of a client are no request. Nothing that follows them can be understood.
#[derive(Debug)]
pub(crate) enum Problem {
    LongLine,
    LongRequest,
    WordCount,
    WordLength,
    NoWord(u8),
    NoEnd,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LongLine => formatter.write_str("too big inline request"),
            Self::LongRequest => formatter.write_str("too big request"),
            Self::WordCount => formatter.write_str("invalid multibulk length"),
            Self::WordLength => formatter.write_str("invalid bulk length"),
            Self::NoWord(byte) => {
                write!(formatter, "expected '$', got '{}'", byte.escape_ascii())
            }
            Self::NoEnd => formatter.write_str("expected the end of a bulk string"),
        }
    }
}

/// Finds the first request, unless some of it is still to come.
///
/// A line that is no array is an inline command, whose words are separated by blanks.
pub(crate) fn parse(input: &[u8]) -> Result<Option<Request<'_>>, Problem> {
    let Some((line, mut place)) = line(input)? else {
        return Ok(None);
    };
    let Some(count) = line.strip_prefix(b"*") else {
        let words = line.split(u8::is_ascii_whitespace);
        let words = words.filter(|word| !word.is_empty()).collect();
        return Ok(Some((words, place)));
    };
    // Redis takes an array of none or of less than none for nothing.
    let count = number(count).ok_or(Problem::WordCount)?;
    let count = usize::try_from(count).unwrap_or(0);
    if count > WORDS_MAX {
        return Err(Problem::WordCount);
    }
    let mut words = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let Some((word, length)) = word(&input[place..])? else {
            return Ok(None);
        };
        words.push(word);
        place += length;
        if place > REQUEST_BYTES_MAX {
            return Err(Problem::LongRequest);
        }
    }
    Ok(Some((words, place)))
}

/// Finds the word at the beginning, and its length with all that belongs to it.
fn word(input: &[u8]) -> Result<Option<(&[u8], usize)>, Problem> {
    let Some((line, start)) = line(input)? else {
        return Ok(None);
    };
    let length = match line.strip_prefix(b"$") {
        Some(length) => number(length).ok_or(Problem::WordLength)?,
        None => return Err(Problem::NoWord(line.first().copied().unwrap_or(b'\n'))),
    };
    let length = usize::try_from(length).map_err(|_| Problem::WordLength)?;
    if length > WORD_BYTES_MAX {
        return Err(Problem::WordLength);
    }
    let end = start + length;
    match input.get(end..end + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((&input[start..end], end + 2))),
        Some(_) => Err(Problem::NoEnd),
    }
}

/// Finds the line at the beginning, and its length with its end.
fn line(input: &[u8]) -> Result<Option<(&[u8], usize)>, Problem> {
    let near = &input[..input.len().min(LINE_BYTES_MAX)];
    match near.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let line = &near[..end];
            Ok(Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1)))
        }
        None if near.len() == LINE_BYTES_MAX => Err(Problem::LongLine),
        None => Ok(None),
    }
}

/// Reads a number in digits.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    // The standard library would take a plus sign, too.
    let text = str::from_utf8(text)
        .ok()
        .filter(|text| !text.starts_with('+'))?;
    text.parse().ok()
}

/// What a client is told.
#[derive(Debug)]
pub(crate) enum Reply {
    Status(&'static str),
    Error(String),
    Integer(i64),
    Bytes(Vec<u8>),
    Nothing,
    List(Vec<Self>),
}

impl Reply {
    /// Appends the reply as it is sent.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::Status(text) => output.extend_from_slice(format!("+{text}\r\n").as_bytes()),
            Self::Error(text) => output.extend_from_slice(format!("-{text}\r\n").as_bytes()),
            Self::Integer(number) => {
                output.extend_from_slice(format!(":{number}\r\n").as_bytes());
            }
            Self::Bytes(bytes) => {
                output.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
                output.extend_from_slice(bytes);
                output.extend_from_slice(b"\r\n");
            }
            Self::Nothing => output.extend_from_slice(b"$-1\r\n"),
            Self::List(replies) => {
                output.extend_from_slice(format!("*{}\r\n", replies.len()).as_bytes());
                replies.iter().for_each(|reply| reply.write(output));
            }
        }
    }
}
