//! The contract with the Control Plane as an OpenAPI 3.1 page, made from the types: webhooks, their
//! answers, receipts. A test holds `docs/openapi.json` to it, so neither can drift from the other.

use axum::response::IntoResponse;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::http::ApiError;
use crate::outbox::{
    ActionKind, ActionMode, Answer, CONTRACT_VERSION, Event, EventType, Refusal, Statement, Status,
    checksum,
};
use crate::send::TOLERANCE;

/// The whole page.
fn page() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let event = generator.subschema_for::<Event>();
    let answer = generator.subschema_for::<Answer>();
    let receipt = generator.subschema_for::<Statement>();
    let webhooks: Map<String, Value> = EventType::ALL
        .into_iter()
        .map(|kind| (kind.name().to_owned(), webhook(kind, (json!(event), json!(answer)))))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "plimsoll and the Control Plane",
            "version": CONTRACT_VERSION,
            "description": "What plimsoll posts, what it makes of the answer, and what it takes later. In words: docs/webhooks.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://127.0.0.1:9469", "description": "plimsoll beside its host, for receipts; put TLS in front"}],
        "webhooks": webhooks,
        "paths": {"/api/v1/plimsoll/receipts": {"post": {
            "operationId": "receipt",
            "summary": "What became of a request, later than in the answer to it.",
            "parameters": headers("An id of your own: one id is one receipt.", json!({"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-\\-/-~]+$"})),
            "requestBody": body(json!({"allOf": [receipt, {"required": ["decision"]}]})),
            "responses": receipt_responses(),
        }}},
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "With `control_plane.bearer_token_file`."},
                "clientCertificate": {"type": "mutualTLS", "description": "With `control_plane.client_certificate_file`."},
            },
        },
    })
}

/// One kind of event. Only a request has use for the body of an answer.
fn webhook(kind: EventType, (event, answer): (Value, Value)) -> Value {
    let only = json!({"properties": {"type": {"const": kind.name()}}});
    let mut taken = json!({"description": "You have it. It is not sent again."});
    if kind.is_request() {
        taken["content"] = json!({"application/json": {"schema": answer}});
    }
    let again = "Sent again, until it was taken; `Retry-After` is heeded.";
    let pause = "No message would get through: everything waits, and one probe is sent every 30 s.";
    let refused = "This message is refused: after three refusals it is a dead letter.";
    let mut responses = Map::new();
    responses.insert("2XX".to_owned(), taken);
    for (statuses, what) in [
        (&["408", "425", "429", "3XX", "5XX"][..], again),
        (&["401", "403", "404", "405", "407", "410"], pause),
        (&["4XX"], refused),
    ] {
        let description = json!({"description": what});
        responses.extend(statuses.iter().map(|status| ((*status).to_owned(), description.clone())));
    }
    json!({"post": {
        "operationId": kind.name(),
        "security": [{}, {"bearer": []}, {"clientCertificate": []}, {"bearer": [], "clientCertificate": []}],
        "parameters": headers("The key to de-duplicate by: the same at every attempt.", json!({"type": "string", "pattern": "^evt_[0-9A-Z]{26}$"})),
        "requestBody": body(json!({"allOf": [event, only]})),
        "responses": responses,
    }})
}

/// The three headers of Standard Webhooks.
fn headers(id: &str, of_id: Value) -> Value {
    let minutes = TOLERANCE.as_secs() / 60;
    let header = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "header", "required": true, "description": description, "schema": schema});
    let stale = format!(
        "Unix seconds of this attempt; refused more than {minutes} minutes from the receiver's clock."
    );
    let signature = "HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<raw body>`, `v1,<base64>`; one for each key in force.";
    json!([
        header("webhook-id", id, of_id),
        header("webhook-timestamp", &stale, json!({"type": "integer"})),
        header(
            "webhook-signature",
            signature,
            json!({"type": "string", "pattern": "^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$"})
        ),
    ])
}

fn body(schema: Value) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

/// Every refusal under the status it is answered with.
fn receipt_responses() -> Value {
    let mut responses: std::collections::BTreeMap<String, Vec<String>> = [
        ("200", "It is durable."),
        ("503", "The disk does not take it in time, or plimsoll is stopping: say it again."),
    ]
    .map(|(status, words)| (status.to_owned(), vec![words.to_owned()]))
    .into();
    for refusal in Refusal::ALL {
        let status = ApiError::from(refusal).into_response().status().as_u16().to_string();
        let words = format!("`{}`: {}.", refusal.name(), refusal.words());
        responses.entry(status).or_default().push(words);
    }
    let response = |words: Vec<String>| json!({"description": words.join(" ")});
    json!(
        responses
            .into_iter()
            .map(|(status, words)| (status, response(words)))
            .collect::<Map<_, _>>()
    )
}

/// `UPDATE_GOLDEN=1` writes the file anew.
#[test]
fn the_page_in_docs_is_the_page_of_the_types() {
    let page = serde_json::to_string_pretty(&page()).expect("writes");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    if std::env::vars_os().any(|(name, _)| name == "UPDATE_GOLDEN") {
        std::fs::write(path, format!("{page}\n")).expect("docs/ is writable");
    }
    let written = std::fs::read_to_string(path).expect("docs/openapi.json is there");
    assert!(written.trim_end() == page, "run with UPDATE_GOLDEN=1 and review the diff");
}

/// A reference that leads nowhere makes a page that no tool reads.
#[test]
fn every_reference_of_the_page_leads_somewhere() {
    let page = page();
    let text = page.to_string();
    let references: Vec<&str> =
        text.split("\"$ref\":\"#").skip(1).filter_map(|tail| tail.split('"').next()).collect();
    assert!(references.len() > 20, "{references:?}");
    let lost: Vec<_> = references.iter().filter(|path| page.pointer(path).is_none()).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let requests = EventType::ALL.into_iter().filter(|kind| kind.is_request());
    for kind in requests {
        let answer = &page["webhooks"][kind.name()]["post"]["responses"]["2XX"]["content"];
        assert!(answer.is_object(), "{kind}: its answer has a say");
    }
}

/// Each version of the contract and what it is, in short; words for people do not count.
const VERSIONS: [(&str, &str); 2] = [
    ("2.0.0", "9613d21a622c301753a794581cba6eb67511d606ccd4ac71d92eab6a5f2ab9ea"),
    ("2.1.0", "c9a7bed706eca50851ffd5597ca6339376826f8c152b8af4cb132076b8592d5f"),
];

/// What of the page a program depends on.
fn essence(value: &Value) -> Value {
    let is_said = |name: &str, value: &Value| {
        value.is_string() && ["description", "summary", "title", "version"].contains(&name)
    };
    match value {
        Value::Object(fields) => {
            let left = fields.iter().filter(|(name, value)| !is_said(name, value));
            left.map(|(name, value)| (name.clone(), essence(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(essence).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_contract_that_changes_has_another_version() {
    let is = checksum(&[&essence(&page()).to_string()]);
    let (newest, was) = VERSIONS[VERSIONS.len() - 1];
    assert_eq!(
        (CONTRACT_VERSION, is.as_str()),
        (newest, was),
        "the contract is another: raise CONTRACT_VERSION as docs/webhooks.md says, and add a line"
    );
    let numbers: Vec<&str> = VERSIONS.iter().map(|(version, _)| *version).collect();
    let once: std::collections::BTreeSet<&str> = numbers.iter().copied().collect();
    assert_eq!(once.len(), numbers.len(), "a version is one contract");
}

#[test]
fn what_is_only_said_is_no_part_of_the_contract() {
    let page = |description: &str, kind: &str| json!({"description": description, "properties": {"title": {"type": kind}}});
    assert_eq!(essence(&page("a", "string")), essence(&page("b", "string")));
    assert_ne!(essence(&page("a", "string")), essence(&page("a", "number")));
}

/// The closed lists of the page against every word that can be sent.
#[test]
fn the_lists_of_the_page_hold_the_words_that_are_sent_and_no_others() {
    let page = page();
    let schemas = page["components"]["schemas"].as_object().expect("schemas");
    let words = |schema: &Value| -> Option<Vec<String>> {
        let word = |one: &Value| one["const"].as_str().map(str::to_owned);
        Some(schema["oneOf"].as_array()?.iter().filter_map(word).collect())
    };
    let lists = schemas.iter().filter_map(|(name, schema)| Some((name.as_str(), words(schema)?)));
    let found: std::collections::BTreeMap<&str, Vec<String>> = lists.collect();
    let sent = |values: Vec<Value>| -> Vec<String> {
        values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let modes = [ActionMode::Request, ActionMode::DryRun];
    let statuses = [Status::Firing, Status::Resolved, Status::Unknown];
    let want = [
        ("ActionKind", sent(ActionKind::ALL.iter().map(|word| json!(word)).collect())),
        ("ActionMode", sent(modes.iter().map(|word| json!(word)).collect())),
        ("EventType", sent(EventType::ALL.iter().map(|word| json!(word)).collect())),
        ("Status", sent(statuses.iter().map(|word| json!(word)).collect())),
    ];
    assert_eq!(found, want.into());
}

/// The schemas against what is really read: a receipt that reads is one that fits, and the reverse.
#[test]
fn the_words_of_the_schema_are_the_words_that_are_read() {
    let page = page();
    let words = |property: &str| {
        let words = &page["components"]["schemas"]["Answer"]["properties"][property]["enum"];
        let words = words.as_array().unwrap_or_else(|| panic!("{property} has no words")).clone();
        words.into_iter().filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let reads = |decision: &str, outcome: Option<&str>| {
        let body = json!({"delivery_id": "evt_1", "decision": decision, "outcome": outcome});
        Statement::read(body.to_string().as_bytes()).is_ok()
    };
    let (decisions, outcomes) = (words("decision"), words("outcome"));
    assert_eq!((decisions.len(), outcomes.len()), (3, 2));
    for decision in &decisions {
        let alone = reads(decision, None);
        assert!(alone != outcomes.iter().all(|outcome| reads(decision, Some(outcome))));
    }
}
