//! The calls of `--call`.

use std::sync::Arc;

use crate::command_line::args::RunArgs;
use crate::plan::call::CallPlan;
use crate::plan::choices::Engine;

/// Returns what to call, or `None` for a workload of Soloist.
///
/// # Errors
/// If other flags make no sense with it, or without it. The text names them.
pub(crate) fn resolve(args: &RunArgs) -> Result<Option<Arc<CallPlan>>, String> {
    let flags = &args.call;
    let Some(method) = &flags.call else {
        let needy = [
            (!flags.data.is_empty(), "--data"),
            (!flags.proto.is_empty(), "--proto"),
            (flags.protoset.is_some(), "--protoset"),
            (!flags.expect_code.is_empty(), "--expect-code"),
            (!flags.expect.is_empty(), "--expect"),
            (flags.stream_messages.is_some(), "--stream-messages"),
        ];
        return match first(&needy) {
            Some(flag) => Err(format!(
                "{flag} needs a method: soloist-load call HOST:PORT package.Service/Method, or --call"
            )),
            None => Ok(None),
        };
    };
    let what = &args.what;
    let of_soloist = [
        (what.readers.is_some(), "--readers"),
        (what.writers.is_some(), "--writers"),
        (what.ratio.is_some(), "--ratio"),
        (what.workload.is_some(), "--workload"),
        (what.watchers.is_some(), "--watchers"),
        (what.keys.is_some(), "--keys"),
        (what.key_dist.is_some(), "--key-dist"),
        (what.value.is_some(), "--value"),
        (what.value_size.is_some(), "--value-size"),
        (what.distinct, "--distinct"),
        (what.clean, "--clean"),
        (args.report.verify, "--verify"),
        (args.how.frame_ops > 1, "--frame-ops"),
        (
            args.how.engine == Some(Engine::Pipeline),
            "--engine pipeline",
        ),
    ];
    if let Some(flag) = first(&of_soloist) {
        return Err(format!(
            "{flag} with a method to call: this is for the workloads of Soloist (concurrent calls are -c)"
        ));
    }
    Ok(Some(Arc::new(CallPlan {
        method: method.clone(),
        data: flags.data.clone(),
        proto: flags.proto.clone(),
        import_path: flags.import_path.clone(),
        protoset: flags.protoset.clone(),
        expect_code: flags.expect_code.clone(),
        expect: flags.expect.clone(),
        stream_messages: flags.stream_messages,
    })))
}

fn first<'a>(flags: &[(bool, &'a str)]) -> Option<&'a str> {
    let found = flags.iter().find(|(is_set, _)| *is_set);
    found.map(|(_, flag)| *flag)
}

#[cfg(test)]
mod tests {
    use crate::command_line::resolve::tests::settings;
    use crate::plan::choices::Engine;
    use crate::plan::mix::Mix;

    #[test]
    fn a_method_is_a_workload_of_its_own() {
        let settings = settings("--call a.B/C").unwrap();
        assert_eq!((settings.mix, settings.engine), (Mix::Call, Engine::Unary));
        assert_eq!(settings.workers(), 50);
    }

    #[test]
    fn flags_that_make_no_sense_together_are_refused() {
        for (line, part) in [
            ("--call a.B/C --keys 5", "--keys with a method"),
            ("--call a.B/C --verify", "--verify with a method"),
            (
                "--call a.B/C --engine pipeline",
                "--engine pipeline with a method",
            ),
            ("--call a.B/C --workload c", "--workload with a method"),
            ("-d {}", "--data needs a method"),
            ("--expect a=b", "--expect needs a method"),
        ] {
            let error = settings(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
