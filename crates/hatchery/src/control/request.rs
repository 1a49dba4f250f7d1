//! What may be asked of a server, and how that is read from a line of JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of what is said over the socket.
pub(crate) const VERSION: u64 = 1;

/// What may be asked, in the words of the protocol.
const REQUESTS: &str =
    "status, workers, scale, reload, recycle, drain, kill, upgrade, config, events";

/// A worker, by its number and perhaps by its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    pub(crate) worker: u32,
    #[serde(default)]
    pub(crate) generation: Option<u32>,
}

/// Something that is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Status,
    Workers,
    Scale(u32),
    Reload,
    /// One worker, or all.
    Recycle(Option<Which>),
    Drain(Which),
    Kill(Which),
    Upgrade,
    Config,
}

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Request(Request),
    /// All that happens from now on.
    Events,
}

/// Why a line is no request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("not a line of JSON: {0}; allowed: {{\"v\":1,\"do\":\"status\"}} and its like")]
    Malformed(String),
    #[error("the version is {0}; allowed: \"v\":1")]
    Version(String),
    #[error("\"do\" is {0}; allowed: {REQUESTS}")]
    Unknown(String),
    #[error("{request}: {problem}; allowed: {allowed}")]
    Arguments {
        request: &'static str,
        problem: String,
        allowed: &'static str,
    },
}

impl LineError {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Version(_) => "version",
            Self::Unknown(_) => "unknown-request",
            Self::Arguments { .. } => "arguments",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    workers: u32,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaybeWhich {
    #[serde(default)]
    worker: Option<u32>,
    #[serde(default)]
    generation: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Line, LineError> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| LineError::Malformed(error.to_string()))?;
    let Value::Object(mut fields) = value else {
        return Err(LineError::Malformed("it is no object".to_owned()));
    };
    let shown = |value: Option<Value>| value.map_or("missing".to_owned(), |it| it.to_string());
    let version = fields.remove("v");
    if version.as_ref().and_then(Value::as_u64) != Some(VERSION) {
        return Err(LineError::Version(shown(version)));
    }
    let name = fields.remove("do");
    let rest = Value::Object(fields);
    let one = "\"worker\": a number, and perhaps \"generation\": a number";
    let request = match name.as_ref().and_then(Value::as_str) {
        Some("status") => plain("status", rest, Request::Status)?,
        Some("workers") => plain("workers", rest, Request::Workers)?,
        Some("reload") => plain("reload", rest, Request::Reload)?,
        Some("upgrade") => plain("upgrade", rest, Request::Upgrade)?,
        Some("config") => plain("config", rest, Request::Config)?,
        Some("events") => {
            plain("events", rest, Request::Status)?;
            return Ok(Line::Events);
        }
        Some("scale") => {
            let scale: Scale = arguments("scale", rest, "\"workers\": 1 to 1024")?;
            Request::Scale(scale.workers)
        }
        Some("recycle") => recycle(arguments("recycle", rest, one)?, one)?,
        Some("drain") => Request::Drain(arguments("drain", rest, one)?),
        Some("kill") => Request::Kill(arguments("kill", rest, one)?),
        _ => return Err(LineError::Unknown(shown(name))),
    };
    Ok(Line::Request(request))
}

fn plain(name: &'static str, rest: Value, request: Request) -> Result<Request, LineError> {
    let Nothing {} = arguments(name, rest, "no argument")?;
    Ok(request)
}

fn recycle(which: MaybeWhich, allowed: &'static str) -> Result<Request, LineError> {
    match (which.worker, which.generation) {
        (Some(worker), generation) => Ok(Request::Recycle(Some(Which { worker, generation }))),
        (None, None) => Ok(Request::Recycle(None)),
        (None, Some(_)) => Err(LineError::Arguments {
            request: "recycle",
            problem: "a generation without a worker".to_owned(),
            allowed,
        }),
    }
}

fn arguments<'de, T: Deserialize<'de>>(
    request: &'static str,
    rest: Value,
    allowed: &'static str,
) -> Result<T, LineError> {
    T::deserialize(rest).map_err(|error| LineError::Arguments {
        request,
        problem: error.to_string(),
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Request {
        match parse(line.as_bytes()) {
            Ok(Line::Request(request)) => request,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_line_is_read_with_its_arguments() {
        let which = |generation| Which {
            worker: 3,
            generation,
        };

        assert_eq!(request(r#"{"v":1,"do":"status"}"#), Request::Status);
        assert_eq!(
            request(r#"{"v":1,"do":"scale","workers":8}"#),
            Request::Scale(8)
        );
        assert_eq!(request(r#"{"v":1,"do":"recycle"}"#), Request::Recycle(None));
        assert_eq!(
            request(r#"{"v":1,"do":"recycle","worker":3}"#),
            Request::Recycle(Some(which(None)))
        );
        assert_eq!(
            request(r#"{"v":1,"do":"kill","worker":3,"generation":17}"#),
            Request::Kill(which(Some(17)))
        );
        assert_eq!(parse(br#"{"v":1,"do":"events"}"#), Ok(Line::Events));
    }

    #[test]
    fn a_line_that_asks_for_nothing_is_refused_with_what_is_allowed() {
        for (line, kind, words) in [
            (
                "status",
                "malformed",
                "allowed: {\"v\":1,\"do\":\"status\"}",
            ),
            ("[]", "malformed", "no object"),
            ("{}", "version", "the version is missing; allowed: \"v\":1"),
            (r#"{"v":2,"do":"status"}"#, "version", "the version is 2"),
            (r#"{"v":1}"#, "unknown-request", "\"do\" is missing"),
            (
                r#"{"v":1,"do":"stop"}"#,
                "unknown-request",
                "recycle, drain",
            ),
            (r#"{"v":1,"do":"scale"}"#, "arguments", "1 to 1024"),
            (
                r#"{"v":1,"do":"scale","workers":-1}"#,
                "arguments",
                "1 to 1024",
            ),
            (
                r#"{"v":1,"do":"kill"}"#,
                "arguments",
                "missing field `worker`",
            ),
            (
                r#"{"v":1,"do":"status","worker":1}"#,
                "arguments",
                "no argument",
            ),
            (
                r#"{"v":1,"do":"recycle","generation":1}"#,
                "arguments",
                "without a worker",
            ),
        ] {
            let error = parse(line.as_bytes()).unwrap_err();

            assert_eq!(error.kind(), kind, "{line}");
            assert!(error.to_string().contains(words), "{line}: {error}");
        }
    }
}
