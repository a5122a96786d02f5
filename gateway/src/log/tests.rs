mod line;
mod repeats;

use std::io::Write;

use crate::config::LogFormat;
use crate::log::PrintableLines;

#[test]
fn a_log_line_steers_no_terminal() {
    let write = |format, line: &str| {
        let mut log = PrintableLines { target: Vec::new(), format };
        log.write_all(line.as_bytes()).unwrap();
        String::from_utf8(log.target).unwrap()
    };
    assert_eq!(write(LogFormat::Text, "client \u{1b}[2Jann\u{202e}\n"), "client ·[2Jann·\n");
    assert_eq!(write(LogFormat::Json, "{\"client\":\"\u{202e}\"}\n"), "{\"client\":\"\\u202e\"}\n");
}
