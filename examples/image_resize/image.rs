//! Making an image smaller, and the bug in it.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Encoder, Limits, Transformations};

/// How much memory the decoder may take.
const DECODED_BYTES_MAX: usize = 256 << 20;

/// How many bytes a pixel has.
const CHANNELS: usize = 3;

/// Pixels, row by row.
struct Image {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// Makes a PNG so small that it has this width, or less; the error is for the client.
pub(crate) fn shrink(png: &[u8], width: u32) -> Result<Vec<u8>, String> {
    let large = decode(png).map_err(|error| format!("{error}\n"))?;
    let width = usize::try_from(width).unwrap_or(usize::MAX);
    let width = width.min(large.width);
    if width == 0 {
        return Err("width is more than 0\n".to_owned());
    }
    let mut small = Image {
        width,
        height: (large.height * width / large.width).max(1),
        pixels: Vec::new(),
    };
    average(&large, &mut small);
    encode(&small).map_err(|error| format!("{error}\n"))
}

/// Gives each pixel of `small` the average of those that it stands for.
///
/// It stands here for a library in C, and has a bug as such have: it takes every image for a coloured
/// one. A grey image has fewer bytes, so this reads past their end. In C that may be a crash;
/// here it is a panic that cannot unwind through a function of C, and so ends the process.
extern "C" fn average(large: &Image, small: &mut Image) {
    for y in 0..small.height {
        let rows = y * large.height / small.height..(y + 1) * large.height / small.height;
        for x in 0..small.width {
            let columns = x * large.width / small.width..(x + 1) * large.width / small.width;
            for channel in 0..CHANNELS {
                let sum: usize = rows
                    .clone()
                    .flat_map(|row| {
                        columns
                            .clone()
                            .map(move |column| row * large.width + column)
                    })
                    .map(|pixel| usize::from(large.pixels[pixel * CHANNELS + channel]))
                    .sum();
                let mean = sum / (rows.len() * columns.len());
                small.pixels.push(u8::try_from(mean).unwrap_or(u8::MAX));
            }
        }
    }
}

fn decode(png: &[u8]) -> Result<Image, String> {
    let said = |error: png::DecodingError| error.to_string();
    let limits = Limits {
        bytes: DECODED_BYTES_MAX,
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(png), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(said)?;
    let size = reader.output_buffer_size();
    let size = size.filter(|&size| size <= DECODED_BYTES_MAX);
    let mut pixels = vec![0; size.ok_or("the image is too large")?];
    let frame = reader.next_frame(&mut pixels).map_err(said)?;
    if !matches!(frame.color_type, ColorType::Rgb | ColorType::Grayscale) {
        return Err("images with transparency are not for this service".to_owned());
    }
    Ok(Image {
        width: usize::try_from(frame.width).unwrap_or(usize::MAX),
        height: usize::try_from(frame.height).unwrap_or(usize::MAX),
        pixels,
    })
}

fn encode(image: &Image) -> Result<Vec<u8>, png::EncodingError> {
    let mut png = Vec::new();
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut encoder = Encoder::new(&mut png, side(image.width), side(image.height));
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&image.pixels)?;
    writer.finish()?;
    Ok(png)
}
