//! Fuzz tests of header blocks and of Huffman's code. `soloist_fuzz` tells how inputs are made and replayed.

mod fuzz_tests {
    use soloist_fuzz::{Format, Shape, Target, pieces};

    use crate::fields::{Route, Routes};
    use crate::hpack::{Classify as _, Decoder};
    use crate::huffman;
    use crate::tests::naive_hpack::Naive;
    use crate::tests::naive_huffman;

    /// Blocks of one connection: the input, cut anywhere.
    fn check_blocks(routes: &Routes, input: &[u8]) -> Shape {
        let mut decoder = Decoder::new(200, 3_000);
        let mut model = Naive::new(200, 3_000);
        let mut most = 0;
        for block in [&[input][..], &pieces(input)].concat() {
            let mut fields = Vec::new();
            let decoded = decoder.decode(block, routes, |class, name, value| {
                assert_eq!(class, routes.class(name, value), "an old class");
                fields.push((name.to_vec(), value.to_vec()));
            });
            assert_eq!(
                decoded.is_ok().then_some(&fields),
                model.decode(block).as_ref()
            );
            assert!(decoder.held() < 20_000, "{} bytes", decoder.held());
            if let Err(error) = decoded {
                return Shape::of(&error.to_string()).with(most);
            }
            most = most.max(fields.len().min(9));
        }
        Shape::of("blocks").with(most)
    }

    #[test]
    fn blocks_are_decoded_as_the_rfc_says() {
        let routes = Routes::new([("/", Route(1)), ("/s/M", Route(2))]);
        Target::new("http2_hpack", Format::Bytes)
            .seeds([
                vec![0x20, 0x88, 0x48, 0x82, 0x64, 0x02],
                vec![0x0f, 0x10, 0x01, b'x', 0x3f, 0x00],
                vec![0x40, 0x82, 0x64, 0x02, 0x01, b'a', 0xbe],
                b"\x83\x86\x44\x04/s/M\x41\x01h\x40\x02te\x08trailers\xc0\xbf\xbe".to_vec(),
            ])
            .words([
                &b"/s/M"[..],
                b"te\x08trailers",
                &[0x7f, 0xff, 0xff, 0xff, 0x7f],
                &[0x82, 0x64, 0x02],
                &[0xbe],
                &[0x3f, 0xa9, 0x01],
            ])
            .cost(20)
            .len_max(400)
            .run(|input| check_blocks(&routes, input));
    }

    #[test]
    fn a_huffman_code_is_decoded_as_bit_by_bit() {
        Target::new("http2_huffman", Format::Bytes)
            .seeds([
                vec![0x64, 0x02],
                vec![0xae, 0xc3, 0x77, 0x1a, 0x4b],
                vec![0xff; 4],
                vec![0xff, 0xff, 0xff, 0xea, 0x1f],
            ])
            .cost(20)
            .len_max(100)
            .run(|input| {
                let mut out = Vec::new();
                let decoded = huffman::decode(input, &mut out).map(|()| out);
                assert_eq!(decoded, naive_huffman::decode(input));
                let length = decoded.map_or(99, |text| text.len().min(40));
                Shape::of("text").with(length)
            });
    }
}
