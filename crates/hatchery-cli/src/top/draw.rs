//! The screen, drawn from the state.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table, TableState};
use serde_json::json;

use super::state::{Column, State, Worker};
use crate::ctl::{memory, time};

/// The keys, as the last line says them.
const KEYS: &str = "q quit  ↑↓ select  s sort  S reverse  + - scale  r recycle  R reload";

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let rows = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(6),
        Constraint::Min(3),
        Constraint::Length(1),
    ]);
    let [head, rates, table, foot] = rows.areas(frame.area());
    draw_head(frame, head, state);
    draw_rates(frame, rates, state);
    draw_workers(frame, table, state);
    let foot_line = if state.message.is_empty() {
        Line::from(KEYS).dim()
    } else {
        Line::from(vec![
            Span::from(state.message.clone()).yellow(),
            Span::from(format!("   {KEYS}")).dim(),
        ])
    };
    frame.render_widget(Paragraph::new(foot_line), foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let sample = &state.sample;
    let tone = if sample.phase == "serving" {
        Color::Green
    } else {
        Color::Yellow
    };
    let first = Line::from(vec![
        "hatchery ".bold(),
        Span::styled(sample.phase.clone(), Style::new().fg(tone).bold()),
        Span::from(format!(
            "  up {}  pid {}  {}",
            time(&json!(sample.uptime_ms)),
            sample.pid,
            sample.addresses
        )),
    ]);
    let second = Line::from(format!(
        "workers {}/{} ready  connections {}  waiting {}  kept {}  accepted {}",
        sample.ready,
        sample.wanted,
        sample.connections,
        sample.waiting,
        sample.kept,
        sample.accepted
    ));
    frame.render_widget(Paragraph::new(vec![first, second]), area);
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let now = state.rates.back().copied().unwrap_or(0);
    let most = state.rates.iter().max().copied().unwrap_or(0);
    let title = format!(" connections/s: {now}, at most {most} ");
    let block = Block::new()
        .borders(Borders::TOP | Borders::BOTTOM)
        .title(title);
    // The newest are at the right, and those that have no room are the oldest.
    let room = usize::from(area.width);
    let first = state.rates.len().saturating_sub(room);
    let mut shown = vec![0; room.saturating_sub(state.rates.len())];
    shown.extend(state.rates.iter().skip(first));
    let line = Sparkline::default()
        .data(&shown)
        .style(Style::new().fg(Color::Yellow));
    frame.render_widget(line.block(block), area);
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let columns = [
        ("ID", Some(Column::Id)),
        ("PID", None),
        ("STATE", None),
        ("CONN", Some(Column::Connections)),
        ("SERVED", Some(Column::Served)),
        ("RATE/S", Some(Column::Rate)),
        ("AGE", Some(Column::Age)),
        ("MEMORY", Some(Column::Memory)),
    ];
    let header = columns.map(|(name, column)| {
        let mark = match column == Some(state.sort) {
            true if state.is_reversed => "▲",
            true => "▼",
            false => "",
        };
        Cell::from(format!("{name}{mark}"))
    });
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::BOLD));
    let rows = state.rows().into_iter().map(row_of);
    let widths = [5, 9, 10, 8, 11, 10, 9, 12].map(Constraint::Length);
    let table = Table::new(rows, widths)
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut selection = TableState::default().with_selected(state.selected_row());
    frame.render_stateful_widget(table, area, &mut selection);
}

fn row_of(worker: &Worker) -> Row<'static> {
    let tone = match worker.state.as_str() {
        "ready" => Color::Green,
        "starting" => Color::Blue,
        _ => Color::Yellow,
    };
    let pid = worker
        .pid
        .map_or_else(|| "-".to_owned(), |it| it.to_string());
    Row::new([
        Cell::from(worker.worker.to_string()),
        Cell::from(pid),
        Cell::from(worker.state.clone()).style(Style::new().fg(tone)),
        Cell::from(worker.connections.to_string()),
        Cell::from(worker.served.to_string()),
        Cell::from(format!("{:.1}", worker.rate)),
        Cell::from(time(&json!(worker.age_ms))),
        Cell::from(memory(&json!(worker.memory_bytes))),
    ])
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::top::state::Key;
    use crate::top::state::tests::sample;

    fn drawn(state: &State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let lines = cells.chunks(usize::from(width));
        lines
            .map(|line| line.concat().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn the_screen_has_the_server_its_rates_and_each_worker() {
        let mut state = State::default();
        state.update(sample(100), 1.0);
        state.update(sample(150), 1.0);

        let lines = drawn(&state, 90, 20);

        assert!(lines[0].starts_with("hatchery serving  up 1m01s  pid 7  127.0.0.1:80"));
        assert!(lines[1].starts_with("workers 3/3 ready  connections 6  waiting 0  kept 3"));
        assert!(
            lines[2].contains("connections/s: 50, at most 50"),
            "{}",
            lines[2]
        );
        assert!(lines[6].ends_with('█'), "{lines:?}");
        assert!(lines[8].starts_with("ID▼"), "{}", lines[8]);
        assert!(lines[10].contains("101"), "{}", lines[10]);
        assert!(lines[10].contains("50.0"), "{}", lines[10]);
        assert!(lines[10].ends_with("4.0 MiB"), "{}", lines[10]);
        assert!(lines[19].starts_with("q quit"), "{}", lines[19]);
    }

    #[test]
    fn what_was_done_is_said_before_the_keys() {
        let mut state = State::default();
        state.update(sample(1), 1.0);

        state.press(Key::More);

        assert!(drawn(&state, 90, 20)[19].starts_with("scale to 4 …"));
    }

    #[test]
    fn a_screen_of_any_size_can_be_drawn() {
        let mut state = State::default();
        state.update(sample(1), 1.0);

        for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 100)] {
            assert_eq!(drawn(&state, width, height).len(), usize::from(height));
        }
    }
}
