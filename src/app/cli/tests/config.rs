//! What `check config` says, and of what.

use super::*;

#[test]
fn a_checked_configuration_does_not_show_its_secrets() {
    let (_dir, write) = folder();
    let text = "scrape_configs: [{job_name: a, basic_auth: {username: u, password: hunter2}}]\n\
                control_plane: {url: 'https://cp/x', secret: whsec_hunter2}\n";
    let config = write("plimsoll.yaml", text);
    let ran = run(&["check", "config", &config]);
    assert!(ran.out.contains("a secret in the configuration"), "{}", ran.out);
    assert!(ran.out.contains("plimsoll.yaml:2:"), "{}", ran.out);
    assert!(
        !ran.out.contains("hunter2") && !ran.err.contains("hunter2"),
        "{} {}",
        ran.out,
        ran.err
    );
}

#[test]
fn check_config_tells_every_problem_and_its_verdict() {
    let (_dir, write) = folder();
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/plimsoll.example.yaml");
    for words in [&["check", "config", good][..], &["check", "config", "--config", good]] {
        let ran = run(words);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
        assert!(ran.err.contains("1 jobs, ") && ran.err.ends_with("rules: good\n"), "{}", ran.err);
    }
    let bad = write("bad.yml", "mode: obey\nwep: 1\nrule_files: []\n");
    let ran = run(&["check", "config", &bad]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.out.contains(
            "bad.yml:1:7: error: mode: `obey` is not a mode\n  1 | mode: obey\n    |       ^\n  hint: \
             write `observe`"
        ) && ran.out.contains(
            "bad.yml:2:1: error: unknown key `wep`\n  2 | wep: 1\n    | ^\n  hint: did you mean \
             `web`?\n"
        ),
        "{}",
        ran.out
    );
    assert!(ran.err.ends_with("bad.yml: 2 errors\n"), "{}", ran.err);
    let ran = run(&["check", "config", &bad, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, &json["errors"]), (2, &2.into()));
    assert_eq!(json["problems"][0]["line"], 1);
    assert_eq!(run(&["run", "--config", &bad]).code, 78);
    assert_eq!(run(&["run", "--config", "/nonexistent"]).code, 78);
}

/// As README installs it: the secret is there as soon as the service runs, and not before.
#[test]
fn a_credential_of_a_service_that_does_not_run_is_no_error_yet() {
    let (_dir, write) = folder();
    let config = write("p.yml", AT_A_CONTROL_PLANE);
    let ran = run(&["check", "config", "--config", &config]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let want = "warning: cannot read `/run/credentials/plimsoll-none.service/cp`";
    assert!(ran.out.contains(want) && ran.out.contains("while it runs"), "{}", ran.out);
    let bearer = AT_A_CONTROL_PLANE.replace("secret_file", "bearer_token_file");
    let ran = run(&["check", "config", &write("q.yml", &bearer)]);
    let told = "warning: control_plane.bearer_token_file: `/run/credentials/plimsoll-none";
    assert!(ran.out.contains(told) && ran.out.contains("while it runs"), "{}", ran.out);
    // Whoever keeps it may be about to bring it: a start without it is tried again.
    assert_eq!(run(&["run", "--config", &config]).code, 1);
    let elsewhere = AT_A_CONTROL_PLANE.replace("/run/credentials", "/run/secrets");
    let config = write("r.yml", &elsewhere);
    assert_eq!(run(&["check", "config", &config]).code, 2);
}

/// The folder that tests run in has no `plimsoll.yaml`.
#[test]
fn check_config_without_a_file_says_that_the_defaults_hold_unless_one_was_named() {
    let ran = run(&["check", "config"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("plimsoll.yaml:1:1: warning: there is no such file: this host's"));
    assert!(ran.err.contains(" rules: good, with "), "{}{}", ran.out, ran.err);
    for words in [&["--config", "plimsoll.yaml"][..], &["plimsoll.yaml"], &["--config", "/no/file"]]
    {
        let ran = run(&[&["check", "config"], words].concat());
        assert_eq!(ran.code, 2, "{words:?}: {}", ran.err);
    }
}
