// One photograph: made ready for the upload, sent, and sent again as a JPEG if the service cannot read the file.

import { asJpeg, forUpload } from "./picture.js";
import { predict, ServiceError } from "./service.js";

// Errors about a file that a JPEG made by the browser may not have.
const FILE_ERRORS = ["unsupported_image_format", "undecodable_image", "too_many_pixels", "payload_too_large"];

/**
 * Return the answer for a file. A file that the service refuses is sent again as a JPEG, if the browser can read it.
 *
 * `options`: `parameters` of the request, `maxBytes` that the service accepts, and `signal` to abort the request.
 */
export async function predictPhoto(file, options) {
  try {
    return await predictWithinLimit(await forUpload(file), options);
  } catch (error) {
    if (!FILE_ERRORS.includes(error.code)) throw error;
    const converted = await asJpeg(file);
    if (!converted) throw error;
    return predictWithinLimit(converted, options);
  }
}

function predictWithinLimit(file, { parameters, maxBytes, signal }) {
  signal.throwIfAborted();
  if (file.size <= maxBytes) return predict(file, parameters, signal);
  const limit = `This service accepts at most ${megabytes(maxBytes)}`;
  throw new ServiceError(`The file has ${megabytes(file.size)}. ${limit}`, "payload_too_large");
}

function megabytes(bytes) {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
