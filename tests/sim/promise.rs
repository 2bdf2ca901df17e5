//! What this simulation promises, one name for each checker, and the promises that a run broke.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The promises, and the list of them.
macro_rules! promises {
    ($($(#[$about:meta])* $promise:ident,)*) => {
        /// One promise.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Promise {
            $($(#[$about])* $promise,)*
        }

        impl Promise {
            /// Every one; a planted fault must be able to break each.
            pub const ALL: &[Promise] = &[$(Promise::$promise),*];
        }
    };
}

promises! {
    /// One id is decided with one body …
    OneBody,
    /// … and leaves with it.
    SentAsDecided,
    /// No end is told while a target is down that feeds the alert …
    EndSeen,
    /// … or while it is still hot.
    EndTrue,
    /// Nothing is told as hot that is cool.
    StartTrue,
    /// Nothing leaves before it is durable.
    CommitFirst,
    /// A mood that lasts is seen.
    Noticed,
    /// Every committed edge reaches the Control Plane …
    Arrives,
    /// … per tenant in order …
    InOrder,
    /// … per alert with a growing revision …
    Revised,
    /// … as a start, then its end …
    InTurn,
    /// … and after the calm it believes what is so.
    BelievesTruth,
    /// Two incidents of one alert have two starts.
    NoTwins,
    /// An Alertmanager hears of every incident …
    Heard,
    /// … and of its end, if it heard its start …
    EndHeard,
    /// … and so does its receiver of the start …
    ReceiverHeard,
    /// … and of the end.
    ReceiverHeardEnd,
    /// An instance hears a start before its end …
    StartFirst,
    /// … only of what has ended that it has …
    EndThere,
    /// … and when that was …
    EndExact,
    /// … and nothing of the same incident after it.
    StaysEnded,
    /// What was late is shown long enough for a receiver to be told.
    Held,
    /// After the calm every instance believes what is so.
    InstanceBelievesTruth,
    /// The engine's next moment is yet to come …
    Rests,
    /// … and there are not too many of them.
    FewEvents,
    /// Two posts have two numbers.
    OneNumber,
    /// A checkpoint can be read again.
    CheckpointWhole,
    /// Enough happens for the other promises to mean something.
    Lively,
}

/// The promises broken so far, each with its first case in words.
#[derive(Clone, Default)]
pub struct Red(Rc<RefCell<BTreeMap<Promise, String>>>);

impl Red {
    /// A promise is broken unless this holds.
    pub fn must(&self, promise: Promise, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.borrow_mut().entry(promise).or_insert_with(what);
        }
    }

    /// Whether a promise is broken already.
    pub fn has(&self, promise: Promise) -> bool {
        self.0.borrow().contains_key(&promise)
    }

    /// What was broken.
    pub fn broken(&self) -> BTreeMap<Promise, String> {
        self.0.borrow().clone()
    }
}
