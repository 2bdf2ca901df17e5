//! Room in memory for answers that readers can make large: bounded over all who have not read theirs
//! yet.
//!
//! An answer is written whole, because its size decides whether it is an error. So it takes room
//! before it is written, for as many bytes as it may have, and what it did not need goes back at
//! once. The rest is given back with the memory itself, when the last byte has left for the socket
//! or the connection has ended. Small answers take none: connections are few, and a panel must not
//! wait for those who read slowly. Nothing is sent here, and nothing is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{ApiError, ErrorKind};
use super::parsing::Deadline;
use crate::telemetry::{Kind, Page};

/// All large answers together: as much as one of them may have.
const ROOM_BYTES: usize = super::format::MAX_ANSWER_BYTES;
/// What takes no room. As many as there may be connections hold half of the room.
const SMALL_BYTES: usize = 256 << 10;

/// The room there is.
pub(super) struct Room {
    free_bytes: Arc<Semaphore>,
    bytes: usize,
    refused: AtomicU64,
}

/// Room that is taken, until it is dropped. `None`: a small answer.
#[derive(Clone)]
pub(super) struct Taken(Option<Arc<OwnedSemaphorePermit>>);

impl Default for Room {
    fn default() -> Room {
        Room::of(ROOM_BYTES)
    }
}

impl Room {
    /// Room for so many bytes, at most 4 GiB.
    pub(super) fn of(bytes: usize) -> Room {
        debug_assert!(u32::try_from(bytes).is_ok(), "permits are asked for as `u32`");
        Room { free_bytes: Arc::new(Semaphore::new(bytes)), bytes, refused: AtomicU64::new(0) }
    }

    /// Waits for room for an answer of at most so many bytes. One that may be larger than all the room
    /// there is takes it all.
    pub(super) async fn take(
        &self,
        bytes_max: usize,
        deadline: &mut Deadline,
    ) -> Result<Taken, ApiError> {
        self.wait(bytes_max, deadline).await.ok_or_else(|| self.refuse())
    }

    /// The same, for bytes that several answers share.
    pub(super) async fn wait(&self, bytes_max: usize, deadline: &mut Deadline) -> Option<Taken> {
        if bytes_max <= SMALL_BYTES {
            return Some(Taken(None));
        }
        let wanted = u32::try_from(bytes_max.min(self.bytes)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.free_bytes).acquire_many_owned(wanted);
        let permit = deadline.within(permit).await?;
        Some(Taken(Some(Arc::new(permit.expect("nobody closes it")))))
    }

    /// Counts an answer that found no room, and says so.
    pub(super) fn refuse(&self) -> ApiError {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let why = format!(
            "no room for the answer came in time: {} bytes of answers may wait for their readers \
             at once; ask again, for less where that can be: fewer series, a shorter range or a \
             longer step",
            self.bytes
        );
        ApiError::new(ErrorKind::Timeout, why)
    }

    /// What the server says of it on its own page of metrics.
    pub(super) fn page(&self) -> String {
        let taken_bytes = self.bytes.saturating_sub(self.free_bytes.available_permits());
        let mut page = Page::default();
        let help = "Bytes of large answers that are being written or wait for their readers.";
        page.family("plimsoll_http_unsent_bytes", Kind::Gauge, help).add(&[], taken_bytes as f64);
        let help = "Answers given up because others that nobody reads left no room for them.";
        page.counter(
            "plimsoll_http_answers_without_room_total",
            self.refused.load(Ordering::Relaxed),
            help,
        );
        page.finish()
    }
}

impl Taken {
    /// The answer it was taken for. The room stays with it until [`bound`] knows its bytes.
    pub(super) fn filled(self, mut answer: Response) -> Response {
        answer.extensions_mut().insert(self);
        answer
    }

    /// These bytes; what room they do not need is given back now, the rest with the last copy of them.
    pub(super) fn around(self, bytes: Bytes) -> Bytes {
        let Some(mut permit) = self.0.and_then(Arc::into_inner) else { return bytes };
        let spare_bytes = permit.num_permits().saturating_sub(bytes.len());
        drop(permit.split(spare_bytes));
        Bytes::from_owner(Held { bytes, _room: permit })
    }
}

/// Bytes of an answer, and their room.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Binds the room an answer has taken to its bytes as they will be sent.
pub(super) async fn bound(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let Some(taken) = response.extensions_mut().remove::<Taken>() else { return response };
    let (parts, body) = response.into_parts();
    match to_bytes(body, usize::MAX).await {
        Ok(bytes) => Response::from_parts(parts, Body::from(taken.around(bytes))),
        Err(error) => ApiError::new(ErrorKind::Internal, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that is packed needs a tenth of the room it was written in.
    #[tokio::test]
    async fn what_an_answer_does_not_need_is_given_back_at_once_and_the_rest_with_its_bytes() {
        let room = Room::of(2 << 20);
        let free = || room.free_bytes.available_permits();
        let mut deadline = Deadline::after(std::time::Duration::from_secs(60));
        let taken = room.take(1 << 20, &mut deadline).await.expect("there is room");
        assert_eq!(free(), 1 << 20);
        let bytes = taken.around(Bytes::from(vec![b'x'; 1000]));
        assert_eq!(free(), (2 << 20) - 1000);
        let part = bytes.slice(900..);
        drop(bytes);
        assert_eq!((free(), part.len()), ((2 << 20) - 1000, 100), "the memory is held by a part");
        drop(part);
        assert_eq!(free(), 2 << 20);
    }
}
