// A mask as a PNG of one bit a pixel, at the photo's own size, whatever the size it was drawn at.

/**
 * Encode a mask. `drawn` is an ImageData whose alpha says what is selected; the PNG has `width` x `height` pixels,
 * white where selected. Written row by row, so that 100 megapixels take a few megabytes. Format: PNG specification,
 * colour type 0, depth 1.
 */
export async function maskPng(drawn, width, height) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 1;
  const packed = new Response(rows(drawn, width, height).pipeThrough(new CompressionStream("deflate")));
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const pixels = new Uint8Array(await packed.arrayBuffer());
  const parts = [signature, chunk("IHDR", header), chunk("IDAT", pixels), chunk("IEND", new Uint8Array())];
  return new Blob(parts, { type: "image/png" });
}

function rows(drawn, width, height) {
  let y = 0;
  let from = -1;
  let row = null;
  return new ReadableStream({
    pull(controller) {
      if (y === height) return controller.close();
      const source = Math.floor(((y + 0.5) * drawn.height) / height);
      if (source !== from) row = bits(drawn, source, width);
      from = source;
      y += 1;
      controller.enqueue(row);
    },
  });
}

function bits(drawn, y, width) {
  const row = new Uint8Array(1 + Math.ceil(width / 8)); // the first byte names the filter: none
  for (let x = 0; x < width; x += 1) {
    const source = Math.floor(((x + 0.5) * drawn.width) / width);
    if (drawn.data[(y * drawn.width + source) * 4 + 3] > 127) row[1 + (x >> 3)] |= 0x80 >> (x & 7);
  }
  return row;
}

function chunk(name, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let index = 0; index < 4; index += 1) bytes[4 + index] = name.charCodeAt(index);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}
