//! `printf`, verb by verb: what Prometheus 2.42 made of each.

use super::check;

const VERBS: &[(&str, &str)] = &[
    (
        "{{ printf \"%d\" 42 }}|{{ printf \"%5d|%-5d|%05d|%+d|% d\" 42 42 42 42 42 }}",
        "42|   42|42   |00042|+42| 42",
    ),
    ("{{ printf \"%d\" \"hi\" }}", "%!d(string=hi)"),
    ("{{ printf \"%d\" 1.5 }}", "%!d(float64=1.5)"),
    (
        "{{ printf \"%s\" 1 }}|{{ printf \"%s\" 1.5 }}|{{ printf \"%s\" true }}|{{ printf \"%s\" nil }}",
        "%!s(int=1)|%!s(float64=1.5)|%!s(bool=true)|%!s(<nil>)",
    ),
    (
        "{{ printf \"%f\" \"x\" }}|{{ printf \"%f\" 1 }}|{{ printf \"%.2f\" 3 }}",
        "%!f(string=x)|%!f(int=1)|%!f(int=03)",
    ),
    (
        "{{ printf \"%x\" 255 }}|{{ printf \"%X\" 255 }}|{{ printf \"%#x\" 255 }}|{{ printf \"%#X\" 255 }}|{{ printf \"%08x\" 255 }}|{{ printf \"%#08x\" 255 }}",
        "ff|FF|0xff|0XFF|000000ff|0x000000ff",
    ),
    (
        "{{ printf \"%x\" 1.5 }}|{{ printf \"%X\" 1.5 }}|{{ printf \"%.3x\" 1.5 }}|{{ printf \"%x\" -0.1 }}|{{ printf \"%x\" 0.0 }}",
        "0x1.8p+00|0X1.8P+00|0x1.800p+00|-0x1.999999999999ap-04|0x0p+00",
    ),
    (
        "{{ printf \"%x\" \"hello\" }}|{{ printf \"%X\" \"hello\" }}|{{ printf \"% x\" \"hello\" }}|{{ printf \"%#x\" \"hello\" }}|{{ printf \"%# x\" \"hello\" }}|{{ printf \"%.2x\" \"hello\" }}",
        "68656c6c6f|68656C6C6F|68 65 6c 6c 6f|0x68656c6c6f|0x68 0x65 0x6c 0x6c 0x6f|6865",
    ),
    (
        "{{ printf \"%e\" 123456.789 }}|{{ printf \"%E\" 123456.789 }}|{{ printf \"%g\" 123456789.0 }}|{{ printf \"%G\" 1e-10 }}|{{ printf \"%.3g\" 123456.0 }}|{{ printf \"%.3e\" 0.0 }}",
        "1.234568e+05|1.234568E+05|1.23456789e+08|1E-10|1.23e+05|0.000e+00",
    ),
    (
        "{{ printf \"%t\" true }}|{{ printf \"%t\" 1 }}|{{ printf \"%t\" \"x\" }}",
        "true|%!t(int=1)|%!t(string=x)",
    ),
    ("{{ printf \"%%\" }}|{{ printf \"%5%\" }}|{{ printf \"%-5%|\" }}", "%|%|%|"),
    (
        "{{ printf \"%v\" nil }}|{{ printf \"%v\" \"x\" }}|{{ printf \"%v\" 1.0 }}|{{ printf \"%v\" true }}|{{ printf \"%v\" 1e21 }}|{{ printf \"%v\" 1e20 }}|{{ printf \"%v\" 123456789.0 }}",
        "<nil>|x|1|true|1e+21|1e+20|1.23456789e+08",
    ),
    (
        "{{ printf \"%c\" 65 }}|{{ printf \"%U\" 65 }}|{{ printf \"%#U\" 65 }}|{{ printf \"%c\" \"x\" }}|{{ printf \"%U\" 128512 }}|{{ printf \"%c\" -1 }}",
        "A|U+0041|U+0041 'A'|%!c(string=x)|U+1F600|�",
    ),
    (
        "{{ printf \"%b\" 5 }}|{{ printf \"%o\" 8 }}|{{ printf \"%O\" 8 }}|{{ printf \"%#o\" 8 }}|{{ printf \"%#b\" 5 }}|{{ printf \"%b\" 1.5 }}",
        "101|10|0o10|010|0b101|6755399441055744p-52",
    ),
    ("{{ printf \"%d\" }}", "%!d(MISSING)"),
    ("{{ printf \"%d %d\" 1 }}", "1 %!d(MISSING)"),
    ("{{ printf \"%d\" 1 2 }}", "1%!(EXTRA int=2)"),
    (
        "{{ printf \"x\" 1 \"a\" 2.5 nil true }}",
        "x%!(EXTRA int=1, string=a, float64=2.5, <nil>, bool=true)",
    ),
    ("{{ printf \"%\" }}", "%!(NOVERB)"),
    ("{{ printf \"%!\" }}", "%!!(MISSING)"),
    (
        "{{ printf \"%z\" 1 }}|{{ printf \"%z\" }}|{{ printf \"%z\" \"x\" }}",
        "%!z(int=1)|%!z(MISSING)|%!z(string=x)",
    ),
    (
        "{{ printf \"%10s|%-10s|%.2s|%10.2s|%010s\" \"abc\" \"abc\" \"abc\" \"abc\" \"abc\" }}",
        "       abc|abc       |ab|        ab|0000000abc",
    ),
    ("{{ printf \"%*d|%-*d|%.*f\" 5 42 5 42 2 3.14159 }}", "   42|42   |3.14"),
    ("{{ printf \"%*d\" \"x\" 42 }}", "%!(BADWIDTH)42"),
    ("{{ printf \"%.*f\" -1 3.14159 }}", "%!(BADPREC)3.141590"),
    ("{{ printf \"%*d\" -5 42 }}|", "42   |"),
    ("{{ printf \"%[2]d %[1]d\" 1 2 }}", "2 1"),
    ("{{ printf \"%[3]d\" 1 2 }}", "%!d(BADINDEX)"),
    ("{{ printf \"%[x]d\" 1 2 }}", "%!d(BADINDEX)"),
    ("{{ printf \"%[2]*[1]d\" 42 5 }}", "   42"),
    ("{{ printf \"%[1]d %d\" 1 2 }}", "1 2"),
    (
        "{{ printf \"%6.2f|%-8.3f|%08.3f|%+.1f|% .1f|%+08.2f\" 3.14159 3.14159 3.14159 3.14159 3.14159 -3.14159 }}",
        "  3.14|3.142   |0003.142|+3.1| 3.1|-0003.14",
    ),
    ("{{ printf \"%.0f|%.f|%.10f|%f\" 2.5 2.5 2.5 1e10 }}", "2|2|2.5000000000|10000000000.000000"),
    ("{{ printf \"%5t|%-7t|\" true false }}", " true|false  |"),
    ("{{ printf \"%5.1f%%\" 12.34 }}", " 12.3%"),
    ("{{ printf \"%.3s\" \"日本語テキスト\" }}|{{ printf \"%5s\" \"日本\" }}", "日本語|   日本"),
    (
        "{{ printf \"%+v\" 1.5 }}|{{ printf \"% v\" 1 }}|{{ printf \"%05v\" 1 }}|{{ printf \"%-5v|\" \"a\" }}|{{ printf \"%5v\" true }}",
        "1.5| 1|00001|a    || true",
    ),
    ("{{ printf \"%d\" true }}|{{ printf \"%d\" nil }}", "%!d(bool=true)|%!d(<nil>)"),
    (
        "{{ printf \"%.3d\" 7 }}|{{ printf \"%8.3d|\" 7 }}|{{ printf \"%-8.3d|\" 7 }}|{{ printf \"%+.3d\" 7 }}|{{ printf \"%.0d\" 0 }}|{{ printf \"%08.3d\" 7 }}",
        "007|     007||007     ||+007||     007",
    ),
    (
        "{{ printf \"%x\" -255 }}|{{ printf \"%#x\" -255 }}|{{ printf \"%+x\" 255 }}|{{ printf \"%.4x\" 255 }}",
        "-ff|-0xff|+ff|00ff",
    ),
    (
        "{{ printf \"%v %v %v\" 1e100 1e-7 0.00001 }}|{{ printf \"%g\" 1e-5 }}",
        "1e+100 1e-07 1e-05|1e-05",
    ),
    ("{{ printf \"%6d|%6s|%6q\" 1 \"a\" \"b\" }}", "     1|     a|   \"b\""),
    (
        "{{ printf \"%-06d|\" 5 }}|{{ printf \"%+-6d|\" 5 }}|{{ printf \"%+06d\" 5 }}|{{ printf \"% 06d\" 5 }}",
        "5     ||+5    ||+00005| 00005",
    ),
    (
        "{{ printf \"%w\" 1 }}|{{ printf \"%p\" 1 }}|{{ printf \"%p\" \"x\" }}",
        "%!w(int=1)|%!p(int=1)|%!p(string=x)",
    ),
    ("{{ printf \"%s %s\" \"a\" \"b\" \"c\" }}", "a b%!(EXTRA string=c)"),
    ("{{ printf \"%d%%|%s\" 5 \"x\" }}|{{ printf \"%3c|%-3c|\" 65 65 }}", "5%|x|  A|A  |"),
    ("{{ printf \"%t%v\" (eq 1 1) (not true) }}", "truefalse"),
    (
        "{{ printf \"%v|%s|%d\" (toTime 1.5) (toTime 1.5) 3 }}",
        "1970-01-01 00:00:01.5 +0000 UTC|1970-01-01 00:00:01.5 +0000 UTC|3",
    ),
];

#[test]
fn verbs_flags_widths_and_indexes_are_those_of_go() {
    check(VERBS);
}
