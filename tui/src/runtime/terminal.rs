//! The terminal: acquired, drawn on, and restored in every case.

use std::io::{self, BufWriter, Stdout, Write as _, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{
    BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::model::Model;
use crate::theme::Theme;
use crate::view;

/// A frame is one write.
const FRAME_BYTES: usize = 64 << 10;

type Backend = CrosstermBackend<BufWriter<Stdout>>;

/// The acquired terminal.
pub(super) struct TerminalGuard {
    terminal: Terminal<Backend>,
    hold: TerminalOwnership,
}

/// Whether we own the terminal; shared with the panic hook: the first one restores it.
#[derive(Clone, Default)]
struct TerminalOwnership(Arc<AtomicBool>);

impl TerminalGuard {
    pub(super) fn enter() -> io::Result<TerminalGuard> {
        let hold = TerminalOwnership::default();
        let (default, ours) = (std::panic::take_hook(), hold.clone());
        std::panic::set_hook(Box::new(move |panic| {
            ours.give_back();
            tracing::error!("{panic}");
            default(panic);
        }));
        hold.take()?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, stdout()));
        let terminal = Terminal::new(backend).inspect_err(|_| hold.give_back())?;
        Ok(TerminalGuard { terminal, hold })
    }

    pub(super) fn draw(&mut self, model: &Model, theme: &Theme) -> io::Result<()> {
        crossterm::queue!(self.terminal.backend_mut(), BeginSynchronizedUpdate)?;
        self.terminal.draw(|frame| view::view(model, theme, frame))?;
        crossterm::queue!(self.terminal.backend_mut(), EndSynchronizedUpdate)?;
        io::Write::flush(self.terminal.backend_mut())
    }

    /// Restores the terminal, suspends this process, and acquires it again when the shell continues
    /// it.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        self.hold.give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        self.hold.take()?;
        self.terminal.clear()
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
        self.0.store(true, Ordering::SeqCst);
        execute!(stdout(), EnterAlternateScreen).inspect_err(|_| self.give_back())
    }

    /// Errors are ignored: nobody is left to report them to.
    fn give_back(&self) {
        if self.0.swap(false, Ordering::SeqCst) {
            let _ = execute!(stdout(), EndSynchronizedUpdate, LeaveAlternateScreen, Show);
            let _ = disable_raw_mode();
            let _ = stdout().flush();
        }
    }
}
