//! What each command does to the store, and what it answers: Redis's own words.

use std::time::{Duration, Instant};

use crate::resp::{Reply, number};
use crate::store::{Refusal, Store};

/// The longest time to live, in milliseconds: a hundred years.
const LIFE_MAX: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// Does what a request says, of which the first word is the command.
pub(crate) fn execute(store: &mut Store, words: &[&[u8]], now: Instant) -> Reply {
    let (name, arguments) = words.split_first().expect("a request has words");
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let done = match (name.as_str(), arguments) {
        ("PING", []) => Ok(Reply::Status("PONG")),
        ("PING" | "ECHO", [text]) => Ok(Reply::Bytes(text.to_vec())),
        ("SET", [key, value, options @ ..]) => set(store, (key, value), options, now),
        ("GET", [key]) => store.get(key).map(bytes_or_nothing).map_err(said),
        ("DEL", [_, ..]) => Ok(count(arguments, |key| store.remove(key))),
        ("EXISTS", [_, ..]) => Ok(count(arguments, |key| store.has(key))),
        ("INCR", [key]) => store.increment(key).map(Reply::Integer).map_err(said),
        ("EXPIRE", [key, seconds]) => expire(store, key, seconds, now),
        ("TTL", [key]) => Ok(Reply::Integer(seconds_left(store, key, now))),
        ("LPUSH", [key, items @ ..]) if !items.is_empty() => {
            store.push(key, items).map(integer).map_err(said)
        }
        ("LRANGE", [key, first, last]) => range(store, key, first, last),
        ("MSET", [_, ..]) if arguments.len() % 2 == 0 => set_all(store, arguments),
        ("MGET", [_, ..]) => Ok(Reply::List(
            arguments.iter().map(|key| peek(store, key)).collect(),
        )),
        // Of what clients ask before they begin, as much as lets them begin. HELLO, which
        // asks for RESP3, is an unknown command, as it was in Redis before 6.
        ("CONFIG", [get, names @ ..]) if get.eq_ignore_ascii_case(b"GET") => Ok(settings(names)),
        ("COMMAND", _) => Ok(Reply::List(Vec::new())),
        ("SELECT", [b"0"]) | ("CLIENT", [_, ..]) | ("QUIT", []) => Ok(Reply::Status("OK")),
        ("SELECT", [_]) => Err("ERR DB index is out of range".to_owned()),
        (known, _) if COMMANDS.contains(&known) => {
            let name = name.to_ascii_lowercase();
            Err(format!(
                "ERR wrong number of arguments for '{name}' command"
            ))
        }
        _ => Err(format!("ERR unknown command '{}'", presentable(&name))),
    };
    done.unwrap_or_else(Reply::Error)
}

/// The commands that are not always the same.
const COMMANDS: [&str; 16] = [
    "PING", "ECHO", "SET", "GET", "DEL", "EXISTS", "INCR", "EXPIRE", "TTL", "LPUSH", "LRANGE",
    "MSET", "MGET", "CONFIG", "SELECT", "CLIENT",
];

/// Sets a string: `EX` and `PX` say for how long, `NX` and `XX` if there is none or one.
fn set(
    store: &mut Store,
    (key, value): (&[u8], &[u8]),
    mut options: &[&[u8]],
    now: Instant,
) -> Result<Reply, String> {
    let (mut expires, mut if_there) = (None, None);
    while let [option, rest @ ..] = options {
        let name = option.to_ascii_uppercase();
        options = match (name.as_slice(), rest) {
            (b"EX", [time, rest @ ..]) if expires.is_none() => {
                expires = Some(deadline(time, 1_000, now).ok_or(no_time("set"))?);
                rest
            }
            (b"PX", [time, rest @ ..]) if expires.is_none() => {
                expires = Some(deadline(time, 1, now).ok_or(no_time("set"))?);
                rest
            }
            (b"NX" | b"XX", rest) if if_there.is_none() => {
                if_there = Some(name == b"XX");
                rest
            }
            _ => return Err("ERR syntax error".to_owned()),
        };
    }
    if if_there.is_some_and(|wanted| wanted != store.has(key)) {
        return Ok(Reply::Nothing);
    }
    store.set(key, value, expires).map_err(said)?;
    Ok(Reply::Status("OK"))
}

fn set_all(store: &mut Store, arguments: &[&[u8]]) -> Result<Reply, String> {
    let (pairs, _) = arguments.as_chunks();
    store.set_all(pairs).map_err(said)?;
    Ok(Reply::Status("OK"))
}

fn expire(store: &mut Store, key: &[u8], seconds: &[u8], now: Instant) -> Result<Reply, String> {
    let seconds = number(seconds).ok_or(said(Refusal::NoNumber))?;
    // What is to expire at once, or has expired, is removed.
    let is_there = if seconds <= 0 {
        store.remove(key)
    } else {
        let deadline = deadline(seconds.to_string().as_bytes(), 1_000, now);
        store.expire(key, deadline.ok_or(no_time("expire"))?)
    };
    Ok(Reply::Integer(i64::from(is_there)))
}

/// Returns the whole seconds, -1 if it never expires, and -2 if it is not there.
fn seconds_left(store: &Store, key: &[u8], now: Instant) -> i64 {
    match store.time_left(key, now) {
        None => -2,
        Some(None) => -1,
        Some(Some(left)) => i64::try_from((left.as_millis() + 500) / 1_000).unwrap_or(i64::MAX),
    }
}

fn range(store: &Store, key: &[u8], first: &[u8], last: &[u8]) -> Result<Reply, String> {
    let (Some(first), Some(last)) = (number(first), number(last)) else {
        return Err(said(Refusal::NoNumber));
    };
    let items = store.range(key, first, last).map_err(said)?;
    let items = items.into_iter().map(|item| Reply::Bytes(item.to_vec()));
    Ok(Reply::List(items.collect()))
}

/// Reads a time of so many milliseconds a unit, which has to be more than none.
fn deadline(time: &[u8], unit: u64, now: Instant) -> Option<Instant> {
    let time = number(time).and_then(|time| u64::try_from(time).ok())?;
    let life = time.checked_mul(unit)?;
    (1..=LIFE_MAX)
        .contains(&life)
        .then(|| now + Duration::from_millis(life))
}

/// Names settings, of which none has a value.
fn settings(names: &[&[u8]]) -> Reply {
    let pairs = names
        .iter()
        .flat_map(|name| [Reply::Bytes(name.to_vec()), Reply::Bytes(Vec::new())]);
    Reply::List(pairs.collect())
}

fn peek(store: &Store, key: &[u8]) -> Reply {
    // A list is as good as nothing to whoever asks for several strings.
    bytes_or_nothing(store.get(key).unwrap_or(None))
}

fn bytes_or_nothing(bytes: Option<&[u8]>) -> Reply {
    bytes.map_or(Reply::Nothing, |bytes| Reply::Bytes(bytes.to_vec()))
}

fn count(keys: &[&[u8]], counts: impl FnMut(&&&[u8]) -> bool) -> Reply {
    integer(keys.iter().filter(counts).count())
}

fn integer(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn no_time(command: &str) -> String {
    format!("ERR invalid expire time in '{command}' command")
}

/// Shortens what a client has sent, and leaves out what would end the line.
fn presentable(text: &str) -> String {
    let shown = text.chars().filter(|char| !char.is_control());
    shown.take(64).collect()
}

fn said(refusal: Refusal) -> String {
    let text = match refusal {
        Refusal::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
        Refusal::NoNumber => "ERR value is not an integer or out of range",
        Refusal::Full => "OOM command not allowed when used memory > 'maxmemory'.",
    };
    text.to_owned()
}
