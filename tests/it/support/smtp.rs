//! A mail server that keeps what it takes, and refuses or falls silent as told. Without TLS.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes everything.
    Good,
    /// Accepts connections and says nothing.
    Silent,
    /// Does not know anybody who logs in, and repeats what was said.
    Stranger,
    /// Will take mail later.
    Busy,
    /// Takes none, ever.
    Refusing,
}

/// One mail, head and body as they came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `MAIL FROM` and each `RCPT TO`.
    pub envelope: Vec<String>,
    /// All of it.
    pub data: String,
}

impl Received {
    /// A header's value, on one line.
    pub fn header(&self, name: &str) -> String {
        let unfolded = self.data.replace("\r\n ", " ").replace("\r\n\t", " ");
        let start = format!("{name}: ");
        unfolded.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
    }

    /// The words of both parts, without the line breaks of quoted-printable.
    pub fn words(&self) -> String {
        self.data.replace("=\r\n", "").replace("=3D", "=")
    }
}

/// The server.
pub struct PostOffice {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    mails: Arc<Mutex<Vec<Received>>>,
}

impl PostOffice {
    /// One that takes everything.
    pub fn start() -> PostOffice {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let manner = Arc::new(Mutex::new(Manner::Good));
        let mails: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (now, taken) = (Arc::clone(&manner), Arc::clone(&mails));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (manner, taken) = (*now.lock().expect("no panic"), Arc::clone(&taken));
                std::thread::spawn(move || converse(&stream, manner, &taken));
            }
        });
        PostOffice { address, manner, mails }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it behaves like this.
    pub fn behave(&self, manner: Manner) {
        *self.manner.lock().expect("no panic") = manner;
    }

    /// Every mail it took, by a word of its subject.
    pub fn about(&self, word: &str) -> Vec<Received> {
        let mails = self.mails.lock().expect("no panic");
        mails.iter().filter(|mail| mail.header("Subject").contains(word)).cloned().collect()
    }
}

/// A client that hangs up ends this early.
fn converse(stream: &TcpStream, manner: Manner, taken: &Mutex<Vec<Received>>) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut say = |line: &str| writer.write_all(format!("{line}\r\n").as_bytes()).ok();
    let mut line = String::new();
    if manner == Manner::Silent {
        return reader.read_line(&mut line).ok().map(drop);
    }
    say("220 post.example ESMTP")?;
    let mut envelope = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let word = line.trim_end().to_owned();
        let verb = word.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match (verb.as_str(), manner) {
            ("EHLO", _) => say("250-post.example\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN")?,
            ("AUTH", Manner::Stranger) => say(&format!("535 5.7.8 nobody: {word} hunter2"))?,
            ("AUTH", _) => say("235 2.7.0 welcome")?,
            ("MAIL", Manner::Busy) => say("451 4.3.2 later")?,
            ("RCPT", Manner::Refusing) => say("550 5.1.1 no such user")?,
            ("MAIL" | "RCPT", _) => {
                envelope.push(word);
                say("250 2.1.0 good")?;
            }
            ("DATA", _) => {
                say("354 go on")?;
                let mut data = String::new();
                while !data.ends_with("\r\n.\r\n") {
                    reader.read_line(&mut data).ok()?;
                }
                let envelope = std::mem::take(&mut envelope);
                taken.lock().expect("no panic").push(Received { envelope, data });
                say("250 2.0.0 taken")?;
            }
            ("QUIT", _) => return say("221 2.0.0 bye"),
            _ => say("250 2.0.0 fine")?,
        }
    }
}
