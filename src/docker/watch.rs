//! The watch: connect, listen, list, follow; and again from where it broke.
//!
//! The stream is opened *before* the list is asked for, so that nothing falls between the two. After
//! a break it is opened a little before the newest event seen: what is told again the listener knows
//! ([`Heard`](crate::containers::Heard)). Docker keeps its last 256 events in memory: whatever a longer break lost shows in the list
//! that follows, as a container that is new, gone or was flagged `OOMKilled`. What Docker is [`busy`]
//! with hides itself alone. A line of the stream that does not read may have told anything, so a list follows it;
//! likewise when so many events wait that no more are read: Docker drops some then, and does not say so.
//!
//! Once a list was told, and all that Docker told for `TOLD_WITHIN` after it, everything is told that had
//! happened before it. How long that takes here says nothing of it: containers may be looked at in between.
//!
//! [`busy`]: super::busy

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

use super::backoff::{Backoff, Came, Waits};
use super::busy::{Busy, Moments};
use super::client::{Client, Inspected, Listed};
use super::config::DockerConfig;
use super::failure::{Failure, Kind};
use super::json;
use super::lines::Lines;
use crate::base::Timestamp;
use crate::containers::{Container, ContainerId, Happening, Report, What};
use crate::endpoint::explain;
use crate::engine::Event;

/// A silent stream may be a quiet host or a daemon that hangs: it is asked this often. Until an answer is
/// missing a hang is taken for quiet, and an answer costs next to nothing.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Its version is the least that can be asked of it: a daemon that takes this long to say it hangs,
/// however long other answers may take.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// As long as dockerd gives its containers when it stops, unless one of them or its own `--shutdown-timeout` asks for
/// more: what is not heard then the next list tells, and who asked for it was told before.
const HEARD_OUT: Duration = Duration::from_secs(15);
/// An answer about one container takes milliseconds, and longer than this if Docker is busy with it.
const MOMENTS: Moments = Moments {
    each: Duration::from_secs(2),
    all: Duration::from_secs(10),
    least: Duration::from_millis(50),
};
/// A question that was not answered in time stays with the daemon, so it is not asked again and again.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// What happened before a list, Docker has in memory, and tells it at once.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// A line that does not read may have told that a container is gone; whoever is told of many lists this often.
const LISTED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Events are asked for again from this long before the newest: they are not stamped in order.
const OVERLAP_NANOS: i64 = 5_000_000_000;
/// Events read ahead while containers are asked about; then the stream waits.
const READ_AHEAD: usize = 8192;
/// Events handled together: what a storm says of one container is asked about once.
const AT_ONCE: usize = 256;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until Docker has told what happened before a list.
    pub told_within: Duration,
    /// From a list to the next one, if a line was not read.
    pub listed_again_after: Duration,
    /// Until it is asked whether it is still there.
    pub ping_every: Duration,
    /// Until it has answered that.
    pub ping_timeout: Duration,
    /// Until an answer about a container is waited for aside.
    pub moments: Moments,
    /// Until nothing more is heard from one that has shut its door.
    pub heard_out: Duration,
    /// Until it is asked again after a failure.
    pub waits: Waits,
}

/// Watches the daemon until the receiver is gone. `since` is when the last watch ended: events after
/// it are told first.
pub async fn watch(config: DockerConfig, since: Option<Timestamp>, tell: mpsc::Sender<Event>) {
    let patience = Patience {
        told_within: TOLD_WITHIN,
        listed_again_after: LISTED_AGAIN_AFTER,
        ping_every: PING_EVERY,
        ping_timeout: PING_TIMEOUT,
        moments: MOMENTS,
        heard_out: HEARD_OUT,
        waits: Waits::DEFAULT,
    };
    watch_with(patience, config, since, tell).await;
}

/// As [`watch`], with this patience.
pub(super) async fn watch_with(
    patience: Patience,
    config: DockerConfig,
    since: Option<Timestamp>,
    tell: mpsc::Sender<Event>,
) {
    let mut watch = Watch {
        patience,
        tell: Tell(tell),
        cursor: since.map(|at| at.0.saturating_mul(1_000_000)),
        unread: Arc::default(),
        came: Came::Nowhere,
    };
    let mut backoff = Backoff::default();
    loop {
        let failure = match watch.session(&config).await {
            Ok(never) => match never {},
            Err(End::NobodyListens) => return,
            Err(End::Broken(failure)) => failure,
        };
        let came = std::mem::take(&mut watch.came);
        let wait = backoff.after(&patience.waits, came, failure.kind);
        let is_there = failure.kind != Kind::Absent;
        let why = failure.at(&config.host).why;
        if watch.tell.say(Report::Lost { why, is_there }).await.is_err() {
            return;
        }
        sleep(wait).await;
    }
}

/// Why a session ended.
enum End {
    /// The program stops.
    NobodyListens,
    /// Something went wrong.
    Broken(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        End::Broken(failure)
    }
}

/// Where reports go.
struct Tell(mpsc::Sender<Event>);

impl Tell {
    async fn say(&self, report: Report) -> Result<(), End> {
        self.0.send(Event::Docker(report)).await.map_err(|_| End::NobodyListens)
    }
}

/// Lines of the stream that told nothing. A daemon that writes nonsense writes a lot of it: the first is
/// logged, then the 2nd, the 4th, the 8th and so on.
#[derive(Default)]
struct Unread {
    lines: AtomicU64,
    told: AtomicU64,
}

impl Unread {
    /// One more; returns how many there were if that is to be logged.
    fn count(&self) -> Option<u64> {
        let lines = self.lines.fetch_add(1, Ordering::Relaxed) + 1;
        lines.is_power_of_two().then_some(lines)
    }

    /// How many came since this was asked last.
    fn news(&self) -> Option<u64> {
        let lines = self.lines.load(Ordering::Relaxed);
        let told = self.told.swap(lines, Ordering::Relaxed);
        (lines > told).then(|| lines - told)
    }
}

/// What stays over sessions.
struct Watch {
    patience: Patience,
    tell: Tell,
    /// The time of the newest event, in nanoseconds.
    cursor: Option<i64>,
    unread: Arc<Unread>,
    /// How far the session came that is under way.
    came: Came,
}

impl Watch {
    /// One connection, from the first question to its end, which is always a failure.
    async fn session(&mut self, config: &DockerConfig) -> Result<std::convert::Infallible, End> {
        let client = Arc::new(Client::connect(config).await?);
        if self.cursor.is_none() {
            self.cursor = client.time().await.map(|at| at.0.saturating_mul(1_000_000));
        }
        let since = self.cursor.map(|nanos| nanos.saturating_sub(OVERLAP_NANOS));
        let mut stream = Stream::open(&client, since, Arc::clone(&self.unread)).await?;
        let look = Look { client, busy: Busy::new(), patience: self.patience };
        let Err(end) = self.follow(look, &mut stream).await;
        if matches!(&end, End::Broken(failure) if failure.kind == Kind::Absent) {
            self.hear_out(&mut stream).await?;
        }
        // Docker tells its last 256 events again, and many more may have been read.
        stream.lines.close();
        while let Some(happening) = stream.lines.recv().await {
            self.tell_happening(happening).await?;
        }
        self.tell_unread().await?;
        Err(end)
    }

    /// A daemon that is told to stop shuts its door, ends its containers and tells of that on what is open still. The next
    /// one does not know it.
    async fn hear_out(&mut self, stream: &mut Stream) -> Result<(), End> {
        let until = sleep(self.patience.heard_out);
        tokio::pin!(until);
        loop {
            tokio::select! {
                happening = stream.lines.recv() => match happening {
                    Some(happening) => self.tell_happening(happening).await?,
                    None => return Ok(()),
                },
                () = &mut until => return Ok(()),
            }
        }
    }

    /// Lists and follows, until something goes wrong. What was read by then may wait in the stream.
    async fn follow(
        &mut self,
        mut look: Look,
        stream: &mut Stream,
    ) -> Result<std::convert::Infallible, End> {
        let containers = look.everything().await?;
        self.came = Came::ToAList;
        let version = look.client.version.clone();
        self.tell.say(Report::Connected { version }).await?;
        self.tell.say(Report::Listed(containers)).await?;
        let Patience { told_within, listed_again_after, ping_every, .. } = self.patience;
        let (told_all, may_list) = (sleep(told_within), sleep(listed_again_after));
        let lasted = sleep(self.patience.waits.lasted);
        tokio::pin!(told_all, may_list, lasted);
        let mut has_told = false;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = &mut lasted, if self.came != Came::Far => self.came = Came::Far,
                (id, answer) = look.busy.next() => {
                    if let Some(container) = look.take_late(&id, answer).await? {
                        self.tell.say(Report::Inspected(container)).await?;
                    }
                }
                count = stream.lines.recv_many(&mut batch, AT_ONCE) => {
                    if count == 0 {
                        return Err(stream.why().await.into());
                    }
                    self.take(&mut look, batch).await?;
                }
                // Nothing that was read waits: the branches are looked at in this order.
                () = &mut told_all, if !has_told => {
                    self.tell.say(Report::ToldAll).await?;
                    has_told = true;
                }
                () = missed_line(&stream.missed, may_list.as_mut()) => {
                    self.tell_unread().await?;
                    let containers = look.everything().await?;
                    self.tell.say(Report::Listed(containers)).await?;
                    has_told = false;
                    told_all.set(sleep(told_within));
                    may_list.set(sleep(listed_again_after));
                }
                () = sleep(ping_every) => look.ping().await?,
            }
        }
    }

    async fn take(&mut self, look: &mut Look, batch: Vec<Happening>) -> Result<(), End> {
        let gone = |happening: &&Happening| happening.what == What::Destroy;
        let gone: BTreeSet<&ContainerId> = batch.iter().filter(gone).map(|h| &h.id).collect();
        gone.iter().for_each(|id| look.busy.forget(id));
        let asked: BTreeSet<&ContainerId> = batch
            .iter()
            .filter(|happening| changes(&happening.what) && !gone.contains(&happening.id))
            .map(|happening| &happening.id)
            .collect();
        // What it looks like now comes first: an end is judged with the flag that Docker set.
        let mut silence = None;
        let mut moments = self.patience.moments;
        for id in asked {
            match look.at(id, &mut moments).await {
                Ok(container) => {
                    if let Some(container) = container {
                        self.tell.say(Report::Inspected(container)).await?;
                    }
                }
                // Each of the others would take as long, and what happened waits.
                Err(failure) => {
                    silence = Some(failure);
                    break;
                }
            }
        }
        for happening in batch {
            self.tell_happening(happening).await?;
        }
        // Once Docker answers again, its list says what was not heard here.
        silence.map_or(Ok(()), |failure| Err(End::Broken(failure)))
    }

    async fn tell_unread(&self) -> Result<(), End> {
        match self.unread.news() {
            Some(lines) => self.tell.say(Report::Unread(lines)).await,
            None => Ok(()),
        }
    }

    /// Tells an event. Those after it are asked for next time.
    async fn tell_happening(&mut self, happening: Happening) -> Result<(), End> {
        self.cursor = Some(match self.cursor {
            // Older than events may be that are not stamped in order: the clock was set back.
            Some(newest) if newest.saturating_sub(happening.at_nanos) > OVERLAP_NANOS => {
                happening.at_nanos
            }
            newest => newest.map_or(happening.at_nanos, |at| at.max(happening.at_nanos)),
        });
        self.tell.say(Report::Happened(happening)).await
    }
}

/// What containers look like. An error is the daemon's, as a whole.
struct Look {
    client: Arc<Client>,
    busy: Busy,
    patience: Patience,
}

impl Look {
    /// Whether the daemon still answers.
    async fn ping(&self) -> Result<(), Failure> {
        self.client.ping(self.patience.ping_timeout).await
    }

    /// Every container, looked at one by one. What goes in between is left out; of one that cannot be
    /// looked at, the list's word is taken, so that it hides neither itself nor the others.
    async fn everything(&mut self) -> Result<Vec<Container>, Failure> {
        let mut found = Vec::new();
        let mut moments = self.patience.moments;
        for Listed { id, container } in self.client.list().await? {
            match self.ask(&id, &mut moments).await? {
                Inspected::Found(container) => found.push(*container),
                Inspected::Gone => {}
                Inspected::Unreadable(why) => {
                    let name = container.as_ref().map(|listed| listed.name.as_str());
                    tracing::warn!(%id, name, why, "a container cannot be inspected");
                    found.extend(container);
                }
                Inspected::Late(_) => found.extend(container),
            }
        }
        Ok(found)
    }

    /// One container of which there is news.
    async fn at(
        &mut self,
        id: &ContainerId,
        moments: &mut Moments,
    ) -> Result<Option<Box<Container>>, Failure> {
        if self.busy.has(id) {
            // An answer from before the news may be as old as that.
            self.busy.ask(&self.client, id, Duration::ZERO);
        } else {
            match self.ask(id, moments).await? {
                Inspected::Found(container) => return Ok(Some(container)),
                Inspected::Gone => return Ok(None),
                Inspected::Unreadable(why) => {
                    tracing::debug!(%id, why, "a container could not be inspected");
                }
                Inspected::Late(_) => {}
            }
        }
        Ok(self.client.glimpse(id).await?.map(Box::new))
    }

    /// What the daemon says of one in a moment; what takes longer is asked about aside, if the daemon
    /// answers otherwise.
    async fn ask(&mut self, id: &ContainerId, moments: &mut Moments) -> Result<Inspected, Failure> {
        let moment = moments.next();
        let answer = self.client.inspect(id, moment).await?;
        if let Inspected::Late(_) = answer {
            self.ping().await?;
            moments.wasted(moment);
            self.busy.ask(&self.client, id, Duration::ZERO);
        }
        Ok(answer)
    }

    /// An answer that was waited for aside.
    async fn take_late(
        &mut self,
        id: &ContainerId,
        answer: Result<Inspected, Failure>,
    ) -> Result<Option<Box<Container>>, Failure> {
        match answer? {
            Inspected::Found(container) => return Ok(Some(container)),
            Inspected::Gone => {}
            Inspected::Unreadable(why) => {
                tracing::debug!(%id, why, "a container could not be inspected");
            }
            Inspected::Late(why) => {
                self.ping().await?;
                tracing::warn!(why, "Docker tells no more of a container than its list does");
                self.busy.ask(&self.client, id, ASKED_AGAIN_AFTER);
            }
        }
        Ok(None)
    }
}

/// The stream, read by a task of its own: Docker drops events for a reader that does not keep up.
struct Stream {
    lines: mpsc::Receiver<Happening>,
    /// Told when a line was not read, or may not have been sent.
    missed: Arc<Notify>,
    reader: JoinHandle<Failure>,
}

impl Stream {
    async fn open(
        client: &Client,
        since: Option<i64>,
        unread: Arc<Unread>,
    ) -> Result<Stream, Failure> {
        let response = client.events(since).await?;
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        let missed = Arc::new(Notify::new());
        let reader = tokio::spawn(read(response, sender, Arc::clone(&missed), unread));
        Ok(Stream { lines, missed, reader })
    }

    /// Why it ended.
    async fn why(&mut self) -> Failure {
        (&mut self.reader).await.unwrap_or_else(|error| error.to_string().into())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Waits for a line that was missed, and for the time from which a list may follow.
async fn missed_line(missed: &Notify, mut may_list: Pin<&mut Sleep>) {
    if !may_list.is_elapsed() {
        may_list.as_mut().await;
    }
    missed.notified().await;
}

/// Reads until the stream ends; returns why it did.
async fn read(
    mut response: reqwest::Response,
    sender: mpsc::Sender<Happening>,
    missed: Arc<Notify>,
    unread: Arc<Unread>,
) -> Failure {
    let mut lines = Lines::default();
    let miss = |why: &str| {
        missed.notify_one();
        tell_unread(&unread, why);
    };
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return "the stream of events ended".to_owned().into(),
            Err(error) => return format!("the stream of events broke: {}", explain(error)).into(),
        };
        let dropped = lines.dropped;
        let mut found = Vec::new();
        let fed = lines.feed(&chunk, |line| match json::happening(line) {
            Ok(happening) => {
                found.extend(happening);
                true
            }
            Err(why) => {
                miss(&why);
                false
            }
        });
        for _ in dropped..lines.dropped {
            miss("it is too long");
        }
        for happening in found {
            // While this waits, Docker drops what it has no room for.
            if sender.capacity() == 0 {
                missed.notify_one();
            }
            if sender.send(happening).await.is_err() {
                return String::new().into();
            }
        }
        if let Err(why) = fed {
            return Failure::too_long(format!("the stream of events has {why}"));
        }
    }
}

fn tell_unread(unread: &Unread, why: &str) {
    if let Some(lines) = unread.count() {
        tracing::warn!(why, lines, "a line of Docker's events does not read");
    }
}

/// Whether a container looks different afterwards.
fn changes(what: &What) -> bool {
    !matches!(what, What::Oom | What::Kill { .. } | What::Restart)
}
