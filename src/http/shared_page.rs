//! The page of containers, made once for all who ask for it at the same time.
//!
//! A page of a large host has megabytes and takes the collector's time. So one is made at a time: for
//! everybody who has asked before it is begun, and for whoever comes while it is made, or within
//! [`GOOD_FOR`] of its beginning. It is packed once for all who take gzip. Its bytes are shared and take
//! [`Room`] once, which goes with the last reader that has them. A page that finds no room is refused
//! to all who waited for it; nothing is made for those who have gone, and nothing is kept for those
//! who may come.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::backend::Backend;
use super::compress::{self, MIN_BYTES};
use super::error::{ApiError, ErrorKind};
use super::parsing::Deadline;
use super::room::Room;

/// So old may the figures of a page be. Whoever scrapes each second never gets the page of the last
/// scrape again, and all readers together have two pages made a second.
const GOOD_FOR: Duration = Duration::from_millis(500);
/// A page waits so long for room. With the time it takes to make one, twice, it is well below the longest answer.
const ROOM_WITHIN: Duration = Duration::from_secs(5);
/// Those who wait to be heard: as many as there are connections.
const ASKING: usize = 128;

/// The way to the page.
pub(super) struct SharedPage {
    asks: mpsc::Sender<Ask>,
}

/// The page as a reader takes it.
#[derive(Debug)]
pub(super) enum Shown {
    /// Text.
    Plain(Bytes),
    /// In gzip.
    Packed(Bytes),
}

/// Somebody waits for the page.
struct Ask {
    takes_gzip: bool,
    reply: oneshot::Sender<Result<Shown, ApiError>>,
}

/// Makes pages.
struct Maker {
    backend: Arc<dyn Backend>,
    room: Arc<Room>,
}

/// A page in the forms that were asked for so far.
struct Made {
    plain: Result<Bytes, Failed>,
    packed: Option<Result<Bytes, Failed>>,
}

/// Why there is no page.
#[derive(Clone)]
enum Failed {
    NoRoom,
    Told(ApiError),
}

impl SharedPage {
    /// Makes pages from now on, in a task that ends with the last reader.
    pub(super) fn start(backend: Arc<dyn Backend>, room: Arc<Room>) -> SharedPage {
        let (asks, asked) = mpsc::channel(ASKING);
        tokio::spawn(Maker { backend, room }.work(asked));
        SharedPage { asks }
    }

    /// The page of now.
    pub(super) async fn get(&self, takes_gzip: bool) -> Result<Shown, ApiError> {
        let ended = || ApiError::new(ErrorKind::Internal, "pages are made no more: see the log");
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask { takes_gzip, reply }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Maker {
    async fn work(self, mut asked: mpsc::Receiver<Ask>) {
        let mut waiting: Vec<Ask> = Vec::new();
        while asked.recv_many(&mut waiting, ASKING).await > 0 {
            waiting.retain(|ask| !ask.reply.is_closed());
            if waiting.is_empty() {
                continue;
            }
            let mut over = Box::pin(tokio::time::sleep(GOOD_FOR));
            let mut made = self.make().await;
            for ask in waiting.drain(..) {
                self.answer(&mut made, ask).await;
            }
            loop {
                // Time first: else readers without end would get one page for ever.
                let ask = tokio::select! {
                    biased;
                    () = &mut over => break,
                    ask = asked.recv() => ask,
                };
                let Some(ask) = ask else { return };
                self.answer(&mut made, ask).await;
            }
        }
    }

    async fn make(&self) -> Made {
        let plain = match self.backend.containers_text().await {
            Ok(text) => self.held(Bytes::from(text.into_boxed_str().into_boxed_bytes())).await,
            Err(error) => Err(Failed::Told(error)),
        };
        Made { plain, packed: None }
    }

    /// Bytes, with their room.
    async fn held(&self, bytes: Bytes) -> Result<Bytes, Failed> {
        let taken = self.room.wait(bytes.len(), &mut Deadline::after(ROOM_WITHIN)).await;
        taken.map(|taken| taken.around(bytes)).ok_or(Failed::NoRoom)
    }

    async fn answer(&self, made: &mut Made, ask: Ask) {
        let shown = match &made.plain {
            Ok(plain) if ask.takes_gzip && plain.len() >= MIN_BYTES => {
                if made.packed.is_none() {
                    made.packed = Some(self.packed(plain.clone()).await);
                }
                made.packed.clone().expect("was packed just now").map(Shown::Packed)
            }
            Ok(plain) => Ok(Shown::Plain(plain.clone())),
            Err(failed) => Err(failed.clone()),
        };
        let told = shown.map_err(|failed| match failed {
            Failed::NoRoom => self.room.refuse(),
            Failed::Told(error) => error,
        });
        // Whoever has gone meanwhile takes nothing.
        ask.reply.send(told).ok();
    }

    async fn packed(&self, plain: Bytes) -> Result<Bytes, Failed> {
        let packed = compress::pack(plain).await.map_err(Failed::Told)?;
        self.held(packed).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Pages, Scripted, scripted};
    use super::*;

    const PAGE_BYTES: usize = 1 << 20;

    /// A host whose pages take so many milliseconds, and the way to them, with room for so many pages.
    fn host(takes_millis: u64, pages: usize) -> (Arc<Scripted>, Arc<Room>, Arc<SharedPage>) {
        let backend = scripted();
        let takes = Duration::from_millis(takes_millis);
        *backend.pages.lock().expect("no panic") = Pages { made: 0, takes, bytes: PAGE_BYTES };
        let room = Arc::new(Room::of(pages * PAGE_BYTES + PAGE_BYTES / 2));
        let page = SharedPage::start(Arc::clone(&backend) as Arc<dyn Backend>, Arc::clone(&room));
        (backend, room, Arc::new(page))
    }

    type Reader = tokio::task::JoinHandle<Result<Shown, ApiError>>;

    /// So many readers ask for text from now on.
    fn ask(page: &Arc<SharedPage>, readers: usize) -> Vec<Reader> {
        let one = || {
            let page = Arc::clone(page);
            tokio::spawn(async move { page.get(false).await })
        };
        (0..readers).map(|_| one()).collect()
    }

    /// The numbers of the pages they get.
    async fn numbers(readers: Vec<Reader>) -> Vec<u32> {
        let mut numbers = Vec::new();
        for reader in readers {
            let Ok(Shown::Plain(page)) = reader.await.expect("ends") else { panic!("no page") };
            let line = page.split(|byte| *byte == b'\n').next().expect("a line");
            let line = std::str::from_utf8(line).expect("text");
            let number = line.strip_prefix("container_last_seen ").expect("a number");
            numbers.push(number.parse().expect("a number"));
        }
        numbers
    }

    async fn pass(millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// A figure of the room.
    fn figure(room: &Room, name: &str) -> usize {
        let page = room.page();
        let line = page.lines().find_map(|line| line.strip_prefix(name)).expect("is there");
        line.trim().parse().expect("a number")
    }

    const UNSENT: &str = "plimsoll_http_unsent_bytes ";
    const REFUSED: &str = "plimsoll_http_answers_without_room_total ";

    #[tokio::test(start_paused = true)]
    async fn readers_that_come_together_get_one_page_and_the_next_one_a_new_one() {
        let (_, room, page) = host(300, 2);
        let mut first = ask(&page, 20);
        pass(100).await;
        first.extend(ask(&page, 5));
        pass(399).await;
        first.extend(ask(&page, 1));
        pass(2).await;
        let next = ask(&page, 3);
        assert_eq!(numbers(first).await, [1; 26]);
        assert_eq!(numbers(next).await, [2; 3]);
        pass(500).await;
        assert_eq!(figure(&room, UNSENT), 0, "nothing is kept for those who may come");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_while_a_slow_page_is_made_wait_for_no_more_than_one() {
        let (_, _, page) = host(2000, 2);
        let first = ask(&page, 1);
        pass(1000).await;
        let late = ask(&page, 100);
        assert_eq!(numbers(first).await, [1]);
        assert_eq!(numbers(late).await, [2; 100]);
    }

    /// Else one page would be good for ever.
    #[tokio::test(start_paused = true)]
    async fn readers_without_end_get_new_figures_twice_a_second() {
        let (_, _, page) = host(10, 2);
        let reading = async {
            for _ in 0.. {
                page.get(false).await.expect("a page");
                pass(1).await;
            }
        };
        tokio::time::timeout(Duration::from_millis(5100), reading).await.expect_err("without end");
        assert_eq!(numbers(ask(&page, 1)).await, [11]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_page_is_made_for_those_who_have_gone() {
        let (backend, _, page) = host(1000, 2);
        for _ in 0..3 {
            let gone = ask(&page, 50);
            pass(100).await;
            gone.iter().for_each(tokio::task::JoinHandle::abort);
        }
        pass(5000).await;
        assert_eq!(backend.pages.lock().expect("no panic").made, 1, "for the first ones");
        assert_eq!(numbers(ask(&page, 1)).await, [2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_takes_room_once_and_those_who_find_none_are_told_and_counted() {
        let (_, room, page) = host(10, 2);
        let mut unread = Vec::new();
        for number in 1..=2 {
            let readers = ask(&page, 40);
            pass(20).await;
            assert_eq!(figure(&room, UNSENT), number * PAGE_BYTES, "forty have one page");
            for reader in readers {
                unread.push(reader.await.expect("ends").expect("a page"));
            }
            pass(1000).await;
        }
        for reader in ask(&page, 3) {
            let refused = reader.await.expect("ends").expect_err("no room");
            assert!(refused.message.contains("no room for the answer came in time"), "{refused}");
        }
        assert_eq!(figure(&room, REFUSED), 3);
        unread.truncate(1);
        pass(1000).await;
        assert_eq!(figure(&room, UNSENT), PAGE_BYTES);
        assert_eq!(numbers(ask(&page, 1)).await, [4], "there is room again");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_packed_once_and_its_packed_bytes_take_room() {
        let (_, room, page) = host(10, 2);
        let (one, other) = tokio::join!(page.get(true), page.get(true));
        let (Ok(Shown::Packed(one)), Ok(Shown::Packed(other))) = (one, other) else {
            panic!("it is worth packing")
        };
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert!((PAGE_BYTES / 2..PAGE_BYTES).contains(&one.len()), "{}", one.len());
        assert_eq!(figure(&room, UNSENT), PAGE_BYTES + one.len());
        pass(1000).await;
        assert_eq!(figure(&room, UNSENT), one.len(), "nobody takes it as text");
        drop((one, other));
        assert_eq!(figure(&room, UNSENT), 0);
    }
}
