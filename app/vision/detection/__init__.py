"""Face detection: image pyramid, proposals, verification."""
