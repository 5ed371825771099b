"""From bytes to faces: decoding and detection. Knows nothing of models or HTTP."""
