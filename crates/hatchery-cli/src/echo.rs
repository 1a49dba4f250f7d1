//! `hatchery echo`: answers with the ASCII upper-case of what it is sent.

use std::cell::RefCell;
use std::ffi::OsString;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Write};
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use clap::Args;
use hatchery::{Config, Connection, HandlerResult, Ready, Server};
use tokio::io::{AsyncRead, ReadBuf};

use crate::peer::stdin_ended;

/// How much one read takes at most.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long workers may take to finish once the parent is gone.
const ORPHAN_DRAIN: Duration = Duration::from_millis(500);

thread_local! {
    /// One buffer for all connections of a worker: it is empty whenever a connection waits.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

/// Answer with the ASCII upper-case of what is sent.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: hatchery echo --listen 127.0.0.1:7000 --workers 4\n\
    Then:    printf 'hello\\n' | nc -N 127.0.0.1 7000"
)]
pub(crate) struct EchoArgs {
    /// Where to listen: `127.0.0.1:7000`, `[::1]:7000`, `unix:/run/echo.sock`, `fd:3`, `fd:http` (repeatable)
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// How many workers: a number, auto, or a multiple of the CPUs such as 2x
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    workers: Option<String>,
    /// How connections find a worker: least-loaded, round-robin, hash or direct
    #[arg(long, value_name = "HOW")]
    dispatch: Option<String>,
    /// How many connections one worker has at most
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_concurrency: Option<String>,
    /// How many connections all workers have at most
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_connections: Option<String>,
    /// What happens to a connection that no worker has room for: wait, reject or reset
    #[arg(long, value_name = "POLICY")]
    overload: Option<String>,
    /// Give connections to workers only once their clients have sent something
    #[arg(long)]
    wait_for_data: bool,
    /// Park connections after each request, so that any worker answers the next
    #[arg(long)]
    park: bool,
    /// The socket file through which `hatchery ctl` controls it
    #[arg(long, value_name = "PATH")]
    control: Option<String>,
    /// The configuration file [default: hatchery.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Print the configuration in force, and where each value comes from, and end
    #[arg(long)]
    print_config: bool,
    /// Print no ready line
    #[arg(long)]
    quiet: bool,
    /// Stop when standard input ends, as it does when the parent dies
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Runs the echo server until it is told to stop.
pub(crate) fn run(args: &EchoArgs) -> ExitCode {
    hatchery::run_main(1, || serve(args))
}

async fn serve(args: &EchoArgs) -> hatchery::Result<()> {
    let mut config = args.load(std::env::vars_os())?;
    if args.print_config {
        print!("{config}");
        return Ok(());
    }
    if args.until_stdin_ends {
        // Whoever started it is gone, and nobody is left to wait for it.
        let drain_timeout = &mut config.workers.drain_timeout;
        *drain_timeout = ORPHAN_DRAIN.min(*drain_timeout);
    }
    let mut server = Server::from_config(&config);
    if !args.quiet {
        server.on_ready(print_ready);
    }
    if args.until_stdin_ends {
        server.shutdown(stdin_ended());
    }
    if args.park {
        return server.serve(echo_and_park).await;
    }
    server.serve(echo).await
}

/// Answers one connection.
async fn echo(mut connection: Connection) -> HandlerResult {
    while echo_once(&mut connection).await? {}
    Ok(())
}

/// Answers what has come of one connection, and parks it.
async fn echo_and_park(mut connection: Connection) -> HandlerResult {
    if echo_once(&mut connection).await? {
        // Nothing was read that was not answered.
        connection.park(Vec::new()).await?;
    }
    Ok(())
}

/// Answers what comes next; false if the client is gone.
async fn echo_once(connection: &mut Connection) -> io::Result<bool> {
    match poll_fn(|task| poll_exchange(connection, task)).await {
        Ok(Exchange::Done) => Ok(true),
        Ok(Exchange::Unsent(rest)) => connection.write_all(&rest).await.map(|()| true),
        Ok(Exchange::End) => Ok(false),
        // That is its right.
        Err(error) if is_hang_up(error.kind()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What one read led to.
enum Exchange {
    /// Everything was answered.
    Done,
    /// The client's window is full, and this is still to be sent.
    Unsent(Vec<u8>),
    /// The client will send no more.
    End,
}

/// Reads what there is, and answers it as far as there is room.
///
/// Reading and writing within one poll lets all connections share a buffer.
fn poll_exchange(
    connection: &mut Connection,
    task: &mut Context<'_>,
) -> Poll<io::Result<Exchange>> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut room = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *connection).poll_read(task, &mut room))?;
        let answer = room.filled_mut();
        if answer.is_empty() {
            return Poll::Ready(Ok(Exchange::End));
        }
        answer.make_ascii_uppercase();
        let written = match connection.try_write(answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            outcome => outcome?,
        };
        Poll::Ready(Ok(if written == answer.len() {
            Exchange::Done
        } else {
            Exchange::Unsent(answer[written..].to_vec())
        }))
    })
}

fn is_hang_up(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Prints the line that says that the server can be used, and by which addresses.
fn print_ready(ready: &Ready) {
    let workers: Vec<String> = ready.workers.iter().map(u32::to_string).collect();
    let mut stdout = io::stdout().lock();
    // Whoever started this may not want to read the line.
    let _closed = writeln!(
        stdout,
        "ready addresses={} pid={} workers={}",
        ready.addresses.join(","),
        ready.pid,
        workers.join(",")
    );
    let _closed = stdout.flush();
}

impl EchoArgs {
    fn load(
        &self,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> hatchery::Result<Config> {
        let mut loader = Config::loader();
        match &self.config {
            Some(file) => loader.file(file),
            None => loader.default_file(),
        };
        loader.environment(environment);
        for address in &self.listen {
            loader.flag("--listen", "server.bind", address);
        }
        let flags = [
            ("--workers", "workers.count", &self.workers),
            ("--dispatch", "server.dispatch", &self.dispatch),
            (
                "--max-concurrency",
                "workers.max_concurrency",
                &self.max_concurrency,
            ),
            (
                "--max-connections",
                "server.max_connections",
                &self.max_connections,
            ),
            ("--overload", "server.overload", &self.overload),
            ("--control", "control.socket", &self.control),
        ];
        if self.wait_for_data {
            loader.flag("--wait-for-data", "server.wait_for_data", "true");
        }
        for (flag, key, value) in flags {
            if let Some(value) = value {
                loader.flag(flag, key, value);
            }
        }
        Ok(loader.load()?)
    }
}
