//! Handlers of the frames that control a connection: SETTINGS, PING, GOAWAY, WINDOW_UPDATE.

use std::mem;

use soloist_http2::checks::{self, check_setting, expect_connection, expect_length};
use soloist_http2::frame::{self, ACK, FrameHeader, kind, leading_u32, setting};
use soloist_http2::{ConnectionError, ErrorCode};

use crate::http2::connection::{Connection, Event};
use crate::http2::failure::{CallFailure, Processed};

/// The part of a GOAWAY's debug data that is kept for messages.
const GOAWAY_TEXT_BYTES_MAX: usize = 200;

impl Connection {
    pub(super) fn on_settings(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        expect_connection("SETTINGS", header)?;
        if header.has(ACK) {
            expect_length("SETTINGS with ACK", payload, 0)?;
            if mem::replace(&mut self.settings_acked, true) {
                return Err(ConnectionError::protocol(
                    "an ACK of SETTINGS that were not sent",
                ));
            }
            return Ok(());
        }
        let settings = checks::settings(payload)?;
        if !mem::replace(&mut self.settings_seen, true) {
            // The defaults hold from the first SETTINGS on: no limit of streams, and a dynamic table of 4,096 bytes.
            self.streams_max = self.config.streams_max;
            self.header_cache.begin_indexing();
        }
        for [a, b, value @ ..] in settings {
            let value = u32::from_be_bytes(*value);
            self.apply_setting(u16::from_be_bytes([*a, *b]), value)?;
        }
        frame::put(&mut self.outgoing.output, kind::SETTINGS, ACK, 0, &[]);
        Ok(())
    }

    fn apply_setting(&mut self, name: u16, value: u32) -> Result<(), ConnectionError> {
        check_setting(name, value)?;
        match name {
            setting::MAX_CONCURRENT_STREAMS => {
                self.streams_max = self.config.streams_max.min(value as usize);
            }
            setting::INITIAL_WINDOW_SIZE => self.outgoing.set_initial_stream_window(value)?,
            setting::ENABLE_PUSH if value != 0 => {
                return Err(ConnectionError::protocol(format!(
                    "ENABLE_PUSH of {value} from a server"
                )));
            }
            setting::HEADER_TABLE_SIZE => self.header_cache.set_table_size(value),
            // MAX_HEADER_LIST_SIZE: request headers are short. MAX_FRAME_SIZE: frames keep to the smallest limit.
            // Unknown settings must be ignored (section 6.5.2).
            _ => {}
        }
        Ok(())
    }

    pub(super) fn on_ping(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
    ) -> Result<(), ConnectionError> {
        expect_connection("PING", header)?;
        expect_length("PING", payload, 8)?;
        if !header.has(ACK) {
            frame::put(&mut self.outgoing.output, kind::PING, ACK, 0, payload);
        }
        Ok(())
    }

    pub(super) fn on_goaway<F>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        expect_connection("GOAWAY", header)?;
        let (Some(last), Some(code)) =
            (leading_u32(payload), payload.get(4..).and_then(leading_u32))
        else {
            let text = format!("GOAWAY of {} bytes, at least 8 are needed", payload.len());
            return Err(ConnectionError::new(ErrorCode::FRAME_SIZE_ERROR, text));
        };
        let last = last & 0x7fff_ffff;
        if let Some(before) = self.goaway.replace(last)
            && last > before
        {
            return Err(ConnectionError::protocol(format!(
                "a GOAWAY with last stream {last} after one with {before}"
            )));
        }
        let debug_data = &payload[8..payload.len().min(8 + GOAWAY_TEXT_BYTES_MAX)];
        let debug_data = String::from_utf8_lossy(debug_data);
        self.goaway_text = match debug_data.is_empty() {
            true => format!("the server sent GOAWAY: {}", ErrorCode(code)),
            false => format!(
                "the server sent GOAWAY: {} ({debug_data:?})",
                ErrorCode(code)
            ),
        };
        let text = self.goaway_text.clone();
        self.fail_above(last, Processed::No, &text, on_event);
        Ok(())
    }

    pub(super) fn on_window_update<F>(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        on_event: &mut F,
    ) -> Result<(), ConnectionError>
    where
        F: FnMut(&mut Self, Event<'_>),
    {
        expect_length("WINDOW_UPDATE", payload, 4)?;
        let increment = leading_u32(payload).unwrap_or_default() & 0x7fff_ffff;
        if header.stream == 0 {
            return match increment {
                0 => Err(ConnectionError::protocol("a WINDOW_UPDATE by 0")),
                _ => self.outgoing.increase_connection_window(increment),
            };
        }
        self.check_stream_id(header)?;
        let increased = match increment {
            0 => Err("a WINDOW_UPDATE by 0".to_owned()),
            _ => self
                .outgoing
                .increase_stream_window(header.stream, increment)
                .map_err(|window| {
                    format!(
                        "window of the stream is {window}, the limit is {}",
                        frame::WINDOW_MAX
                    )
                }),
        };
        match increased {
            Ok(()) => Ok(()),
            // A stream error, not a connection error (section 6.9).
            Err(text) => self.reset_and_fail(header.stream, CallFailure::malformed(text), on_event),
        }
    }
}
