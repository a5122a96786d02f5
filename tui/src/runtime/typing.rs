//! Keys as they arrive together: typed ones come one by one, pasted text comes at once, also from a
//! terminal that does not mark a paste (bracketed paste).

use std::time::Duration;

use crossterm::event::{Event as Input, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

/// Keys that follow each other faster than this arrive together: typing is slower, and a paste
/// faster.
const TOGETHER: Duration = Duration::from_millis(10);
/// A pause this short does not end a paste: it may come in several packets.
const PASTE_PAUSE: Duration = Duration::from_millis(60);
/// Most inputs taken together.
const MOST_TOGETHER: usize = 1_024;

/// Keys that arrived together.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// In order.
    pub(super) inputs: Vec<Input>,
    /// How many of them may be text; more than one was probably not typed.
    pub(super) texts: usize,
    /// Whether the terminal is gone.
    pub(super) ended: bool,
}

/// Collects inputs that arrive together.
#[derive(Debug, Default)]
pub(super) struct Typing {
    /// When the last text of a paste arrived, and how many there were.
    paste: Option<(Instant, usize)>,
}

impl Typing {
    /// Takes the first input and all that follow it at once. The stop's key waits for nothing.
    pub(super) async fn collect(&mut self, first: Input, stream: &mut EventStream) -> Arrived {
        let mut arrived = Arrived::default();
        let mut next = Some(first);
        while let Some(input) = next.take() {
            let is_urgent = !is_text(&input) || is_stop(&input);
            arrived.inputs.push(input);
            if is_urgent || arrived.inputs.len() >= MOST_TOGETHER {
                break;
            }
            match timeout(TOGETHER, stream.next()).await {
                Ok(Some(Ok(input))) => next = Some(input),
                Ok(_) => arrived.ended = true,
                Err(_) => {}
            }
        }
        arrived.texts =
            self.count(arrived.inputs.iter().filter(|input| is_text(input)).count(), Instant::now());
        arrived
    }

    /// Number of texts that belong together: the rest of a paste counts with its beginning.
    fn count(&mut self, texts: usize, now: Instant) -> usize {
        let before = self.paste.filter(|(at, _)| now.duration_since(*at) < PASTE_PAUSE);
        let together = texts + before.map_or(0, |(_, texts)| texts);
        self.paste = (texts > 0 && together > 1).then_some((now, together)).or(before);
        together
    }
}

fn is_stop(input: &Input) -> bool {
    matches!(input, Input::Key(KeyEvent { code: KeyCode::Char('!'), .. }))
}

/// Whether the input may be a part of pasted text.
fn is_text(input: &Input) -> bool {
    let Input::Key(key) = input else { return false };
    let plain = !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
    let text = matches!(key.code, KeyCode::Char(_) | KeyCode::Enter | KeyCode::Tab | KeyCode::Backspace);
    plain && text && key.kind != KeyEventKind::Release
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paste_in_several_packets_is_one_and_the_next_key_is_typed() {
        let (mut typing, start) = (Typing::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(typing.count(1, after(0)), 1);
        assert_eq!(typing.count(1, after(20)), 1, "fast, but typed");
        assert_eq!(typing.count(5, after(100)), 5);
        assert_eq!(typing.count(1, after(130)), 6, "its last packet");
        assert_eq!(typing.count(1, after(400)), 1);
    }

    #[test]
    fn text_is_what_a_paste_consists_of() {
        let key = |code, modifiers| Input::Key(KeyEvent::new(code, modifiers));
        assert!(is_text(&key(KeyCode::Char('R'), KeyModifiers::SHIFT)));
        assert!(is_text(&key(KeyCode::Enter, KeyModifiers::NONE)));
        assert!(!is_text(&key(KeyCode::Up, KeyModifiers::NONE)));
        assert!(!is_text(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    }
}
