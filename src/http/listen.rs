//! Connections that cannot be held open at our cost: bounded in number, in silence, in slowness.
//!
//! The bounds sit in the stream itself, below the HTTP library, so they hold for every way a client
//! can be slow: dripping a header, dripping a body, not reading the answer, or saying nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::request_line::RequestLine;
use super::{ANSWER_TIMEOUT, SENDING_TIMEOUT};

/// How much a client may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub(super) connections: usize,
    /// From the first byte of a request to the first byte of its answer.
    pub(super) request: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// The same while there is no place for another connection.
    pub(super) idle_when_full: Duration,
    /// Between two steps of an answer that the client does not read.
    pub(super) write: Duration,
    /// From the first byte of an answer to its last, however it is read.
    pub(super) sending: Duration,
}

impl Default for Limits {
    /// A request may take what its answer may take and 10 s to arrive. An idle connection is kept
    /// above the 90 s for which Go's clients keep theirs, so that it is they who close it.
    fn default() -> Limits {
        Limits {
            connections: 128,
            request: ANSWER_TIMEOUT + Duration::from_secs(10),
            idle: Duration::from_secs(120),
            idle_when_full: Duration::from_secs(5),
            write: Duration::from_secs(10),
            sending: SENDING_TIMEOUT,
        }
    }
}

/// After a failed accept (out of file descriptors, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Accepts guarded connections.
pub(super) struct Listener {
    inner: TcpListener,
    free: Arc<Semaphore>,
    limits: Limits,
}

impl Listener {
    pub(super) fn new(inner: TcpListener, limits: Limits) -> Listener {
        Listener { inner, free: Arc::new(Semaphore::new(limits.connections)), limits }
    }
}

impl axum::serve::Listener for Listener {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guarded, SocketAddr) {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let permit = permit.expect("nobody closes the semaphore");
        loop {
            match self.inner.accept().await {
                Ok((stream, peer)) => {
                    let free = Arc::clone(&self.free);
                    return (Guarded::new(stream, self.limits, (permit, free)), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// What a connection is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A request, or the rest of an answer that was read so far, for so long already.
    Idle(Duration),
    /// A request has begun to arrive and no byte of its answer has left.
    Request,
    /// The client does not read.
    Write,
}

/// A connection under guard.
pub(super) struct Guarded {
    stream: TcpStream,
    limits: Limits,
    phase: Phase,
    /// Goes off when that may have lasted too long.
    alarm: Pin<Box<Sleep>>,
    /// Goes off when the answer should have been read. A request that arrives
    /// meanwhile begins it anew, and only one can: no more is read before this answer is through.
    sending: Pin<Box<Sleep>>,
    /// The places that are left.
    free: Arc<Semaphore>,
    line: RequestLine,
    /// Of an escaped request line: what had no room in the reader's buffer.
    left_over: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Guarded {
    fn new(
        stream: TcpStream,
        limits: Limits,
        (permit, free): (OwnedSemaphorePermit, Arc<Semaphore>),
    ) -> Guarded {
        let alarm = Box::pin(tokio::time::sleep(limits.idle.min(limits.idle_when_full)));
        let sending = Box::pin(tokio::time::sleep(limits.sending));
        Guarded {
            stream,
            limits,
            phase: Phase::Idle(Duration::ZERO),
            alarm,
            sending,
            free,
            line: RequestLine::NEW,
            left_over: Vec::new(),
            _permit: permit,
        }
    }

    /// Begins a phase. The alarm is polled, so that it wakes the connection when nothing else does.
    fn turn(&mut self, phase: Phase, context: &mut Context<'_>) {
        self.phase = phase;
        let limit = match phase {
            Phase::Idle(already) => {
                self.limits.idle_when_full.min(self.limits.idle.saturating_sub(already))
            }
            Phase::Request => self.limits.request,
            Phase::Write => self.limits.write,
        };
        self.alarm.set(tokio::time::sleep(limit));
        let _ = self.alarm.as_mut().poll(context);
    }

    /// What is pending must not stay so beyond the alarm. One that is idle is looked at now and then:
    /// it may go on while there is room for others.
    fn overdue<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        if let Phase::Idle(already) = self.phase {
            let already = already.saturating_add(self.limits.idle_when_full);
            if already < self.limits.idle && self.free.available_permits() > 0 {
                self.turn(Phase::Idle(already), context);
                return Poll::Pending;
            }
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Puts bytes before a reader, and keeps those that have no room.
    fn hand_over(&mut self, mut bytes: Vec<u8>, buffer: &mut ReadBuf<'_>) {
        let fitting = bytes.len().min(buffer.remaining());
        self.left_over = bytes.split_off(fitting);
        buffer.put_slice(&bytes);
    }

    fn after_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.phase == Phase::Request {
            self.sending.set(tokio::time::sleep(self.limits.sending));
        }
        if self.sending.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if written.is_pending() {
            if self.phase != Phase::Write {
                self.turn(Phase::Write, context);
            }
            return self.overdue(context);
        }
        self.turn(Phase::Idle(Duration::ZERO), context);
        written
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.left_over.is_empty() {
            let bytes = std::mem::take(&mut self.left_over);
            self.hand_over(bytes, buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        loop {
            if Pin::new(&mut self.stream).poll_read(context, buffer)?.is_pending() {
                return self.overdue(context);
            }
            if matches!(self.phase, Phase::Idle(_)) {
                self.turn(Phase::Request, context);
                self.line = RequestLine::NEW;
            }
            let is_end = buffer.filled().len() == before;
            if let Some(escaped) = self.line.escaped(&buffer.filled()[before..]) {
                buffer.set_filled(before);
                self.hand_over(escaped, buffer);
            }
            // Where all was left out there is more to come, and nothing would mean the end.
            if is_end || buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.after_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
