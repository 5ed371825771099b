"""Decoding of untrusted image files."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, JpegImagePlugin

from app.contract.preprocess import GreyImage
from app.domain import ImageWarning
from app.errors import ErrorCode, FerError
from app.vision.decode.formats import identify_format
from app.vision.decode.heif import decode_heif
from app.vision.decode.limits import BoundedReader, check_limits
from app.vision.decode.orientation import upright_size
from app.vision.decode.picture_items import still_picture
from app.vision.decode.pixels import decode_pixels
from app.vision.decode.reduction import ChooseReduction, full_size
from app.vision.decode.repair import RepairedFile, repair
from app.vision.decode.tiff import full_picture
from app.vision.decode.truncation import check_missing_share, is_truncated
from app.vision.decode.unsupported import unsupported_format


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """The pixels of an image file.

    Attributes:
        grey: uint8 (H, W) with the EXIF orientation applied.
        warnings: What a caller should know about the file.
        reduction: Pixels of the full image per pixel of `grey`: 1; 2, 4 or 8 for a JPEG that was decoded smaller.
        full_size: Width and height of the full upright image, if `reduction` is not 1.
    """

    grey: GreyImage
    warnings: tuple[ImageWarning, ...] = ()
    reduction: int = 1
    full_size: tuple[int, int] | None = None

    @property
    def width_px(self) -> int:
        """Width of the full upright image."""
        return self.full_size[0] if self.full_size else self.grey.shape[1]

    @property
    def height_px(self) -> int:
        """Height of the full upright image."""
        return self.full_size[1] if self.full_size else self.grey.shape[0]


def decode_grey(data: bytes, max_pixels: int) -> GreyImage:
    """Return only the pixels of `decode_image`."""
    return decode_image(data, max_pixels).grey


def decode_image(data: bytes, max_pixels: int, choose: ChooseReduction = full_size) -> DecodedImage:
    """Decode an image file to an upright greyscale image.

    The format is identified by the file's signature, and all limits are checked against the header before any pixel is
    decoded. Only the first frame of an animation or a multi-page file is decoded. Thread-safe.

    Args:
        data: JPEG, PNG, WebP, AVIF, HEIC, BMP, GIF or TIFF file in any common colour mode. Transparent pixels become
            white.
        max_pixels: Largest accepted width times height of what is decoded.
        choose: Chooses the reduction at which a JPEG is decoded; see `app.vision.decode.reduction`.

    Returns:
        The pixels and the warnings.

    Raises:
        FerError: `empty_image`, `unsupported_image_format`, `too_many_pixels`, `image_too_small` or
            `undecodable_image`.
    """
    if not data:
        raise FerError(ErrorCode.EMPTY_IMAGE, "the image has no bytes")
    image_format = identify_format(data)
    if image_format is None:
        raise unsupported_format(data)
    try:
        return _decode(data, image_format, max_pixels, choose)
    except FerError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pillow_limit = 2 * (Image.MAX_IMAGE_PIXELS or max_pixels)  # Pillow may refuse a file before `check_limits` runs
        raise FerError(
            ErrorCode.TOO_MANY_PIXELS,
            f"at most {min(max_pixels, pillow_limit)} pixels are accepted. Received: an image with more",
        ) from None
    except Exception as error:  # Pillow's decoders raise many kinds of exceptions for damaged files
        raise FerError(
            ErrorCode.UNDECODABLE_IMAGE,
            f"the {image_format} file is truncated, corrupt or of an unsupported kind ({len(data)} bytes)",
        ) from error


def _decode(data: bytes, image_format: str, max_pixels: int, choose: ChooseReduction) -> DecodedImage:
    """Decode with the decoder of the format."""
    if image_format == "HEIF":
        return DecodedImage(decode_heif(data, max_pixels))
    if image_format == "AVIF":
        data = still_picture(data, max_pixels)
    if image_format == "TIFF":
        picture = full_picture(data, max_pixels)
        if picture.grey is not None:
            return DecodedImage(picture.grey)
        data = picture.data
    if image_format == "JPEG" and (repaired := repair(image_format, data)):
        return _decode_with_pillow(repaired, image_format, max_pixels, choose)
    try:
        return _decode_with_pillow(RepairedFile(data, ()), image_format, max_pixels, choose)
    except (FerError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except Exception:
        if (repaired := repair(image_format, data)) is None:
            raise
    return _decode_with_pillow(repaired, image_format, max_pixels, choose)


def _decode_with_pillow(
    file: RepairedFile, image_format: str, max_pixels: int, choose: ChooseReduction
) -> DecodedImage:
    data, warnings = file
    with _open(data, image_format) as image:
        stored_size = image.size
        reduction = check_limits(image, data, max_pixels, choose)
        grey = decode_pixels(image, data, reduction)
        if image_format == "JPEG" and (warnings or is_truncated(image, data)):
            check_missing_share(image)
            warnings = (ImageWarning.TRUNCATED,)
        return DecodedImage(grey, warnings, reduction, None if reduction == 1 else upright_size(image, stored_size))


def _open(data: bytes, image_format: str) -> Image.Image:
    """Open a file and read its header.

    `Image.open` refuses JPEGs of more than 179 megapixels, which are decoded smaller, and reads all images of an MPO.
    """
    if image_format == "JPEG":
        return JpegImagePlugin.JpegImageFile(BoundedReader(data))
    return Image.open(BoundedReader(data), formats=(image_format,))
