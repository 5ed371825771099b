"""Image decoding: from the bytes of an image file to an upright greyscale array.

Modules:
    decoder: `decode_image`, the entry point, and its errors.
    colour: `decode_colour`, a reduced copy in colour for a detector that needs it.
    formats, unsupported: File formats and their signatures.
    limits: Limits on pixels, memory and header size, which apply before any pixel is decoded.
    jpeg: JPEG structure: frame, scans and components.
    reduction: Choice of the reduction at which a JPEG is decoded.
    pixels, heif, tiff: Decoding with Pillow, OpenCV or libheif.
    grey, levels: Conversion of every colour mode and bit depth to 8-bit grey.
    isobmff, coded_size, picture_items: Structure and limits of AVIF and HEIC files.
    repair, truncation: Damaged PNG and JPEG files.
    orientation: EXIF orientation.
"""

from app.vision.decode.colour import ColourImage, decode_colour
from app.vision.decode.decoder import DecodedImage, decode_grey, decode_image

__all__ = ["ColourImage", "DecodedImage", "decode_colour", "decode_grey", "decode_image"]
