//! The console's event loop: keys, links and clock in, effects and frames out.

mod controller;
mod output;
mod pictures;
mod redraw;
mod terminal;
mod traced_samples;
mod typing;

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crossterm::event::{Event as Input, EventStream};
use futures_util::StreamExt as _;
use roverline_client::{Config, Event, Events, Link};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::command::{Clock, perform};
use crate::composer::saved::{MAX_FILE_BYTES, SavedCommands};
use crate::effect::Effect;
use crate::environment;
use crate::model::{Model, Screen};
use crate::runtime::controller::Controller;
use crate::runtime::pictures::Pictures;
use crate::runtime::redraw::{RedrawScheduler, Urgency};
use crate::runtime::terminal::TerminalGuard;
use crate::runtime::traced_samples::TracedSamples;
use crate::runtime::typing::Typing;
use crate::screen::drive::model::driving::PERIOD;
use crate::screen::drive::model::pad::PadEvent;
use crate::theme::Theme;
use crate::update::{Msg, update};

/// Interval of clock messages: ages and qualities change by themselves.
const TICK: Duration = Duration::from_millis(250);
/// Most link events handled before keys are checked again.
const BATCH: usize = 256;
/// Link events are collected for this long: less than a frame, so hundreds of samples per second
/// wake the loop only fifty times.
const COLLECT: Duration = Duration::from_millis(20);
/// How long the link has for what was sent last, before the console leaves the terminal.
const FLUSH: Duration = Duration::from_millis(40);

/// Runs the console, which begins with this screen and filter. The terminal is restored in every case.
pub async fn run(
    config: Config,
    themes: &[Theme],
    theme: usize,
    first: Option<(Screen, String)>,
) -> std::io::Result<()> {
    let mut signals = Signals::new()?;
    let names = themes.iter().map(|theme| theme.name.clone()).collect();
    let mut console = Console {
        model: Model::new(names, theme),
        screen: TerminalGuard::enter()?,
        themes,
        clock: Clock::start(),
        pace: RedrawScheduler::new(Instant::now()),
        typing: Typing::default(),
        link: None,
        traced: TracedSamples::default(),
        pictures: Pictures::start(environment::pictures())?,
        quit: false,
        suspend: false,
    };
    let size = crossterm::terminal::size()?;
    console.model.composer.saved = SavedCommands::parse(&environment::read_commands(MAX_FILE_BYTES));
    console.model.composer.seed = RandomState::new().hash_one(std::process::id());
    console.send(Msg::Clock(console.clock.now()))?;
    console.send(Msg::Resize(size.0, size.1))?;
    console.draw()?; // before anything is connected: the screen is there at once
    let client = config.client_name.clone();
    let (link, mut events) = Link::open(config);
    console.link = Some(link);
    console.send(Msg::Attend(client))?;
    if let Some((screen, filter)) = first {
        console.send(Msg::Open { screen, filter })?;
    }
    let mut controller = Controller::start();
    let mut input = EventStream::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pulse = interval(PERIOD);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut linked = true;
    let mut collect_until = Instant::now();
    while !console.quit {
        console.suspend().await?;
        tokio::select! {
            biased;
            key = input.next() => console.input(key, &mut input).await?,
            event = controller.next() => console.pad(event)?,
            () = signals.any() => console.send(Msg::Terminate)?,
            // After all keys that were there before: none of them answers what is on this frame.
            question = console.screen.written(), if !console.screen.is_ready() => console.written(question)?,
            () = sleep_until(console.pace.due()), if console.pace.is_due_some() && console.screen.is_ready() => {
                console.draw()?;
            }
            event = next_after(collect_until, &mut events), if linked => match event {
                Some(first) => {
                    let all_taken = console.events(first, &mut events)?;
                    collect_until = Instant::now() + if all_taken { COLLECT } else { Duration::ZERO };
                }
                None => linked = false,
            },
            (number, made) = console.pictures.next() => {
                console.pace.request(Urgency::Now);
                console.send(Msg::Picture { number, made })?;
            }
            _ = pulse.tick(), if console.model.screens.drive.driving.is_some() => {
                console.pace.request(Urgency::Someday);
                console.send(Msg::Clock(console.clock.now()))?;
                console.send(Msg::Pulse)?;
            }
            _ = tick.tick() => {
                console.pace.request(Urgency::Someday);
                console.send(Msg::Clock(console.clock.now()))?;
            }
        }
    }
    // The last messages are the most important ones: a zero, a stop.
    sleep(FLUSH).await;
    if let Some(link) = console.link.take() {
        link.close(events).await;
    }
    Ok(())
}

/// Writes the composer's commands, beside the loop: a slow disk delays no key.
fn save_commands(text: String) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = environment::write_commands(&text) {
            tracing::warn!("the commands of the composer are not saved: {error}");
        }
    });
}

async fn next_after(time: Instant, events: &mut Events) -> Option<Event> {
    sleep_until(time).await;
    events.next().await
}

struct Console<'a> {
    model: Model,
    screen: TerminalGuard,
    themes: &'a [Theme],
    clock: Clock,
    pace: RedrawScheduler,
    typing: Typing,
    link: Option<Link>,
    traced: TracedSamples,
    pictures: Pictures,
    quit: bool,
    suspend: bool,
}

impl Console<'_> {
    /// A lost terminal ends the console.
    async fn input(
        &mut self,
        first: Option<std::io::Result<Input>>,
        stream: &mut EventStream,
    ) -> std::io::Result<()> {
        let Some(Ok(first)) = first else {
            self.quit = true;
            return Ok(());
        };
        let arrived = self.typing.collect(first, stream).await;
        self.send(Msg::Clock(self.clock.now()))?;
        self.pace.request(Urgency::Now);
        for input in arrived.inputs {
            match input {
                Input::Key(key) if arrived.texts > 1 => self.send(Msg::FastKey(key, arrived.texts))?,
                Input::Key(key) => self.send(Msg::Key(key))?,
                Input::Paste(text) => self.send(Msg::Paste(text))?,
                Input::FocusGained => self.send(Msg::Focus(true))?,
                Input::FocusLost => self.send(Msg::Focus(false))?,
                Input::Resize(columns, lines) => self.send(Msg::Resize(columns, lines))?,
                _ => {}
            }
        }
        self.quit |= arrived.ended;
        Ok(())
    }

    /// The game controller has moved.
    fn pad(&mut self, event: PadEvent) -> std::io::Result<()> {
        self.pace.request(Urgency::Someday);
        self.send(Msg::Clock(self.clock.now()))?;
        self.send(Msg::Pad(event))
    }

    /// The terminal has taken a frame, with this question on it.
    fn written(&mut self, question: std::io::Result<Option<u64>>) -> std::io::Result<()> {
        // A lost terminal ends the console.
        self.quit |= question.is_err();
        if let Some(link) = &self.link {
            self.traced.written(link);
        }
        // A terminal that has become too small shows no question: then no key answers it.
        self.send(Msg::Drawn(question.unwrap_or_default().unwrap_or(0)))
    }

    /// Handles pending events up to a limit; returns whether none are left.
    fn events(&mut self, first: Event, events: &mut Events) -> std::io::Result<bool> {
        self.send(Msg::Clock(self.clock.now()))?;
        self.event(first)?;
        for _ in 0..BATCH {
            let Some(event) = events.try_next() else { return Ok(true) };
            self.event(event)?;
        }
        Ok(false)
    }

    /// Frequent changes are drawn at a lower rate, others at once.
    fn event(&mut self, event: Event) -> std::io::Result<()> {
        self.pace.request(match event {
            Event::Sample(_) | Event::Endpoints(_) => Urgency::Someday,
            _ => Urgency::Now,
        });
        let receipt = match &event {
            Event::Sample(sample) => sample.receipt.clone(),
            _ => None,
        };
        self.send(Msg::Link(event))?;
        if let Some(receipt) = receipt {
            self.traced.decoded(receipt);
        }
        Ok(())
    }

    fn send(&mut self, msg: Msg) -> std::io::Result<()> {
        let stopped = self.model.rover.stopped();
        for effect in update(&mut self.model, msg) {
            match effect {
                Effect::Quit => self.quit = true,
                Effect::Copy(text) => self.screen.copy(&text)?,
                Effect::Picture(job) => self.pictures.request(job),
                Effect::Bell => self.screen.ring()?,
                Effect::Title(title) => self.screen.set_title(&title)?,
                Effect::Suspend => self.suspend = true,
                Effect::SaveCommands(text) => save_commands(text),
                Effect::DrivingInput(is_driving) => self.screen.report_releases(is_driving)?,
                effect => {
                    let answer = self.link.as_ref().and_then(|link| perform(link, &effect));
                    if let Some(msg) = answer {
                        update(&mut self.model, msg);
                    }
                }
            }
        }
        if stopped != self.model.rover.stopped() {
            self.pace.request(Urgency::Now);
        }
        Ok(())
    }

    /// Suspends, if a key has asked for it, once the link has sent what came before.
    async fn suspend(&mut self) -> std::io::Result<()> {
        if std::mem::take(&mut self.suspend) {
            sleep(FLUSH).await;
            self.screen.suspend()?;
            self.pace.request(Urgency::Now);
        }
        Ok(())
    }

    fn draw(&mut self) -> std::io::Result<()> {
        self.pace.drawn(Instant::now());
        self.traced.drawn();
        match self.themes.get(self.model.theme) {
            Some(theme) => self.screen.draw(&self.model, theme),
            None => Ok(()),
        }
    }
}

/// Signals that request an exit.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let of = |kind| signal(kind);
        Ok(Signals([of(SignalKind::terminate())?, of(SignalKind::interrupt())?, of(SignalKind::hangup())?]))
    }

    async fn any(&mut self) {
        let [a, b, c] = &mut self.0;
        tokio::select! {
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
        }
    }
}
