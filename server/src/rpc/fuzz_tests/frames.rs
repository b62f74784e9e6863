//! Frames: the decoder written by hand, against the generated messages.

use prost::{DecodeError, Message as _};
use soloist::v1;
use soloist_fuzz::{Format, Shape, Target};

use super::seeds;
use crate::config::Limits;
use crate::machine::PlainFrames;
use crate::rpc::arguments::BadArgument;
use crate::rpc::frame::{
    Apply, Decoded, Frame, any_frame, checked_count, decode, whole_common_frame,
};
use crate::rpc::rights::KeyCheck;

const LIMITS: Limits = Limits {
    max_key_bytes: 4,
    max_value_bytes: 8,
    max_batch_ops: 12,
    max_batch_bytes: 40,
    ..Limits::DEFAULT
};

/// The frame as a stream decodes it, behind another one.
fn decoded(message: &[u8]) -> Result<Result<Frame, BadArgument>, DecodeError> {
    let mut frames = PlainFrames::default();
    frames.read("before");
    frames.end_frame();
    let before = frames.mark();
    Ok(
        decode(message, &LIMITS, &mut frames, &mut KeyCheck::of_nobody())?.map(|decoded| {
            match decoded {
                Decoded::Each { timeout, .. } => {
                    let request_ids = frames.request_ids().iter().cloned();
                    Frame {
                        apply: Apply::Each(request_ids.map(|id| (0, id)).collect()),
                        operations: frames.split_off(&before).into_operations(),
                        timeout,
                    }
                }
                Decoded::All {
                    operations,
                    request_id,
                    timeout,
                } => Frame {
                    operations,
                    apply: Apply::All(request_id),
                    timeout,
                },
            }
        }),
    )
}

/// The same frame, without the indices of its request ids.
fn without_indices(mut frame: Frame) -> Frame {
    if let Apply::Each(request_ids) = &mut frame.apply {
        for (index, _) in request_ids {
            *index = 0;
        }
    }
    frame
}

fn check(input: &[u8]) -> Shape {
    let Some((_, message)) = input.split_first() else {
        return Shape::of("empty");
    };
    let decoded = decoded(message);
    let counted = checked_count(message, &LIMITS);
    let generated = v1::PipelineRequest::decode(message);
    if let Ok(request) = &generated {
        // The count comes first, so it must be right, or refuse.
        let fits = request.ops.len() <= LIMITS.max_batch_ops;
        assert_eq!(counted.as_ref().ok(), fits.then_some(&request.ops.len()));
    }
    if counted.is_err() {
        assert!(matches!(decoded, Ok(Err(_))), "more operations than may be");
        return Shape::of("too many");
    }
    let any = any_frame(message, &LIMITS);
    let common = whole_common_frame(message, &LIMITS);
    if let Some(common) = &common {
        assert_eq!(Ok(Ok(common)), any.as_ref().map(Result::as_ref));
    }
    assert_eq!(decoded.is_ok(), generated.is_ok());
    assert_eq!(decoded, any.map(|any| any.map(without_indices)));
    let shape = match decoded {
        Ok(Ok(frame)) => Shape::of("sound").with(match frame.apply {
            Apply::Each(_) => frame.operations.len().min(3),
            Apply::All(_) => 10 + frame.operations.len().min(3),
        }),
        Ok(Err(bad)) => {
            let status = crate::rpc::status::Refusal::from(bad).into_rpc_status();
            Shape::of(&status.message)
        }
        Err(error) => Shape::of(&error.to_string()),
    };
    shape.with(usize::from(common.is_some()))
}

#[test]
fn frames_are_decoded_as_the_generated_messages_decode_them() {
    Target::new("frames", Format::Protobuf)
        .seeds(seeds::frames().iter().map(|it| seeds::selected(0, it)))
        .words(seeds::WORDS)
        .run(check);
}
