//! The check of the settings against the limits of the server.

use soloist::v1::Limits;

use crate::plan::choices::{Engine, ValueKind};
use crate::plan::settings::Settings;

impl Settings {
    /// Finds settings with which the server would refuse every operation.
    ///
    /// # Errors
    /// If a limit is exceeded. The text names the flag, its value and the limit.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), String> {
        let at_most = |limit: i32| u64::try_from(limit).unwrap_or(0);
        let within = |flag: &str, actual: u64, limit: i32, what: &str| match actual > at_most(limit)
        {
            true => Err(format!(
                "{flag} {actual}: the server allows at most {limit} {what}"
            )),
            false => Ok(()),
        };
        let (value_size, frame_ops) = (self.value_size, self.frame_ops);
        let key_bytes = self.key_names().of(self.keys - 1).len() as u64;
        if key_bytes > at_most(limits.max_key_bytes) {
            return Err(format!(
                "--key-prefix {}: the longest key has {key_bytes} bytes, the server allows at most {}",
                self.key_prefix, limits.max_key_bytes
            ));
        }
        within(
            "--value-size",
            value_size,
            limits.max_value_bytes,
            "bytes in a value",
        )?;
        within(
            "--frame-ops",
            frame_ops,
            limits.max_batch_ops,
            "operations in a frame",
        )?;
        let message_bytes = self.message_bytes();
        if self.mix.writes() && message_bytes > at_most(limits.max_message_bytes) {
            let value_size = match value_size {
                0 => "no --value-size".to_owned(),
                size => format!("--value-size {size}"),
            };
            return Err(format!(
                "--frame-ops {frame_ops} with {value_size}: a frame of writes takes up to {message_bytes} bytes, the server \
                 allows at most {} in a message",
                limits.max_message_bytes
            ));
        }
        if self.engine == Engine::Pipeline {
            let limit = limits.max_frames_in_flight;
            within(
                "--pipeline",
                self.pipeline,
                limit,
                "frames in flight on a stream",
            )?;
        }
        Ok(())
    }

    /// Returns the encoded bytes of the largest frame of writes, without the few bytes of its timeout.
    fn message_bytes(&self) -> u64 {
        // Protocol Buffers: a nested field takes one byte for number and type, its length as a varint, and its bytes.
        let nested = |bytes: u64| 1 + varint_bytes(bytes) + bytes;
        let key = nested(self.key_names().of(self.keys - 1).len() as u64);
        let value = match (self.value, self.distinct) {
            // An int below 128 takes one byte besides its number and type, the largest ten.
            (ValueKind::Int, false) => 2,
            (ValueKind::Int, true) => 11,
            _ => nested(self.value_size),
        };
        let write = key + nested(value);
        let op = nested(write);
        self.frame_ops * nested(op)
    }
}

/// Returns the bytes of a number as a varint: one for each 7 bits.
fn varint_bytes(number: u64) -> u64 {
    u64::from(number.checked_ilog2().unwrap_or(0) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::resolve::tests::settings;

    #[test]
    fn the_limits_of_the_server_are_named() {
        let limits = Limits {
            max_key_bytes: 20,
            max_value_bytes: 10,
            max_batch_ops: 20,
            max_frames_in_flight: 30,
            max_message_bytes: 550,
            ..Limits::default()
        };
        let cases = [
            (
                "--key-prefix 12345678901234567890",
                "the longest key has 21 bytes, the server allows at most 20",
            ),
            (
                "--value-size 11",
                "--value-size 11: the server allows at most 10",
            ),
            (
                "--frame-ops 21",
                "--frame-ops 21: the server allows at most 20",
            ),
            ("-P 31", "--pipeline 31: the server allows at most 30"),
            (
                "--value-size 10 --frame-ops 20 --keys 10k",
                "--frame-ops 20 with --value-size 10: a frame of writes takes up to 580 bytes, the server allows at \
                 most 550 in a message",
            ),
        ];
        for (line, part) in cases {
            let error = settings(line).unwrap().check(&limits).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        for line in [
            "--value-size 10 --frame-ops 20 -P 30",
            "--value-size 10 --frame-ops 20 --keys 10k --writers 0",
        ] {
            let within = settings(line).unwrap();
            assert_eq!(within.check(&limits), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_varint_takes_a_byte_for_each_seven_bits() {
        let cases = [
            (0, 1),
            (127, 1),
            (128, 2),
            (16_383, 2),
            (16_384, 3),
            (u64::MAX, 10),
        ];
        for (number, bytes) in cases {
            assert_eq!(varint_bytes(number), bytes, "{number}");
        }
    }
}
