use proptest::prelude::*;

use super::*;

fn read(text: &str, format: Format) -> ImportReport {
    import(text.as_bytes(), format, &Columns::default()).unwrap()
}

fn refuse(text: &str, format: Format) -> String {
    import(text.as_bytes(), format, &Columns::default()).unwrap_err().to_string()
}

fn pair(input: &str, target: &str) -> Pair {
    Pair { input: input.to_owned(), target: target.to_owned() }
}

/// The problems of a file as people see them.
fn problems(text: &str, format: Format) -> Vec<String> {
    read(text, format).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_three_formats_give_the_same_pairs() {
    let expected = [pair("hi, \"you\"", "Good day."), pair("thx", "Danke schön")];
    let jsonl =
        "{\"target\":\"Good day.\",\"input\":\"hi, \\\"you\\\"\"}\n\n{\"input\":\" thx \",\"target\":\"Danke schön\",\"n\":1}";
    let csv = "id,input,target\n1,\"hi, \"\"you\"\"\",Good day.\n2, thx ,Danke schön\n";
    let tsv = "input\tid\ttarget\nhi, \"you\"\t1\tGood day.\nthx\t2\tDanke schön";
    for (text, format) in [(jsonl, Format::Jsonl), (csv, Format::Csv), (tsv, Format::Tsv)] {
        assert_eq!(read(text, format).complete().unwrap(), expected, "{format:?}");
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(read(&windows, format).complete().unwrap(), expected, "{format:?} with BOM and CRLF");
    }
}

#[test]
fn quotes_in_tsv_are_plain_text() {
    let report = read("input\ttarget\n\"Hey,\" he said\t\"open", Format::Tsv);
    assert_eq!(report.complete().unwrap(), [pair("\"Hey,\" he said", "\"open")]);
}

#[test]
fn formats_are_detected_by_name_then_by_content() {
    assert_eq!(Format::detect("pairs.JSONL", b"a,b"), Format::Jsonl);
    assert_eq!(Format::detect("pairs.tsv", b"a,b"), Format::Tsv);
    assert_eq!(Format::detect("pairs.txt", b"\xef\xbb\xbf {\"a\":1}"), Format::Jsonl);
    assert_eq!(Format::detect("pairs", b"a\tb\n1,2"), Format::Tsv);
    assert_eq!(Format::detect("", b"a,b\n1\t2"), Format::Csv);
}

#[test]
fn columns_are_listed_and_guessed() {
    let csv = column_names(b"\xef\xbb\xbf EN , Du\nx,y", Format::Csv).unwrap();
    assert_eq!(csv, ["EN", "Du"]);
    assert_eq!(Columns::guess(&csv).unwrap(), Columns { input: "EN".to_owned(), target: "Du".to_owned() });
    let jsonl = column_names(b"{\"b\":1}\nnot json\n{\"a\":2,\"b\":3}", Format::Jsonl).unwrap();
    assert_eq!(jsonl, ["a", "b"]);

    let guess = |names: &[&str]| {
        let names = names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Columns::guess(&names).map(|c| (c.input, c.target))
    };
    let some = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
    assert_eq!(guess(&["id", "Answer", "Question"]), some("Question", "Answer"));
    assert_eq!(guess(&["reply", "prompt"]), some("prompt", "reply"));
    assert_eq!(guess(&["left", "right"]), some("left", "right"));
    assert_eq!(guess(&["a", "b", "c"]), None);
    assert_eq!(guess(&["input"]), None);
}

#[test]
fn missing_columns_are_named_with_those_there_are() {
    let expected = "line 2 has no column \"target\"; the columns are \"goal\", \"input\": choose one of them";
    assert_eq!(refuse("\n{\"input\":\"a\",\"goal\":\"b\"}", Format::Jsonl), expected);
    assert_eq!(refuse("\r\ngoal,input\na,b", Format::Csv), expected);
    let twice = refuse("input,target,input\na,b,c", Format::Csv);
    assert_eq!(twice, "line 1 names the column \"input\" twice: rename one of them");
}

#[test]
fn files_without_pairs_say_so() {
    for (text, format) in [("", Format::Csv), (" \r\n", Format::Jsonl), ("input,target\n\n", Format::Csv)] {
        assert!(refuse(text, format).contains("holds no pairs"), "{text:?}");
    }
    assert!(refuse("[\n{\"input\":\"a\"}]", Format::Jsonl).contains("begins with a JSON array"));
    let utf16 = import(b"\xff\xfei\0", Format::Csv, &Columns::default()).unwrap_err();
    assert_eq!(utf16, ImportError::Utf16);
    let latin = import(b"input,t\xe4rget\na,b", Format::Csv, &Columns::default()).unwrap_err();
    assert_eq!(latin, ImportError::HeaderEncoding { line: 1 });
}

#[test]
fn bad_json_rows_name_line_and_column_and_spare_the_rest() {
    let text = "{\"input\":\"a\",\"target\":\"b\"}\n{\"input\":\"a\",\"target\":3}\n{\"input\":null,\"target\":\"b\"}\n\
                {\"input\":\"a\"}\n{\"input\":\"a\",}\n[1]\n{\"input\":\"a\",\"target\":\"  \"}\n7";
    let report = read(text, Format::Jsonl);
    assert_eq!((report.pairs.len(), report.bad_rows), (1, 7));
    let expected = [
        "line 2, column \"target\": is a number and should be text: put it in quotes",
        "line 3, column \"input\": is null and should be text: put it in quotes",
        "line 4, column \"target\": is missing in this row, which has \"input\"",
        "line 5: is not JSON: trailing comma at character 14",
        "line 6: is an array and should be an object such as {\"input\": \"…\", \"target\": \"…\"}",
        "line 7, column \"target\": is empty: fill it in or remove the row",
        "line 8: is a number and should be an object such as {\"input\": \"…\", \"target\": \"…\"}",
    ];
    assert_eq!(report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn bad_table_rows_name_their_line_whatever_the_line_ends() {
    for ends in ["\n", "\r\n", "\r"] {
        let text = "input,target\n\"two\nlines\",x\n\na\n,b\na,b,c\nok,ok\n".replace('\n', ends);
        let found = problems(&text, Format::Csv);
        let place = |problem: &String| problem.split(": ").next().unwrap().to_owned();
        let places = found.iter().map(place).collect::<Vec<_>>();
        assert_eq!(places, ["line 5", "line 6, column \"input\"", "line 7"], "{ends:?}");
    }
}

#[test]
fn open_quotes_are_found_where_they_open() {
    let found = problems("input,target\na,b\n\"never closed,b\nc,d\n", Format::Csv);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("line 3: opens a quote that is never closed"), "{found:?}");
}

#[test]
fn invalid_utf8_names_its_line() {
    let place = |bytes: &[u8], format| import(bytes, format, &Columns::default()).unwrap().problems[0].to_string();
    let csv = place(b"input,target\na,b\nc,sch\xf6n\n", Format::Csv);
    assert!(csv.starts_with("line 3, column \"target\": is not valid UTF-8"));
    let jsonl = place(b"{\"input\":\"a\",\"target\":\"b\"}\n{\"input\":\"\xf6\"}", Format::Jsonl);
    assert!(jsonl.starts_with("line 2: is not valid UTF-8"));
}

#[test]
fn many_problems_are_counted_and_the_first_are_kept() {
    let report = read(&format!("input,target\n{}", "a,\n".repeat(50)), Format::Csv);
    assert_eq!((report.problems.len(), report.bad_rows), (MAX_PROBLEMS, 50));
    let message = report.complete().unwrap_err().to_string();
    assert!(message.starts_with("50 rows cannot be read:\n  line 2, column \"target\": is empty"));
    assert!(message.ends_with("and 30 more"));
}

#[test]
fn template_needs_its_input_and_leaves_other_braces() {
    let template = Template::parse("{{x}} {input} {} -> {input}:").unwrap();
    assert_eq!(template.render("a {input} b"), "{{x}} a {input} b {} -> a {input} b:");
    let error = Template::parse("Formal:").unwrap_err().to_string();
    assert_eq!(error, "the template \"Formal:\" has no {input}: write {input} where the input should go");
    assert!(serde_json::from_str::<Template>("\"Formal:\"").is_err());
    assert_eq!(serde_json::to_string(&template).unwrap(), format!("{:?}", template.as_str()));
}

#[test]
fn splits_of_a_seed_never_change() {
    let split = Split::new(10, 0.3, 7).unwrap();
    assert_eq!(split.validation, [0, 5, 7]);
    assert_ne!(split, Split::new(10, 0.3, 8).unwrap());
}

#[test]
fn impossible_splits_are_refused() {
    assert_eq!(Split::new(1, 0.1, 0), Err(SplitError::TooFew(1)));
    assert_eq!(Split::new(0, 0.0, 0), Err(SplitError::TooFew(0)));
    assert_eq!(Split::new(9, 1.0, 0), Err(SplitError::Fraction(1.0)));
    assert!(Split::new(9, f64::NAN, 0).is_err());
    assert_eq!(Split::new(1, 0.0, 0).unwrap().train, [0]);
}

proptest! {
    #[test]
    fn each_pair_is_in_exactly_one_set(pairs in 2usize..200, fraction in 0.0f64..0.999, seed: u64) {
        let split = Split::new(pairs, fraction, seed).unwrap();
        prop_assert!(!split.train.is_empty() && (fraction == 0.0 || !split.validation.is_empty()));
        let mut all = [split.train, split.validation].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..pairs).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), header: bool) {
        let header: &[u8] = if header { b"input,target\tx\n" } else { b"" };
        let bytes = [header, &bytes].concat();
        for format in [Format::Jsonl, Format::Csv, Format::Tsv] {
            let _ = column_names(&bytes, format);
            let _ = import(&bytes, format, &Columns::default());
        }
    }

    #[test]
    fn quoted_fields_survive(fields in prop::collection::vec(("[a-z,\"\r\n ]{0,9}", "[a-z,\"\n]{0,9}"), 1..6)) {
        let quote = |text: &str| format!("\"x{}x\"", text.replace('"', "\"\""));
        let mut csv = "input,target\r\n".to_owned();
        for (input, target) in &fields {
            csv += &format!("{},{}\r\n", quote(input), quote(target));
        }
        let expected = fields.iter().map(|(i, t)| pair(&format!("x{i}x"), &format!("x{t}x"))).collect::<Vec<_>>();
        prop_assert_eq!(read(&csv, Format::Csv).complete().unwrap(), expected);
    }
}
