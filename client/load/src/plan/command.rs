//! The flags that set the settings, and the command that repeats the run.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::plan::choices::{Part, ValueKind};
use crate::plan::flag::{show_duration, value_name};
use crate::plan::mix::Mix;
use crate::plan::settings::{Settings, TOKEN_METADATA};

impl Settings {
    /// Returns every flag that is set or has a default, with its value.
    ///
    /// Seed and token are not among them. The report has a field for the seed; the token is a secret.
    pub(crate) fn flags(&self) -> Vec<(&'static str, Value)> {
        let mut flags = Vec::new();
        let mut say = |flag, value: Value| {
            if !value.is_null() {
                flags.push((flag, value));
            }
        };
        self.flags_of_workload(&mut say);
        self.flags_of_sending(&mut say);
        if let Some(open_loop) = &self.open_loop {
            open_loop.flags(&mut say);
        }
        say("interval", time(self.interval));
        if self.verify {
            say("verify", json!(true));
        }
        if self.part.of > 1 {
            let Part { index, of } = self.part;
            say("part", json!(format!("{index}/{of}")));
        }
        flags
    }

    fn flags_of_workload(&self, say: &mut impl FnMut(&'static str, Value)) {
        match self.mix {
            Mix::ReadersAndWriters { readers, writers } => {
                say("readers", json!(readers));
                say("writers", json!(writers));
            }
            Mix::Ratio(ratio) => {
                say("ratio", json!(ratio.to_string()));
                say("concurrency", json!(self.concurrency));
            }
            Mix::Named(workload) => {
                say("workload", json!(value_name(workload)));
                say("concurrency", json!(self.concurrency));
            }
            Mix::Call => {
                self.flags_of_call(say);
                return say("concurrency", json!(self.concurrency));
            }
        }
        if self.watchers > 0 {
            say("watchers", json!(self.watchers));
        }
        say("keys", json!(self.keys));
        say("key-prefix", json!(self.key_prefix));
        say("key-dist", json!(self.key_dist.to_string()));
        say("value", json!(value_name(self.value)));
        if self.value != ValueKind::Int {
            say("value-size", json!(self.value_size));
        }
        if self.distinct {
            say("distinct", json!(true));
        }
        if self.clean {
            say("clean", json!(true));
        }
    }

    fn flags_of_call(&self, say: &mut impl FnMut(&'static str, Value)) {
        let Some(call) = &self.call else { return };
        let texts = |of: Vec<String>| match of.is_empty() {
            true => Value::Null,
            false => json!(of),
        };
        let paths = |of: &[PathBuf]| texts(of.iter().map(|of| of.display().to_string()).collect());
        let shown = |of: &[&dyn Display]| texts(of.iter().map(ToString::to_string).collect());
        say("call", json!(call.method));
        say("data", texts(call.data.clone()));
        say("proto", paths(&call.proto));
        say("import-path", paths(&call.import_path));
        say("protoset", paths(call.protoset.as_slice()));
        let codes: Vec<&dyn Display> = call.expect_code.iter().map(|of| of as _).collect();
        say("expect-code", shown(&codes));
        let checks: Vec<&dyn Display> = call.expect.iter().map(|of| of as _).collect();
        say("expect", shown(&checks));
        say("stream-messages", json!(call.stream_messages));
    }

    fn flags_of_sending(&self, say: &mut impl FnMut(&'static str, Value)) {
        say("duration", self.duration.map_or(Value::Null, time));
        say("requests", json!(self.requests));
        say("warmup", time(self.warmup));
        say("duration-stop", json!(value_name(self.duration_stop)));
        say("engine", json!(value_name(self.engine)));
        say("pipeline", json!(self.pipeline));
        say("frame-ops", json!(self.frame_ops));
        say("connections", json!(self.connections));
        say("threads", json!(self.threads));
        say("timeout", self.timeout.map_or(Value::Null, time));
        say("connect-timeout", time(self.connect_timeout));
        say(
            "reconnect-timeout",
            self.reconnect_timeout.map_or(Value::Null, time),
        );
        let metadata: Vec<Value> = self
            .metadata
            .iter()
            .filter(|(name, _)| name != TOKEN_METADATA)
            .map(|(name, value)| json!(format!("{name}:{value}")))
            .collect();
        if !metadata.is_empty() {
            say("metadata", Value::Array(metadata));
        }
        self.security.flags(say);
    }

    /// Returns the [flags](Self::flags) by name, as reports and histories keep them.
    pub(crate) fn by_flag(&self) -> BTreeMap<String, Value> {
        let flags = self.flags().into_iter();
        flags
            .map(|(flag, value)| (flag.to_owned(), value))
            .collect()
    }

    /// Returns the command that repeats this run, as one line for a shell. Without an address it starts a server of its own.
    pub(crate) fn command(&self, address: Option<&str>) -> String {
        let mut command = "soloist-load".to_owned();
        if let Some(address) = address {
            command += &match address.contains(is_special) {
                true => format!(" {}", quoted(address)),
                false => format!(" {address}"),
            };
        }
        for (flag, value) in self.flags() {
            let values = match value {
                Value::Array(values) => values,
                value => vec![value],
            };
            for value in values {
                match value {
                    Value::Bool(_) => command += &format!(" --{flag}"),
                    Value::String(text) if text.contains(is_special) => {
                        command += &format!(" --{flag}={}", quoted(&text));
                    }
                    Value::String(text) => command += &format!(" --{flag}={text}"),
                    value => command += &format!(" --{flag}={value}"),
                }
            }
        }
        command + &format!(" --seed={}", self.seed)
    }
}

/// Returns a word that a shell takes as this text.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether a shell does not take a character as it is.
fn is_special(char: char) -> bool {
    !char.is_ascii_alphanumeric() && !"-_./:,=+@%".contains(char)
}

fn time(duration: Duration) -> Value {
    json!(show_duration(duration))
}

#[cfg(test)]
mod tests {
    use crate::command_line::resolve::settings as resolve;
    use crate::command_line::resolve::tests::settings;
    use crate::command_line::words::parse_command;

    #[test]
    fn a_command_repeats_the_settings() {
        for line in [
            "",
            "--ratio 95:5 -c 7 --value-size 20 -n 5k -z 1500ms",
            "--workload f --engine raw -P 3 --timeout 2s --seed 9",
            "--rps 1.5k --arrival poisson --max-in-flight 9 --interval 100ms",
            "--load-schedule step --load-start 5 --load-step 2 --load-step-duration 1s --load-end 50",
            "--load-schedule line --load-start 50 --load-step=-2 --load-max-duration 9s",
            "--workload watch --watchers 3 --warmup 1ms --duration-stop close",
            "--verify --distinct",
            "--key-prefix= --keys 9",
            "--key-prefix=it's\\ mine/",
            "--call a.B/C -d '{}' -d @f.json --proto a.proto -I x -I y --expect-code OK,NOT_FOUND --expect a.b=c",
            "--call a.B/C --protoset a.bin --stream-messages 5 --engine raw --rps 7",
            "https://a:1 --tls-ca ca.pem --tls-cert a.pem --tls-key a.key --tls-server-name b.example --token-file 't 1'",
            "--clean --key-prefix mine/",
        ] {
            let first = settings(line).unwrap();
            let command = first.command(Some("[::1]:5"));
            let args = parse_command(&command).unwrap();
            assert_eq!(args.address.as_deref(), Some("[::1]:5"));
            let again = resolve(&args).unwrap();
            assert_eq!(first.flags(), again.flags(), "{command}");
            assert_eq!(first.seed, again.seed);
        }
        let mut named = settings("").unwrap();
        named.metadata = vec![("x-who".into(), "it's \"me\"".into())];
        let args = parse_command(&named.command(None)).unwrap();
        assert_eq!(args.how.metadata, named.metadata);
    }
}
