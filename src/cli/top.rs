//! `forebay top`: the running agent on a terminal, once a second.

use super::ask::Desk;
use super::fail;
use super::place::Place;
use crate::monitor::alert::Severity;
use crate::monitor::view::{Kind, PartView, View};
use crate::telemetry::people;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Row, Table};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The interval at which the agent is asked.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let desk = match Desk::of(&arguments.place) {
        Ok(desk) => desk,
        Err(code) => return code,
    };
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return fail(2, "`top` needs a terminal; `forebay status` prints the same once");
    }
    // The first answer comes before the screen changes, so that an error stands where the command was given.
    let mut screen = match desk.view() {
        Ok((_, view)) => Screen { now: view, before: None, trouble: None },
        Err(why) => return fail(2, why),
    };
    let shown = ratatui::run(|terminal| -> std::io::Result<()> {
        loop {
            terminal.draw(|frame| screen.draw(frame))?;
            let asked = Instant::now();
            while let Some(left) = EVERY.checked_sub(asked.elapsed()) {
                if event::poll(left)? {
                    match event::read()? {
                        Event::Key(key) if is_end(key.code, key.modifiers) => return Ok(()),
                        Event::Resize(..) => break,
                        _ => {}
                    }
                }
            }
            screen.take(desk.view().map(|(_, view)| view));
        }
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, format_args!("the terminal fails: {error}")),
    }
}

fn is_end(code: KeyCode, modifiers: KeyModifiers) -> bool {
    matches!(code, KeyCode::Char('q' | 'Q') | KeyCode::Esc)
        || code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL)
}

/// What is shown.
struct Screen {
    now: View,
    before: Option<View>,
    trouble: Option<String>,
}

impl Screen {
    fn take(&mut self, asked: Result<View, String>) {
        match asked {
            Ok(view) => {
                self.before = Some(std::mem::replace(&mut self.now, view));
                self.trouble = None;
            }
            Err(why) => self.trouble = Some(why),
        }
    }

    /// How fast a number of a part rises, in units a second.
    fn speed(&self, part: &PartView, name: &str) -> Option<f64> {
        let before = self.before.as_ref()?;
        let old = before.parts.iter().find(|old| old.kind == part.kind && old.name == part.name)?;
        let ms = self.now.now_ms.saturating_sub(before.now_ms);
        let number = |part: &PartView| part.numbers.get(name).copied().unwrap_or(0);
        let risen = number(part).checked_sub(number(old))?;
        (ms > 0).then(|| risen as f64 * 1000.0 / ms as f64)
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        // The reason of one that does not work has a line of its own.
        let lines = |part: &PartView| if part.is_good { 1 } else { 2 };
        let of = |kind| self.now.parts.iter().filter(move |part| part.kind == kind).map(lines).sum();
        let rows = |count: usize| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX).saturating_add(2));
        let alerts = self.now.alerts.len();
        let [head, sources, sinks, warnings, foot] = Layout::vertical([
            Constraint::Length(3),
            rows(of(Kind::Source)),
            rows(of(Kind::Sink)),
            if alerts == 0 { Constraint::Length(0) } else { Constraint::Min(2) },
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        self.parts(frame, sources, Kind::Source);
        self.parts(frame, sinks, Kind::Sink);
        self.alerts(frame, warnings);
        let trouble = self.trouble.as_deref().map(people::visible);
        let words = trouble.map_or_else(|| Line::from("q ends"), |why| Line::styled(why, bad()));
        frame.render_widget(words, foot);
    }

    fn head(&self) -> Vec<Line<'static>> {
        let View { device, version, generation, uptime_s, clock_is_set, fill, numbers, .. } = &self.now;
        let clock = if *clock_is_set { "" } else { "; the clock is not set" };
        let uptime = people::span(uptime_s.saturating_mul(1000));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let about = format!("  forebay {version}, up for {uptime}, configuration {generation}{clock}");
        let percent = fill.waits as f64 * 100.0 / fill.room.max(1) as f64;
        let full = fill.full_in_s.map(|seconds| format!(", full in {}", people::span(seconds.saturating_mul(1000))));
        let memory = people::size(numbers.get("memory_bytes").copied().unwrap_or(0));
        let dead = numbers.get("dead_letters_total").copied().unwrap_or(0);
        let (waits, full) = (people::size(fill.waits), full.unwrap_or_default());
        vec![
            Line::from(vec![Span::styled(people::visible(device), bold), Span::raw(about)]),
            Line::from(format!("store {percent:.1} % ({waits} wait{full}), memory {memory}, dead letters {dead}")),
            Line::default(),
        ]
    }

    fn parts(&self, frame: &mut Frame<'_>, area: Rect, kind: Kind) {
        let now = self.now.now_ms;
        let ago = |at: i64| people::age(now.saturating_sub(at));
        let row = |part: &PartView| {
            let (counts, fact) = match kind {
                Kind::Source => (
                    "source_frames_total",
                    part.last_frame_ms.map_or_else(|| "nothing yet".into(), |at| format!("last {} ago", ago(at))),
                ),
                Kind::Sink => {
                    let records = part.records();
                    let oldest = part.oldest_ms().map(|at| format!(", oldest {}", ago(at))).unwrap_or_default();
                    let fact = if records == 0 { "nothing waits".into() } else { format!("{records} wait{oldest}") };
                    ("sink_records_total", fact)
                }
            };
            let rate = self.speed(part, counts).map_or_else(|| "..".into(), |speed| format!("{speed:.1}/s"));
            let style = if part.is_good { good() } else { bad() };
            let health = Span::styled(part.health.to_string(), style);
            let mut facts = vec![Line::from(fact)];
            if !part.is_good {
                facts.push(Line::styled(people::visible(&part.state), bad()));
            }
            let height = u16::try_from(facts.len()).unwrap_or(1);
            Row::new(vec![
                Text::from(people::visible(&part.name)),
                Text::from(Line::from(health)),
                Text::from(format!("{rate:>10}")),
                Text::from(facts),
            ])
            .height(height)
        };
        let title = match kind {
            Kind::Source => "SOURCES",
            Kind::Sink => "SINKS",
        };
        let widths = [Constraint::Max(18), Constraint::Length(8), Constraint::Length(11), Constraint::Fill(1)];
        let table = Table::new(self.now.parts.iter().filter(|part| part.kind == kind).map(row), widths)
            .header(Row::new([title]).style(Style::new().add_modifier(Modifier::BOLD)));
        frame.render_widget(table, area);
    }

    fn alerts(&self, frame: &mut Frame<'_>, area: Rect) {
        let now = self.now.now_ms;
        let row = |alert: &crate::monitor::view::AlertView| {
            let style = if alert.severity == Severity::Critical { bad() } else { Style::new().fg(Color::Yellow) };
            let since = people::age(now.saturating_sub(alert.since_ms));
            Row::new(vec![
                Line::styled(people::visible(&alert.name), style),
                Line::from(format!("{since:>8}")),
                Line::from(people::visible(&alert.message)),
            ])
        };
        let widths = [Constraint::Max(18), Constraint::Length(8), Constraint::Fill(1)];
        let table = Table::new(self.now.alerts.iter().map(row), widths)
            .header(Row::new(["ALERTS"]).style(Style::new().add_modifier(Modifier::BOLD)));
        frame.render_widget(table, area);
    }
}

fn good() -> Style {
    Style::new().fg(Color::Green)
}

fn bad() -> Style {
    Style::new().fg(Color::Red)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::view::{AlertView, Fill, Waits};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn part(kind: Kind, name: &str, count: u64) -> PartView {
        let is_good = name != "hub";
        let counted = if kind == Kind::Source { "source_frames_total" } else { "sink_records_total" };
        let waits = Waits { stream: "readings".into(), records: 1250, bytes: 90_000, oldest_ms: Some(60_000) };
        PartView {
            kind,
            name: name.into(),
            health: if is_good { "up" } else { "waiting" }.into(),
            is_good,
            state: if is_good { "up" } else { "waiting: 10.0.0.1:5671: refused \u{1b}[2J" }.into(),
            since_s: 41,
            last_frame_ms: (kind == Kind::Source).then_some(99_000),
            streams: vec!["readings".into()],
            waits: if kind == Kind::Sink { vec![waits] } else { Vec::new() },
            numbers: [(counted.into(), count)].into(),
            ends: Vec::new(),
        }
    }

    fn view(now_ms: i64, count: u64) -> View {
        let message = "sink hub: the oldest undelivered reading is 40 s old".into();
        let (name, about, severity) = ("lag".into(), "sink hub".into(), Severity::Warning);
        View {
            version: "0.1.0".into(),
            device: "hall-3".into(),
            generation: 3,
            uptime_s: 7800,
            now_ms,
            clock_is_set: true,
            numbers: [("memory_bytes".into(), 3 << 20)].into(),
            parts: vec![part(Kind::Source, "plant", count), part(Kind::Sink, "hub", 7)],
            fill: Fill { waits: 90_000, room: 1 << 30, full_in_s: Some(7200) },
            alerts: vec![AlertView { name, about, severity, message, since_ms: 70_000 }],
            ..View::default()
        }
    }

    #[test]
    fn it_looks_right_on_a_small_terminal() {
        let mut screen = Screen { now: view(99_000, 100), before: None, trouble: None };
        screen.take(Ok(view(100_000, 142)));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let text = terminal.backend().to_string();
        for wanted in [
            "hall-3  forebay 0.1.0, up for 2h10m, configuration 3",
            "store 0.0 % (87.8 KiB wait, full in 2h00m), memory 3.0 MiB, dead letters 0",
            "plant",
            "42.0/s  last 1s ago",
            "1250 wait, oldest 40s ",
            "  waiting: 10.0.0.1:5671: refused ",
            "ALERTS",
            "lag",
            "the oldest undelivered reading is 40 s old",
            "q ends",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
        screen.take(Err("no agent answers".into()));
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        assert!(terminal.backend().to_string().contains("no agent answers"));
        // A terminal that is far too small shows what fits.
        let mut terminal = Terminal::new(TestBackend::new(12, 3)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
    }
}
