//! What the collector is asked for and has not begun.
//!
//! One collection and one page may wait, each in a place of its own, and the collection goes first: so
//! readers of pages, however many they are, delay a collection by no more than the page that is being
//! made. What nobody waits for any more is not begun.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::host::CollectError;
use crate::base::Timestamp;
use crate::exposition::Batch;

/// What waits in a place is the next of its kind. Whoever comes while it is taken hears that the
/// collector is held up: by a file system that hangs, since everybody gives up in time.
const PLACES: usize = 1;

/// What the thread does next.
#[derive(Debug)]
pub(super) enum Command {
    /// There are news.
    Look,
    /// A collection, at a time.
    Collect(Timestamp, oneshot::Sender<Result<Batch, CollectError>>),
    /// A page, at a time.
    Page(Timestamp, oneshot::Sender<Result<String, CollectError>>),
}

impl Command {
    fn is_awaited(&self) -> bool {
        match self {
            Command::Look => true,
            Command::Collect(_, reply) => !reply.is_closed(),
            Command::Page(_, reply) => !reply.is_closed(),
        }
    }
}

/// Where commands are given.
#[derive(Clone, Debug)]
pub(super) struct Door {
    bell: SyncSender<()>,
    collections: SyncSender<Command>,
    pages: SyncSender<Command>,
}

/// Where they are taken.
pub(super) struct Inbox {
    bell: Receiver<()>,
    collections: Receiver<Command>,
    pages: Receiver<Command>,
}

/// Both ends.
pub(super) fn inbox() -> (Door, Inbox) {
    let (ring, bell) = sync_channel(1);
    let (collect, collections) = sync_channel(PLACES);
    let (show, pages) = sync_channel(PLACES);
    (Door { bell: ring, collections: collect, pages: show }, Inbox { bell, collections, pages })
}

impl Door {
    /// Gives a command, if its place is free.
    pub(super) fn give(&self, command: Command) -> Result<(), CollectError> {
        match command {
            Command::Look => {}
            Command::Collect(..) => {
                self.collections.try_send(command).map_err(|_| CollectError::Busy)?;
            }
            Command::Page(..) => {
                self.pages.try_send(command).map_err(|_| CollectError::BusyForPages)?;
            }
        }
        // Where it has been rung and was not heard yet the thread has enough to wake up for.
        self.bell.try_send(()).ok();
        Ok(())
    }
}

impl Inbox {
    /// The next command, if there is one in this time.
    pub(super) fn next(&self, within: Duration) -> Result<Command, RecvTimeoutError> {
        if let Some(command) = self.waiting() {
            return Ok(command);
        }
        self.bell.recv_timeout(within)?;
        Ok(self.waiting().unwrap_or(Command::Look))
    }

    fn waiting(&self) -> Option<Command> {
        let collections = self.collections.try_iter();
        collections.chain(self.pages.try_iter()).find(Command::is_awaited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn collection() -> (Command, oneshot::Receiver<Result<Batch, CollectError>>) {
        let (reply, answer) = oneshot::channel();
        (Command::Collect(Timestamp(0), reply), answer)
    }

    fn page() -> (Command, oneshot::Receiver<Result<String, CollectError>>) {
        let (reply, answer) = oneshot::channel();
        (Command::Page(Timestamp(0), reply), answer)
    }

    #[test]
    fn a_collection_has_its_place_beside_a_page_and_goes_first() {
        let (door, inbox) = inbox();
        let ((page_one, _reader), (page_two, _late)) = (page(), page());
        door.give(page_one).expect("its place is free");
        let refused = door.give(page_two).expect_err("it is taken");
        assert!(matches!(refused, CollectError::BusyForPages), "{refused}");
        let ((one, _answer), (two, _next)) = (collection(), collection());
        door.give(one).expect("no page takes its place");
        let refused = door.give(two).expect_err("it is taken");
        assert!(matches!(refused, CollectError::Busy), "{refused}");
        assert!(matches!(inbox.next(AT_ONCE), Ok(Command::Collect(..))));
        assert!(matches!(inbox.next(AT_ONCE), Ok(Command::Page(..))));
    }

    #[test]
    fn what_nobody_waits_for_is_not_begun() {
        let (door, inbox) = inbox();
        door.give(collection().0).expect("a place");
        let (command, _reader) = page();
        door.give(command).expect("a place");
        assert!(matches!(inbox.next(AT_ONCE), Ok(Command::Page(..))));
        door.give(page().0).expect("a place");
        assert!(matches!(inbox.next(AT_ONCE), Ok(Command::Look)));
        assert_eq!(inbox.next(AT_ONCE).expect_err("none"), RecvTimeoutError::Timeout);
    }

    #[test]
    fn it_ends_when_the_last_door_is_gone_and_nothing_waits() {
        let (door, inbox) = inbox();
        let (command, _reader) = page();
        door.clone().give(command).expect("a place");
        drop(door);
        assert!(matches!(inbox.next(AT_ONCE), Ok(Command::Page(..))));
        // The bell that was rung for it.
        assert!(matches!(inbox.next(AT_ONCE), Ok(Command::Look)));
        assert_eq!(inbox.next(AT_ONCE).expect_err("gone"), RecvTimeoutError::Disconnected);
    }
}
