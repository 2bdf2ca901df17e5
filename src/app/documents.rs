//! The plan catalogue and the list of tenants, where others write them (a file, or the Control Plane),
//! and M2's `setting.json`.
//!
//! A file is looked at every two seconds and read once it has not changed between two looks, since
//! whoever writes it may be in the middle; an address is asked at an interval and says by `ETag` that
//! nothing has changed. What cannot be read, or has one fault, is refused whole: the engine keeps
//! what it had, counts its age and says so once. Nothing here decides.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, ETAG, HOST, IF_NONE_MATCH, TRANSFER_ENCODING,
};
use reqwest::{StatusCode, Url};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::config::owners::{Read, plans_document, tenants_document};
use super::files;
use super::m2_setting::m2_setting_document;
use crate::endpoint::{HttpOptions, Pool, explain, redact};
use crate::engine::{Event, Told};
use crate::policy::{M2Setting, Plans, Tenants};

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// From the request to the last byte of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// An endpoint that failed is asked again this soon, unless its interval is shorter.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// As much as is read of a file.
const MAX_BYTES: usize = 16 << 20;

/// Where a document is, and how often it is looked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Source {
    /// Where.
    pub place: Place,
    /// How often it is asked for; a file is read again this often in any case.
    pub refresh: Duration,
}

/// Where a document is.
#[derive(Clone, PartialEq, Debug)]
pub enum Place {
    /// In a file that others write.
    File(PathBuf),
    /// At an address.
    Http {
        /// Which one.
        url: Url,
        /// How it is reached.
        http: Box<HttpOptions>,
    },
}

/// A document that has been looked at once, so far as it is in a file, and waits to be watched.
pub type Begun = Box<dyn FnOnce(&mpsc::Sender<Event>) -> JoinHandle<()> + Send>;

/// The documents of a configuration.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Sources {
    /// `plans_from`
    pub plans: Option<Source>,
    /// `tenants_from`
    pub tenants: Option<Source>,
    /// `m2.setting_file`
    pub m2_setting: Option<Source>,
}

impl Sources {
    /// Reads what is in files. Blocks.
    pub fn read(self) -> Vec<Begun> {
        let Sources { plans, tenants, m2_setting } = self;
        let plans = plans
            .map(|source| begin(Reader { source, parse: plans_document, event: Event::Plans }));
        let tenants = tenants
            .map(|source| begin(Reader { source, parse: tenants_document, event: Event::Tenants }));
        let m2_setting = m2_setting.map(|source| {
            begin(Reader { source, parse: m2_setting_document, event: Event::M2Setting })
        });
        [plans, tenants, m2_setting].into_iter().flatten().collect()
    }

    /// What is wrong with those in files, by the key that names them: a running plimsoll refuses them and
    /// keeps what it had. With each, whether its file is there: it may be yet to come. Blocks.
    pub fn faults(&self) -> Vec<(&'static str, bool, String)> {
        let Sources { plans, tenants, m2_setting } = self;
        let faults = [
            ("plans_from", fault(plans.as_ref(), plans_document)),
            ("tenants_from", fault(tenants.as_ref(), tenants_document)),
            ("m2.setting_file", fault(m2_setting.as_ref(), m2_setting_document)),
        ];
        let found = faults.into_iter().filter_map(|(key, fault)| Some((key, fault?)));
        found.map(|(key, (is_there, why))| (key, is_there, why)).collect()
    }
}

/// What documents said, read once.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Documents {
    plans: Option<Plans>,
    tenants: Option<Tenants>,
    m2_setting: Option<M2Setting>,
}

/// A document that was not read, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// The key that names it.
    pub key: &'static str,
    /// Why.
    pub why: String,
    /// Whether it is in a file, where it could have been.
    pub is_file: bool,
}

impl Documents {
    /// As those who watch them tell them.
    pub fn events(&self) -> Vec<Event> {
        let Documents { plans, tenants, m2_setting } = self.clone();
        let plans = plans.map(|plans| Event::Plans(Told::Read(plans)));
        let tenants = tenants.map(|tenants| Event::Tenants(Told::Read(tenants)));
        let setting = m2_setting.map(|setting| Event::M2Setting(Told::Read(setting)));
        [plans, tenants, setting].into_iter().flatten().collect()
    }
}

impl Sources {
    /// Reads what is in files, once; nobody is asked for what is at an address. Blocks.
    pub fn read_once(&self) -> (Documents, Vec<Unread>) {
        let mut unread = Vec::new();
        let Sources { plans, tenants, m2_setting } = self;
        let documents = Documents {
            plans: read_once("plans_from", plans.as_ref(), plans_document, &mut unread),
            tenants: read_once("tenants_from", tenants.as_ref(), tenants_document, &mut unread),
            m2_setting: read_once(
                "m2.setting_file",
                m2_setting.as_ref(),
                m2_setting_document,
                &mut unread,
            ),
        };
        (documents, unread)
    }
}

fn read_once<T>(
    key: &'static str,
    source: Option<&Source>,
    parse: fn(&str, &str) -> Read<T>,
    unread: &mut Vec<Unread>,
) -> Option<T> {
    let (found, is_file) = match &source?.place {
        Place::File(path) => {
            let text = read(path);
            (text.and_then(|text| parse(&path.display().to_string(), &text)), true)
        }
        Place::Http { url, .. } => (Err(format!("{} is not asked", redact(url))), false),
    };
    let found = found.inspect_err(|why| unread.push(Unread { key, why: why.clone(), is_file }));
    found.ok().map(|(value, _)| value)
}

fn fault<T>(source: Option<&Source>, parse: fn(&str, &str) -> Read<T>) -> Option<(bool, String)> {
    let Place::File(path) = &source?.place else { return None };
    let is_there = path.exists();
    let why = read(path).and_then(|text| parse(&path.display().to_string(), &text)).err()?;
    Some((is_there, why))
}

/// The tasks that read them.
#[derive(Debug, Default)]
pub struct DocumentWatch {
    running: Vec<JoinHandle<()>>,
}

impl DocumentWatch {
    /// Watches these from now on. What was in files is told at once.
    pub fn follow(&mut self, documents: Vec<Begun>, inbox: &mpsc::Sender<Event>) {
        self.stop();
        self.running.extend(documents.into_iter().map(|begun| begun(inbox)));
    }

    fn stop(&mut self) {
        self.running.drain(..).for_each(|task| task.abort());
    }
}

impl Drop for DocumentWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One document, and what becomes of it.
#[derive(Clone)]
struct Reader<T> {
    source: Source,
    parse: fn(&str, &str) -> Read<T>,
    event: fn(Told<T>) -> Event,
}

fn begin<T: Send + 'static>(reader: Reader<T>) -> Begun {
    match reader.source.place.clone() {
        Place::File(path) => {
            // Taken before it is read: what is written meanwhile is seen as a change.
            let stamp = stamp(&path);
            let name = path.display().to_string();
            let first = (reader.event)(take(reader.parse, &name, read(&path), &mut false));
            Box::new(move |inbox| {
                let inbox = inbox.clone();
                tokio::spawn(async move {
                    if inbox.send(first).await.is_ok() {
                        reader.watch_file(path, stamp, inbox).await;
                    }
                })
            })
        }
        Place::Http { url, http } => {
            Box::new(move |inbox| tokio::spawn(reader.watch_url(url, *http, inbox.clone())))
        }
    }
}

/// Reads a text that was got, or says why there is none. Takes its time if the text is long.
fn take<T>(
    parse: fn(&str, &str) -> Read<T>,
    name: &str,
    text: Result<String, String>,
    told_others: &mut bool,
) -> Told<T> {
    match text.and_then(|text| parse(name, &text)) {
        Ok((value, others)) => {
            if !others.is_empty() && !std::mem::replace(told_others, true) {
                let (count, first) = (others.len(), &others[0]);
                tracing::info!(document = name, count, first, "keys of others are stepped over");
            }
            Told::Read(value)
        }
        Err(why) => Told::Refused(why),
    }
}

impl<T: Send + 'static> Reader<T> {
    async fn watch_file(self, path: PathBuf, first: Stamp, inbox: mpsc::Sender<Event>) {
        let mut looks = Looks::after(first);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (path, refresh, parse) = (path.clone(), self.source.refresh, self.parse);
            let look = tokio::task::spawn_blocking(move || {
                let is_to_be_read = looks.look(stamp(&path), refresh);
                let text = is_to_be_read.then(|| read(&path));
                let text = text.filter(|_| looks.is_still(stamp(&path)));
                let name = path.display().to_string();
                (looks, text.map(|text| take(parse, &name, text, &mut true)))
            });
            // Fails only if the look panicked or the runtime is stopping.
            let Ok((after, told)) = look.await else { return };
            looks = after;
            let Some(told) = told else { continue };
            looks.was_read();
            if inbox.send((self.event)(told)).await.is_err() {
                return;
            }
        }
    }

    async fn watch_url(self, url: Url, http: HttpOptions, inbox: mpsc::Sender<Event>) {
        let (name, pool) = (redact(&url), Pool::default());
        let (mut tag, mut told_others) = (None, false);
        loop {
            let asked = ask(&pool, &url, &http, tag.as_deref());
            let answer = tokio::time::timeout(PATIENCE, asked).await;
            let late = || format!("no whole answer within {} s", PATIENCE.as_secs());
            let told = match answer.unwrap_or_else(|_| Err(late())) {
                Ok(None) => Told::Unchanged,
                Ok(Some((text, new_tag))) => {
                    let (parse, name) = (self.parse, name.clone());
                    let reading = tokio::task::spawn_blocking(move || {
                        let told = take(parse, &name, Ok(text), &mut told_others);
                        (told, told_others)
                    });
                    // Fails only if the reading panicked or the runtime is stopping.
                    let Ok((told, told_now)) = reading.await else { return };
                    told_others = told_now;
                    tag = new_tag.filter(|_| matches!(told, Told::Read(_)));
                    told
                }
                Err(why) => Told::Refused(format!("{name}: {why}")),
            };
            let pause = match told {
                Told::Refused(_) => self.source.refresh.min(RETRY_AFTER),
                _ => self.source.refresh,
            };
            if inbox.send((self.event)(told)).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// Changes when a file does.
type Stamp = Option<(SystemTime, u64)>;

/// When a file is read again.
#[derive(Clone, Copy, Debug)]
struct Looks {
    /// As it was when it was read last.
    read: Stamp,
    /// As it was at the last look.
    last: Stamp,
    /// Since it was read.
    waited: Duration,
}

impl Looks {
    fn after(first: Stamp) -> Looks {
        Looks { read: first, last: first, waited: Duration::ZERO }
    }

    /// Whether it is to be read: it has changed, or it is time to, and since the look before nobody
    /// has written to it.
    fn look(&mut self, now: Stamp, refresh: Duration) -> bool {
        self.waited += LOOK_EVERY;
        let is_still = std::mem::replace(&mut self.last, now) == now;
        is_still && (now != self.read || self.waited >= refresh)
    }

    /// Whether nobody has written to it since the last look.
    fn is_still(&self, now: Stamp) -> bool {
        self.last == now
    }

    fn was_read(&mut self) {
        (self.read, self.waited) = (self.last, Duration::ZERO);
    }
}

fn stamp(path: &Path) -> Stamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// Reads a file that somebody else writes. YAML in lines may be cut anywhere and still be YAML that
/// says something else; what is in brackets may not.
fn read(path: &Path) -> Result<String, String> {
    let text = files::read(path).map_err(|unreadable| unreadable.problem(path).to_string())?;
    if is_closed(&text) {
        return Ok(text);
    }
    let line = text.lines().count();
    let path = path.display();
    Err(format!("{path}:{line}: its last line has no line break: it is half written, or cut off"))
}

/// Whether a text shows that it is whole: JSON closes its brackets, of anything else the last line ends.
fn is_closed(text: &str) -> bool {
    text.ends_with('\n') || text.starts_with(['{', '[']) || text.trim().is_empty()
}

/// Asks for a document; `None` if it is the one with this tag.
async fn ask(
    pool: &Pool,
    url: &Url,
    http: &HttpOptions,
    tag: Option<&str>,
) -> Result<Option<(String, Option<String>)>, String> {
    let client = pool.client(url, None, http).await?;
    let mut request =
        client.http.get(client.url).header(ACCEPT, "application/json, application/yaml");
    if let Some(auth) = http.auth.header().await? {
        request = request.header(AUTHORIZATION, auth);
    }
    if let Some(host) = &client.host {
        request = request.header(HOST, host);
    }
    if let Some(tag) = tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let mut response = request.send().await.map_err(explain)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if tag.is_some() => return Ok(None),
        status => return Err(format!("answers {status}")),
    }
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    // Without either a connection that is cut ends the answer just so.
    let is_measured = [CONTENT_LENGTH, TRANSFER_ENCODING]
        .iter()
        .any(|name| response.headers().contains_key(name));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(explain)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BYTES {
            return Err(format!("its answer is longer than {} MiB", MAX_BYTES >> 20));
        }
    }
    let text = String::from_utf8(body).map_err(|_| "its answer is not UTF-8".to_owned())?;
    if !is_measured && !is_closed(&text) {
        return Err(
            "its answer tells no length and its last line has no line break: it may be cut off"
                .to_owned(),
        );
    }
    Ok(Some((text, tag)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What is made of an answer that ends with its connection, or has a length.
    async fn asked(head: &str, body: &str) -> Result<Option<(String, Option<String>)>, String> {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/plans", server.local_addr().expect("it is bound"));
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{head}\r\n{body}");
        let thread = std::thread::spawn(move || {
            let (mut peer, _) = server.accept().expect("somebody asks");
            let _ = peer.read(&mut [0; 4096]);
            peer.write_all(answer.as_bytes()).expect("it is read");
        });
        let url = url.parse().expect("a URL");
        let answer = ask(&Pool::default(), &url, &HttpOptions::default(), None).await;
        thread.join().expect("it ended well");
        answer
    }

    #[tokio::test]
    async fn an_answer_that_may_be_cut_off_is_no_document() {
        for (head, body, want) in [
            ("", "tenants: []\n", true),
            ("", "{\"tenants\": []}", true),
            ("", "tenants:\n  - tenant: glob", false),
            ("Content-Length: 11\r\n", "tenants: []", true),
            ("Content-Length: 99\r\n", "tenants: []\n", false),
        ] {
            let answer = asked(head, body).await;
            assert_eq!(answer.is_ok(), want, "{head:?} {body:?}: {answer:?}");
        }
    }

    /// A reader that tells which thread read, in place of a document.
    fn witness(place: Place) -> Reader<String> {
        let parse = |_: &str, _: &str| -> super::Read<String> {
            Ok((format!("{:?}", std::thread::current().id()), Vec::new()))
        };
        let event = |told| match told {
            Told::Read(thread) => Event::ReloadFailed(thread),
            other => panic!("{other:?}"),
        };
        Reader { source: Source { place, refresh: Duration::from_secs(60) }, parse, event }
    }

    fn thread(event: Option<Event>) -> String {
        let Some(Event::ReloadFailed(thread)) = event else { panic!("{event:?}") };
        thread
    }

    /// A list of ten thousand tenants takes its time, and the loop has one thread.
    #[tokio::test]
    async fn what_an_address_answers_is_not_read_on_the_thread_of_the_loop() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/t", server.local_addr().expect("it is bound"));
        std::thread::spawn(move || {
            let (mut peer, _) = server.accept().expect("somebody asks");
            let _ = peer.read(&mut [0; 4096]);
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntenants: []\n";
            peer.write_all(answer.as_bytes()).expect("it is read");
        });
        let (inbox, mut events) = mpsc::channel(1);
        let place = Place::Http {
            url: url.parse().expect("a URL"),
            http: Box::new(HttpOptions::default()),
        };
        let task = begin(witness(place))(&inbox);
        let own = format!("{:?}", std::thread::current().id());
        assert_ne!(thread(events.recv().await), own);
        task.abort();
    }

    #[tokio::test]
    async fn the_first_reading_of_a_file_waits_for_room() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tenants.yml");
        std::fs::write(&path, "tenants: []\n").expect("written");
        let (inbox, mut events) = mpsc::channel(1);
        inbox.try_send(Event::Tick).expect("there is room");
        let task = begin(witness(Place::File(path)))(&inbox);
        tokio::task::yield_now().await;
        assert!(matches!(events.recv().await, Some(Event::Tick)));
        let first = tokio::time::timeout(Duration::from_secs(5), events.recv()).await;
        thread(first.expect("it comes"));
        task.abort();
    }

    #[test]
    fn a_file_is_read_when_it_has_changed_and_nobody_writes_to_it() {
        let stamp = |seconds, bytes: u64| -> Stamp {
            Some((SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), bytes))
        };
        let never = Duration::from_secs(3600);
        let mut looks = Looks::after(stamp(1, 9));
        let mut look = |now: Stamp, refresh: Duration| {
            let is_to_be_read = looks.look(now, refresh);
            if is_to_be_read {
                looks.was_read();
            }
            is_to_be_read
        };
        assert!(!look(stamp(1, 9), never), "as it was");
        assert!(!look(stamp(2, 3), never), "it is being written");
        assert!(!look(stamp(2, 6), never), "still, within one tick of its clock");
        assert!(look(stamp(2, 6), never));
        assert!(!look(stamp(2, 6), never), "once");
        assert!(look(stamp(2, 6), LOOK_EVERY), "it is time to");
        assert!(!look(None, LOOK_EVERY), "another takes its place, perhaps");
        assert!(look(None, never), "it is gone");
        assert!(
            !look(stamp(3, 9), LOOK_EVERY),
            "never in the middle, however long ago it was read"
        );
        assert!(!looks.is_still(stamp(3, 12)), "nor what was written to while it was read");
    }

    #[test]
    fn lines_that_were_cut_are_not_believed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tenants.yml");
        let said = |text: &str| {
            std::fs::write(&path, text).expect("written");
            read(&path)
        };
        for whole in ["tenants:\n- {tenant: acme}\n", "{\"tenants\": []}", "[]", ""] {
            assert_eq!(said(whole).as_deref(), Ok(whole));
        }
        let cut = said("tenants:\n- tenant: glob").expect_err("of globex");
        assert!(cut.contains("tenants.yml:2: its last line has no line break"), "{cut}");
    }
}
