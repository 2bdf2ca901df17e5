//! What a container's series are called: cAdvisor's labels, and those of the target.

use crate::base::{Labels, LabelsBuilder};
use crate::containers::{Container, ContainerId};

/// The labels of a container's series, as cAdvisor writes them with `store_container_labels=false`
/// and a whitelist. Without Docker the name is the id's first twelve digits.
pub(super) fn labels(
    (path, id): (&str, &ContainerId),
    known: Option<(&str, &Container)>,
    keys: &[String],
) -> Labels {
    let mut labels = LabelsBuilder::from(&Labels::empty());
    labels.set("id", path);
    let Some((name, container)) = known else {
        return labels.set("name", id.short()).build();
    };
    labels.set("name", name).set("image", &container.image);
    // Of keys that become one label name the first that is configured wins, in every collection.
    for key in keys.iter().rev() {
        if let Some(value) = container.labels.get(key) {
            labels.set(&label_name(key), value);
        }
    }
    labels.build()
}

/// `com.docker.compose.project` as `container_label_com_docker_compose_project`.
fn label_name(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    format!("container_label_{}", key.chars().map(plain).collect::<String>())
}

/// With those of the target.
pub(super) fn with_target(labels: &Labels, target: &Labels) -> Labels {
    let mut labels = LabelsBuilder::from(labels);
    for (name, value) in target.iter() {
        labels.set(name, value);
    }
    labels.build()
}
