"""Names of file formats that the service does not decode, and what to send instead."""

from __future__ import annotations

import codecs
import re

from app.errors import ErrorCode, FerError
from app.vision.decode.formats import SUPPORTED_FORMATS
from app.vision.decode.isobmff import read_brands

_FRAME = "send single frames as JPEG, to /predict or the stream"
_RAW = "send the JPEG of the camera, or export the photograph as JPEG"
_EXPORT = "export the picture as JPEG or PNG"
_EXTRACT = "send the images in it, one file each"
_BYTES = "send the bytes of an image file"

# Offset, first bytes, name, what to do. The longer of two signatures comes first.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image", _EXPORT),
    (0, b"\xff\x0a", "a JPEG XL image", _EXPORT),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image", _EXPORT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image (codestream)", _EXPORT),
    (0, b"II\xbc", "a JPEG XR image", _EXPORT),
    (0, b"\x8bJNG", "a JNG image", _EXPORT),
    (0, b"\x8aMNG", "an MNG animation", _EXPORT),
    (0, b"\xff\xd8", "a JPEG without its header", _EXPORT),
    (0, b"8BPS", "a Photoshop document (PSD)", _EXPORT),
    (0, b"gimp xcf", "a GIMP document (XCF)", _EXPORT),
    (0, b"%PDF-", "a PDF document", _EXPORT),
    (0, b"%!PS", "a PostScript document (EPS)", _EXPORT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document (EPS)", _EXPORT),
    (0, b"AT&TFORM", "a DjVu document", _EXPORT),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", _EXPORT),
    (0, b"\x00\x00\x01\x00", "an icon (ICO)", _EXPORT),
    (0, b"\x00\x00\x02\x00", "a cursor (CUR)", _EXPORT),
    (0, b"icns", "an icon (ICNS)", _EXPORT),
    (0, b"qoif", "a QOI image", _EXPORT),
    (0, b"DDS ", "a DDS texture", _EXPORT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image", _EXPORT),
    (0, b"#?RADIANCE", "a Radiance HDR image", _EXPORT),
    (0, b"SIMPLE  =", "a FITS image", _EXPORT),
    (0, b"BPG\xfb", "a BPG image", _EXPORT),
    (0, b"FLIF", "a FLIF image", _EXPORT),
    (0, b"\x01\xda", "an SGI image", _EXPORT),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster image", _EXPORT),
    (128, b"DICM", "a DICOM file", _EXPORT),
    (0, b"FUJIFILMCCD-RAW", "a camera raw file (RAF)", _RAW),
    (0, b"IIRO", "a camera raw file (ORF)", _RAW),
    (0, b"IIRS", "a camera raw file (ORF)", _RAW),
    (0, b"MMOR", "a camera raw file (ORF)", _RAW),
    (0, b"IIU\0", "a camera raw file (RW2)", _RAW),
    (0, b"II\x1a\0\0\0HEAPCCDR", "a camera raw file (CRW)", _RAW),
    (0, b"\0MRM", "a camera raw file (MRW)", _RAW),
    (0, b"FOVb", "a camera raw file (X3F)", _RAW),
    (4, b"moov", "a QuickTime video", _FRAME),
    (4, b"mdat", "a QuickTime video", _FRAME),
    (4, b"wide", "a QuickTime video", _FRAME),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska video", _FRAME),
    (0, b"FLV\x01", "a Flash video", _FRAME),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (WMV)", _FRAME),
    (0, b"\x00\x00\x01\xba", "an MPEG video", _FRAME),
    (0, b"\x00\x00\x01\xb3", "an MPEG video", _FRAME),
    (0, b"OggS", "an Ogg file", _FRAME),
    (0, b"ID3", "an MP3 file", _BYTES),
    (0, b"fLaC", "a FLAC file", _BYTES),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document", _EXTRACT),
    (0, b"PK\x05\x06", "an empty ZIP archive", _EXTRACT),
    (0, b"Rar!\x1a\x07", "a RAR archive", _EXTRACT),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _EXTRACT),
    (0, b"\x1f\x8b", "a gzip file", _EXTRACT),
    (0, b"BZh", "a bzip2 file", _EXTRACT),
    (0, b"\xfd7zXZ\0", "an xz file", _EXTRACT),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", _EXTRACT),
    (257, b"ustar", "a tar archive", _EXTRACT),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document", _EXTRACT),
    (0, b"\x93NUMPY", "a NumPy array", _EXPORT),
    (0, b"SQLite format 3\0", "an SQLite database", _BYTES),
    (0, b"\x7fELF", "a program", _BYTES),
    (0, b"MZ", "a program", _BYTES),
)
_RIFF_KINDS = {b"AVI ": ("an AVI video", _FRAME), b"WAVE": ("a WAV file", _BYTES)}
# Major brands of ISO base media files; any other is a video.
_BRANDS = {
    b"crx ": ("a camera raw file (CR3)", _RAW),
    b"qt  ": ("a QuickTime video (MOV)", _FRAME),
    b"M4A ": ("an M4A file", _BYTES),
    b"jxl ": ("a JPEG XL image", _EXPORT),
    b"jp2 ": ("a JPEG 2000 image", _EXPORT),
}
_STILL_BRANDS = frozenset({b"mif1", b"msf1", b"mif2", b"mif3", b"miaf", b"1pic", b"jpeg", b"j2ki", b"vvic", b"evbi"})
_TEXTS: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"<svg[\s>]|<!doctype svg", re.I), "an SVG drawing", _EXPORT),
    (re.compile(rb"^\s*(<!doctype html|<html|<head|<body)", re.I), "an HTML page", _BYTES),
    (re.compile(rb"^\s*<(\?xml|[a-z])", re.I), "an XML document", _BYTES),
    (re.compile(rb"^\s*[{\[]"), "JSON text", _BYTES),
    (re.compile(rb"^\s*data:[\w/+.;=-]*,"), "a data URL", 'send it as JSON, {"image": "data:..."}, or ' + _BYTES),
    (re.compile(rb"^P[1-7fF]\s"), "a Netpbm image", _EXPORT),
    (re.compile(rb"^\s*https?://\S+\s*$"), "a URL", "the service reads no URL; " + _BYTES),
    (
        re.compile(rb"^(/9j/|iVBORw0KGgo|R0lGOD|UklGR|Qk[0-9A-Za-z]|SUkq|TU0AK)[0-9A-Za-z+/_=\s-]*$"),
        "base64 text",
        'send it as JSON, {"image": "..."}, or ' + _BYTES,
    ),
)
_TEXT_BYTES = 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def unsupported_format(data: bytes) -> FerError:
    """Return the error for a file whose format is not supported. It names the format if it is known."""
    name, advice = _name(data)
    return FerError(
        ErrorCode.UNSUPPORTED_IMAGE_FORMAT, f"expected a {SUPPORTED_FORMATS} file. Received: {name}; {advice}"
    )


def _name(data: bytes) -> tuple[str, str]:
    for offset, signature, name, advice in _SIGNATURES:
        if data.startswith(signature, offset):
            return name, advice
    if data[:4] == b"RIFF":
        return _RIFF_KINDS.get(data[8:12], ("a RIFF file without an image", _BYTES))
    if data[4:8] == b"ftyp":
        brand = read_brands(data)[0]
        still = (f"a HEIF image with the codec of the brand {brand.decode('ascii', 'replace').strip()}", _EXPORT)
        return still if brand in _STILL_BRANDS else _BRANDS.get(brand, ("an MP4 video", _FRAME))
    if data[:1] == b"G" and data[188:189] == b"G":
        return "an MPEG transport stream", _FRAME
    return _name_text(data.removeprefix(_BYTE_ORDER_MARK)[:_TEXT_BYTES])


def _name_text(head: bytes) -> tuple[str, str]:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text in UTF-16", _BYTES
    if b"%PDF-" in head:
        return "a PDF document", _EXPORT
    for pattern, name, advice in _TEXTS:
        if pattern.search(head):
            return name, advice
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return "a file with none of their signatures", _BYTES
    is_text = len(head) > 3 and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    return ("text" if is_text else "a file with none of their signatures"), _BYTES
