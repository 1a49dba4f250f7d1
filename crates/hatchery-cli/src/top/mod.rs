//! `hatchery top`: watches a running server in a terminal.
//!
//! [`state`] is what is shown and what a key changes, [`draw`] the screen, and [`client`] the control
//! socket; here they are brought together. Where there is no terminal, plain tables are printed.

mod client;
mod draw;
mod state;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use self::client::Client;
use self::state::{Key, Outcome, Sample, State, Wish};
use crate::bench::parse_duration;
use crate::ctl::{CtlError, exit_code, find_socket, show_workers, time};

/// Watch a running server and its workers, and scale, recycle and reload by keys.
#[derive(Debug, Args)]
#[command(after_help = "Example: hatchery echo --control /tmp/echo.ctl\n\
    Then:    hatchery top --socket /tmp/echo.ctl\n\
    Or:      hatchery top --socket /tmp/echo.ctl --once\n\n\
    Exit codes: 0 done, 1 refused by the server or no server there, 2 wrong command line or configuration")]
pub(crate) struct TopArgs {
    /// The server's control socket [default: control.socket of the configuration]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The server's configuration file [default: hatchery.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    interval: Duration,
    /// Print one plain table and end
    #[arg(long)]
    once: bool,
}

/// What became of a wish.
type Told = (Wish, Result<(), String>);

/// Watches until the user or the server has enough.
pub(crate) fn run(args: &TopArgs) -> ExitCode {
    exit_code(args.watch())
}

impl TopArgs {
    fn watch(&self) -> Result<(), CtlError> {
        let path = find_socket(self.socket.as_deref(), self.config.as_deref())?;
        let client = Client::connect(&path)?;
        if self.once || !io::stdout().is_terminal() {
            return self.print(client);
        }
        let mut terminal = ratatui::try_init().map_err(CtlError::Broken)?;
        let outcome = self.show(&mut terminal, client);
        ratatui::restore();
        outcome
    }

    /// Prints a table each time, until the server ends or nobody reads any more.
    fn print(&self, mut client: Client) -> Result<(), CtlError> {
        loop {
            let sample = match client.sample() {
                // It has told how it was for as long as it was there.
                Err(CtlError::HungUp) => return Ok(()),
                other => other?,
            };
            let mut stdout = io::stdout().lock();
            let written = stdout
                .write_all(plain(&sample).as_bytes())
                .and_then(|()| stdout.flush());
            match written {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => other.map_err(CtlError::Broken)?,
            }
            drop(stdout);
            if self.once {
                return Ok(());
            }
            thread::sleep(self.interval);
        }
    }

    /// Draws, looks again when it is time, and does what keys say.
    fn show(&self, terminal: &mut DefaultTerminal, mut client: Client) -> Result<(), CtlError> {
        let (sender, told) = channel();
        let mut state = State::default();
        let mut looked = Instant::now();
        state.update(client.sample()?, self.interval.as_secs_f64());
        loop {
            take_told(&mut state, &told);
            let drawn = terminal.draw(|frame| draw::draw(frame, &state));
            drawn.map_err(CtlError::Broken)?;
            let left = self.interval.saturating_sub(looked.elapsed());
            if let Some(key) = next_key(left).map_err(CtlError::Broken)? {
                match state.press(key) {
                    Outcome::Quit => return Ok(()),
                    Outcome::Wish(wish) => fulfil(client.again()?, wish, sender.clone()),
                    Outcome::Nothing => {}
                }
            }
            if looked.elapsed() >= self.interval {
                let sample = client.sample()?;
                state.update(sample, looked.elapsed().as_secs_f64());
                looked = Instant::now();
            }
        }
    }
}

fn take_told(state: &mut State, told: &Receiver<Told>) {
    while let Ok((wish, outcome)) = told.try_recv() {
        state.told(wish, outcome);
    }
}

/// Tells the server what is wished, in a thread: a reload is answered when it is done.
fn fulfil(client: Client, wish: Wish, sender: Sender<Told>) {
    thread::spawn(move || {
        let outcome = client.tell(wish).map_err(|error| error.to_string());
        // Whoever wished it may have left.
        let _left = sender.send((wish, outcome));
    });
}

/// Waits for a key that means something, for so long.
fn next_key(patience: Duration) -> io::Result<Option<Key>> {
    if !event::poll(patience)? {
        return Ok(None);
    }
    match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => Ok(key_of(key)),
        _ => Ok(None),
    }
}

fn key_of(key: KeyEvent) -> Option<Key> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if is_control => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('S') => Key::Reverse,
        KeyCode::Char('+' | '=') => Key::More,
        KeyCode::Char('-') => Key::Fewer,
        KeyCode::Char('r') => Key::Recycle,
        KeyCode::Char('R') => Key::Reload,
        _ => return None,
    })
}

/// A line about the server, and a table of its workers.
fn plain(sample: &Sample) -> String {
    let uptime = time(&serde_json::json!(sample.uptime_ms));
    format!(
        "{} up {uptime}, {} of {} workers ready, {} connections, {} waiting, {} accepted\n{}\n",
        sample.phase,
        sample.ready,
        sample.wanted,
        sample.connections,
        sample.waiting,
        sample.accepted,
        show_workers(&sample.said)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_mean_what_the_last_line_says() {
        let key = |code, modifiers| key_of(KeyEvent::new(code, modifiers));
        let plain = |letter| key(KeyCode::Char(letter), KeyModifiers::NONE);

        assert_eq!(plain('q'), Some(Key::Quit));
        assert_eq!(plain('r'), Some(Key::Recycle));
        assert_eq!(plain('R'), Some(Key::Reload));
        assert_eq!(plain('c'), None);
        let control_c = key(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(control_c, Some(Key::Quit));
    }

    #[test]
    fn without_a_terminal_there_is_a_line_and_a_table() {
        let text = plain(&state::tests::sample(9));

        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("serving up 1m01s, 3 of 3 workers ready"));
        assert!(lines[1].contains("MEMORY"), "{text}");
        assert_eq!(lines.len(), 6, "{text}");
    }
}
