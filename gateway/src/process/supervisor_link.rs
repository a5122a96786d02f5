//! The endpoint's side of its link to the supervisor: first the pipes of the supervisor that started it,
//! later the socket of one that adopted it. The newest supervisor is the one that counts.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::mpsc;

use crate::limits;
use crate::process::heartbeat::{BEAT, FAILURE, NOT_ACCEPTING, READY, SupervisorCommand};

/// Longest command of a supervisor: a filter of the log, and who sets it.
const COMMAND_LINE_BYTES: u64 = 2_048;
/// Events that wait for the endpoint.
const LINK_EVENTS: usize = 8;

/// An event on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// A command.
    Command(SupervisorCommand),
    /// The supervisor is gone.
    Lost,
    /// Another supervisor has adopted this process.
    Adopted,
}

/// The way to the supervisor.
enum Output {
    /// Standard output, as long as the supervisor is the parent.
    Pipe,
    /// The socket of an adopting supervisor.
    Socket(UnixStream),
}

struct LinkState {
    output: Output,
    /// The number of adoptions: what an earlier supervisor's side still delivers is ignored.
    generation: u64,
    ready: bool,
}

/// The link. Cloned handles share it.
pub(crate) struct SupervisorLink {
    state: Mutex<LinkState>,
    events: mpsc::Sender<(u64, LinkEvent)>,
}

/// Receives the link's events.
pub(crate) struct LinkEvents {
    link: Arc<SupervisorLink>,
    inbox: mpsc::Receiver<(u64, LinkEvent)>,
}

impl LinkEvents {
    /// The next event of the newest supervisor.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        while let Some((generation, event)) = self.inbox.recv().await {
            if generation == self.link.state.lock().generation {
                return event;
            }
        }
        // The link itself holds a sender, so this is not reached while it exists.
        std::future::pending().await
    }
}

impl SupervisorLink {
    /// The link over standard input and output. A supervisor that stops reading must not block this process.
    pub(crate) fn over_pipes() -> (Arc<SupervisorLink>, LinkEvents) {
        let stdout = std::io::stdout();
        if let Ok(flags) = rustix::fs::fcntl_getfl(stdout.as_fd()) {
            let _ = rustix::fs::fcntl_setfl(stdout.as_fd(), flags | rustix::fs::OFlags::NONBLOCK);
        }
        let (link, events) = SupervisorLink::new();
        let sender = link.events.clone();
        // A blocking read needs a thread; it holds no resources and ends with the pipe.
        let listening = std::thread::Builder::new().name("command_pipe".to_owned()).spawn(move || {
            read_pipe(&sender);
        });
        if let Err(error) = listening {
            tracing::error!(%error, "no thread to listen to the supervisor");
        }
        (link, events)
    }

    /// A link whose pipe is not read.
    pub(crate) fn new() -> (Arc<SupervisorLink>, LinkEvents) {
        let (events, inbox) = mpsc::channel(LINK_EVENTS);
        let state = Mutex::new(LinkState { output: Output::Pipe, generation: 0, ready: false });
        let link = Arc::new(SupervisorLink { state, events });
        (link.clone(), LinkEvents { link, inbox })
    }

    /// Links this process to an adopting supervisor, in place of any other.
    pub(crate) async fn adopt(&self, stream: UnixStream) -> std::io::Result<()> {
        stream.set_nonblocking(true)?;
        let commands = tokio::net::UnixStream::from_std(stream.try_clone()?)?;
        let generation = {
            let mut state = self.state.lock();
            state.generation += 1;
            state.output = Output::Socket(stream);
            if state.ready {
                send(&mut state.output, &[READY]);
            }
            state.generation
        };
        let events = self.events.clone();
        let _ = events.send((generation, LinkEvent::Adopted)).await;
        tokio::spawn(async move {
            let mut commands = BufReader::new(commands);
            while let Some(command) = next_command(&mut commands).await {
                let _ = events.send((generation, LinkEvent::Command(command))).await;
            }
            let _ = events.send((generation, LinkEvent::Lost)).await;
        });
        Ok(())
    }

    /// Whether this process has reported that it serves or is ready to.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().ready
    }

    /// Reports that this endpoint serves, or is ready to.
    pub(crate) fn report_ready(&self) {
        let mut state = self.state.lock();
        state.ready = true;
        send(&mut state.output, &[READY]);
    }

    /// Reports that this endpoint no longer accepts connections.
    pub(crate) fn report_not_accepting(&self) {
        send(&mut self.state.lock().output, &[NOT_ACCEPTING]);
    }

    /// Reports why this endpoint cannot take over; it exits afterwards.
    pub(crate) fn report_failure(&self, why: &str) {
        send(&mut self.state.lock().output, &[&[FAILURE], why.as_bytes()].concat());
    }

    /// Sends heartbeats forever.
    pub(crate) async fn beat(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(limits::CHILD_HEARTBEAT_MS));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            send(&mut self.state.lock().output, &[BEAT]);
        }
    }
}

/// Writes without waiting. A supervisor that is gone or does not read misses it.
fn send(output: &mut Output, bytes: &[u8]) {
    match output {
        Output::Pipe => {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        }
        Output::Socket(stream) => drop(stream.write_all(bytes)),
    }
}

/// Passes on the commands from standard input until it closes.
fn read_pipe(events: &mpsc::Sender<(u64, LinkEvent)>) {
    let mut input = std::io::BufReader::new(std::io::stdin());
    loop {
        let mut line = Vec::new();
        let read = std::io::BufRead::read_until(&mut (&mut input).take(COMMAND_LINE_BYTES), b'\n', &mut line);
        if !matches!(read, Ok(bytes) if bytes > 0) {
            break;
        }
        if let Some(command) = parse(&line) {
            let _ = events.blocking_send((0, LinkEvent::Command(command)));
        }
    }
    let _ = events.blocking_send((0, LinkEvent::Lost));
}

/// The next command that is understood; `None` when the supervisor is gone.
async fn next_command(commands: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> Option<SupervisorCommand> {
    loop {
        let mut line = Vec::new();
        let read = commands.take(COMMAND_LINE_BYTES).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(bytes) if bytes > 0) {
            return None;
        }
        if let Some(command) = parse(&line) {
            return Some(command);
        }
    }
}

fn parse(line: &[u8]) -> Option<SupervisorCommand> {
    SupervisorCommand::parse(std::str::from_utf8(line).ok()?.strip_suffix('\n')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_supervisor_counts() {
        let (link, mut events) = SupervisorLink::new();
        link.report_ready();
        let (first, ours) = UnixStream::pair().unwrap();
        link.adopt(ours).await.unwrap();
        assert_eq!(events.next().await, LinkEvent::Adopted);
        let (mut second, ours) = UnixStream::pair().unwrap();
        link.adopt(ours).await.unwrap();
        assert_eq!(events.next().await, LinkEvent::Adopted);
        drop(first);
        second.write_all(b"accept\nsing\ndrain 2000\n").unwrap();
        assert_eq!(events.next().await, LinkEvent::Command(SupervisorCommand::Accept), "not the first's end");
        let drain = SupervisorCommand::Drain(Duration::from_secs(2));
        assert_eq!(events.next().await, LinkEvent::Command(drain));
        link.report_not_accepting();
        let mut received = [0; 2];
        second.read_exact(&mut received).unwrap();
        assert_eq!(received, [READY, NOT_ACCEPTING]);
        drop(second);
        assert_eq!(events.next().await, LinkEvent::Lost);
    }
}
