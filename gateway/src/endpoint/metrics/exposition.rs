//! The Prometheus text exposition format, version 0.0.4: families with help and type, samples with labels.

use std::fmt::Write;

use crate::histogram::HistogramSnapshot;

/// Characters of a label's value; longer ones are cut.
const LABEL_CHARS: usize = 256;

/// A metrics page under construction.
#[derive(Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Writes a family with a single unlabelled sample.
    pub(crate) fn one(&mut self, kind: &str, name: &str, help: &str, value: f64) {
        self.family(kind, name, help);
        self.sample(name, &[], value);
    }

    /// Writes a family with a single unlabelled sample; nothing if the value is not known.
    pub(crate) fn known(&mut self, kind: &str, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.one(kind, name, help, value);
        }
    }

    /// Starts a family of type `counter`, `gauge` or `histogram`.
    pub(crate) fn family(&mut self, kind: &str, name: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes a sample of the current family.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if at == 0 { '{' } else { ',' });
            self.label_value(text);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = match value {
            f64::INFINITY => writeln!(self.0, " +Inf"),
            f64::NEG_INFINITY => writeln!(self.0, " -Inf"),
            // Rust formats a NaN as `NaN`, as Prometheus does.
            value => writeln!(self.0, " {value}"),
        };
    }

    /// Writes a histogram of the current family.
    pub(crate) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], counted: &HistogramSnapshot) {
        let bucket = format!("{name}_bucket");
        let mut line = |le: &str, count: u64| {
            let labels: Vec<_> = labels.iter().copied().chain([("le", le)]).collect();
            self.sample(&bucket, &labels, count as f64);
        };
        for (bound, count) in &counted.buckets {
            line(&bound.to_string(), *count);
        }
        line("+Inf", counted.count);
        self.sample(&format!("{name}_sum"), labels, counted.sum_s);
        self.sample(&format!("{name}_count"), labels, counted.count as f64);
    }

    /// Topics, nodes and interfaces are named by others: no control character reaches a reader of the page.
    fn label_value(&mut self, text: &str) {
        for c in text.chars().take(LABEL_CHARS) {
            let _ = match c {
                '\\' => write!(self.0, "\\\\"),
                '"' => write!(self.0, "\\\""),
                '\n' => write!(self.0, "\\n"),
                c if c.is_control() => write!(self.0, "\\\\u{:04x}", u32::from(c)),
                c => write!(self.0, "{c}"),
            };
        }
    }

    /// Returns the text.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_that_of_prometheus() {
        let mut page = Exposition::default();
        page.family("gauge", "a_b", "One\nline \\ here");
        page.sample("a_b", &[("x", "q\"\\\n"), ("y", "")], 1.5);
        page.one("counter", "c_total", "C.", 3.0);
        page.sample("c_total", &[], f64::INFINITY);
        let text = "# HELP a_b One\\nline \\\\ here\n# TYPE a_b gauge\na_b{x=\"q\\\"\\\\\\n\",y=\"\"} 1.5\n\
                    # HELP c_total C.\n# TYPE c_total counter\nc_total 3\nc_total +Inf\n";
        assert_eq!(page.finish(), text);
    }

    #[test]
    fn names_of_others_are_bounded_and_without_controls() {
        let mut page = Exposition::default();
        page.known("gauge", "absent", "No value.", None);
        page.sample("a", &[("topic", "/\0\r\u{1b}[2J\u{85}é")], 1.0);
        page.sample("b", &[("node", &"n".repeat(100_000))], 1.0);
        let text = page.finish();
        assert!(text.starts_with("a{topic=\"/\\\\u0000\\\\u000d\\\\u001b[2J\\\\u0085é\"} 1\n"), "{text}");
        assert!(text.len() < LABEL_CHARS + 100, "{}", text.len());
    }
}
