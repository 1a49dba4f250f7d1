//! The example `image_resize`: one client's image crashes its worker, and nobody else is hurt.

use std::io::{Cursor, Read, Write};
use std::thread;

use png::{BitDepth, ColorType, Decoder, Encoder};

use super::servers::{connect, interrupt, serve};
use crate::support::{Deadline, eventually};

/// The size of the images that are sent.
const SIDE: u32 = 60;

/// How many images crash their workers.
const BAD: usize = 6;

#[test]
fn image_resize_answers_good_images_while_bad_ones_kill_workers() {
    let (mut server, address) = serve("image_resize", "2");
    let good = request("/?width=20", &picture(ColorType::Rgb));
    // Those that begin alike would be refused after three crashes.
    let grey = picture(ColorType::Grayscale);
    let bad: Vec<Vec<u8>> = (0..BAD)
        .map(|number| request(&format!("/bad/{number}?width=20"), &grey))
        .collect();

    let (answers, lost) = thread::scope(|scope| {
        let send_bad = || bad.iter().map(|bad| exchange(&address, bad)).collect();
        let send_good = || (0..5 * BAD).map(|_| exchange(&address, &good)).collect();
        let lost = scope.spawn(send_bad);
        let answers: Vec<Vec<u8>> = send_good();
        let lost: Vec<Vec<u8>> = lost.join().unwrap();
        (answers, lost)
    });

    let unanswered = lost.iter().filter(|answer| answer.is_empty());
    assert_eq!(unanswered.count(), BAD, "a crash answers nobody");
    for answer in answers {
        assert_is_small_picture(&answer);
    }
    eventually(Deadline::usual(), "each crash is said", || {
        let errors = server.errors();
        let reports = errors.lines().filter(|line| line.contains("(SIGABRT)"));
        reports.count() == BAD
    });
    interrupt(&mut server);
}

#[test]
fn image_resize_says_what_is_wrong_with_a_request() {
    let (mut server, address) = serve("image_resize", "1");
    let picture = picture(ColorType::Rgb);
    let whole = request("/", &picture);
    let cases = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "POST an image\n"),
        (
            b"POST / HTTP/1.1\r\n\r\n".to_vec(),
            "Content-Length is needed\n",
        ),
        (request("/?width=x", b""), "width is a number\n"),
        (request("/?width=0", &picture), "width is more than 0\n"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n".to_vec(),
            "the image has more than 16777216 bytes\n",
        ),
        (
            whole[..whole.len() - 1].to_vec(),
            "the image is not whole\n",
        ),
        (request("/", b"no image at all"), "Invalid PNG signature.\n"),
    ];
    for (sent, expected) in cases {
        let answer = String::from_utf8(exchange(&address, &sent)).unwrap();

        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert_eq!(body, expected);
    }
    interrupt(&mut server);
}

/// Draws a picture whose left half is dark.
fn picture(color: ColorType) -> Vec<u8> {
    let channels = color.samples();
    let row = (0..SIDE).flat_map(|x| vec![if x < SIDE / 2 { 40 } else { 200 }; channels]);
    let row: Vec<u8> = row.collect();
    let pixels = row.repeat(usize::try_from(SIDE).expect("a side is short"));
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, SIDE, SIDE);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header().expect("memory takes it");
    let written = writer.write_image_data(&pixels);
    written.expect("the pixels are as many as the header says");
    writer.finish().expect("the image is whole");
    png
}

#[track_caller]
fn assert_is_small_picture(answer: &[u8]) {
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, png) = answer.split_at(head.expect("a head has an end") + 4);
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{head:?}");
    let reader = Decoder::new(Cursor::new(png)).read_info();
    let mut reader = reader.expect("it is a PNG");
    let size = reader.output_buffer_size();
    let mut pixels = vec![0; size.expect("it is small")];
    let frame = reader.next_frame(&mut pixels);
    let frame = frame.expect("it is whole");
    assert_eq!((frame.width, frame.height), (20, 20));
    let row = [[40; 30], [200; 30]].concat();
    assert!(pixels == row.repeat(20), "the halves are as they were");
}

fn request(target: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Sends a request, and returns what comes until the server's end, which may be abrupt.
fn exchange(address: &str, request: &[u8]) -> Vec<u8> {
    let mut client = connect(address);
    // One that is refused may be gone before all is sent.
    let _refused = client.write_all(request);
    let _refused = client.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _abrupt = client.read_to_end(&mut answer);
    answer
}
