"""From image files to faces: decoding, detection and tracking. Independent of models and HTTP."""
