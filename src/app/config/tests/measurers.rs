//! Whose word counts about containers, and where nobody has said so.

use super::*;

#[test]
fn where_nobody_is_named_who_measures_it_is_said() {
    let tenants =
        "tenants: [{match: {name: 'acme-.*'}, tenant: acme, role: app}]\nrule_files: []\n";
    let warning = "4:1: warning: nobody is named who measures containers, so every target is \
                   believed about them, a page too that a tenant writes: a; write \
                   `container_jobs: [JOB]` with the jobs that measure them, and a target label \
                   `tenant` for each page that a tenant writes";
    check(&unnamed(tenants), &[warning]);
    let acts = "mode: act\nrule_files: []\n";
    let mut problems = Problems::default();
    Config::read("p.yml", &unnamed(acts), Path::new(""), &mut problems);
    assert!(problems.to_string().contains("nobody is named who measures"), "{problems}");
    let labelled = "static_configs: [{targets: ['g:1'], labels: {tenant: globex}}]";
    for well in [
        unnamed(&format!("{tenants}container_jobs: [a]\n")),
        unnamed(&format!("{tenants}collector: {{}}\n")),
        unnamed(tenants).replace("job_name: a", "job_name: cadvisor"),
        unnamed(tenants).replace("{job_name: a,", &format!("{{job_name: a, {labelled},")),
        unnamed(&format!("{tenants}identity: {{mode: per_host, tenant: acme}}\n")),
        unnamed("host: h\nrule_files: []\n"),
    ] {
        check(&well, &[]);
    }
}

#[test]
fn who_measures_containers_is_said_or_found_by_name() {
    use crate::policy::Measurers;
    let read = |text: &str| {
        let config = Config::read("p.yml", text, Path::new(""), &mut Problems::default())?;
        config.identity("h").map(|identity| identity.measurers)
    };
    let jobs =
        |names: &[&str]| Measurers::Jobs(names.iter().map(|name| (*name).to_owned()).collect());
    let rules = "host: h\nrule_files: []\n";
    let bare = unnamed(rules);
    assert_eq!(read(&bare), Some(Measurers::Unnamed));
    let called = bare.replace("{job_name: a,", "{job_name: b}, {job_name: cAdvisor-7,");
    assert_eq!(read(&called), Some(jobs(&["cAdvisor-7"])));
    let collects = unnamed(&format!("{rules}collector: {{}}\n"));
    assert_eq!(read(&collects), Some(jobs(&["collector"])));
    let said = unnamed(&format!("{rules}container_jobs: [a]\ncollector: {{}}\n"));
    assert_eq!(read(&said), Some(jobs(&["a", "collector"])));
    let unknown = unnamed(&format!("{rules}container_jobs: [ab]\n"));
    check(&unknown, &["3:1: no job is called `ab`; did you mean `a`?"]);
}
