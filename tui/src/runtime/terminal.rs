//! The terminal: acquired, drawn on, and restored in every case.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::Show;
use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange,
    KeyboardEnhancementFlags, PopKeyboardEnhancementFlags, PushKeyboardEnhancementFlags,
};
use crossterm::queue;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, SetTitle,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use roverline_protocol::printable::printable;

use crate::model::Model;
use crate::runtime::output::{Finished, Output};
use crate::runtime::pictures;
use crate::theme::Theme;
use crate::view;

/// Longest wait for a terminal that does not take the bytes that acquire or restore it: the program
/// goes on, and ends, without it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The bytes of a frame until it is complete: a frame is one write.
#[derive(Clone, Default)]
struct FrameBytes(Arc<Mutex<Vec<u8>>>);

impl FrameBytes {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for FrameBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The acquired terminal.
pub(super) struct TerminalGuard {
    terminal: Terminal<CrosstermBackend<FrameBytes>>,
    frame: FrameBytes,
    hold: TerminalOwnership,
    finished: Finished,
    /// The question on the frame that is being written; `None` if no frame is.
    writing: Option<Option<u64>>,
}

/// Whether we own the terminal; shared with the panic hook: the first one restores it.
#[derive(Clone)]
struct TerminalOwnership {
    held: Arc<AtomicBool>,
    /// Whether it was ever to report key releases and its focus: taking that back twice is harmless.
    has_driven: Arc<AtomicBool>,
    output: Output,
}

impl TerminalGuard {
    pub(super) fn enter() -> io::Result<TerminalGuard> {
        let (output, finished) = Output::start(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
        let hold = TerminalOwnership { held: Arc::default(), has_driven: Arc::default(), output };
        let (default, ours) = (std::panic::take_hook(), hold.clone());
        std::panic::set_hook(Box::new(move |panic| {
            // The thread of pictures catches it, and the console goes on.
            if std::thread::current().name() == Some(pictures::THREAD) {
                return tracing::error!("{panic}");
            }
            ours.give_back();
            tracing::error!("{panic}");
            default(panic);
        }));
        hold.take()?;
        let frame = FrameBytes::default();
        let backend = CrosstermBackend::new(frame.clone());
        let terminal = Terminal::new(backend).inspect_err(|_| hold.give_back())?;
        Ok(TerminalGuard { terminal, frame, hold, finished, writing: None })
    }

    /// Whether the terminal has taken the last frame. Until then no other one is drawn: the next
    /// one is the newest.
    pub(super) fn is_ready(&self) -> bool {
        self.writing.is_none()
    }

    /// Draws a frame and hands it to the writer.
    pub(super) fn draw(&mut self, model: &Model, theme: &Theme) -> io::Result<()> {
        let mut question = None;
        queue!(self.frame, BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| question = view::view(model, theme, frame))?;
        queue!(self.frame, EndSynchronizedUpdate)?;
        if self.hold.output.frame(self.frame.take()) {
            self.writing = Some(question);
            return Ok(());
        }
        // The terminal has not taken what restored it for a suspend.
        self.draw_whole_frame_next()
    }

    /// Puts a text into the terminal's clipboard, with the next frame.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        queue!(self.frame, CopyToClipboard::to_clipboard_from(text))
    }

    /// Rings the bell, with the next frame.
    pub(super) fn ring(&mut self) -> io::Result<()> {
        self.frame.write_all(b"\x07")
    }

    /// Sets the title of the window, with the next frame.
    pub(super) fn set_title(&mut self, title: &str) -> io::Result<()> {
        queue!(self.frame, SetTitle(printable(title)))
    }

    /// The terminal reports key releases (kitty's keyboard protocol) and its focus, or not any more, with the next frame.
    /// Terminals that cannot ignore it. Keys that make text go on to arrive as text: `!` stays `!`.
    pub(super) fn report_releases(&mut self, is_driving: bool) -> io::Result<()> {
        if !is_driving {
            return queue!(self.frame, PopKeyboardEnhancementFlags, DisableFocusChange);
        }
        self.hold.has_driven.store(true, Ordering::SeqCst);
        let flags = KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES
            | KeyboardEnhancementFlags::REPORT_EVENT_TYPES;
        queue!(self.frame, PushKeyboardEnhancementFlags(flags), EnableFocusChange)
    }

    /// The next frame is whole. `Terminal::clear` would ask the terminal for its cursor first, and fail where no answer
    /// comes (serial lines, recorders).
    fn draw_whole_frame_next(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Waits until the terminal has taken a frame; returns the number of the question on it. Cancel
    /// safe.
    pub(super) async fn written(&mut self) -> io::Result<Option<u64>> {
        let result = self.finished.next().await;
        let question = self.writing.take().flatten();
        result.map(|()| question)
    }

    /// Restores the terminal, suspends this process, and acquires it again when the shell continues
    /// it.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        self.hold.give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        self.hold.take()?;
        self.draw_whole_frame_next()
    }
}

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        self.hold.give_back();
    }
}

impl TerminalOwnership {
    fn take(&self) -> io::Result<()> {
        enable_raw_mode()?;
        self.held.store(true, Ordering::SeqCst);
        let mut bytes = Vec::new();
        queue!(bytes, EnterAlternateScreen, EnableBracketedPaste)?;
        if !self.output.write_within(bytes, PATIENCE) {
            tracing::warn!("the terminal takes no output");
        }
        Ok(())
    }

    /// Errors are ignored, because they can no longer be shown.
    fn give_back(&self) {
        if !self.held.swap(false, Ordering::SeqCst) {
            return;
        }
        let mut bytes = Vec::new();
        if self.has_driven.load(Ordering::SeqCst) {
            let _ = queue!(bytes, PopKeyboardEnhancementFlags, DisableFocusChange);
        }
        let _ = queue!(bytes, EndSynchronizedUpdate, DisableBracketedPaste, LeaveAlternateScreen, Show);
        if !self.output.write_within(bytes, PATIENCE) {
            tracing::warn!("the terminal takes no output: it is left as it is");
        }
        let _ = disable_raw_mode();
    }
}
