use crate::report::hdr;
use crate::report::html::*;
use crate::report::sample::{self, Sample};
use crate::report::sweep::SweepPoint;

fn sweep() -> Sweep {
    let point = |step: u32| {
        let requested = 20_000.0 * f64::from(step);
        let load = (requested / 190_000.0).min(0.995);
        SweepPoint {
            requested: Some(requested),
            achieved: requested.min(184_000.0),
            p50_us: Some(90.0 / (1.0 - load * 0.9)),
            p99_us: Some(300.0 / (1.0 - load)),
            p99_9_us: Some(900.0 / (1.0 - load)),
            dropped: match step {
                10.. => 91_000 * u64::from(step - 9),
                _ => 0,
            },
            failed: 0,
        }
    };
    Sweep {
        points: (1..=11).map(point).collect(),
    }
}

/// A report of an hour: the same minute 60 times.
fn hour() -> Report {
    let mut report = sample::report();
    let minute = report.intervals.clone();
    for offset in 1..60 {
        report
            .intervals
            .extend(minute.iter().cloned().map(|mut interval| {
                interval.start_seconds += f64::from(offset) * 60.0;
                interval
            }));
    }
    report
}

/// Returns the data of the plots.
fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once("id=\"data\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn texts_from_elsewhere_are_escaped() {
    let mut report = sample::report();
    let hostile = "</script><script>alert(1)</script>\"'{{data}}{{style}}<!--";
    report.name = Some(hostile.to_owned());
    report.command = hostile.to_owned();
    report.warnings.push(hostile.to_owned());
    report.tags.insert(hostile.to_owned(), hostile.to_owned());
    report.settings.insert(hostile.to_owned(), hostile.into());
    report.failed.insert(hostile.to_owned(), 1);
    report.server.address = hostile.to_owned();
    let kind = report.latency["read"].clone();
    report.latency.insert(hostile.to_owned(), kind);
    let page = render(&report, None);
    assert!(!page.contains("<script>alert"));
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(
        page.contains("{{data}}"),
        "a name inside a part was replaced"
    );
    assert_eq!(data(&page)["kinds"][0]["kind"], hostile);
}

/// Of `mixed` there are as many as there can be.
#[test]
fn each_kind_has_a_colour_of_its_own_in_every_theme() {
    use crate::plan::kind::Kind;
    use std::collections::HashSet;
    let kinds = Kind::ALL.len() + 1;
    assert!(SCRIPT.contains(&format!("const KIND_COLORS = {kinds};")));
    for theme in STYLE.split('}').filter(|rules| rules.contains("--k0:")) {
        let colour = |number: usize| {
            let (_, rest) = theme.split_once(&format!("--k{number}: ")).unwrap();
            rest.split(';').next().unwrap()
        };
        let colours: HashSet<_> = (0..kinds).map(colour).collect();
        assert_eq!(colours.len(), kinds, "{theme}");
    }
}

#[test]
fn the_title_says_what_the_run_was() {
    let title = |report: &Report, sweep: Option<&Sweep>| {
        let page = render(report, sweep);
        let (_, rest) = page.split_once("<title>").unwrap();
        rest.split("</title>").next().unwrap().to_owned()
    };
    let mut report = sample::report();
    report.name = None;
    report.server.embedded = false;
    assert_eq!(
        title(&report, None),
        "100 readers, 10 writers, pipeline, 100,000/s on 127.0.0.1:50051, 2026-11-23 - soloist-load"
    );
    report.name = Some("nightly".to_owned());
    report
        .settings
        .insert("workload".to_owned(), "mixed".into());
    assert_eq!(
        title(&report, Some(&sweep())),
        "nightly: workload mixed, pipeline, 11 runs on 127.0.0.1:50051, 2026-11-23 - soloist-load"
    );
}

#[test]
fn the_page_of_a_sweep_begins_with_its_curve_and_says_whose_charts_follow() {
    let page = render(&sample::report(), Some(&sweep()));
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
    assert!(at("id=\"plot-sweep\"") < at("id=\"plot-throughput\""));
    assert!(page.contains("those of the run at 100,000/s"));
}

#[test]
fn wide_tables_scroll_with_a_hint() {
    let page = render(&sample::report(), None);
    let sections: Vec<_> = page
        .split("<section")
        .filter(|part| part.contains("<table"))
        .collect();
    assert!(sections.len() > 5);
    for section in sections {
        assert!(section.contains("class=\"scroll\" tabindex=\"0\" role=\"region\""));
        let columns = section.matches("scope=\"col\"").count();
        let has_hint = section.contains("class=\"hint\"") && section.contains("class=\"wide\"");
        assert_eq!(has_hint, columns > 4, "{columns} columns");
    }
}

#[test]
fn nothing_is_fetched() {
    let page = render(&sample::report(), Some(&sweep()));
    for fetches in [
        "src=",
        "href=",
        "url(",
        "@import",
        "fetch(",
        "XMLHttpRequest",
        "import(",
    ] {
        assert!(!page.contains(fetches), "{fetches}");
    }
    let addresses: Vec<_> = page
        .match_indices("http")
        .map(|(at, _)| &page[at..at + 30])
        .collect();
    let known = |address: &&str| {
        address.starts_with("http://www.w3.org/2000/svg") || address.starts_with("http-equiv")
    };
    assert!(addresses.iter().all(known), "{addresses:?}");
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_page_has_the_data_of_the_plots() {
    let report = sample::report();
    let data = data(&render(&report, Some(&sweep())));
    assert_eq!(data["intervals"].as_array().unwrap().len(), 60);
    assert_eq!(data["intervals"][37][4], 1_200);
    assert_eq!(data["sweep"].as_array().unwrap().len(), 11);
    let last = data["kinds"].as_array().unwrap().last().unwrap();
    assert_eq!(last["kind"], "all");
    let slowest = last["response"].as_array().unwrap().last().unwrap();
    assert_eq!(slowest[0], 1.0);
    let max = report.latency["all"].response.max_us.unwrap();
    assert!((slowest[1].as_f64().unwrap() - max).abs() <= 0.1);
}

#[test]
fn a_page_of_an_hour_is_small_and_one_without_operations_works() {
    let page = render(&hour(), None);
    assert!(page.len() < 600_000, "{} bytes", page.len());
    let page = render(&sample::empty_report(), None);
    assert!(!page.contains("id=\"plot-"));
    assert!(!page.contains("NaN"));
}

#[test]
#[ignore = "writes pages to look at, to the directory SOLOIST_PAGES"]
fn pages_to_look_at() {
    let directory = std::env::var_os("SOLOIST_PAGES").expect("SOLOIST_PAGES names a directory");
    let directory = std::path::Path::new(&directory);
    let of = |intervals| {
        let sample = Sample {
            intervals,
            ..Sample::default()
        };
        sample.report()
    };
    let pages = [
        ("full.html", render(&sample::report(), Some(&sweep()))),
        ("one.html", render(&of(1), None)),
        ("hour.html", render(&hour(), None)),
        ("empty.html", render(&sample::empty_report(), None)),
    ];
    let all = &sample::report().latency["all"].response;
    let files = [
        ("minute.hgrm", hdr::percentiles(all).unwrap()),
        ("minute.hlog", hdr::interval_log(&sample::report()).unwrap()),
        ("minute.json", sample::report().to_json()),
    ];
    for (name, page) in pages.into_iter().chain(files) {
        std::fs::write(directory.join(name), page).unwrap();
    }
}
