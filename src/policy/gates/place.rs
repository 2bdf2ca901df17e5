//! Whose door it is, and where: templates of addresses and what is put into them.

use serde::{Deserialize, Serialize};

use super::Gate;

/// What may stand in a template, in braces.
pub const PLACEHOLDERS: [&str; 5] = ["tenant", "service", "name", "plan", "host"];
/// Gates that are about a container rather than about a site ask those of this role, unless others
/// are named: a database answers no health check.
const ROLE: &str = "app";

/// A container on this host, as far as a gate needs to know it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Place {
    /// Whose it is.
    pub tenant: String,
    /// The service it is an incarnation of.
    pub service: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: String,
    /// The tenant's plan.
    pub plan: String,
}

/// Which door: a gate and what tells its places apart. What the address does not mention is `""`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct GateKey {
    /// The gate's name.
    pub gate: String,
    /// The tenant, or `""` for nobody in particular.
    pub tenant: String,
    /// The service.
    pub service: String,
    /// The container.
    pub name: String,
}

impl GateKey {
    pub(super) fn new(gate: &Gate, place: &Place) -> GateKey {
        let of = |word: &str, text: &String| {
            if mentions(gate, word) { text.clone() } else { String::new() }
        };
        let about_container = mentions(gate, "service") || mentions(gate, "name");
        let by_tenant = about_container || mentions(gate, "tenant") || !gate.tenants.is_empty();
        GateKey {
            gate: gate.name.clone(),
            tenant: if by_tenant { place.tenant.clone() } else { String::new() },
            service: if about_container { place.service.clone() } else { String::new() },
            name: of("name", &place.name),
        }
    }

    /// Its labels as series carry them, without the empty ones.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("gate", self.gate.as_str()),
            ("tenant", &self.tenant),
            ("service", &self.service),
            ("name", &self.name),
        ];
        all.into_iter().filter(|(_, text)| !text.is_empty())
    }
}

/// The places a gate is about: those on the host, and tenants it names that have no container now.
pub(super) fn places_of(gate: &Gate, places: &[Place]) -> Vec<Place> {
    let about_container = mentions(gate, "service") || mentions(gate, "name");
    if !about_container && !mentions(gate, "tenant") && gate.tenants.is_empty() {
        return vec![Place::default()];
    }
    let is_wanted = |place: &&Place| {
        let role = if gate.roles.is_empty() {
            !about_container || place.role == ROLE
        } else {
            gate.roles.contains(&place.role)
        };
        role && (gate.tenants.is_empty() || gate.tenants.contains(&place.tenant))
    };
    let mut found: Vec<Place> = places.iter().filter(is_wanted).cloned().collect();
    if !about_container {
        for tenant in &gate.tenants {
            if !found.iter().any(|place| place.tenant == *tenant) {
                found.push(Place { tenant: tenant.clone(), ..Place::default() });
            }
        }
    }
    found
}

/// Whether the address would be another gate's: whoever reads one takes `.` and `..` for a way up,
/// written as `%2E` too, so that a tenant of this name has no door.
pub(super) fn leads_elsewhere(gate: &Gate, place: &Place) -> bool {
    let named = [("tenant", &place.tenant), ("service", &place.service), ("name", &place.name)];
    let named = named.into_iter().chain([("plan", &place.plan)]);
    let is_a_way_up = |text: &str| text == "." || text == "..";
    named.into_iter().any(|(word, text)| mentions(gate, word) && is_a_way_up(text))
}

fn mentions(gate: &Gate, word: &str) -> bool {
    let placeholder = format!("{{{word}}}");
    [Some(&gate.url), gate.host.as_ref()].into_iter().flatten().any(|t| t.contains(&placeholder))
}

/// A template with its places filled. What is put in is percent-encoded: a tenant's name may not
/// change which server is asked.
pub(super) fn fill(template: &str, place: &Place, host: &str) -> String {
    let values = [&place.tenant, &place.service, &place.name, &place.plan].map(String::as_str);
    let values = values.into_iter().chain([host]);
    PLACEHOLDERS.into_iter().zip(values).fold(template.to_owned(), |text, (word, value)| {
        text.replace(&format!("{{{word}}}"), &encoded(value))
    })
}

fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}

/// The first pair of braces in a template that stands for nothing.
pub fn unknown_placeholder(template: &str) -> Option<String> {
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let inner = &rest[open + 1..];
        let Some(end) = inner.find('}') else { return Some(inner.to_owned()) };
        if !PLACEHOLDERS.contains(&&inner[..end]) {
            return Some(inner[..end].to_owned());
        }
        rest = &inner[end + 1..];
    }
    None
}
