//! The Prometheus text exposition format, version 0.0.4: families with help and type, samples with labels.

use std::fmt::Write;

/// A metrics page under construction.
#[derive(Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Writes a family with a single unlabelled sample.
    pub(crate) fn one(&mut self, kind: &str, name: &str, help: &str, value: f64) {
        self.family(kind, name, help);
        self.sample(name, &[], value);
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
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
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
}
