//! What waits and what was left, asked of a journal or of a running plimsoll.

use super::*;
use crate::base::{Batch, Change, Labels, Now, Table, Timestamp};
use crate::journal::StoreKind;
use crate::outbox::{Data, Draft, Event, EventType, Outbox, OutboxConfig, delivery_id};

/// A configuration whose journal holds one waiting and one dead delivery; their ids.
fn with_outbox(dir: &Path, write: &impl Fn(&str, &str) -> String) -> (String, [String; 2]) {
    let state = dir.join("state");
    let config =
        write("p.yml", &format!("storage: {{path: '{}'}}\nrule_files: []\n", state.display()));
    let mut opened = crate::journal::open(StoreKind::Redb, &state.join("journal")).expect("made");
    let now = Now { monotonic: std::time::Duration::ZERO, wall: Timestamp(1_700_000_000_000) };
    let mut outbox = Outbox::new(OutboxConfig::default());
    let mut ids = Vec::new();
    for tenant in ["acme", "globex"] {
        let id = delivery_id(now.wall, &[tenant]);
        let data = Data { tenant_id: Some(tenant.to_owned()), ..Data::default() };
        let event = Event::new(EventType::AlertFiring, now.wall, data);
        let turn = outbox.push(Draft { id: id.clone(), event }, now, Batch(1));
        let bury = |change: Change| match tenant {
            "acme" => change,
            _ => Change { table: Table::Dead, ..change },
        };
        let changes: Vec<Change> = turn.changes.into_iter().map(bury).collect();
        opened.store.commit(&changes).expect("durable");
        ids.push(id.0);
    }
    assert_eq!(Labels::empty().to_string(), "{}");
    (config, ids.try_into().expect("two"))
}

#[test]
fn the_outbox_is_listed_retried_and_dropped_while_nobody_runs() {
    let (dir, write) = folder();
    let (config, [waiting, dead]) = with_outbox(dir.path(), &write);
    let list = || {
        let ran = run(&["outbox", "list", "--config", &config, "--format", "json"]);
        let rows: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
        let rows = rows.as_array().expect("a list").clone();
        let text = |row: &serde_json::Value, key: &str| row[key].as_str().expect(key).to_owned();
        rows.iter().map(|row| (text(row, "id"), text(row, "state"))).collect::<Vec<_>>()
    };
    let of = |id: &String, state: &str| (id.clone(), state.to_owned());
    assert_eq!(list(), [of(&waiting, "waiting"), of(&dead, "dead")]);
    let shown = run(&["outbox", "list", "--config", &config]).out;
    assert!(shown.starts_with("ID ") && shown.contains("globex"), "{shown}");

    let ran = run(&["outbox", "retry", &dead, "--config", &config]);
    assert_eq!((ran.code, ran.out), (0, format!("{dead}: will be sent\n")));
    assert_eq!(list(), [of(&waiting, "waiting"), of(&dead, "waiting")]);

    let ran = run(&["outbox", "drop", &waiting, "evt_none", "--config", &config]);
    assert_eq!((ran.code, ran.out), (1, format!("{waiting}: dropped\n")));
    assert!(ran.err.contains("no delivery `evt_none` waits or is dead"), "{}", ran.err);
    assert_eq!(list(), [of(&dead, "waiting")]);
}

#[test]
fn what_was_left_is_read_without_the_secrets_of_the_service() {
    let (dir, write) = folder();
    let (config, [waiting, _]) = with_outbox(dir.path(), &write);
    fs::create_dir(dir.path().join("state/audit")).expect("made");
    let text = fs::read_to_string(&config).expect("written");
    let config = write("s.yml", &format!("{text}{AT_A_CONTROL_PLANE}mode: obey\n"));
    let listed = run(&["outbox", "list", "--config", &config]);
    assert!(listed.code == 0 && listed.out.contains(&waiting), "{}{}", listed.out, listed.err);
    for words in [&["story"][..], &["audit", "show"]] {
        let ran = run(&[words, &["--config", &config]].concat());
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
    }
    let verified = run(&["audit", "verify", "--config", &config]);
    assert!(verified.err.contains("no audit in"), "{}", verified.err);
    let bad = write("b.yml", "storage: {path: '', stor: redb}\nweb: {listen: nine}\n");
    let ran = run(&["outbox", "list", "--config", &bad]);
    assert_eq!(ran.code, 78);
    for want in ["b.yml:1:17: error: storage.path: is empty", "`stor`", "web.listen: `nine`"] {
        assert!(ran.err.contains(want), "{}", ran.err);
    }
}

/// Whoever reads a list page by page keeps nobody from starting meanwhile.
#[test]
fn a_list_that_is_read_slowly_holds_no_journal() {
    struct Reader(PathBuf, Vec<bool>);
    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.push(crate::journal::open(StoreKind::Redb, &self.0).is_ok());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (dir, write) = folder();
    let (config, _) = with_outbox(dir.path(), &write);
    let (mut data, mut talk) = (Reader(dir.path().join("state/journal"), Vec::new()), Vec::new());
    let mut out =
        Out { data: &mut data, talk: &mut talk, format: Format::Text, colours: (false, false) };
    let words = ["plimsoll", "outbox", "list", "--config", &config].map(OsString::from);
    assert_eq!(execute(words, &Environment::default(), &mut out), 0);
    assert_eq!(data.1, [true; 3], "the head and two rows");
}

#[test]
fn the_outbox_of_a_running_plimsoll_is_asked_for_over_http() {
    let (dir, write) = folder();
    let (config, _) = with_outbox(dir.path(), &write);
    let _running = crate::journal::open(StoreKind::Redb, &dir.path().join("state/journal"));
    let text = fs::read_to_string(&config).expect("written");
    let listen = |at: &str| write("r.yml", &format!("{text}web: {{listen: '{at}'}}\n"));
    let (address, server) = serve(vec![answered("200 OK", r#"{"status":"success","data":[]}"#)]);
    let config = listen(&address);
    let ran = run(&["outbox", "list", "--config", &config]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let says = format!("has the journal: asking http://{address}\n");
    assert!(ran.err.contains(&says) && ran.err.ends_with("given up\n"), "{}", ran.err);
    let asked = server.join().expect("served").remove(0);
    assert!(asked.starts_with("GET /api/v1/plimsoll/outbox "), "{asked}");

    // Nobody listens there any more: who has the journal may be a command as this one.
    let ran = run(&["outbox", "list", "--config", &config]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("may be another command"), "{}", ran.err);
    let config = listen("127.0.0.1:0");
    let ran = run(&["outbox", "list", "--config", &config]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("tell with --url where it listens"), "{}", ran.err);
    let empty = dir.path().join("other");
    let config =
        write("q.yml", &format!("storage: {{path: '{}'}}\nrule_files: []\n", empty.display()));
    let ran = run(&["outbox", "list", "--config", &config]);
    assert_eq!((ran.code, empty.exists()), (1, false), "nothing is made by looking");
}
