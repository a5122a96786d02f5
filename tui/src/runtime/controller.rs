//! A game controller, read from Linux' event devices (`/dev/input/event*`) on a thread of its own. Without the feature
//! `controller`, or where a user may not read these devices, there is none.

#[cfg(all(feature = "controller", target_os = "linux"))]
mod device;
#[cfg(all(feature = "controller", target_os = "linux"))]
mod reading;

use tokio::sync::mpsc;

use crate::screen::drive::model::pad::PadEvent;

/// Events that wait for the loop. A full queue holds up the thread: no release of a button is lost.
#[cfg(all(feature = "controller", target_os = "linux"))]
const QUEUE: usize = 64;

/// The controller's events.
pub(super) struct Controller(Option<mpsc::Receiver<PadEvent>>);

impl Controller {
    /// Looks for a controller from now on, until it is dropped.
    #[cfg(all(feature = "controller", target_os = "linux"))]
    pub(super) fn start() -> Controller {
        let (sender, receiver) = mpsc::channel(QUEUE);
        // It may wait in a read when the console ends, so it is not joined.
        let thread = std::thread::Builder::new().name("controller".to_owned());
        match thread.spawn(move || device::read_controllers(&sender)) {
            Ok(_) => Controller(Some(receiver)),
            Err(error) => {
                tracing::warn!("no game controller is read: {error}");
                Controller(None)
            }
        }
    }

    /// No controller is read.
    #[cfg(not(all(feature = "controller", target_os = "linux")))]
    pub(super) fn start() -> Controller {
        Controller(None)
    }

    /// The next event; waits forever if no controller is read.
    pub(super) async fn next(&mut self) -> PadEvent {
        match &mut self.0 {
            Some(receiver) => match receiver.recv().await {
                Some(event) => event,
                None => {
                    // The thread has ended, and with it the controller.
                    self.0 = None;
                    PadEvent::Disconnected
                }
            },
            None => std::future::pending().await,
        }
    }
}
