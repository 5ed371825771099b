// Makes a photograph ready for the upload: scales large ones, and converts formats that only the browser can read.

const MAX_PIXELS = 12_600_000; // a photograph of 12 megapixels shows the smallest faces that the service finds
const LARGE_FILE_BYTES = 2_000_000; // smaller files are sent as they are, whatever their size in pixels
const JPEG_QUALITY = 0.9;

/** Return a smaller JPEG of a large photograph, or the file itself if it is not large or the browser cannot read it. */
export async function forUpload(file) {
  if (file.size <= LARGE_FILE_BYTES) return file;
  return (await draw(file, (width, height) => width * height > MAX_PIXELS)) ?? file;
}

/** Return a JPEG of any picture that the browser can read, else null. */
export function asJpeg(file) {
  return draw(file, () => true);
}

async function draw(file, isWanted) {
  const picture = new Image();
  picture.src = URL.createObjectURL(file);
  try {
    await picture.decode();
    const { naturalWidth: width, naturalHeight: height } = picture;
    if (!width || !height || !isWanted(width, height)) return null;
    const scale = Math.min(1, Math.sqrt(MAX_PIXELS / (width * height)));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // as the service shows transparent pixels
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  } catch {
    return null; // the browser cannot read the file, or has not enough memory
  } finally {
    URL.revokeObjectURL(picture.src);
  }
}
