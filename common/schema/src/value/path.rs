//! Paths into messages: names joined by dots, indices in brackets.

/// One step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

/// Walks a path. An item of `None` means that the path is malformed there.
pub(crate) fn steps(path: &str) -> Steps<'_> {
    Steps { rest: path, first: true, broken: false }
}

#[derive(Clone, Debug)]
pub(crate) struct Steps<'a> {
    rest: &'a str,
    first: bool,
    broken: bool,
}

impl<'a> Steps<'a> {
    fn step(&mut self) -> Option<Step<'a>> {
        if let Some(rest) = self.rest.strip_prefix('[') {
            let (digits, rest) = rest.split_once(']')?;
            self.rest = rest;
            // Digits only: `parse` alone would accept a sign.
            return digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())
                .flatten()
                .map(Step::Index);
        }
        let rest = if self.first { self.rest } else { self.rest.strip_prefix('.')? };
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(Step::Name(name))
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Option<Step<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.rest.is_empty() {
            return None;
        }
        let step = self.step();
        self.first = false;
        self.broken = step.is_none();
        Some(step)
    }
}
