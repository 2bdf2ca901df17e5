//! M2's `setting.json`, read for what its metrics do not tell: what is pinned, how long documents are
//! cached, when they are built anew, and which families its export leaves out.
//!
//! The file is M2's: it is never written, keys that are none of our business are stepped over, and
//! what is left out is left out. One value of the wrong kind refuses the whole.

use std::time::Duration;

use serde_json::Value;

use super::config::owners::Read;
use crate::base::parse_duration;
use crate::policy::{FIXED_COUNT_MAX, M2Setting};

const META: &str = "/functions/network/cache/meta";
const TTL: &str = "/functions/network/cache/ttl";
const WHITELIST: &str = "/env/metrics/export/white";
/// Families that the budget and the guards around it read, as M2's whitelist names them.
const NEEDED: [&str; 4] = [
    "m2_pagefx_complete",
    "m2_pagedesk_dest_size_bytes",
    "m2_sys_memory_limit_rt",
    "m2_sys_uptime",
];
/// What patterns of documents have in them (document B §1).
const DOCUMENTS: &str = "/pagefx/";

/// Reads the file's text.
pub fn m2_setting_document(name: &str, text: &str) -> Read<M2Setting> {
    let read = || -> Result<M2Setting, String> {
        let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !root.is_object() {
            return Err("is not a JSON object".to_owned());
        }
        Ok(M2Setting {
            fixed_count: fixed_count(&root)?,
            ttl: ttl(&root)?,
            phantom: flag(&root, "/functions/network/cache/phantom/enable")?,
            refresh: refresh(&root)?,
            indexing_limit: whole(&root, &format!("{META}/indexingLimitCount"))?,
            hidden: hidden(&root)?,
        })
    };
    read().map(|setting| (setting, Vec::new())).map_err(|why| format!("{name}: {why}"))
}

fn fixed_count(root: &Value) -> Result<Option<u64>, String> {
    let path = format!("{META}/fixedCount");
    let count = whole(root, &path)?;
    match count.filter(|count| *count > FIXED_COUNT_MAX) {
        Some(count) => Err(wrong(&path, &format!("{count} is more than M2 takes, 1000000"))),
        None => Ok(count),
    }
}

/// The cache time of documents: that of their pattern, else that of every good answer.
fn ttl(root: &Value) -> Result<Option<Duration>, String> {
    let path = format!("{TTL}/custom");
    let custom = list(root, &path)?
        .iter()
        .find(|entry| entry["pattern"].as_str().is_some_and(|pattern| pattern.contains(DOCUMENTS)));
    let (said, path) = match custom {
        Some(entry) => (Some(&entry["sec"]), path),
        None => {
            (at(root, &format!("{TTL}/resCode/res2xx/sec")), format!("{TTL}/resCode/res2xx/sec"))
        }
    };
    let Some(said) = said else { return Ok(None) };
    let seconds = said.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map(Some).ok_or_else(|| wrong(&path, "is not a number of seconds"))
}

fn refresh(root: &Value) -> Result<Option<Duration>, String> {
    let path = "/functions/contents/pagefx/backend/refresh";
    let Some(said) = at(root, path) else { return Ok(None) };
    let text = said.as_str().ok_or_else(|| wrong(path, "is not a duration such as \"12h\""))?;
    parse_duration(text).map(Some).map_err(|error| wrong(path, &error.to_string()))
}

/// What a whitelist that is switched on leaves out. M2 lists names without `_total`.
fn hidden(root: &Value) -> Result<Vec<String>, String> {
    if flag(root, &format!("{WHITELIST}/enable"))? != Some(true) {
        return Ok(Vec::new());
    }
    let path = format!("{WHITELIST}/list");
    let listed: Vec<&str> = list(root, &path)?.iter().filter_map(Value::as_str).collect();
    let shown =
        |family: &str| listed.iter().any(|l| l.strip_suffix("_total").unwrap_or(l) == family);
    Ok(NEEDED.iter().filter(|family| !shown(family)).map(|f| (*f).to_owned()).collect())
}

fn at<'v>(root: &'v Value, path: &str) -> Option<&'v Value> {
    root.pointer(path).filter(|value| !value.is_null())
}

fn whole(root: &Value, path: &str) -> Result<Option<u64>, String> {
    let Some(value) = at(root, path) else { return Ok(None) };
    value.as_u64().map(Some).ok_or_else(|| wrong(path, "is not a whole number of objects"))
}

fn flag(root: &Value, path: &str) -> Result<Option<bool>, String> {
    let Some(value) = at(root, path) else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| wrong(path, "is neither true nor false"))
}

fn list<'v>(root: &'v Value, path: &str) -> Result<&'v [Value], String> {
    let Some(value) = at(root, path) else { return Ok(&[]) };
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(path, "is not a list"))
}

/// The setting as M2's pages write it, and what is wrong with it.
fn wrong(path: &str, why: &str) -> String {
    format!("{}: {why}", path.trim_start_matches('/').replace('/', "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{
      "env": {"metrics": {"export": {"white": {"enable": true, "list":
        ["m2_cache_tcp_hit", "m2_pagefx_complete", "m2_sys_uptime"]}}}},
      "functions": {
        "network": {"cache": {
          "meta": {"fixedCount": 40000, "indexingLimitCount": 0},
          "phantom": {"enable": true},
          "ttl": {"custom": [{"pattern": "/img/*", "sec": 9}, {"pattern": "/*/pagefx/*", "sec": 3}],
                  "resCode": {"res2xx": {"sec": 1800}}}}},
        "contents": {"pagefx": {"backend": {"refresh": "12h"}}}}}"#;

    #[test]
    fn what_m2_runs_with_is_read_and_the_rest_is_stepped_over() {
        let (read, _) = m2_setting_document("setting.json", WHOLE).expect("reads");
        let want = M2Setting {
            fixed_count: Some(40_000),
            ttl: Some(Duration::from_secs(3)),
            phantom: Some(true),
            refresh: Some(Duration::from_secs(12 * 3600)),
            indexing_limit: Some(0),
            hidden: vec![
                "m2_pagedesk_dest_size_bytes".to_owned(),
                "m2_sys_memory_limit_rt".to_owned(),
            ],
        };
        assert_eq!(read, want);
        let (silent, _) =
            m2_setting_document("setting.json", "{\"functions\": {}}").expect("reads");
        assert_eq!(silent, M2Setting::default());
        let plain =
            WHOLE.replace("/*/pagefx/*", "/*/other/*").replace("true, \"list\"", "false, \"list\"");
        let (read, _) = m2_setting_document("setting.json", &plain).expect("reads");
        assert_eq!((read.ttl, read.hidden.len()), (Some(Duration::from_secs(1800)), 0));
    }

    #[test]
    fn a_half_written_or_wrong_file_is_refused_whole_and_says_where() {
        for (was, is, want) in [
            ("40000", "-1", "functions.network.cache.meta.fixedCount: is not a whole number"),
            ("40000", "1000001", "is more than M2 takes, 1000000"),
            (
                "\"sec\": 3",
                "\"sec\": \"3s\"",
                "functions.network.cache.ttl.custom: is not a number",
            ),
            ("\"12h\"", "\"soon\"", "functions.contents.pagefx.backend.refresh: "),
            ("\"12h\"", "12", "is not a duration such as"),
            ("{\"enable\": true}", "{\"enable\": 1}", "phantom.enable: is neither true nor false"),
        ] {
            let error = m2_setting_document("s.json", &WHOLE.replace(was, is)).expect_err(is);
            assert!(error.starts_with("s.json: ") && error.contains(want), "{is}: {error}");
        }
        let half = m2_setting_document("s.json", &WHOLE[..200]).expect_err("is half");
        assert!(half.contains("line "), "{half}");
        assert!(m2_setting_document("s.json", "[]").is_err());
    }
}
