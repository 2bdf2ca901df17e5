//! Methods of times: what Prometheus 2.42 made of each.

use super::{check, expand};

const METHODS: &[(&str, &str)] = &[
    ("{{ (toTime 1435065584.128).Format \"2006-01-02T15:04:05Z07:00\" }}", "2015-06-23T13:19:44Z"),
    (
        "{{ (toTime 1435065584.128).Format \"Mon Jan _2 15:04:05 MST 2006\" }}",
        "Tue Jun 23 13:19:44 UTC 2015",
    ),
    (
        "{{ (toTime 1435065584.128).Format \"Monday, 02-Jan-06 15:04:05 -0700 -07:00 -07\" }}",
        "Tuesday, 23-Jun-15 13:19:44 +0000 +00:00 +00",
    ),
    (
        "{{ (toTime 1435065584.128).Format \"3:04PM 03:04 pm 3 4 5 1 2 06 002 __2 _2\" }}",
        "1:19PM 01:19 pm 1 19 44 6 23 15 174 174 23",
    ),
    (
        "{{ (toTime 1435065584.128).Format \"15:04:05.000 .000000 .999999 ,000 .0000000001 .00x .9\" }}",
        "13:19:44.128 .128000 .128 ,128 .0000000006 .12x .1",
    ),
    (
        "{{ (toTime 1435065584.1).Format \"15:04:05.999 05.000 05.99 5.000\" }}",
        "13:19:44.1 44.100 44.1 44.100",
    ),
    (
        "{{ (toTime 1435065584).Format \"15:04:05.999 05.000 x.000 .000\" }}",
        "13:19:44 44.000 x.000 .000",
    ),
    (
        "{{ (toTime 0.0).Format \"\" }}|{{ (toTime 0.0).Format \"plain text é _2006 Janet Money January Junuary 20061 12 22 _2 __2 2\" }}",
        "|plain text é _1970 Janet Money January Junuary 19701 11 11  1   1 1",
    ),
    (
        "{{ (toTime 1435065584.128).Year }} {{ (toTime 1435065584.128).Month }} {{ (toTime 1435065584.128).Day }} {{ (toTime 1435065584.128).Weekday }} {{ (toTime 1435065584.128).YearDay }} {{ (toTime 1435065584.128).Hour }} {{ (toTime 1435065584.128).Minute }} {{ (toTime 1435065584.128).Second }} {{ (toTime 1435065584.128).Unix }} {{ (toTime 1435065584.128).UTC }} {{ (toTime 1435065584.128).Nanosecond }} {{ (toTime 1435065584.128).UnixMilli }}",
        "2015 June 23 Tuesday 174 13 19 44 1435065584 2015-06-23 13:19:44.128 +0000 UTC 128000000 1435065584128",
    ),
    (
        "{{ $t := toTime 1435065584.5 }}{{ $t.Format \"15:04\" }} {{ $t.Hour }} {{ with $t }}{{ .Format \"04\" }} {{ .Year }} {{ .UTC.Hour }}{{ end }}",
        "13:19 13 19 2015 13",
    ),
    ("{{ \"15:04\" | (toTime 0.0).Format }}", "00:00"),
    (
        "{{ (toTime -86400.0).Format \"2006-01-02 Mon 002\" }}|{{ (toTime 951782400.0).Format \"Jan 2 002\" }}|{{ (toTime 978220800.0).Format \"002 __2\" }}",
        "1969-12-31 Wed 365|Feb 29 060|366 366",
    ),
    (
        "{{ (toTime 1435065584.128).Format \"Z0700 Z07:00 Z07 2006Z 20060102150405\" }}",
        "Z Z Z 2015Z 20150623131944",
    ),
    (
        "{{ (toTime 1435065584.128).Format \"0102 1/2/06 01/02 03:04:05PM '06 -0700\" }}",
        "0623 6/23/15 06/23 01:19:44PM '15 +0000",
    ),
];

#[test]
fn times_are_written_as_in_go() {
    check(METHODS);
}

#[test]
fn what_a_time_cannot_do_is_said() {
    let cases = [
        ("{{ (toTime 0).Format 1 }}", "wrong type for value; expected string; got int"),
        ("{{ (toTime 0).Format }}", "wrong number of args for Format: want 1 got 0"),
        ("{{ (toTime 0).Year 1 }}", "wrong number of args for Year: want 0 got 1"),
        ("{{ (toTime 0).Nope }}", "can't evaluate field Nope in type *time.Time"),
        ("{{ (toTime 0).Nope 1 }}", "can't evaluate field Nope in type *time.Time"),
        (
            "{{ $s := \"2\" }}{{ range $i := 99 }}{{ $s = (toTime 1814400).Format $s }}{{ end }}{{ $s }}",
            "error calling Format: the result is longer than 65536 bytes",
        ),
    ];
    for (text, want) in cases {
        let error = expand(text).expect_err(text);
        assert!(error.ends_with(want), "{text}: {error}");
    }
}
