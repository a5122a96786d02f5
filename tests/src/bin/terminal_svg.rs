//! Draws a terminal program's screen as an SVG: runs it in a pseudo-terminal, types keys, and
//! writes what the terminal shows.
//!
//! `terminal_svg OUT.svg COLUMNS ROWS SECONDS KEYS COMMAND [ARG ...]`

#![allow(clippy::unwrap_used, reason = "a tool for pictures: a panic is its report")]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

/// Width and height of a cell, in pixels.
const CELL: (usize, usize) = (8, 17);
const MARGIN: usize = 12;
const INK: &str = "#d0d0d0";
const PAPER: &str = "#16181c";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [out, columns, rows, seconds, keys, command @ ..] = args.as_slice() else { return usage() };
    let (Ok(columns), Ok(rows), Ok(seconds)) = (columns.parse(), rows.parse(), seconds.parse()) else {
        return usage();
    };
    let [program, arguments @ ..] = command else { return usage() };
    let terminal = run(program, arguments, (columns, rows), Duration::from_secs(seconds), keys);
    std::fs::write(out, svg(terminal.lock().unwrap().screen())).unwrap();
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: terminal_svg OUT.svg COLUMNS ROWS SECONDS KEYS COMMAND [ARG ...]");
    ExitCode::from(2)
}

/// Runs the program for this time, types the keys one second before its end, and returns the screen.
fn run(
    program: &str,
    arguments: &[String],
    (columns, rows): (u16, u16),
    time: Duration,
    keys: &str,
) -> Arc<Mutex<vt100::Parser>> {
    let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(program);
    command.args(arguments);
    command.env("TERM", "xterm-256color");
    command.env("COLORTERM", "truecolor");
    let mut child = pair.slave.spawn_command(command).unwrap();
    let cells = |n: u16| n.try_into().unwrap();
    let terminal = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
    let mut output = pair.master.try_clone_reader().unwrap();
    std::thread::spawn({
        let terminal = terminal.clone();
        move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                terminal.lock().unwrap().process(&bytes[..n]);
            }
        }
    });
    let mut keyboard = pair.master.take_writer().unwrap();
    std::thread::sleep(time.saturating_sub(Duration::from_secs(1)));
    keyboard.write_all(keys.as_bytes()).unwrap();
    keyboard.flush().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let picture = Arc::new(Mutex::new(vt100::Parser::new(cells(rows), cells(columns), 0)));
    let shown = terminal.lock().unwrap().screen().contents_formatted();
    picture.lock().unwrap().process(shown.as_bytes());
    child.kill().unwrap();
    child.wait().unwrap();
    picture
}

/// The screen as text in rows of a monospaced font, over the backgrounds of its cells.
fn svg(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (usize::from(rows.get()), usize::from(columns.get()));
    let (width, height) = (columns * CELL.0 + 2 * MARGIN, rows * CELL.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"13.3\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{PAPER}\"/>\n"
    );
    for row in 0..rows {
        for column in 0..columns {
            draw_cell(&mut out, screen, row, column);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn draw_cell(out: &mut String, screen: &vt100::Screen, row: usize, column: usize) {
    let Some(cell) = screen.cell(row.try_into().unwrap(), column.try_into().unwrap()) else { return };
    let (mut ink, mut paper) = (color(cell.fgcolor()), color(cell.bgcolor()));
    if cell.inverse() {
        (ink, paper) = (paper.or(Some(PAPER.to_owned())), ink.or(Some(INK.to_owned())));
    }
    let (x, y) = (MARGIN + column * CELL.0, MARGIN + row * CELL.1);
    if let Some(paper) = paper {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{paper}\"/>",
            CELL.0, CELL.1
        );
    }
    let text = cell.contents();
    if text.trim().is_empty() {
        return;
    }
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let weight = if cell.bold() { " font-weight=\"bold\"" } else { "" };
    let ink = ink.unwrap_or_else(|| INK.to_owned());
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{}\" fill=\"{ink}\"{weight}>{escaped}</text>", y + 13);
}

fn color(color: vt100::Color) -> Option<String> {
    const BASE: [&str; 16] = [
        "#000000", "#cd3131", "#0dbc79", "#e5e510", "#2472c8", "#bc3fbc", "#11a8cd", "#e5e5e5", "#666666",
        "#f14c4c", "#23d18b", "#f5f543", "#3b8eea", "#d670d6", "#29b8db", "#ffffff",
    ];
    match color {
        vt100::Color::Default => None,
        vt100::Color::Rgb(r, g, b) => Some(format!("#{r:02x}{g:02x}{b:02x}")),
        vt100::Color::Idx(at @ 0..=15) => Some(BASE[usize::from(at)].to_owned()),
        vt100::Color::Idx(at @ 16..=231) => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let at = at - 16;
            Some(format!("#{:02x}{:02x}{:02x}", level(at / 36), level(at / 6 % 6), level(at % 6)))
        }
        vt100::Color::Idx(at) => {
            let grey = 8 + 10 * (at - 232);
            Some(format!("#{grey:02x}{grey:02x}{grey:02x}"))
        }
    }
}
