"""The WebSocket API: frames of a video in, one response for each out."""
