//! Files that a configuration names, and where they are looked for.

use super::*;

#[test]
fn a_key_that_is_too_short_is_told_once_where_its_file_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("cp");
    std::fs::write(&path, "whsec_c2hvcnQ=\n").expect("written");
    let path = path.display();
    check(
        &with(&format!("control_plane: {{url: 'http://127.0.0.1/', secret_file: {path}}}")),
        &[&format!(
            "1:56: `{path}` line 1: the key has 5 bytes; it needs at least 24; webhooks cannot be sent like this"
        )],
    );
}

#[test]
fn files_of_credentials_and_certificates_that_are_not_there_are_told_where_they_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("pw"), "hunter2").expect("written");
    let key = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
    std::fs::write(dir.path().join("key"), key).expect("written");
    std::fs::create_dir(dir.path().join("folder")).expect("made");
    let text = "\
scrape_configs:
- {job_name: a, basic_auth: {username: u, password_file: gone}}
- {job_name: b, authorization: {credentials_file: folder}}
- {job_name: c, basic_auth: {username: u, password_file: pw}}
alerting:
  alertmanagers:
  - static_configs: [{targets: ['am:9093']}]
    tls_config:
      ca_file: ca.pem
      cert_file: pw
      key_file: no.key
global: {scrape_interval: 5s, scrape_timeout: 4s}
docker: {host: 'tcp://db:2376', tls_config: {ca_file: pw, cert_file: no.pem, key_file: folder}}
plans_from: {url: 'http://cp/plans', authorization: {credentials_file: token}}
gates: [{name: g, url: 'http://g/', tls_config: {ca_file: own.pem}}]
control_plane: {url: 'https://cp/', secret_file: key, bearer_token_file: none}
mail: {smtp_host: m, from: a@b.c, to: [d@e.f], username: u, password_file: p.txt, ca_file: m.pem}
";
    let mut problems = Problems::default();
    Config::read("p.yml", text, dir.path(), &mut problems);
    problems.sort();
    let shown = problems.to_string().replace(&format!("{}/", dir.path().display()), "");
    let want = [
        "p.yml:2:58: scrape_configs[0].basic_auth.password_file: `gone` cannot be read: No such file or directory (os error 2)",
        "p.yml:3:51: scrape_configs[1].authorization.credentials_file: `folder` is a directory, not a file",
        "p.yml:9:16: alerting.alertmanagers[0].tls_config.ca_file: `ca.pem` cannot be read: No such file or directory (os error 2)",
        "p.yml:11:17: alerting.alertmanagers[0].tls_config.key_file: `no.key` cannot be read: No such file or directory (os error 2)",
        "p.yml:13:70: docker.tls_config.cert_file: `no.pem` cannot be read: No such file or directory (os error 2)",
        "p.yml:13:88: docker.tls_config.key_file: `folder` is a directory, not a file",
        "p.yml:14:72: plans_from.authorization.credentials_file: `token` cannot be read: No such file or directory (os error 2)",
        "p.yml:15:59: gates[0].tls_config.ca_file: `own.pem` cannot be read: No such file or directory (os error 2)",
        "p.yml:16:74: control_plane.bearer_token_file: `none` cannot be read: No such file or directory (os error 2)",
        "p.yml:17:76: mail.password_file: `p.txt` cannot be read: No such file or directory (os error 2)",
        "p.yml:17:92: mail.ca_file: `m.pem` cannot be read: No such file or directory (os error 2)",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), want);
}

#[test]
fn state_stands_beside_the_file_as_everything_that_is_relative() {
    let path = |text: &str| {
        let mut problems = Problems::default();
        let config = Config::read("p.yml", text, Path::new("/etc/plimsoll"), &mut problems);
        (config.and_then(|config| config.storage.path), problems.to_string())
    };
    let etc = |name: &str| Some(PathBuf::from("/etc/plimsoll").join(name));
    assert_eq!(path("storage: {path: state}").0, etc("state"));
    assert_eq!(path("storage: {path: /var/state}").0, etc("/var/state"));
    assert_eq!(path("storage: {}").0, None);
    let (none, told) = path("storage: {path: ''}");
    assert!(none.is_none() && told.contains("1:17: storage.path: is empty"), "{told}");
}

#[test]
fn rule_files_that_cannot_be_read_are_named_where_they_are_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("written");
    std::fs::create_dir(dir.path().join("folder")).expect("made");
    write("latin1.yml", b"groups:\n- name: \xe4\n");
    write("short.yml", b"groups: [{name: g, rules: [{record: r, expr: 'rate(a[6s])'}]}]\n");
    let text = with(
        "rule_files:\n- gone.yml\n- folder\n- latin1.yml\n- 'sh*.yml'\n- short.yml\n- 'no*.yml'\n- '['",
    );
    let path = dir.path().join("p.yml");
    std::fs::write(&path, text).expect("written");
    let (config, problems) = Config::load(&path);
    assert!(config.is_none());
    let base = format!("{}/", dir.path().display());
    let shown = problems.to_string().replace(&base, "");
    let want = [
        "p.yml:2:3: rule_files[0]: `gone.yml` cannot be read: No such file or directory (os error 2)",
        "p.yml:3:3: rule_files[1]: `folder` is a directory, not a file",
        "p.yml:7:3: warning: rule_files[5]: `no*.yml` matches no file",
        "p.yml:8:3: rule_files[6]: `[`: a `[` is not closed",
        "latin1.yml:2:9: is not UTF-8: byte 0xe4",
        "short.yml:1:52: warning: group \"g\", \"r\": `rate` over 6s needs two samples, and one comes every 5s; lint `short-range`",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), want);
}

#[test]
fn a_configuration_that_is_no_file_is_an_error_at_its_start() {
    for (path, why) in [
        ("/nonexistent/p.yml", "cannot be read: No such file or directory (os error 2)"),
        ("/", "is a directory, not a file"),
        ("/dev/null", "is not a regular file"),
    ] {
        let (config, problems) = Config::load(Path::new(path));
        assert!(config.is_none());
        assert_eq!(problems.to_string(), format!("{path}:1:1: {why}\n"));
    }
}

#[test]
fn documents_in_files_are_read_when_a_configuration_is_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("written");
    };
    write("plans.yml", "plan_limits:\n  free: {mem_limit: 1g, cpu_limit: 0.5}\n");
    write("tenants.yml", "tenants:\n- {tenant: acme, sate: trial}\n");
    let text = "host: h\nplans_from: {file: plans.yml}\ntenants_from: {file: tenants.yml}\n\
                m2: {setting_file: gone.json}\nscrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 4s}]\n\
                rule_files: []\ncontainer_jobs: [a]\n";
    write("p.yml", text);
    let (config, problems) = Config::load_whole(&dir.path().join("p.yml"));
    assert!(config.is_some(), "a running plimsoll keeps what it had: {problems}");
    assert!(!problems.has_errors(), "whoever writes them stops no reload: {problems}");
    let folder = dir.path().display().to_string();
    let shown = problems.to_string().replace(&format!("{folder}/"), "");
    let lines: Vec<&str> = shown.lines().collect();
    let refused = "p.yml:3:1: warning: tenants_from: the document would be refused: tenants.yml:2:18: tenants[0]: ";
    assert!(lines[0].starts_with(refused) && lines[0].contains("did you mean `state`?"), "{shown}");
    assert!(lines[1].starts_with("p.yml:4:20: warning: m2.setting_file: "), "{shown}");
    assert_eq!(lines.len(), 2, "{shown}");
}
